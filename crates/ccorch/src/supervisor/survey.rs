//! Which loops run: asked of systemd by a thread, because systemd may take its time and the main loop has none. What it
//! says counts for loops that nothing happened to meanwhile.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use ccorch_core::fleet::{Found, Happens, Proc};
use ccorch_core::names::LoopName;
use ccorch_io::process;

use super::Event;
use super::control::Request;
use super::loops::Loops;
use super::threads::{Life, STACK};
use crate::here::runtime::Running;
use crate::here::{events, exits};

/// An answer that takes longer is said to be missing.
pub(super) const SLOW: Duration = Duration::from_secs(5);
/// A start that takes longer is said to be slow.
const SLOW_START: Duration = Duration::from_secs(30);
/// After a failure it is asked again so soon, then half as often each time.
const AGAIN: Duration = Duration::from_secs(1);
/// And never more seldom.
const SELDOM: Duration = Duration::from_secs(30);

/// What came of asking once.
#[derive(Debug)]
pub struct Answer {
    /// The loops of which nothing was known then, each with the agent it had last.
    asked: BTreeMap<LoopName, Life>,
    running: Result<Running>,
}

/// Whether it is being asked.
#[derive(Debug, Default)]
pub(super) struct Asking {
    since: Option<Instant>,
    /// Something happened meanwhile: what it says may be older.
    again: bool,
    /// That it does not answer was said.
    said: bool,
}

impl Loops {
    /// Has it asked what became of loops that are not known to run.
    pub fn ask_what_runs(&mut self) {
        let unknown = |name: &LoopName| matches!(self.fleet.proc(name), Some(Proc::Unknown | Proc::Down));
        let asked: BTreeMap<LoopName, Life> = self
            .names()
            .into_iter()
            .filter(unknown)
            .map(|name| {
                let life = self.life(&name);
                (name, life)
            })
            .collect();
        // Every start and end of a loop leads here, and with all of them up or on their way there is nothing to see.
        if asked.is_empty() {
            return;
        }
        if self.asking.since.is_some() {
            self.asking.again = true;
            return;
        }
        let (here, runtime, sender) = (self.here.clone(), self.runtime, self.sender.clone());
        let ask = move || {
            let mut pause = AGAIN;
            loop {
                let running = runtime.running(&here);
                let over = running.is_ok();
                let answer = Answer { asked: asked.clone(), running };
                if sender.send(Event::Found(answer)).is_err() || over {
                    return;
                }
                thread::sleep(pause);
                pause = (pause * 2).min(SELDOM);
            }
        };
        match thread::Builder::new().stack_size(STACK).spawn(ask) {
            Ok(_) => self.asking = Asking { since: Some(Instant::now()), ..Asking::default() },
            Err(error) => eprintln!("warning: no thread to ask which loops run: {error}"),
        }
    }

    /// What came of it.
    pub fn found(&mut self, answer: Answer) {
        let running = match answer.running {
            Ok(running) => running,
            Err(error) => return self.say_silence(Some(&error)),
        };
        let asking = std::mem::take(&mut self.asking);
        if let (Some(since), true) = (asking.since, asking.said) {
            let detail = format!("after {} s: which loops run is known", since.elapsed().as_secs());
            events::record(&self.here, "systemd-answers", None, detail);
        }
        for (name, _) in answer.asked.iter().filter(|(_, life)| !life.is_over()) {
            match self.fleet.proc(name) {
                Some(Proc::Unknown) => self.adopt(name, &running),
                Some(Proc::Down) => self.look_again(name, &running),
                _ => {}
            }
        }
        if asking.again {
            self.ask_what_runs();
        }
        for (request, reply) in std::mem::take(&mut self.postponed) {
            self.request(request, reply);
        }
    }

    /// Whether a wish has to wait until it is known whether its loop runs.
    pub(super) fn is_too_early(&self, request: &Request) -> bool {
        let (Request::Start { name } | Request::Stop { name } | Request::Restart { name }) = request else {
            return false;
        };
        self.fleet.proc(name) == Some(Proc::Unknown)
    }

    /// What does not come in time is said once: an answer, and what came of a start.
    pub fn say_what_is_slow(&mut self) {
        match self.asking.since {
            Some(since) if since.elapsed() >= SLOW => self.say_silence(None),
            Some(_) => {}
            // It could not even be asked.
            None if self.names().iter().any(|name| self.fleet.proc(name) == Some(Proc::Unknown)) => {
                self.ask_what_runs();
            }
            None => {}
        }
        for (name, one) in &mut self.all {
            let begun = one.hooks_from.map(|(_, begun)| begun.elapsed());
            let Some(begun) = begun.filter(|begun| *begun >= SLOW_START) else { continue };
            if self.fleet.proc(name) == Some(Proc::Starting) && !std::mem::replace(&mut one.slow, true) {
                let detail =
                    format!("asked for {} s ago; nobody has said yet what came of it", begun.as_secs());
                events::record(&self.here, "loop-start-slow", Some(name), detail);
            }
        }
    }

    fn say_silence(&mut self, error: Option<&Error>) {
        if std::mem::replace(&mut self.asking.said, true) {
            return;
        }
        let why = match error {
            Some(error) => format!("{error:#}"),
            None => format!("no word for {} s", SLOW.as_secs()),
        };
        let detail = format!("which loops run is not known: {why}; it is asked until it answers");
        events::record(&self.here, "systemd-does-not-answer", None, detail);
    }

    /// Takes over a loop that nobody has looked at yet, or has it started if it should run.
    fn adopt(&mut self, name: &LoopName, running: &Running) {
        match running.up.get(name) {
            Some(pid) => {
                self.began_before(name);
                self.note_past(name, false);
                self.tell(name, Happens::Found(Found::Running));
                self.watch(name, *pid);
            }
            None if running.starting.contains(name) => self.wait_for_start(name),
            None if self.ended_unseen(name) => {}
            None => {
                self.note_past(name, true);
                self.tell(name, Happens::Found(Found::Ended));
                exits::keep(&self.here.paths, name);
            }
        }
    }

    /// A loop that did not run: the lease may have come, or somebody may have started it by hand.
    fn look_again(&mut self, name: &LoopName, running: &Running) {
        match running.up.get(name) {
            // systemd has not heard of its end yet, or it is about to end.
            Some(pid)
                if !lives(*pid) || self.all.get(name).is_some_and(|one| one.place.left == Some(*pid)) => {}
            Some(pid) => {
                events::record(&self.here, "loop-adopted", Some(name), "started by somebody else");
                self.up(name, *pid);
            }
            None if running.starting.contains(name) => self.wait_for_start(name),
            None if self.all.get(name).is_some_and(|one| one.fenced.is_some()) => self.want(name),
            None => {}
        }
    }
}

fn lives(pid: u32) -> bool {
    matches!(process::watch(pid), Ok(Some(watched)) if !watched.wait(Some(Duration::ZERO)).unwrap_or(false))
}
