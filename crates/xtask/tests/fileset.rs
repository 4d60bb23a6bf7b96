//! The source that a build by Nix sees (`nixos/package.nix`) has every file that the code takes in when it is compiled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What the package's `fileset` names, relative to the repository.
fn fileset() -> Vec<PathBuf> {
    let text = fs::read_to_string(root().join("nixos/package.nix")).unwrap();
    let (_, list) = text.split_once("fileset = lib.fileset.unions [").expect("package.nix has a fileset");
    let (list, _) = list.split_once(']').unwrap();
    list.lines()
        .filter_map(|line| Some(line.trim().strip_prefix("(root + \"/")?.strip_suffix("\")")?.into()))
        .collect()
}

/// Every Rust file below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// `a/b/../c` as `a/c`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
        plain
    })
}

/// Files that a source file takes in, relative to it.
fn included(text: &str) -> impl Iterator<Item = &str> {
    ["include_str!(", "include_bytes!(", "include!("]
        .into_iter()
        .flat_map(move |word| text.split(word).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'))
        .map(|(path, _)| path)
}

#[test]
fn every_file_that_the_code_takes_in_is_in_the_packages_source() {
    let fileset = fileset();
    assert!(fileset.contains(&"crates".into()) && fileset.contains(&"Cargo.lock".into()), "{fileset:?}");
    let (mut files, mut seen) = (Vec::new(), 0);
    sources(&root().join("crates"), &mut files);
    for file in files {
        for target in included(&fs::read_to_string(&file).unwrap()) {
            let target = plain(&file.parent().unwrap().join(target));
            let target = target.strip_prefix(root()).unwrap();
            let inside = fileset.iter().any(|part| target.starts_with(part));
            assert!(inside, "{} takes in {}, which Nix does not see", file.display(), target.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} found");
}

#[test]
fn what_is_taken_in_is_found() {
    // In pieces, so that this file takes in nothing itself.
    let text = format!("let a = include_str{}\n    \"../x.sh\");", "!(");
    assert_eq!(included(&text).collect::<Vec<_>>(), ["../x.sh"]);
    assert_eq!(plain(Path::new("/r/crates/a/../../x")), Path::new("/r/x"));
}
