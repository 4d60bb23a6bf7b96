//! The supervisor's decisions: what happens to the loops goes in with the time, what is to be done comes out.
//!
//! The engine touches nothing. Whoever drives it writes what changed before doing what it says, and reports what
//! came of it; so a supervisor can die between any two lines and the next one goes on. After an agent's end the disk is
//! not waited for: only a power cut could lose that line, and ends the next agent too. The life of a loop is the table
//! in [`crate::watchdog::life`]; here are the pauses, the ladder for stalls, accounts, nudges, phases and who is told.
//!
//! Rates that hold whatever happens: a loop is started by itself at most [`crash::TOO_MANY`] times within
//! [`crash::WINDOW`] after ends, and otherwise only at a reset, a probe, a step of the stall ladder, a boot, or by a
//! person; at most [`notices::MOST`] notifications go out within [`notices::SPAN`], and what is held back is told together.

mod account;
mod carried;
pub mod crash;
mod due;
mod facts;
mod happens;
mod jitter;
mod memory;
pub mod notices;
mod nudges;
mod phase;
pub mod ration;
mod receipts;
mod seen;
mod spec;
mod steady;
mod words;

#[cfg(any(test, feature = "chaos"))]
pub mod chaos;
#[cfg(test)]
mod evidence_tests;
#[cfg(test)]
mod notices_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod stuck_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use account::Block;
pub use carried::Carried;
pub use facts::{Dated, Fact};
pub use memory::{Memory, Rung, Shared};
pub use nudges::{Nudge, Purpose};
pub use spec::{Fleets, Spec};
pub use steady::{HOUR, MINUTE, Millis, Now, SECOND, Steady};
pub use words::{Action, End, Found, Happens, Input, Signal};

use crate::names::LoopName;
use crate::watchdog::life::{Event, State};

/// What is known of a loop's process. Not kept: a new supervisor looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proc {
    /// Nobody has looked yet.
    Unknown,
    /// There is none.
    Down,
    /// Its start was asked for.
    Starting,
    /// It runs.
    Up,
    /// Its stop was asked for; afterwards it starts again, or not.
    Stopping {
        /// Whether it starts again.
        again: bool,
    },
}

/// How it stands with a nudge that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not received yet.
    Waiting {
        /// Tries that failed.
        tries: u32,
    },
    /// The agent has it.
    Received,
    /// Never asked for, given up, or so long ago that it is forgotten.
    Unknown,
    /// The id stands for another text.
    Other,
}

/// One loop.
#[derive(Debug, Clone)]
pub(crate) struct One {
    pub name: LoopName,
    pub spec: Spec,
    pub memory: Memory,
    pub proc: Proc,
    /// It ended while its stop was under way.
    pub gone: bool,
    /// The next look at its screen.
    pub look: Option<Millis>,
    /// A dialog holds the keyboard: nothing may be typed.
    pub keyboard: bool,
    /// What waits for a person's answer.
    pub dialog: Option<String>,
    /// An error ended its turn, and so many looks may still see the last of the turn's spinner.
    pub doubt: u8,
    /// People heard that a tool shows nothing but its seconds.
    pub quiet: bool,
    /// The kept time at which something is due, as it stands in the calendar.
    wake: Option<Millis>,
}

/// Every loop of a rig, and what is decided about them.
#[derive(Debug, Clone)]
pub struct Fleet {
    plan: Fleets,
    shared: Shared,
    ones: Vec<One>,
    index: HashMap<LoopName, usize>,
    /// The loops of each account.
    members: HashMap<String, Vec<usize>>,
    calendar: BTreeSet<(Millis, usize)>,
    /// In order.
    changed: Vec<usize>,
    shared_changed: bool,
    /// How far the wall clock is ahead of steady time, when that was last looked at.
    ahead: i64,
    out: Vec<Action>,
}

