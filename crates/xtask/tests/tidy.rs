//! Rules of the repository that a compiler does not know, as tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No file has more lines: one that does has two subjects.
const LONGEST: usize = 400;

/// Product code that starts processes without `ccorch_io::command`, and why it has to.
const OWN_PROCESSES: [(&str, &str); 5] = [
    ("crates/ccorch-io/src/command.rs", "is the one command type"),
    ("crates/ccorch/src/remote.rs", "hands a person's terminal to ssh: no deadline, streams passed through"),
    ("crates/ccorch/src/command/loops.rs", "becomes tmux, to attach a person's terminal"),
    (
        "crates/ccorch/src/command/plumbing.rs",
        "becomes the tmux server, and is the agent's parent for as long as it lives",
    ),
    ("crates/ccorch/src/supervisor/mod.rs", "becomes a new supervisor"),
];

/// What makes a decision depend on more than its arguments.
const EFFECTS: [&str; 12] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "TcpStream",
    "UdpSocket",
    "TcpListener",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file of the repository: those git has, and new ones it does not ignore. Without git (a source archive), all.
fn files() -> Vec<(String, String)> {
    let list = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let names: Vec<String> = match list {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(ToOwned::to_owned).collect()
        }
        _ => walk(&root()).iter().map(|p| p.strip_prefix(root()).unwrap().display().to_string()).collect(),
    };
    let text = |name: String| Some((name.clone(), fs::read_to_string(root().join(name)).ok()?));
    let files: Vec<_> = names.into_iter().filter_map(text).collect();
    assert!(files.len() > 100, "only {} files found", files.len());
    files
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let hidden = |path: &Path| path.file_name().is_some_and(|n| n == "target" || n == ".git");
    entries
        .filter(|path| !hidden(path))
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

fn rust() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(name, _)| name.ends_with(".rs"))
}

/// Source that ships: no tests.
fn product(package: &'static str) -> impl Iterator<Item = (String, String)> {
    let folder = format!("crates/{package}/src/");
    rust().filter(move |(name, _)| name.starts_with(&folder) && !is_test(name)).map(|(name, text)| {
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (name, code)
    })
}

fn is_test(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    name == "tests.rs" || name == "properties.rs" || name.ends_with("_tests.rs")
}

/// The lines that are code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// Fails with every violation at once.
fn none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn every_file_says_what_it_is_about() {
    let silent: Vec<String> = rust().filter(|(_, text)| !text.starts_with("//! ")).map(|(n, _)| n).collect();
    none("a file opens with `//!` and a sentence on its one subject", &silent);
}

#[test]
fn no_file_has_two_subjects() {
    let long: Vec<String> = rust()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    none("a file has at most 400 lines", &long);
}

/// Text of one machine: it means nothing on any other.
#[test]
fn no_path_of_a_developers_machine() {
    let root = root().display().to_string();
    // Names that the project gives its own users are fine, and one letter is nobody.
    let homes = |text: &str, at: usize| {
        let user: String = text[at + 6..].chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
        user.len() > 1
            && !["loops", "admin", "pi", "me", "git", "lease", "agent", "user"].contains(&user.as_str())
    };
    let mut found = Vec::new();
    for (name, text) in files() {
        if text.contains(&format!("{root}/")) {
            found.push(format!("{name}: {root}"));
        }
        for (at, _) in text.match_indices("/home/").filter(|(at, _)| homes(&text, *at)) {
            found.push(format!("{name}: {}", text[at..].chars().take(30).collect::<String>()));
        }
    }
    none("nothing names a path of a developer's machine", &found);
}

