//! The loops as the supervisor drives them: what threads report goes into the engine, what it says is kept and done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::fleet::{Fleet, Found, Happens, Input};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::rig::Role;
use ccorch_core::watchdog::life::State;
use ccorch_io::clock;
use jiff::Timestamp;

use super::Event;
use super::again::Place;
use super::asked::Asked;
use super::control::{Reply, Request};
use super::hears::{Ears, Unsaid};
use super::history::History;
use super::hooks::Hooks;
use super::index::{Index, Reading};
use super::keep::Keep;
use super::look::Eyes;
use super::post::Post;
use super::reader::Reader;
use super::survey::Asking;
use super::threads::{Lives, Looking, What};
use super::troubles::Troubles;
use crate::here::exits::{self, Past};
use crate::here::loop_state::{self, LoopState};
use crate::here::runtime::Runtime;
use crate::here::{Here, boot, events};

/// What is left for a loop's next start is no longer than this, in bytes, but for its newest part.
const WORD: usize = 8 << 10;
/// In place of what was left out.
const OLDER: &str = "(older words are left out)";

/// One loop.
#[derive(Debug)]
pub(super) struct One {
    pub state: LoopState,
    /// The tmux server that is watched; the end of any other is old news.
    pub server: Option<u32>,
    /// It is not: there was no thread to be had for that.
    pub unwatched: bool,
    pub place: Place,
    /// When its latest start was asked for, by the wall clock that the record of its end uses.
    pub began: Timestamp,
    /// Runs of before.
    pub past: Past,
    /// What that start was to tell the agent; what is left for it later waits for the next.
    pub given: Option<String>,
    /// Why the lease does not let it run.
    pub fenced: Option<String>,
    /// Starts and stops of one loop take turns, and are reported in that order.
    turns: Arc<Mutex<()>>,
    pub lives: Lives,
    /// Since when its latest start was asked for here: a hook from before is of the agent before.
    pub hooks_from: Option<(Timestamp, Instant)>,
    /// That its start takes long was said.
    pub slow: bool,
    pub eyes: Eyes,
    pub looking: Looking,
    /// When its agent last took words: the end of a turn that was told before is not this one's.
    pub prompted: Option<Timestamp>,
    /// For whoever waits for a receipt.
    pub ears: Arc<Ears>,
    /// What was lost of its hooks.
    pub unsaid: Unsaid,
    /// Who waits for its stop.
    pub waiting: Vec<Sender<Reply>>,
    /// Who waits for the receipt of a nudge.
    pub asked: Asked,
}

/// All loops of the rig.
#[derive(Debug)]
pub struct Loops {
    /// Shared: each loop has threads that need it, and the rig in it is as long as there are loops.
    pub(super) here: Arc<Here>,
    pub(super) runtime: Runtime,
    pub(super) sender: Sender<Event>,
    pub(super) hooks: Hooks,
    pub(super) all: BTreeMap<LoopName, One>,
    /// What came of actions, to be told to the engine next.
    pub(super) pending: VecDeque<Input>,
    pub(super) index: Index,
    pub(super) history: History,
    pub(super) troubles: Troubles,
    pub(super) reader: Reader,
    pub(super) fleet: Fleet,
    pub(super) keep: Keep,
    pub(super) post: Post,
    pub(super) asking: Asking,
    /// What people want of loops of which it is not known yet whether they run.
    pub(super) postponed: Vec<(Request, Sender<Reply>)>,
}

impl Loops {
    /// The rig's loops as they were kept, none looked at yet.
    pub fn new(
        here: Here,
        runtime: Runtime,
        sender: Sender<Event>,
        hooks: Hooks,
        post: Post,
    ) -> Result<Self> {
        let (keep, fleet, states) = Keep::open(&here)?;
        let one = |(name, state): (LoopName, LoopState)| {
            let one = One {
                given: state.message.clone(),
                state,
                server: None,
                unwatched: false,
                place: Place::default(),
                began: clock::now(),
                past: Past::default(),
                fenced: None,
                turns: Arc::default(),
                lives: Lives::default(),
                hooks_from: None,
                slow: false,
                eyes: Eyes::default(),
                looking: Looking::default(),
                prompted: None,
                ears: Arc::default(),
                unsaid: Unsaid::default(),
                waiting: Vec::new(),
                asked: Asked::default(),
            };
            (name, one)
        };
        let all = states.into_iter().map(one).collect();
        let troubles = Troubles::default();
        let (index, reading) = Index::open(&here, sender.clone(), &troubles)?;
        let history = History::of(&here);
        let mut loops = Self {
            here: Arc::new(here),
            runtime,
            sender,
            hooks,
            post,
            all,
            pending: VecDeque::new(),
            index,
            history,
            reader: Reader::new(&troubles),
            troubles,
            fleet,
            keep,
            asking: Asking::default(),
            postponed: Vec::new(),
        };
        loops.phase(reading, Vec::new());
        Ok(loops)
    }

