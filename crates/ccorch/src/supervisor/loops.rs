//! The loops as the supervisor keeps them: what each is doing, and what follows from what happens to it.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::rig::Role;
use ccorch_io::{clock, process, systemd};
use jiff::Timestamp;

use super::Event;
use super::control::{Reply, Request};
use crate::here::loop_state::{self, LoopState};
use crate::here::runtime::{Runtime, Started};
use crate::here::status::{LoopReport, LoopWord};
use crate::here::{Here, events, exits, lease, unattended};

/// A start that systemd itself refuses is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// Threads that only wait need little room.
const STACK: usize = 128 << 10;

/// What a waiting thread reports.
#[derive(Debug)]
pub struct Report {
    name: LoopName,
    what: What,
}

#[derive(Debug)]
enum What {
    Started(Result<Started>),
    /// The tmux server with this pid is gone.
    Ended(u32),
    /// A stop is over; who asked for it is answered.
    Stopped(Result<()>, Sender<Reply>),
}

/// One loop.
#[derive(Debug)]
struct One {
    word: LoopWord,
    since: Timestamp,
    /// When its latest start was asked for.
    began: Timestamp,
    reason: String,
    due: Option<Instant>,
    /// The tmux server that is watched; the end of any other is old news.
    server: Option<u32>,
    state: LoopState,
    /// How the latest start failed, until one succeeds.
    failed: Option<String>,
}

/// All loops of the rig.
#[derive(Debug)]
pub struct Loops {
    here: Here,
    runtime: Runtime,
    sender: Sender<Event>,
    all: BTreeMap<LoopName, One>,
}

impl Loops {
    /// The rig's loops, none looked at yet.
    pub fn new(here: Here, runtime: Runtime, sender: Sender<Event>) -> Result<Self> {
        let mut all = BTreeMap::new();
        for name in here.rig.loops.keys() {
            let state = loop_state::read(&here, name)?;
            let (word, reason) = (LoopWord::Stopped, "not started yet".into());
            all.insert(
                name.clone(),
                One {
                    word,
                    since: clock::now(),
                    began: clock::now(),
                    reason,
                    due: None,
                    server: None,
                    state,
                    failed: None,
                },
            );
        }
        Ok(Self { here, runtime, sender, all })
    }

    /// Leaves word for the orchestrator sessions at their next start.
    pub fn tell_orchestrators(&mut self, message: &str) -> Result<()> {
        for (name, one) in &mut self.all {
            if self.here.rig.loops.get(name).is_some_and(|spec| spec.role == Role::Orchestrator) {
                one.state.message = Some(message.into());
                loop_state::write(&self.here, name, &one.state)?;
            }
        }
        Ok(())
    }

    /// Takes over what runs and has started what should run.
    pub fn adopt(&mut self) -> Result<()> {
        let running = self.runtime.running(&self.here)?;
        for name in self.names() {
            match running.get(&name) {
                Some(pid) => self.take_over(&name, *pid, "adopted"),
                None => self.want(&name),
            }
        }
        Ok(())
    }

    fn take_over(&mut self, name: &LoopName, pid: u32, reason: &str) {
        events::record(&self.here, "loop-adopted", Some(name), format!("{reason}, tmux server {pid}"));
        self.set(name, LoopWord::Running, reason);
        if let Some(one) = self.all.get_mut(name)
            && let Some(agent) = exits::running(&self.here.paths, name)
        {
            (one.since, one.began) = (agent.started, agent.started);
        }
        self.watch(name, pid);
    }

    /// Looks again at loops that do not run: the lease may have come, or somebody may have started one by hand.
    pub fn look_again(&mut self) {
        let running = self.runtime.running(&self.here).unwrap_or_default();
        let under_way = self.runtime.starting(&self.here).unwrap_or_default();
        for name in self.names() {
            let word = self.all[&name].word;
            match (word, running.get(&name)) {
                (LoopWord::Stopped | LoopWord::Held | LoopWord::BackingOff, None)
                    if under_way.contains(&name) =>
                {
                    self.start(&name, "being started by somebody else");
                }
                (LoopWord::Stopped | LoopWord::Held | LoopWord::Fenced | LoopWord::BackingOff, Some(pid)) => {
                    events::record(
                        &self.here,
                        "loop-adopted",
                        Some(&name),
                        "started by somebody else".to_owned(),
                    );
                    self.set(&name, LoopWord::Running, "started by somebody else");
                    self.watch(&name, *pid);
                }
                (LoopWord::Fenced, None) => self.want(&name),
                _ => {}
            }
        }
    }

