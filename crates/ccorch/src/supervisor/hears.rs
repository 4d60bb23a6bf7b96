//! What agents tell of themselves by hooks, handed to the engine and kept for those who wait for a receipt.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ccorch_core::fleet::{Happens, Signal};
use ccorch_core::hook;
use ccorch_core::names::LoopName;
use ccorch_core::watchdog::signals::{self, Turn};
use ccorch_io::clock;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::hooks::Lost;
use super::look::{self, Seen};
use super::loops::Loops;
use super::rebuild::SESSION;
use crate::here::{events, exits};

/// Prompts that are remembered.
const PROMPTS: usize = 32;
/// Of more lines at once only the last word counts: the rest is history by then.
const AT_ONCE: usize = 8;
/// A hook of an agent that ended is not on its way for longer.
const LATE: Duration = Duration::from_secs(30);
/// What was lost is said no more often than this.
const SAY: Duration = Duration::from_secs(30);

/// The prompts that an agent says it took, for whoever waits for one.
#[derive(Debug, Default)]
pub struct Ears {
    prompts: Mutex<VecDeque<(String, Timestamp)>>,
    came: Condvar,
}

impl Ears {
    fn prompt(&self, digest: String, at: Timestamp) {
        let mut prompts = self.prompts.lock().unwrap_or_else(PoisonError::into_inner);
        prompts.push_back((digest, at));
        while prompts.len() > PROMPTS {
            prompts.pop_front();
        }
        self.came.notify_all();
    }

    /// Whether a prompt was taken since `since`; waits for it up to `wait`.
    pub fn took(&self, digest: &str, since: Timestamp, wait: Duration) -> bool {
        let prompts = self.prompts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |prompts: &VecDeque<(String, Timestamp)>| {
            prompts.iter().any(|(prompt, at)| prompt == digest && *at >= since)
        };
        let waited = self.came.wait_timeout_while(prompts, wait, |prompts| !is_there(prompts));
        let (prompts, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_there(&prompts)
    }
}

/// What was lost of one loop's hooks and has not been said yet.
#[derive(Debug, Default)]
pub struct Unsaid {
    lost: Lost,
    said: Option<Instant>,
}

impl Loops {
    /// What was left for a loop's agent is over when an agent began with it: a start that is up has not read it yet.
    pub(super) fn forget_what_was_given(&mut self, name: &LoopName) {
        let Some(one) = self.all.get_mut(name).filter(|one| one.given.is_some()) else { return };
        let paths = &self.here.paths;
        let past = &one.past;
        let runs = exits::running(paths, name).is_some_and(|agent| !past.knows(agent.started));
        let ran = || exits::last(paths, name).is_some_and(|exit| !past.knows(exit.started));
        if !runs && !ran() {
            return;
        }
        let given = one.given.take().unwrap_or_default();
        let left = one.state.message.take().map(|all| match all.strip_prefix(&given) {
            Some(later) => later.trim_start().to_owned(),
            None => all,
        });
        one.state.message = left.filter(|left| !left.is_empty());
        self.keep.put(name, &one.state);
    }

    pub(super) fn stall_after(&self, name: &LoopName) -> u64 {
        let own = self.here.rig.loops.get(name).and_then(|spec| spec.stall_after);
        own.or(self.here.rig.stall_after).map_or(1200, |s| s.0)
    }

    pub(super) fn looked(&mut self, name: &LoopName, seen: &Seen) {
        let stall_after = SignedDuration::from_secs(i64::try_from(self.stall_after(name)).unwrap_or(1200));
        let zone = look::zone(&self.here, name);
        let Some(one) = self.all.get_mut(name) else { return };
        let verdict = one.eyes.judge(seen, zone, stall_after);
        self.tell(name, Happens::Looked(verdict));
    }

    /// Something waits of a loop's hooks.
    pub fn hears(&mut self, name: &LoopName) {
        let heard = self.hooks.take(name);
        if !heard.lines.is_empty() {
            self.forget_what_was_given(name);
        }
        if let Some(one) = self.all.get_mut(name) {
            let lost = &mut one.unsaid.lost;
            lost.dropped += heard.lost.dropped;
            lost.broken += heard.lost.broken;
            lost.foreign += heard.lost.foreign;
        }
        self.say_lost(name);
        let from = if heard.lines.len() > AT_ONCE { heard.lines.len() - 1 } else { 0 };
        for (at, line) in heard.lines.into_iter().enumerate() {
            self.hook(name, line, at >= from);
        }
    }

