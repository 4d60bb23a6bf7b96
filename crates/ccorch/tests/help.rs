//! What a newcomer reads: every verb says what it does in one line and shows an example that the program accepts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod documents;

use common::Env;

/// The verbs that a command's help lists, with what is said of each.
fn listed(help: &str) -> Vec<(String, String)> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let list = list.split("\n\n").next().unwrap();
    // A description that goes on in a second line begins further to the right.
    let first = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let split = first.map(|line| line.trim().split_once(' ').unwrap_or((line.trim(), "")));
    split.map(|(verb, said)| (verb.to_owned(), said.trim().to_owned())).filter(|(v, _)| v != "help").collect()
}

/// Every visible verb and sub-verb as a path, with its help.
fn all() -> Vec<(Vec<String>, String)> {
    let env = Env::new().set("COLUMNS", "110");
    let mut open = vec![Vec::new()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let run = env.run(&args);
        assert_eq!(run.status, Some(0), "{}", run.snapshot());
        open.extend(listed(&run.stdout).into_iter().map(|(verb, _)| [path.clone(), vec![verb]].concat()));
        found.push((path, run.stdout));
    }
    found
}

#[test]
fn every_verb_has_an_example_of_itself() {
    let all = all();
    assert!(all.len() > 20, "only {} verbs found", all.len());
    for (path, help) in &all {
        let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("{path:?} has no example"));
        let own = format!("ccorch {}", path.join(" "));
        assert!(examples.contains(&own), "the example of {path:?} is not of it:\n{examples}");
    }
}

#[test]
fn every_example_is_one_that_the_program_accepts() {
    let mut seen = 0;
    for (path, help) in all() {
        let (_, examples) = help.split_once("Example").unwrap_or_default();
        for line in examples.lines().map(str::trim) {
            let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
            if !line.starts_with("ccorch ") {
                continue;
            }
            // Two blanks part a command from what is said of it; the rest is the shell's.
            let command = line.split("  ").next().unwrap();
            for one in command.split(" && ").filter(|one| one.starts_with("ccorch ")) {
                let shell = |word: &&str| [">", "|"].contains(word);
                let args: Vec<&str> = one.split(' ').skip(1).take_while(|word| !shell(word)).collect();
                if args == ["supervise"] || args == ["proxy", "run"] {
                    continue;
                }
                let run = Env::new().run(&args);
                assert_ne!(run.status, Some(2), "example of {path:?}: {one}\n{}", run.snapshot());
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} examples found");
}

/// A list of verbs that wraps is not read.
#[test]
fn a_list_of_verbs_has_one_line_for_each() {
    for (path, help) in all() {
        for (verb, said) in listed(&help) {
            assert!(!said.is_empty(), "nothing is said of {path:?} {verb}");
            assert!(said.len() <= 95, "{path:?} {verb}: {} characters: {said}", said.len());
        }
    }
}

/// Verbs that change nothing, or are run by units: nothing to try out dry.
const READERS: [&str; 22] = [
    "check",
    "connect",
    "journal list",
    "journal show",
    "lease show",
    "loops attach",
    // Writes the folder it is given, which has to be new.
    "loops capture",
    "loops list",
    "loops logs",
    "loops show",
    "phase show",
    "proxy check",
    "proxy run",
    "proxy wanted",
    "reboots",
    "schema",
    // Makes the host's key once; there is no other way to print its recipient.
    "secrets recipient",
    "standby-status",
    "status",
    "supervise",
    "vm status",
    "watchdog explain",
];
/// Verbs whose output no script wants: terminals, streams, daemons, and those that end in a file or an exit status.
const WORDLESS: [&str; 10] = [
    "connect",
    "loops attach",
    "proxy run",
    "proxy wanted",
    "schema",
    "secrets install",
    "supervise",
    "vm start",
    "vm stop",
    "watchdog explain",
];

#[test]
fn what_changes_something_can_be_tried_dry_and_what_answers_speaks_json() {
    let mut leaves = all();
    let groups: Vec<Vec<String>> =
        leaves.iter().map(|(path, _)| path[..path.len().max(1) - 1].to_vec()).collect();
    leaves.retain(|(path, _)| !groups.contains(path));
    for (path, help) in &leaves {
        let verb = path.join(" ");
        let (dry, json) = (help.contains("--dry-run"), help.contains("--json"));
        assert_eq!(dry, !READERS.contains(&verb.as_str()), "`{verb}`: --dry-run, or READERS, but not both");
        assert!(json || WORDLESS.contains(&verb.as_str()), "`{verb}` has no --json and is not WORDLESS");
    }
}
