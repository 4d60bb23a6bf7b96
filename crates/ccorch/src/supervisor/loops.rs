//! The loops as the supervisor drives them: what threads report goes into the engine, what it says is kept and done.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::fleet::{End, Fleet, Found, Happens, Input, Proc};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::rig::{Agent, Role};
use ccorch_core::watchdog::life::State;
use ccorch_io::{clock, process, systemd};
use jiff::{SignedDuration, Timestamp};

use super::Event;
use super::asked::Asked;
use super::control::Reply;
use super::deliver::Delivered;
use super::hears::{Ears, Unsaid};
use super::hooks::Hooks;
use super::keep::Keep;
use super::look::{Eyes, Seen};
use super::perform::phase;
use super::post::Post;
use crate::here::loop_state::LoopState;
use crate::here::runtime::{Runtime, Started};
use crate::here::{Here, events, exits, lease, phases};

/// Threads that only wait need little room.
pub(super) const STACK: usize = 256 << 10;

/// What a thread reports.
#[derive(Debug)]
pub struct Report {
    pub(super) name: LoopName,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Started(Result<Started>),
    /// The tmux server with this pid is gone.
    Ended(u32),
    Stopped(Result<()>),
    Looked(Seen),
    /// A try to deliver the nudge with this id.
    Delivered(String, Result<Delivered>),
    Pressed(Result<()>),
}

