//! The loops: where each works, what it runs, and that they do not get into each other's way.

use std::collections::BTreeMap;

use super::Report;
use crate::names::LoopName;
use crate::rig::finding::shown;
use crate::rig::{Agent, Loop, Rig, Role, rules};
use crate::seconds::Seconds;

/// The units' `TimeoutStopSec=` leaves no more, and a machine that goes down is not to be held up.
const LONGEST_GRACE: Seconds = Seconds(60);
const TOO_LONG: &str = "expected at most 1m: a machine that shuts down waits for it";

pub(super) fn check(rig: &Rig, report: &mut Report) {
    if !report.has_entries("loops") {
        report.error(&["loops"], "expected at least one loop");
    }
    check_done(rig, report);
    for (key, value) in [("stall_after", rig.stall_after), ("continue_after", rig.continue_after)] {
        if value.is_some_and(|seconds| seconds.0 == 0) {
            report.error(&[key], "expected at least 1s");
        }
    }
    if rig.stop_grace.is_some_and(|grace| grace > LONGEST_GRACE) {
        report.error(&["stop_grace"], TOO_LONG);
    }
    let mut orchestrator: Option<&LoopName> = None;
    let mut workdirs: BTreeMap<&str, &LoopName> = BTreeMap::new();
    for (name, entry) in &rig.loops {
        one(rig, name, entry, report);
        match (entry.role, orchestrator) {
            // Reboots are told to the orchestrator session; with two of them both would act on it.
            (Role::Orchestrator, Some(first)) => report.error(
                &["loops", name.as_str(), "role"],
                format!("loop `{first}` is the orchestrator already; expected one at most"),
            ),
            (Role::Orchestrator, None) => orchestrator = Some(name),
            (Role::Worker, _) => {
                if let Some(other) = workdirs.insert(&entry.workdir, name) {
                    report.warn(
                        &["loops", name.as_str(), "workdir"],
                        format!("loop `{other}` works in the same folder; both would change one checkout"),
                    );
                }
            }
        }
    }
}

/// When a phase is done: who says so, and where.
fn check_done(rig: &Rig, report: &mut Report) {
    for (index, name) in rig.done_when.iter().enumerate() {
        let at = index.to_string();
        match rig.loops.get(name) {
            None => report.error(&["done_when", &at], format!("no loop `{name}`; expected one of `loops`")),
            Some(entry) if entry.agent == Agent::Command => report.warn(
                &["done_when", &at],
                format!("loop `{name}` runs a plain command; somebody else has to write its state file"),
            ),
            Some(_) => {}
        }
    }
    report.must(&["state_file"], rules::path_below(&rig.state_file));
    if !rig.state_file.contains("{phase}") {
        // Else the word for one phase would be taken for the next one's.
        report.error(&["state_file"], "expected `{phase}` in it: each phase has a state file of its own");
    }
}

fn one(rig: &Rig, name: &LoopName, entry: &Loop, report: &mut Report) {
    let at = |key| ["loops", name.as_str(), key];
    workdir(rig, &entry.workdir, &at("workdir"), report);
    report.must_if(&at("prompt"), entry.prompt.as_deref(), rules::path_below);
    report.must_if(&at("inbox"), entry.inbox.as_deref(), rules::path_below);
    report.must_if(&at("remote_control"), entry.remote_control.as_deref(), rules::line);
    match entry.agent {
        Agent::Command => {
            if entry.command.first().is_none_or(|program| program.trim().is_empty()) {
                report.error(&at("command"), "missing; `agent: command` needs the program and its arguments");
            }
            if entry.remote_control.is_some() {
                report.warn(&at("remote_control"), "has no effect with `agent: command`");
            }
        }
        Agent::Claude => {
            if entry.prompt.is_none() && entry.role == Role::Worker {
                report.warn(
                    &at("prompt"),
                    "missing; nothing tells this loop what to do when its first conversation starts",
                );
            }
        }
    }
    for (index, word) in entry.command.iter().enumerate().filter(|(_, word)| word.contains('\0')) {
        report.error(
            &["loops", name.as_str(), "command", &index.to_string()],
            format!("expected an argument without a NUL, found {}", shown(word)),
        );
    }
    if let Some(account) = &entry.account {
        report.must(&at("account"), rules::line(account));
    }
    for (key, value) in [("stall_after", entry.stall_after), ("continue_after", entry.continue_after)] {
        if value.is_some_and(|seconds| seconds.0 == 0) {
            report.error(&at(key), "expected at least 1s");
        }
    }
    if entry.stop_grace.is_some_and(|grace| grace > LONGEST_GRACE) {
        report.error(&at("stop_grace"), TOO_LONG);
    }
    environment(name, entry, report);
}

fn workdir(rig: &Rig, workdir: &str, keys: &[&str], report: &mut Report) {
    if let Err(message) = rules::path_in(workdir) {
        return report.error(keys, message);
    }
    let workspace = &rig.workspace;
    let folders = workspace.repositories.keys().chain(&workspace.carry);
    let known = workdir == "." || folders.clone().any(|f| f == "." || rules::is_within(workdir, f));
    let unsure = report.known.iter().any(|f| f.key.starts_with("workspace."));
    if !known && !unsure {
        let there: Vec<String> = folders.map(|f| shown(f)).collect();
        report.error(
            keys,
            format!(
                "{} is in none of the workspace's repositories and carried folders; expected `.` or a folder in {}",
                shown(workdir),
                if there.is_empty() { "one of them (there are none)".into() } else { there.join(", ") }
            ),
        );
    }
}

fn environment(name: &LoopName, entry: &Loop, report: &mut Report) {
    for (variable, value) in &entry.env {
        let keys = ["loops", name.as_str(), "env", variable];
        report.must(&keys, rules::variable(variable));
        if value.contains('\0') {
            report.error(&keys, "expected a value without a NUL");
        }
        // The value itself is never repeated.
        if rules::looks_secret(variable, value) {
            report.warn(
                &keys,
                "looks like a secret, and this file is not the place for one; expected it in `secrets`, as a file the agent reads",
            );
        }
    }
}