#[test]
fn dependencies_go_one_way() {
    let crates = ["ccorch-core", "ccorch-io", "ccorch", "xtask", "agent-stub"];
    let allowed = |package: &str| -> &[&str] {
        match package {
            "ccorch-io" => &["ccorch-core"],
            "ccorch" => &["ccorch-core", "ccorch-io"],
            // It compares what the NixOS module renders with what core decides.
            "xtask" => &["ccorch-core"],
            _ => &[],
        }
    };
    let mut wrong = Vec::new();
    for package in crates {
        let manifest = fs::read_to_string(root().join(format!("crates/{package}/Cargo.toml"))).unwrap();
        for other in crates.iter().filter(|other| **other != package && !allowed(package).contains(other)) {
            let named = |line: &str| line.split(['.', ' ', '=']).next() == Some(other);
            if manifest.lines().any(named) {
                wrong.push(format!("{package} depends on {other}"));
            }
            let import = format!("{}::", other.replace('-', "_"));
            let uses = |line: &&str| line.trim_start().starts_with(&format!("use {import}"));
            for (name, text) in rust().filter(|(n, _)| n.starts_with(&format!("crates/{package}/src/"))) {
                // A binary uses the library of its own package.
                wrong.extend(code(&text).find(uses).map(|line| format!("{name}: {line}")));
            }
        }
    }
    none("ccorch -> ccorch-io -> ccorch-core, and nothing the other way", &wrong);
}

#[test]
fn a_decision_touches_nothing() {
    let mut wrong = Vec::new();
    for (name, text) in product("ccorch-core") {
        for effect in EFFECTS {
            wrong
                .extend(code(&text).find(|line| line.contains(effect)).map(|line| format!("{name}: {line}")));
        }
    }
    none("ccorch-core has no process, file, socket or clock", &wrong);
}

#[test]
fn every_process_goes_through_the_one_command() {
    let starts = |line: &str| {
        line.contains("process::Command")
            || (line.contains("process::{")
                && line.split(['{', ',', '}']).any(|word| word.trim() == "Command"))
    };
    let mut found: Vec<String> = Vec::new();
    for package in ["ccorch-core", "ccorch-io", "ccorch"] {
        for (name, text) in product(package) {
            let imports =
                |line: &str| line.contains("CommandExt") || starts(line) || line.contains("process::Child");
            if code(&text).any(imports) {
                found.push(name);
            }
        }
    }
    let excepted = |name: &String| OWN_PROCESSES.iter().any(|(allowed, _)| allowed == name);
    let wrong: Vec<String> = found.iter().filter(|name| !excepted(name)).cloned().collect();
    none("product code runs processes by `ccorch_io::command` (deadline, tail, redaction)", &wrong);
    let stale: Vec<String> =
        OWN_PROCESSES.iter().map(|(n, _)| (*n).to_owned()).filter(|n| !found.contains(n)).collect();
    none("these are excepted and need not be", &stale);
}

#[test]
fn no_test_is_switched_off() {
    // Put together, so that this file is not found itself.
    let mark = format!("#[{}", "ignore");
    let off: Vec<String> =
        rust().filter(|(_, text)| code(text).any(|l| l.contains(&mark))).map(|(n, _)| n).collect();
    none("a test that is not run is none", &off);
}

#[test]
fn one_lock_file_for_all() {
    let locks: Vec<String> = files()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|n| n.rsplit('/').next() == Some("Cargo.lock"))
        .collect();
    assert_eq!(locks, ["Cargo.lock"]);
}

#[test]
fn every_unit_is_embedded_and_says_what_it_is() {
    let embedded = fs::read_to_string(root().join("crates/ccorch/src/units.rs")).unwrap();
    let mut wrong = Vec::new();
    for (name, text) in files().into_iter().filter(|(name, _)| name.starts_with("crates/ccorch/units/")) {
        let unit = name.rsplit('/').next().unwrap();
        if !embedded.contains(&format!("\"{unit}\", include_str!(\"../units/{unit}\")")) {
            wrong.push(format!("{name} is not embedded"));
        }
        if !text.starts_with("# ") {
            wrong.push(format!("{name} does not begin with a comment on what it is for"));
        }
    }
    none("units", &wrong);
}

/// Every crate obeys the workspace's lints: no unsafe code, no unwrap outside tests.
#[test]
fn every_crate_takes_the_workspaces_lints() {
    let lax: Vec<String> = files()
        .into_iter()
        .filter(|(name, _)| name.starts_with("crates/") && name.ends_with("/Cargo.toml"))
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(name, _)| name)
        .collect();
    none("a crate has `[lints] workspace = true`", &lax);
}
