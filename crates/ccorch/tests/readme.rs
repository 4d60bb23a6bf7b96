//! Every `ccorch` command of the README, given to the program: run for real where that needs no host, else parsed by it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod documents;

use std::fs;

use common::Env;
use documents::{commands, inline_commands, root, text, words};

/// A place with the example rig in it, as after the walk-through's first command.
fn place() -> Env {
    let env = Env::new();
    let example = fs::read(root().join("examples/cc-ci.yaml")).unwrap();
    env.write("ccorch.yaml", example);
    env
}

/// Which commands touch nothing but the rig file, so that they are run as they stand.
fn needs_no_host(args: &[&str]) -> bool {
    match args {
        ["schema" | "check", ..] => !args.contains(&"--files"),
        ["cutover" | "rollback", ..] => args.contains(&"--dry-run"),
        _ => args.contains(&"--help"),
    }
}

/// The arguments up to a redirection.
fn arguments(command: &str) -> Vec<&str> {
    words(command).into_iter().skip(1).take_while(|word| *word != ">").collect()
}

#[test]
fn commands_that_need_no_host_do_what_is_said() {
    let readme = text("README.md");
    let all = commands(&readme);
    let mut ran = 0;
    for command in all.iter().filter(|c| c.starts_with("ccorch ")) {
        let args = arguments(command);
        if needs_no_host(&args) {
            let run = place().run(&args);
            assert_eq!(run.status, Some(0), "{command}\n{}", run.snapshot());
            assert!(!run.stdout.is_empty(), "{command} says nothing");
            ran += 1;
        }
    }
    assert!(ran >= 4, "only {ran} commands were run: is the README still read rightly?");
}

/// Without a rig file every command line that clap accepts ends in the same refusal, so nothing is reached or changed;
/// journals and this machine's own state are looked at without one.
#[test]
fn every_other_command_is_one_that_the_program_accepts() {
    let readme = text("README.md");
    let (fenced, inline) = (commands(&readme), inline_commands(&readme));
    let all: Vec<&String> = fenced.iter().filter(|c| c.starts_with("ccorch ")).chain(&inline).collect();
    assert!(all.len() >= 20, "only {} commands found", all.len());
    for command in all {
        let args = arguments(command);
        let run = Env::new().run(&args);
        let refused = matches!(run.status, Some(3 | 7)) && run.stderr.contains("no rig file");
        let empty = ["there is no journal yet", "this machine is no host of a rig"];
        let nothing = run.status != Some(2) && empty.iter().any(|said| run.stderr.contains(said));
        let fine = refused || nothing || (needs_no_host(&args) && run.status == Some(0));
        assert!(fine, "{command}\n{}", run.snapshot());
    }
}

#[test]
fn a_command_that_the_program_does_not_know_would_be_found() {
    for wrong in ["check --no-such-option", "lease init --host vm", "no-such-verb", "status vm"] {
        let run = Env::new().run(&words(wrong));
        assert_eq!(run.status, Some(2), "{wrong}\n{}", run.snapshot());
    }
}

#[test]
fn the_examples_that_the_readme_copies_are_there_and_good() {
    let readme = text("README.md");
    let copied: Vec<String> = commands(&readme).into_iter().filter(|c| c.starts_with("cp ")).collect();
    assert_eq!(copied, ["cp examples/cc-ci.yaml ccorch.yaml"]);
    assert_eq!(place().run(&["check"]).status, Some(0));
}

/// The rows of a table with two columns, those with a number first.
fn table(document: &str) -> Vec<(u8, String)> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
        Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
    };
    document.lines().filter_map(row).collect()
}

/// The variants of `Kind` with their numbers and their comments, as the source has them.
fn kinds() -> Vec<(u8, String)> {
    let source = text("crates/ccorch/src/error.rs");
    let body = source.split_once("pub enum Kind {").unwrap().1.split_once("\n}").unwrap().0;
    let (mut found, mut comment) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim) {
        if let Some(part) = line.strip_prefix("///") {
            comment.push(part.trim().to_owned());
        } else if let Some((_, number)) = line.split_once(" = ") {
            found.push((number.trim_end_matches(',').parse().unwrap(), comment.join(" ")));
            comment.clear();
        }
    }
    found
}

#[test]
fn the_table_of_exit_statuses_is_the_enum() {
    let wanted: Vec<_> = [(0, "Done, or nothing to do.".to_owned())].into_iter().chain(kinds()).collect();
    assert!(wanted.len() > 9);
    assert_eq!(table(&text("README.md")), wanted);
}