/// One loop.
#[derive(Debug)]
pub(super) struct One {
    pub state: LoopState,
    /// The tmux server that is watched; the end of any other is old news.
    pub server: Option<u32>,
    /// When its latest start was asked for, by the wall clock that the record of its end uses.
    pub began: Timestamp,
    /// What that start was to tell the agent; what is left for it later waits for the next.
    pub given: Option<String>,
    /// Why the lease does not let it run.
    pub fenced: Option<String>,
    /// Starts and stops of one loop take turns, and are reported in that order.
    turns: Arc<Mutex<()>>,
    pub eyes: Eyes,
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
    pub(super) here: Here,
    pub(super) runtime: Runtime,
    pub(super) sender: Sender<Event>,
    pub(super) hooks: Hooks,
    pub(super) all: BTreeMap<LoopName, One>,
    /// What came of actions, to be told to the engine next.
    pub(super) pending: VecDeque<Input>,
    /// A phase index that the disk did not take.
    pub(super) unwritten: Option<usize>,
    pub(super) fleet: Fleet,
    pub(super) keep: Keep,
    pub(super) post: Post,
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
                began: clock::now(),
                fenced: None,
                turns: Arc::default(),
                eyes: Eyes::default(),
                ears: Arc::default(),
                unsaid: Unsaid::default(),
                waiting: Vec::new(),
                asked: Asked::default(),
            };
            (name, one)
        };
        let all = states.into_iter().map(one).collect();
        let mut loops = Self {
            here,
            runtime,
            sender,
            hooks,
            post,
            all,
            pending: VecDeque::new(),
            unwritten: None,
            fleet,
            keep,
        };
        loops.look_at_phase();
        Ok(loops)
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
            one.state.message = Some(match one.state.message.take() {
                Some(earlier) => format!("{earlier}\n{message}"),
                None => message.into(),
            });
            self.keep.put(name, &one.state);
        }
    }

    /// The host rebooted; the orchestrators hear what came back.
    pub fn rebooted(&mut self, sentence: String) {
        self.feed(Input::Rebooted(sentence));
    }

    /// Takes over what runs and has started what should run.
    pub fn adopt(&mut self) -> Result<()> {
        let running = self.runtime.running(&self.here)?;
        let under_way = self.runtime.starting(&self.here).unwrap_or_default();
        for name in self.names() {
            match running.get(&name) {
                Some(pid) => {
                    if let (Some(one), Some(agent)) =
                        (self.all.get_mut(&name), exits::running(&self.here.paths, &name))
                    {
                        one.began = agent.started;
                    }
                    self.tell(&name, Happens::Found(Found::Running));
                    self.watch(&name, *pid);
                }
                None if under_way.contains(&name) => self.wait_for_start(&name),
                None => self.tell(&name, Happens::Found(Found::Ended)),
            }
        }
        Ok(())
    }

    /// Looks again at loops that do not run: the lease may have come, or somebody may have started one by hand.
    pub fn look_again(&mut self) {
        let running = self.runtime.running(&self.here).unwrap_or_default();
        let under_way = self.runtime.starting(&self.here).unwrap_or_default();
        for name in self.names() {
            if self.fleet.proc(&name) != Some(Proc::Down) {
                continue;
            }
            match running.get(&name) {
                Some(pid) => {
                    events::record(&self.here, "loop-adopted", Some(&name), "started by somebody else");
                    self.up(&name, *pid);
                }
                None if under_way.contains(&name) => self.wait_for_start(&name),
                None if self.all.get(&name).is_some_and(|one| one.fenced.is_some()) => self.want(&name),
                None => {}
            }
        }
    }

    fn want(&mut self, name: &LoopName) {
        match lease::check(&self.here) {
            Err(refused) => self.fence_quietly(name, &refused.to_string()),
            Ok(_) => {
                if let Some(one) = self.all.get_mut(name) {
                    one.fenced = None;
                }
                self.tell(name, Happens::Wanted);
            }
        }
    }

    fn fence_quietly(&mut self, name: &LoopName, why: &str) {
        self.fence(name, why);
        self.feed(Input::Tick);
    }

    /// To systemd a start under way and one more are one job: asking again is waiting for it.
    fn wait_for_start(&mut self, name: &LoopName) {
        self.tell(name, Happens::Found(Found::Starting));
        let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
        self.began(name);
        self.in_turn(name, move || What::Started(runtime.start(&here, &loop_name)));
    }

    pub(super) fn began(&mut self, name: &LoopName) {
        self.forget_what_was_given(name);
        if let Some(one) = self.all.get_mut(name) {
            (one.began, one.fenced) = (clock::now(), None);
            one.given = one.state.message.clone();
            one.eyes.forget();
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

    /// What is done every now and then: what the disk did not take is written, and the time is kept.
    pub fn pulse(&mut self) {
        self.names().iter().for_each(|name| self.forget_what_was_given(name));
        if let Some(index) = self.unwritten.take() {
            self.perform(ccorch_core::fleet::Action::WritePhase(index));
            // What the files said meanwhile was passed over.
            self.look_at_phase();
        }
        self.hear_all();
        self.feed(Input::Tick);
        self.keep.put_shared(&self.fleet);
    }

    /// Reads the phase index and what the state files say of that phase.
    pub fn look_at_phase(&mut self) {
        let Some(index) = phase(&self.here).ok().filter(|_| self.unwritten.is_none()) else { return };
        self.feed(Input::Phase(index));
        let Some(current) = self.here.rig.phases.get(index).cloned() else { return };
        for name in self.here.rig.done_when.clone() {
            let done = phases::says_done(&self.here, &name, &current);
            self.tell(&name, Happens::Says { phase: index, done });
        }
    }

    /// What a thread reports.
    pub fn report(&mut self, report: Report) {
        let name = report.name;
        match report.what {
            What::Started(Ok(Started::Running(pid))) => self.up(&name, pid),
            What::Started(Ok(Started::Over)) => self.ended(&name),
            What::Started(Ok(Started::Refused)) => {
                let why = lease::check(&self.here).err();
                let why = why.map_or("its condition refused it".into(), |error| error.to_string());
                self.fence_quietly(&name, &why);
            }
            What::Started(Err(error)) => self.tell(&name, Happens::StartFailed(format!("{error:#}"))),
            What::Ended(pid) if self.all.get(&name).is_some_and(|one| one.server == Some(pid)) => {
                self.ended(&name);
            }
            What::Ended(_) => {}
            What::Stopped(result) => self.stopped(&name, result),
            What::Looked(seen) => self.looked(&name, &seen),
            What::Delivered(id, result) => self.delivered(&name, id, result),
            What::Pressed(Err(error)) => eprintln!("warning: loop {name}: {error:#}"),
            What::Pressed(Ok(())) => {}
        }
    }

    /// How long an open turn of it may show no change, in seconds.
    /// A loop's inbox has this content.
    pub fn inbox(&mut self, name: &LoopName, hash: String) {
        let path = self.here.rig.loops.get(name).and_then(|spec| spec.inbox.clone()).unwrap_or_default();
        self.tell(name, Happens::Inbox { hash, path });
    }

    fn up(&mut self, name: &LoopName, pid: u32) {
        self.watch(name, pid);
        self.tell(name, Happens::Started);
    }

    fn ended(&mut self, name: &LoopName) {
        let Some(one) = self.all.get_mut(name) else { return };
        one.server = None;
        // By its beginning: the clock may have been put back since.
        let exit = exits::last(&self.here.paths, name).filter(|exit| exit.started >= one.began);
        let words = exit.as_ref().map_or("its tmux server ended".to_owned(), exits::Exit::words);
        let screen = exit.as_ref().map(|exit| exit.screen.clone()).unwrap_or_default();
        let ran = exit.as_ref().is_none_or(|exit| exit.error.is_none());
        let asked = exit.is_some_and(|exit| exit.asked) || exits::was_asked(&self.here.paths, name);
        let watched = self.here.rig.loops.get(name).is_some_and(|spec| spec.agent == Agent::Claude);
        let seen = Seen { screen: screen.clone(), transcript: String::new() };
        let verdict = (watched && ran).then(|| one.eyes.judge(&seen, SignedDuration::MAX));
        let fenced = lease::check(&self.here).err().map(|refused| refused.to_string());
        let down = self.runtime == Runtime::Systemd && systemd::is_shutting_down().unwrap_or(false);
        let asked = asked || fenced.is_some() || down;
        self.tell(name, Happens::Ended(End { words, screen, asked, ran, verdict }));
        if let Some(why) = fenced {
            self.fence_quietly(name, &why);
        } else if down {
            self.tell(name, Happens::Refused("the machine shuts down".into()));
        }
    }

    /// Reports the end of a loop's tmux server.
    fn watch(&mut self, name: &LoopName, pid: u32) {
        if let Some(one) = self.all.get_mut(name) {
            one.server = Some(pid);
        }
        self.spawn(name, move || {
            if let Ok(Some(watched)) = process::watch(pid) {
                let _ = watched.wait(None);
            }
            What::Ended(pid)
        });
    }

    pub(super) fn names(&self) -> Vec<LoopName> {
        self.all.keys().cloned().collect()
    }
}
