//! What the supervisor says of a loop when it is asked.

use ccorch_core::fleet::{Fleet, Now, Proc, word};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Role;
use ccorch_core::watchdog::life::State;
use jiff::{SignedDuration, Timestamp};

use super::loops::One;
use crate::here::status::{LoopReport, LoopWord};
use crate::here::{Here, exits};

/// One loop.
pub(super) fn of(here: &Here, fleet: &Fleet, now: Now, name: &LoopName, one: &One) -> LoopReport {
    let memory = fleet.memory(name).cloned().unwrap_or_default();
    let state = word_of(fleet.proc(name).unwrap_or(Proc::Unknown), memory.state, one.fenced.is_some());
    let agent = exits::running(&here.paths, name).filter(|_| state == LoopWord::Running);
    let next = fleet.due_of(name).and_then(|due| at(now, due));
    LoopReport {
        name: name.clone(),
        role: here.rig.loops.get(name).map_or(Role::Worker, |spec| spec.role),
        state,
        since: memory.since,
        pid: agent.map(|agent| agent.pid),
        session: one.state.session,
        restarts: memory.restarts,
        reason: one.fenced.clone().unwrap_or_else(|| reason_of(fleet, now, name, &memory.reason)),
        life: Some(word(memory.state).into()),
        until: if let State::Limited(until) = memory.state { until } else { None },
        next,
        evidence: memory.evidence,
        dialog: fleet.dialog(name).map(Into::into),
        waiting: memory.nudges.len(),
    }
}

/// Why it is so, and why it is told nothing where its state does not say that.
fn reason_of(fleet: &Fleet, now: Now, name: &LoopName, reason: &str) -> String {
    let Some((account, block)) = fleet.held_up(name) else { return reason.to_owned() };
    let what = if block.login { "needs a login" } else { "is used up" };
    let until = match (block.until, at(now, block.due)) {
        (Some(until), _) => format!("waits until {until}"),
        (None, Some(next)) => format!("is tried again at {next:.0}"),
        (None, None) => "is tried again".to_owned(),
    };
    format!("{reason}; its account {account} {what} and {until}: nothing is typed until it is seen to work")
}

/// Engine time as a moment of the wall clock.
fn at(now: Now, due: u64) -> Option<Timestamp> {
    let left = SignedDuration::from_millis(i64::try_from(due.saturating_sub(now.steady)).ok()?);
    now.wall.checked_add(left).ok()
}

/// What is to be seen of its process.
fn word_of(proc: Proc, state: State, fenced: bool) -> LoopWord {
    match (proc, state) {
        (_, State::Held) => LoopWord::Held,
        (Proc::Up, _) => LoopWord::Running,
        (Proc::Starting | Proc::Stopping { again: true }, _) => LoopWord::Starting,
        (_, State::CrashLooping) => LoopWord::CrashLooping,
        (_, State::Stopped) if fenced => LoopWord::Fenced,
        (_, State::Stopped | State::Done) => LoopWord::Stopped,
        _ => LoopWord::BackingOff,
    }
}