impl Fleet {
    /// A fleet with what was kept of it; a loop without memory is new.
    pub fn new(plan: Fleets, mut shared: Shared, mut kept: BTreeMap<LoopName, Memory>, now: Now) -> Self {
        let one = |(name, spec): (&LoopName, &Spec)| {
            let mut memory = kept.remove(name).unwrap_or(Memory { since: now.wall, ..Memory::default() });
            memory.sane(now.steady);
            memory.nudges.again();
            One {
                name: name.clone(),
                spec: spec.clone(),
                memory,
                proc: Proc::Unknown,
                gone: false,
                look: None,
                keyboard: false,
                quiet: false,
                dialog: None,
                doubt: 0,
                wake: None,
            }
        };
        shared.notices.forget_old(now.steady);
        let ones: Vec<One> = plan.loops.iter().map(one).collect();
        let index = ones.iter().enumerate().map(|(i, one)| (one.name.clone(), i)).collect();
        let mut members: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, one) in ones.iter().enumerate() {
            members.entry(one.spec.account.clone()).or_default().push(i);
        }
        let (calendar, changed) = (BTreeSet::new(), Vec::new());
        let (ahead, out) = (now.ahead(), Vec::new());
        Self { plan, shared, ones, index, members, calendar, changed, shared_changed: false, ahead, out }
    }

    /// Takes note of what happened and of the time; what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Action> {
        match input {
            Input::Loop(name, happens) => {
                if let Some(i) = self.index.get(&name).copied() {
                    self.happens(now, i, happens);
                    self.touch(i);
                }
            }
            Input::Phase(index) => self.phase_is(now, index),
            Input::Rebooted(sentence) => {
                self.shared.reboot = Some((now.steady, sentence));
                self.shared_changed = true;
            }
            Input::Tick => {}
        }
        self.due(now);
        for at in 0..self.changed.len() {
            let i = self.changed[at];
            self.deliver(now, i);
            self.remember(i);
        }
        std::mem::take(&mut self.out)
    }

    /// When something is due next, if nothing happens before.
    pub fn next_wake(&self) -> Option<Millis> {
        let calendar = self.calendar.first().map(|(at, _)| *at);
        let notices = self.shared.notices.due();
        [calendar, self.next_account(), self.next_report(), notices].into_iter().flatten().min()
    }

    /// What changed since this was asked last and is to be kept before the actions are done: loops, and the shared part.
    pub fn take_changed(&mut self) -> (Vec<LoopName>, bool) {
        let (changed, shared) = self.take_places();
        (changed.into_iter().map(|i| self.ones[i].name.clone()).collect(), shared)
    }

    /// As [`Fleet::take_changed`], by the loops' places in the order of their names.
    fn take_places(&mut self) -> (Vec<usize>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.shared_changed))
    }

    /// What is to be kept about all loops together.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What is to be kept about a loop.
    pub fn memory(&self, name: &LoopName) -> Option<&Memory> {
        self.index.get(name).map(|i| &self.ones[*i].memory)
    }

    /// How it stands with what somebody wants a loop told.
    pub fn standing(&self, name: &LoopName, id: &str, text: &str) -> Standing {
        let Some(memory) = self.memory(name) else { return Standing::Unknown };
        if let Some(told) = memory.told.iter().find(|told| told.id == id) {
            return if *told == memory::Told::of(id, text) { Standing::Received } else { Standing::Other };
        }
        match memory.nudges.get(id) {
            Some(nudge) if nudge.text == text => Standing::Waiting { tries: nudge.tries },
            Some(_) => Standing::Other,
            None => Standing::Unknown,
        }
    }

    /// All that is to be kept, of a fleet that ends.
    #[cfg(any(test, feature = "chaos"))]
    fn kept(self) -> (Shared, BTreeMap<LoopName, Memory>) {
        (self.shared, self.ones.into_iter().map(|one| (one.name, one.memory)).collect())
    }

    /// What is known of its process.
    pub fn proc(&self, name: &LoopName) -> Option<Proc> {
        self.index.get(name).map(|i| self.ones[*i].proc)
    }

    /// What of its agent waits for a person's answer.
    pub fn dialog(&self, name: &LoopName) -> Option<&str> {
        let one = &self.ones[*self.index.get(name)?];
        one.dialog.as_deref().filter(|_| one.proc == Proc::Up)
    }

    /// When a loop goes on by itself: its start, its probe, its reset; by engine time.
    pub fn due_of(&self, name: &LoopName) -> Option<Millis> {
        self.index.get(name).and_then(|i| self.due_at(*i))
    }

    fn due_at(&self, i: usize) -> Option<Millis> {
        let one = &self.ones[i];
        let account = || self.shared.blocks.get(&one.spec.account).map(|block| block.due);
        let waits = matches!(one.memory.state, State::Limited(_) | State::LoginNeeded);
        one.memory.due.or_else(|| account().filter(|_| waits))
    }

    /// Moves a loop along the table and says so; `reason` stands for the new state.
    fn turn(&mut self, now: Now, i: usize, event: Event, reason: &str) -> bool {
        let one = &mut self.ones[i];
        let (old, new) = (one.memory.state, one.memory.state.after(event));
        // What stays down or is done whatever is seen of it is not so because of what is seen.
        let by_wish = matches!(
            old,
            State::Held | State::Stopped | State::CrashLooping | State::Done | State::BackingOff
        );
        if old == new && by_wish && event.is_seen() {
            return false;
        }
        one.memory.because(reason);
        if old == new {
            return false;
        }
        one.memory.evidence.clear();
        one.memory.state = new;
        if word(old) != word(new) {
            one.memory.since = now.wall;
        }
        if new != State::Idle {
            one.memory.idle_since = None;
        }
        true
    }

    fn touch(&mut self, i: usize) {
        if let Err(at) = self.changed.binary_search(&i) {
            self.changed.insert(at, i);
        }
    }

    fn event(&mut self, what: &str, i: Option<usize>, detail: impl Into<String>) {
        self.tells(what, i, detail, None);
    }

    /// An event that tells a fact besides its words.
    fn tells(&mut self, what: &str, i: Option<usize>, detail: impl Into<String>, fact: Option<Fact>) {
        let about = i.map(|i| self.ones[i].name.clone());
        self.out.push(Action::Event { what: what.into(), about, detail: detail.into(), fact });
    }

    fn notify(&mut self, now: Now, key: &str, text: String) {
        self.shared_changed = true;
        if let Some(text) = self.shared.notices.tell(now.steady, key, text) {
            self.out.push(Action::Notify { key: key.into(), text });
        }
    }

    /// What people could not be told at once, when they may hear it.
    fn notices_due(&mut self, now: Now) {
        if let Some(text) = self.shared.notices.together(now.steady) {
            self.shared_changed = true;
            self.out.push(Action::Notify { key: "together".into(), text });
        }
    }

    /// What people were told of that key is over: the next time is news.
    fn over(&mut self, key: &str) {
        self.shared_changed |= self.shared.notices.over(key);
    }

    /// Puts a nudge in line; false when there is no room.
    fn nudge(&mut self, i: usize, purpose: Purpose, id: Option<String>, text: String) -> bool {
        let one = &mut self.ones[i].memory;
        one.numbered += 1;
        let id = id.unwrap_or_else(|| format!("{}-{}", purpose.word(), one.numbered));
        let room = one.nudges.add(id, purpose, text);
        self.touch(i);
        room
    }
}

/// The word people read.
pub fn word(state: State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Starting => "starting",
        State::Working => "working",
        State::Idle => "idle",
        State::Limited(_) => "limited",
        State::Throttled => "throttled",
        State::LoginNeeded => "login-needed",
        State::Stalled => "stalled",
        State::BackingOff => "backing-off",
        State::CrashLooping => "crash-looping",
        State::Held => "held",
        State::Done => "done",
    }
}