    /// What is not as it should be, for whoever finds more of it.
    pub fn troubles(&self) -> Troubles {
        self.troubles.clone()
    }

    /// Where what agents cause is written down.
    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// Tells the engine, keeps what changed, and does what follows.
    fn feed(&mut self, input: Input) {
        self.pending.push_back(input);
        while let Some(input) = self.pending.pop_front() {
            let now = self.keep.now();
            let actions = self.fleet.handle(now, input);
            let (changed, shared) = self.fleet.take_changed();
            for name in &changed {
                self.remember(name);
            }
            if shared {
                self.keep.put_shared(&self.fleet);
            }
            if self.keep.overtaken() {
                self.pending.clear();
                return;
            }
            for action in actions {
                self.perform(action);
            }
        }
    }

    /// Whether a cutover brought the loops' state while this supervisor idled.
    pub fn overtaken(&self) -> bool {
        self.keep.overtaken()
    }

    pub(super) fn tell(&mut self, name: &LoopName, happens: Happens) {
        self.feed(Input::Loop(name.clone(), happens));
    }

    fn remember(&mut self, name: &LoopName) {
        let (Some(one), Some(memory)) = (self.all.get_mut(name), self.fleet.memory(name)) else { return };
        one.state.memory = memory.clone();
        one.state.desired = if memory.state == State::Held { Desired::Held } else { Desired::Run };
        self.keep.put(name, &one.state);
    }

    /// Leaves word for the orchestrator sessions at their next start.
    pub fn tell_orchestrators(&mut self, message: &str) {
        for name in self.names() {
            if self.here.rig.loops.get(&name).is_some_and(|spec| spec.role == Role::Orchestrator) {
                self.leave_word(&name, message);
            }
        }
    }

    pub(super) fn leave_word(&mut self, name: &LoopName, message: &str) {
        if let Some(one) = self.all.get_mut(name) {
            let earlier = one.state.message.take().unwrap_or_default();
            one.state.message = Some(word_left(&earlier, message));
            self.keep.put(name, &one.state);
        }
    }

    /// The host rebooted; the orchestrators hear what came back.
    pub fn rebooted(&mut self, sentence: String) {
        self.feed(Input::Rebooted(sentence));
    }

    /// To systemd a start under way and one more are one job: asking again is waiting for it.
    pub(super) fn wait_for_start(&mut self, name: &LoopName) {
        self.tell(name, Happens::Found(Found::Starting));
        let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
        let before = self.all.get(name).map(|one| (one.began, one.past.clone()));
        self.began(name);
        if let (Some(one), Some((began, past))) = (self.all.get_mut(name), before) {
            // Somebody else started it, and its agent may run since a moment ago: all that is known is that it does so after
            // the end of the one before.
            (one.began, one.past, one.hooks_from) = (began, past, Some((began, Instant::now())));
        }
        self.began_before(name);
        self.in_turn(name, What::Started, move || runtime.start(&here, &loop_name));
    }

    /// How the agent of somebody else's start ends is known by the time when it began.
    pub(super) fn began_before(&mut self, name: &LoopName) {
        if let (Some(one), Some(agent)) = (self.all.get_mut(name), exits::running(&self.here.paths, name)) {
            one.began = agent.started;
        }
    }

    /// Of the runs that are on record none is the next one's; nor, where one `runs` no more, is that.
    pub(super) fn note_past(&mut self, name: &LoopName, over: bool) {
        let Some(one) = self.all.get_mut(name) else { return };
        let running = exits::running(&self.here.paths, name).map(|agent| agent.started);
        let last = exits::last(&self.here.paths, name).map(|exit| exit.started);
        one.past.note(last.filter(|last| over || Some(*last) != running));
        one.past.note(running.filter(|_| over));
    }

    /// The wall clock may have been set: moments of before are put by as much as it was.
    pub fn mind_the_clock(&mut self) {
        let Some(by) = self.keep.jump() else { return };
        let how = if by.is_negative() { "back" } else { "ahead" };
        events::record(&self.here, "clock-set", None, format!("the wall clock was set {:#} {how}", by.abs()));
        if let Err(error) = boot::clock_was_set(&self.here) {
            eprintln!("warning: when this boot was is not told anew: {error:#}");
        }
        let put = |at: Timestamp| at.checked_add(by).unwrap_or(at);
        for (name, one) in &mut self.all {
            one.began = put(one.began);
            one.hooks_from = one.hooks_from.map(|(at, since)| (put(at), since));
            one.prompted = one.prompted.map(put);
            let spec = self.here.rig.loops.get(name);
            let path =
                spec.zip(one.state.session).map(|(spec, id)| loop_state::transcript(&self.here, spec, id));
            let length = path.and_then(|path| {
                let asked = path.clone();
                self.reader.read(name, &path, move || asked.metadata().map_or(0, |found| found.len()))
            });
            one.eyes.jumped(by, length.unwrap_or_default());
        }
    }