    /// Starts whose time has come.
    pub fn start_due(&mut self) {
        let now = Instant::now();
        for name in self.names() {
            if self.all[&name].due.is_some_and(|due| due <= now) {
                self.want(&name);
            }
        }
    }

    /// When the next start is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.all.values().filter_map(|one| one.due).min()
    }

    /// What a thread reports.
    pub fn report(&mut self, report: Report) {
        let name = report.name;
        match report.what {
            What::Started(Ok(Started::Running(pid))) => self.started(&name, pid),
            What::Started(Ok(Started::Over)) => self.ended(&name),
            What::Started(Ok(Started::Refused)) => {
                let why = lease::check(&self.here)
                    .err()
                    .map_or("its condition refused it".into(), |e| e.to_string());
                self.set(&name, LoopWord::Fenced, &why);
            }
            What::Started(Err(error)) => {
                let why = format!("{error:#}");
                // Retried every few seconds: the same failure is told once.
                let failed = self.all.get(&name).and_then(|one| one.failed.clone());
                if failed.as_ref() != Some(&why) {
                    events::record(&self.here, "loop-start-failed", Some(&name), why.clone());
                }
                self.set(&name, LoopWord::BackingOff, why.lines().next().unwrap_or_default());
                if let Some(one) = self.all.get_mut(&name) {
                    one.failed = Some(why);
                }
                self.due_in(&name, RETRY);
            }
            What::Ended(pid) if self.all.get(&name).is_some_and(|one| one.server == Some(pid)) => {
                self.ended(&name)
            }
            What::Ended(_) => {}
            What::Stopped(result, reply) => self.stopped(&name, result, &reply),
        }
    }

    /// What a person asks.
    pub fn request(&mut self, request: Request, reply: Sender<Reply>) {
        let name = match &request {
            Request::Status => {
                let _ = reply.send(Reply::Loops { loops: self.reports() });
                return;
            }
            Request::Start { name } | Request::Stop { name } | Request::Restart { name } => name.clone(),
        };
        if !self.all.contains_key(&name) {
            let known = self.all.keys().map(LoopName::as_str).collect::<Vec<_>>().join(", ");
            let _ = reply.send(Reply::Failed { why: format!("no loop `{name}`; the loops are: {known}") });
            return;
        }
        let desired = if matches!(request, Request::Stop { .. }) { Desired::Held } else { Desired::Run };
        if let Err(error) = self.keep(&name, |state| state.desired = desired) {
            let _ = reply.send(Reply::Failed { why: format!("{error:#}") });
            return;
        }
        match request {
            Request::Stop { .. } => self.stop(&name, reply),
            Request::Restart { .. } => self.stop(&name, reply),
            Request::Start { .. } | Request::Status => {
                self.want(&name);
                let _ = reply.send(Reply::Loops { loops: self.reports() });
            }
        }
    }

    /// Has a loop started if it should run, does not, and may.
    fn want(&mut self, name: &LoopName) {
        let Some(one) = self.all.get_mut(name) else { return };
        one.due = None;
        if one.state.desired == Desired::Held {
            self.set(name, LoopWord::Held, "held by `ccorch loops stop`");
            return;
        }
        if matches!(one.word, LoopWord::Running | LoopWord::Starting) {
            return;
        }
        if let Err(refused) = lease::check(&self.here) {
            self.set(name, LoopWord::Fenced, &refused.to_string());
            return;
        }
        self.start(name, "being started");
    }

    /// Waits for a start, its own or one that is under way already: to systemd both are one job.
    fn start(&mut self, name: &LoopName, reason: &str) {
        self.set(name, LoopWord::Starting, reason);
        if let Some(one) = self.all.get_mut(name) {
            (one.began, one.due) = (clock::now(), None);
        }
        let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
        self.spawn(name, move || {
            unattended::warn(&here, &loop_name);
            What::Started(runtime.start(&here, &loop_name))
        });
    }

    fn started(&mut self, name: &LoopName, pid: u32) {
        events::record(&self.here, "loop-started", Some(name), format!("tmux server {pid}"));
        self.set(name, LoopWord::Running, "started");
        // The message was part of the agent's first words.
        let _ = self.keep(name, |state| state.message = None);
        self.watch(name, pid);
    }

    fn ended(&mut self, name: &LoopName) {
        let Some(one) = self.all.get_mut(name) else { return };
        one.server = None;
        if matches!(one.word, LoopWord::Held | LoopWord::Stopped) {
            return;
        }
        let began = one.began;
        let exit = exits::last(&self.here.paths, name).filter(|exit| exit.ended >= began);
        let words = exit.as_ref().map_or("its tmux server ended".to_owned(), exits::Exit::words);
        let screen = exit.as_ref().filter(|e| !e.screen.is_empty()).map(|e| format!("\n{}", e.screen));
        let screen = screen.unwrap_or_default();
        if let Err(refused) = lease::check(&self.here) {
            self.set(name, LoopWord::Fenced, &refused.to_string());
        } else if self.runtime == Runtime::Systemd && systemd::is_shutting_down().unwrap_or(false) {
            self.set(name, LoopWord::Stopped, "the machine shuts down");
        } else if exit.is_some_and(|exit| exit.asked) || exits::was_asked(&self.here.paths, name) {
            // `systemctl stop` by a person: their word holds until they, or the next boot, start it.
            self.set(name, LoopWord::Stopped, "stopped by hand");
        } else {
            self.restart(name, began, words.lines().next().unwrap_or_default());
        }
        let follows = self.all.get(name).map(|one| one.reason.clone()).unwrap_or_default();
        let follows = if follows.starts_with(&words) { follows } else { format!("{words}; {follows}") };
        events::record(&self.here, "loop-ended", Some(name), format!("{follows}{screen}"));
    }

    fn restart(&mut self, name: &LoopName, began: Timestamp, words: &str) {
        let mut pause = Duration::ZERO;
        let kept = self.keep(name, |state| {
            pause = state.history.ended(began, clock::now());
            state.restarts += 1;
        });
        if let Err(error) = kept {
            eprintln!("warning: the state of loop {name} could not be written: {error:#}");
        }
        let when = if pause.is_zero() { "at once".to_owned() } else { format!("in {} s", pause.as_secs()) };
        self.set(name, LoopWord::BackingOff, &format!("{words}; starts again {when}"));
        self.due_in(name, pause);
    }

    fn stop(&mut self, name: &LoopName, reply: Sender<Reply>) {
        self.set(name, LoopWord::Held, "being stopped");
        let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
        self.spawn(name, move || What::Stopped(runtime.stop(&here, &loop_name), reply));
    }

    fn stopped(&mut self, name: &LoopName, result: Result<()>, reply: &Sender<Reply>) {
        if let Err(error) = result {
            let _ = reply.send(Reply::Failed { why: format!("{error:#}") });
            return;
        }
        events::record(&self.here, "loop-stopped", Some(name), "as asked");
        // The end of what was stopped here must not be taken for the end of what is started next.
        if let Some(one) = self.all.get_mut(name) {
            one.server = None;
        }
        self.set(name, LoopWord::Stopped, "stopped");
        self.want(name);
        let _ = reply.send(Reply::Loops { loops: self.reports() });
    }

    /// Reports the end of a loop's tmux server.
    fn watch(&mut self, name: &LoopName, pid: u32) {
        if let Some(one) = self.all.get_mut(name) {
            (one.server, one.failed) = (Some(pid), None);
        }
        self.spawn(name, move || {
            if let Ok(Some(watched)) = process::watch(pid) {
                let _ = watched.wait(None);
            }
            What::Ended(pid)
        });
    }

    fn spawn(&self, name: &LoopName, work: impl FnOnce() -> What + Send + 'static) {
        let (sender, name) = (self.sender.clone(), name.clone());
        let work = move || {
            let _ = sender.send(Event::Loop(Report { name, what: work() }));
        };
        if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(work) {
            eprintln!("warning: no thread for a loop: {error}");
        }
    }

    fn set(&mut self, name: &LoopName, word: LoopWord, reason: &str) {
        if let Some(one) = self.all.get_mut(name) {
            if one.word != word {
                one.since = clock::now();
            }
            one.word = word;
            one.reason = reason.into();
        }
    }

    fn due_in(&mut self, name: &LoopName, pause: Duration) {
        if let Some(one) = self.all.get_mut(name) {
            one.due = Some(Instant::now() + pause);
        }
    }

    fn keep(&mut self, name: &LoopName, change: impl FnOnce(&mut LoopState)) -> Result<()> {
        let one = self.all.get_mut(name).context("no such loop")?;
        change(&mut one.state);
        loop_state::write(&self.here, name, &one.state)
    }

    fn names(&self) -> Vec<LoopName> {
        self.all.keys().cloned().collect()
    }

    fn reports(&self) -> Vec<LoopReport> {
        let report = |(name, one): (&LoopName, &One)| {
            let agent = exits::running(&self.here.paths, name).filter(|_| one.word == LoopWord::Running);
            LoopReport {
                name: name.clone(),
                role: self.here.rig.loops.get(name).map_or(Role::Worker, |spec| spec.role),
                state: one.word,
                since: one.since,
                pid: agent.map(|a| a.pid),
                session: one.state.session,
                restarts: one.state.restarts,
                reason: one.reason.clone(),
            }
        };
        self.all.iter().map(report).collect()
    }
}
