//! The README's other half: jobs that exist, a walk-through that is rehearsed, links that lead somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../ccorch/tests/documents/mod.rs"]
mod documents;

use std::fs;
use std::process::Command;

use documents::{anchors, commands, inline_commands, links, root, text, words};

/// What the rehearsal does not run as the README has it, and which test does: its file, and words of it.
const NOT_REHEARSED: [(&str, &str, &str); 3] = [
    ("ccorch schema > ccorch.schema.json", "crates/ccorch/tests/readme.rs", "[\"schema\" | \"check\", ..]"),
    (
        "ccorch host install vm --ssh-config --install-packages",
        "crates/ccorch/tests/install.rs",
        "[\"host\", \"install\", \"vm\", \"--ssh-config\", \"--install-packages\"]",
    ),
    (
        "ccorch secrets recipient --host vm",
        "crates/ccorch/tests/host_systemd/secrets.rs",
        "secrets recipient",
    ),
];

/// Commands of other programs that the README has, and who tries them.
const OTHER_PROGRAMS: [(&str, &str); 3] = [
    ("cargo install --locked --path crates/ccorch", "the package exists: checked below"),
    ("cp examples/cc-ci.yaml ccorch.yaml", "checked by ccorch's own test of the README"),
    ("nixos-rebuild switch --flake .#cc-ci-orchestrator", "belongs to the flake: checked below"),
];

/// What the rehearsal hands to the program, without white space, so that it does not matter where lines break.
fn rehearsed() -> String {
    let folder = root().join("crates/xtask/src/rehearse");
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    squeezed(&files.collect::<String>())
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<String>().replace(",]", "]")
}

/// A command of the README as the rehearsal's source would have it.
fn as_source(command: &str) -> String {
    let words: Vec<String> = words(command)[1..].iter().map(|word| format!("\"{word}\"")).collect();
    format!("operator,&[{}]", words.join(","))
}

#[test]
fn the_walk_through_is_rehearsed_as_it_stands() {
    let source = rehearsed();
    // Whoever of the operator's methods takes it.
    let source = ["operator.runs(&", "operator.reads(&", "attach(operator,&"]
        .iter()
        .fold(source, |source, call| source.replace(call, "operator,&"));
    let readme = text("README.md");
    let all: Vec<String> = commands(&readme).into_iter().filter(|c| c.starts_with("ccorch ")).collect();
    assert!(all.len() > 25, "only {} commands found", all.len());
    let excepted = |command: &str| NOT_REHEARSED.iter().any(|(excepted, ..)| *excepted == command);
    for command in &all {
        let run = source.contains(&as_source(command));
        assert!(run || excepted(command), "`{command}` is in the README; the rehearsal does not run it");
        assert!(!(run && excepted(command)), "`{command}` is excepted, but rehearsed");
    }
    for (command, test, there) in NOT_REHEARSED {
        assert!(all.iter().any(|c| c == command), "`{command}` is excepted, but not in the README");
        assert!(text(test).contains(there), "{test} does not try `{command}`");
    }
}

/// What holds for every change is what the README says: the formatter, the lints, and its test command to the letter.
#[test]
fn what_runs_for_every_change_is_the_readme_s_test_command() {
    let readme = text("README.md");
    let test: Vec<String> =
        commands(&readme).into_iter().filter(|c| c.starts_with("cargo xtask test")).collect();
    assert_eq!(test.len(), 1, "{test:?}");
    let script = text(".ci/run");
    let lines: Vec<&str> = script.lines().filter(|line| line.starts_with("cargo ")).collect();
    let [fmt, clippy, last] = lines[..] else { panic!("three commands of cargo were expected: {lines:?}") };
    assert!(fmt.starts_with("cargo fmt --all --check"), "{fmt}");
    assert!(clippy.starts_with("cargo clippy --workspace --all-targets") && clippy.ends_with("-D warnings"));
    assert_eq!(last, test[0]);
    assert_eq!(script.lines().last(), Some(last), "something comes after the tests");
}

#[test]
fn every_job_of_cargo_xtask_exists() {
    let all: Vec<String> = [commands(&text("README.md")), commands(&text("ARCHITECTURE.md"))].concat();
    let jobs: Vec<&String> = all.iter().filter(|c| c.starts_with("cargo xtask ")).collect();
    assert!(jobs.len() >= 2, "only {jobs:?}");
    for job in jobs {
        let run =
            Command::new(env!("CARGO_BIN_EXE_xtask")).args(&words(job)[2..]).arg("--help").output().unwrap();
        assert!(run.status.success(), "{job}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
fn every_other_command_is_accounted_for() {
    for command in commands(&text("README.md")) {
        let known = ["ccorch ", "cargo xtask ", "nix "].iter().any(|program| command.starts_with(program))
            || OTHER_PROGRAMS.iter().any(|(other, _)| *other == command);
        assert!(known, "who tries `{command}`?");
    }
    assert!(root().join("crates/ccorch/Cargo.toml").exists());
}

/// The README says of Nix what is true of the tree.
#[test]
fn nix_is_spoken_of_as_it_is() {
    let readme = text("README.md");
    let nix: Vec<String> = commands(&readme).into_iter().filter(|c| c.starts_with("nix ")).collect();
    assert_eq!(nix, ["nix run .#ccorch cutover", "nix flake check"]);
    let missing = readme.contains("The flake is not in the tree yet");
    let there = root().join("flake.nix").exists();
    assert_ne!(missing, there, "flake.nix is there: {there}; the README says that it is missing: {missing}");
    if there {
        assert!(
            root().join("hosts/cc-ci-orchestrator").exists(),
            "nixos-rebuild names a host that is not there"
        );
    }
}

/// What people read.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "docs/state-machines.md", "docs/invariants.md"];

#[test]
fn every_link_leads_somewhere() {
    for name in DOCUMENTS {
        let document = text(name);
        let folder = root().join(name).parent().unwrap().to_owned();
        let links = links(&document);
        assert!(!links.is_empty(), "{name} has no link");
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            match link.split_once('#') {
                Some(("", anchor)) => {
                    assert!(anchors(&document).iter().any(|a| a == anchor), "{name}: {link}")
                }
                _ => assert!(folder.join(link).exists(), "{name}: {link} is not there"),
            }
        }
    }
}

/// A path in backticks in the codemap and its tables is a path of the tree.
#[test]
fn the_codemap_is_true() {
    let document: String = DOCUMENTS[1..].iter().map(|name| text(name)).collect();
    let prose: String = document.split("```").step_by(2).collect();
    let spans: Vec<&str> = prose.split('`').skip(1).step_by(2).collect();
    let top = ["crates/", "examples/", "docs/"];
    let paths: Vec<&str> = spans
        .into_iter()
        .filter(|s| top.iter().any(|t| s.starts_with(t)) && !s.contains([' ', '*', '{', '<']))
        .collect();
    assert!(paths.len() > 20, "only {} paths found", paths.len());
    for path in paths {
        let file = path.split("::").next().unwrap();
        assert!(root().join(file).exists(), "`{path}` is not there");
        // `file::name` names something in it.
        if let Some((_, name)) = path.split_once("::") {
            assert!(text(file).contains(name), "{file} has no `{name}`");
        }
    }
    assert!(inline_commands(&document).iter().all(|c| !c.contains("..")));
}