    pub(super) fn began(&mut self, name: &LoopName) {
        self.forget_what_was_given(name);
        self.note_past(name, true);
        if let Some(one) = self.all.get_mut(name) {
            (one.began, one.fenced, one.slow) = (clock::now(), None, false);
            one.lives.over();
            one.hooks_from = Some((one.began, Instant::now()));
            one.given = one.state.message.clone();
            one.eyes.forget();
            one.prompted = None;
            if one.state.stopping.take().is_some() {
                self.keep.put(name, &one.state);
            }
        }
    }

    pub(super) fn turns(&self, name: &LoopName) -> Arc<Mutex<()>> {
        self.all.get(name).map(|one| one.turns.clone()).unwrap_or_default()
    }

    /// Lets time pass: what is due is done.
    pub fn tick(&mut self) {
        self.feed(Input::Tick);
    }

    /// When something is due.
    pub fn next_due(&mut self) -> Option<Instant> {
        let due = self.fleet.next_wake()?;
        let left = due.saturating_sub(self.keep.now().steady);
        // Never more than a hundred times a second, whatever the engine thinks.
        Some(Instant::now() + Duration::from_millis(left.max(10)))
    }

    /// What the next supervisor must not tell again.
    pub fn leave(&mut self) {
        self.names().iter().for_each(|name| self.forget_what_was_given(name));
        self.history.close();
    }

    /// What is done every now and then: what the disk did not take is written, and the time is kept.
    pub fn pulse(&mut self) {
        self.names().iter().for_each(|name| self.forget_what_was_given(name));
        self.index.say_what_is_slow();
        self.history.count();
        self.hear_all();
        self.watch_again();
        self.say_what_is_slow();
        self.feed(Input::Tick);
        self.names().iter().for_each(|name| self.remember(name));
        self.keep.put_time(&self.fleet);
    }

    /// Has the phase index read, and what the state files say of that phase; `asker` is answered after it.
    pub fn look_at_phase(&mut self, asker: Option<Sender<Reply>>) {
        self.index.look(asker);
    }

    /// What they say, if that could be read.
    pub fn phase(&mut self, reading: Option<Reading>, waiting: Vec<Sender<Reply>>) {
        if let Some(Reading { index, done }) = reading {
            self.feed(Input::Phase(index));
            for (name, done) in done {
                self.tell(&name, Happens::Says { phase: index, done });
            }
        }
        waiting.iter().for_each(|asker| self.answer(asker));
    }

    /// A loop's inbox has this content.
    pub fn inbox(&mut self, name: &LoopName, hash: String) {
        let path = self.here.rig.loops.get(name).and_then(|spec| spec.inbox.clone()).unwrap_or_default();
        self.tell(name, Happens::Inbox { hash, path });
    }

    pub(super) fn names(&self) -> Vec<LoopName> {
        self.all.keys().cloned().collect()
    }
}

/// What is left for an agent that may stay down for months: the newest of it, and nothing twice in a row.
fn word_left(earlier: &str, message: &str) -> String {
    if earlier.is_empty() || earlier.ends_with(message) {
        return if earlier.is_empty() { message } else { earlier }.into();
    }
    let all = format!("{earlier}\n{message}");
    let Some(extra) = all.len().checked_sub(WORD).filter(|extra| *extra > 0) else { return all };
    match all[..].char_indices().find(|(at, c)| *at >= extra && *c == '\n') {
        Some((at, _)) => format!("{OLDER}{}", &all[at..]),
        None => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_for_a_loop_that_stays_down_does_not_grow_for_ever() {
        let mut word = String::new();
        for n in 0..1000 {
            word = word_left(&word, &format!("Reboot {n}: it was down for 90 s (clean shutdown)."));
        }
        assert!(word.len() <= WORD + OLDER.len(), "{}", word.len());
        assert!(
            word.starts_with(OLDER) && word.ends_with("Reboot 999: it was down for 90 s (clean shutdown).")
        );
        assert_eq!(word_left(&word, "Reboot 999: it was down for 90 s (clean shutdown)."), word, "a repeat");
        assert_eq!(word_left("", "first"), "first");
    }
}
