//! What keeps loops apart: limits a loop can live with, and paths it can do without.

use super::Report;
use crate::names::LoopName;
use crate::rig::finding::shown;
use crate::rig::{Loop, Rig, rules, size_bytes};

/// tmux, the agent's parent and a small agent need about this much.
const LEAST_MEMORY: u64 = 32 << 20;
/// tmux, the agent's parent, an agent with its threads, and a command of it.
const LEAST_TASKS: u32 = 16;

pub(super) fn check(rig: &Rig, report: &mut Report) {
    for (name, spec) in &rig.loops {
        limits(name, spec, report);
        who(rig, name, spec, report);
        paths(rig, name, spec, report);
    }
}

fn limits(name: &LoopName, spec: &Loop, report: &mut Report) {
    let at = |key| ["loops", name.as_str(), "limits", key];
    let limits = &spec.limits;
    for (key, size) in [("memory_high", &limits.memory_high), ("memory_max", &limits.memory_max)] {
        if let Some(size) = size {
            report.must(&at(key), rules::size(size, LEAST_MEMORY, "a loop needs at least `32MiB`"));
        }
    }
    let bytes = |size: &Option<String>| size_bytes(size.as_deref()?).ok();
    if let (Some(high), Some(max)) = (bytes(&limits.memory_high), bytes(&limits.memory_max))
        && high > max
    {
        report.error(
            &at("memory_high"),
            "is above `memory_max`, which ends the loop first; expected less than that",
        );
    }
    if let Some(weight) = limits.cpu_weight.filter(|weight| !(1..=10_000).contains(weight)) {
        report.error(&at("cpu_weight"), format!("expected a weight from 1 to 10000, found `{weight}`"));
    }
    if let Some(tasks) = limits.tasks.filter(|tasks| *tasks < LEAST_TASKS) {
        report.error(
            &at("tasks"),
            format!("`{tasks}` is too few: a loop needs at least {LEAST_TASKS} of them"),
        );
    }
}

fn who(rig: &Rig, name: &LoopName, spec: &Loop, report: &mut Report) {
    let keys = ["loops", name.as_str(), "user"];
    report.must_if(&keys, spec.user.as_deref(), rules::user);
    if spec.user.as_deref() == Some("root") {
        report.warn(&keys, "this agent would run as root; expected a user of its own");
    }
    if spec.user.as_deref().is_some_and(|user| user != rig.workspace.user) && spec.workdir == "." {
        report.error(
            &keys,
            "a loop with a user of its own writes its working directory, and this one works in the whole workspace; expected a `workdir` below it",
        );
    }
}

fn paths(rig: &Rig, name: &LoopName, spec: &Loop, report: &mut Report) {
    let workdir = rig.place(&spec.workdir);
    for (key, paths) in [("read_only", &spec.read_only), ("hidden", &spec.hidden)] {
        for (index, path) in paths.iter().enumerate() {
            let keys = ["loops", name.as_str(), key, &index.to_string()];
            if let Err(message) = rules::place(path) {
                report.error(&keys, message);
                continue;
            }
            let place = rig.place(path);
            if !rules::is_within(&workdir, &place) {
                continue;
            }
            let folder = shown(&spec.workdir);
            match key {
                "hidden" => {
                    report.error(&keys, format!("hides the loop's own working directory {folder} from it"))
                }
                _ => report.warn(&keys, format!("the loop cannot write its own working directory {folder}")),
            }
        }
    }
}