    /// The ears that wait for this loop's receipts.
    pub(super) fn ears(&self, name: &LoopName) -> Arc<Ears> {
        self.all.get(name).map(|one| one.ears.clone()).unwrap_or_default()
    }

    /// Looks at what was put aside of every loop: at the start, and for what came while the socket was full.
    pub fn hear_all(&mut self) {
        for name in self.names() {
            self.hears(&name);
            self.hear_stops(&name);
        }
    }

    /// One line of an agent's hooks.
    fn hook(&mut self, name: &LoopName, line: String, counts: bool) {
        let last = signals::read(&line).last;
        let shown = last.as_ref().map(|last| last.line.clone()).unwrap_or_default();
        let Some(one) = self.all.get_mut(name) else { return };
        let heard = hook::heard(&line);
        let at = heard.as_ref().and_then(|heard| heard.at);
        let prompt = heard.as_ref().and_then(|heard| heard.prompt.clone());
        let refused = heard.is_some_and(|heard| heard.refused);
        let ended = last.as_ref().is_some_and(|last| last.turn == Turn::Ended);
        let signal = match last.map(|last| last.turn) {
            Some(Turn::Open) if prompt.is_some() => Signal::TurnBegan { ago: since(at) },
            Some(Turn::Open) => Signal::TurnOpen,
            // The end of an earlier turn than the one that runs, told late.
            Some(Turn::Ended) if at.zip(one.prompted).is_some_and(|(at, begun)| at < begun) => Signal::Look,
            Some(Turn::Failed { .. }) => Signal::TurnFailed,
            // With such last words it shows nothing good of its account.
            Some(Turn::Ended) if refused => Signal::TurnFailed,
            Some(Turn::Ended) => Signal::TurnEnded,
            Some(Turn::Started) => Signal::Session,
            _ => Signal::Look,
        };
        if let Some(prompt) = prompt {
            let now = clock::now();
            // No time to come is believed: every end would be of before.
            one.prompted = one.prompted.max(Some(at.unwrap_or(now).min(now)));
            one.ears.prompt(prompt, at.unwrap_or(now));
        }
        // Behind its agent's end it comes soon or never; later on, only the clock was put back.
        let from = one.hooks_from.filter(|(_, begun)| begun.elapsed() < LATE);
        if let (Some(at), Some((from, _))) = (at, from)
            && at < from
        {
            return;
        }
        if let Some(session) = hook::went_over(&line) {
            self.goes_on_in(name, session);
        }
        let Some(one) = self.all.get_mut(name) else { return };
        one.eyes.hook(line);
        if !counts {
            return;
        }
        self.tell(name, Happens::Signal(signal, shown));
        if ended {
            self.look_at_phase(None);
        }
    }

    /// Its agent went over to another conversation (`/clear`, `/resume`): what it is told, and its next start, follow it
    /// there. The old one would undo what somebody wished.
    fn goes_on_in(&mut self, name: &LoopName, session: Uuid) {
        let others = || self.all.iter().filter(|(other, _)| *other != name);
        if others().any(|(_, other)| other.state.session == Some(session)) {
            return;
        }
        let Some(one) = self.all.get_mut(name) else { return };
        let Some(old) = one.state.session.filter(|old| *old != session) else { return };
        one.state.session = Some(session);
        one.eyes.forget_transcript();
        self.keep.put(name, &one.state);
        let detail = format!("{session} is its conversation from here on; it was {old}");
        events::record(&self.here, SESSION, Some(name), detail);
    }

    /// Says what was lost, once in a while.
    fn say_lost(&mut self, name: &LoopName) {
        let Some(one) = self.all.get_mut(name) else { return };
        let due = one.unsaid.said.is_none_or(|said| said.elapsed() > SAY);
        if !due || one.unsaid.lost == Lost::default() {
            return;
        }
        let lost = std::mem::take(&mut one.unsaid.lost);
        one.unsaid.said = Some(Instant::now());
        let parts = [
            (lost.dropped, "dropped: more came at once than are kept"),
            (lost.broken, "not understood"),
            (lost.foreign, "refused: sent by a user who is not the loop's"),
        ];
        let words: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        self.history.record("hooks-lost", Some(name), format!("messages of hooks: {}", words.join("; ")));
    }
}

/// How long ago that was, in milliseconds; what bears no time, or one to come, is now.
fn since(at: Option<Timestamp>) -> u64 {
    let ago = at.map(|at| clock::now().duration_since(at).as_millis());
    ago.and_then(|ago| u64::try_from(ago).ok()).unwrap_or(0)
}
