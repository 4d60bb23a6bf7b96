//! The threads that work for one loop each, and what they report to the main loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::fleet::Happens;
use ccorch_core::names::LoopName;
use ccorch_io::process;

use super::Event;
use super::deliver::{self, Delivered};
use super::look::{self, Seen};
use super::loops::Loops;
use crate::here::runtime::Started;
use crate::here::{events, exits, lease};

/// Threads that mostly wait need little room; the first one to look for a time zone needs 264 KiB where nothing is optimized
/// (measured, jiff 0.2), and only what is touched is taken.
pub(super) const STACK: usize = 1 << 20;
/// A process that cannot be watched is looked for this often.
const UNWATCHED: Duration = Duration::from_secs(5);

/// What a thread reports.
#[derive(Debug)]
pub struct Report {
    name: LoopName,
    /// The agent it was about.
    life: Life,
    what: What,
}

/// One agent's time in a loop; over when it ended, and the next one's is another.
#[derive(Debug, Clone)]
pub(super) struct Life {
    current: Arc<AtomicU64>,
    mine: u64,
}

/// Which agent a loop has.
#[derive(Debug, Default)]
pub(super) struct Lives(Arc<AtomicU64>);

impl Lives {
    /// The agent is another from now on, or none.
    pub(super) fn over(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// The present one.
    pub(super) fn current(&self) -> Life {
        Life { current: self.0.clone(), mine: self.0.load(Ordering::SeqCst) }
    }
}

impl Life {
    /// Whether its agent is gone.
    pub(super) fn is_over(&self) -> bool {
        self.current.load(Ordering::SeqCst) != self.mine
    }
}

#[derive(Debug)]
pub(super) enum What {
    Started(Result<Started>),
    /// The tmux server with this pid is gone.
    Ended {
        server: u32,
        /// The machine is on its way down.
        down: bool,
    },
    /// It cannot be watched, and is looked for every now and then.
    Unwatched(anyhow::Error),
    Stopped(Result<()>),
    Looked(Seen),
    /// A try to deliver the nudge with this id.
    Delivered(String, Result<Delivered>),
    Pressed(Result<()>),
}

/// The looks at one agent: no more than one at a time, however long it takes.
#[derive(Debug, Default)]
pub(super) struct Looking {
    under_way: Weak<()>,
    /// One more was wished for meanwhile, and what the one under way sees may be older.
    again: bool,
}

impl Looking {
    /// A look begins, and lasts as long as this value; none while another one does.
    fn begin(&mut self) -> Option<Arc<()>> {
        self.again = self.under_way.strong_count() > 0;
        let mark = (!self.again).then(Arc::default)?;
        self.under_way = Arc::downgrade(&mark);
        Some(mark)
    }
}

impl Loops {
    /// What a thread reports.
    pub fn report(&mut self, report: Report) {
        let (name, old) = (report.name, report.life.is_over());
        match report.what {
            What::Started(Ok(Started::Running(pid))) => {
                if let Some(one) = self.all.get_mut(&name) {
                    one.place.ours = Some(pid);
                }
                self.up(&name, pid);
            }
            What::Started(Ok(Started::Over { down })) => self.ended(&name, down),
            What::Started(Ok(Started::Refused)) => {
                let why = lease::check(&self.here).err();
                let why = why.map_or("the lease refused it".into(), |error| error.to_string());
                self.fence_quietly(&name, &why);
            }
            What::Started(Err(error)) => self.tell(&name, Happens::StartFailed(format!("{error:#}"))),
            What::Ended { server, down } => {
                if let Some(one) = self.all.get_mut(&name).filter(|one| one.place.watched == Some(server)) {
                    one.place.watched = None;
                }
                // The end of any other is old news.
                if self.all.get(&name).is_some_and(|one| one.server == Some(server)) {
                    self.ended(&name, down);
                }
            }
            What::Unwatched(error) => {
                let detail = format!("{error:#}; looked for every {} s", UNWATCHED.as_secs());
                events::record(&self.here, "loop-not-watched", Some(&name), detail);
            }
            What::Stopped(result) => self.stopped(&name, result),
            What::Looked(seen) => {
                // The screen of an agent that is gone says nothing of the next one.
                if !old {
                    self.looked(&name, &seen);
                }
                if self.all.get_mut(&name).is_some_and(|one| std::mem::take(&mut one.looking.again)) {
                    self.look(&name);
                }
            }
            // It is in line again since that agent ended, and only a proof counts: the next one's empty line is none.
            What::Delivered(id, result) if old && !is_proof(&result) => {
                eprintln!("loop {name}: the try to deliver {id} ended with its agent");
            }
            What::Delivered(id, result) => self.delivered(&name, id, result),
            What::Pressed(Err(error)) => eprintln!("warning: loop {name}: {error:#}"),
            What::Pressed(Ok(())) => {}
        }
    }

    /// Has a look at an agent.
    pub(super) fn look(&mut self, name: &LoopName) {
        let Some(one) = self.all.get_mut(name) else { return };
        let Some(mark) = one.looking.begin() else { return };
        let (here, loop_name, session) = (self.here.clone(), name.clone(), one.state.session);
        let reader = self.reader.clone();
        // One that is not taken is due again at the usual pace.
        let _ = self.spawn(name, move || {
            let seen = look::look_in_time(&here, &loop_name, session, &reader);
            drop(mark);
            What::Looked(seen)
        });
    }

    /// Reports the end of a loop's tmux server.
    pub(super) fn watch(&mut self, name: &LoopName, pid: u32) {
        if let Some(one) = self.all.get_mut(name).filter(|one| one.place.watched == Some(pid)) {
            one.server = Some(pid);
            return;
        }
        let (sender, life, loop_name) = (self.sender.clone(), self.life(name), name.clone());
        let (here, runtime) = (self.here.clone(), self.runtime);
        let made = self.spawn(name, move || {
            let mut told = false;
            // Only a process that is known to be gone has ended: without a free descriptor nothing is known.
            while let Err(error) = wait_for_end(pid) {
                if !std::mem::replace(&mut told, true) {
                    let (name, life) = (loop_name.clone(), life.clone());
                    let what = What::Unwatched(error);
                    let _ = sender.send(Event::Loop(Report { name, life, what }));
                }
                thread::sleep(UNWATCHED);
            }
            // Whoever asked it to leave wants it down either way, and the report of that stop follows.
            let down = !exits::was_asked(&here.paths, &loop_name) && runtime.is_going_down();
            What::Ended { server: pid, down }
        });
        let Some(one) = self.all.get_mut(name) else { return };
        one.server = Some(pid);
        one.place.watched = made.then_some(pid);
        if !std::mem::replace(&mut one.unwatched, !made) && !made {
            let detail = "no thread could be made for that; tried again at every heartbeat";
            events::record(&self.here, "loop-not-watched", Some(name), detail);
        }
    }

    /// Watches what could not be watched when that was due.
    pub(super) fn watch_again(&mut self) {
        let unwatched = self.all.iter().filter(|(_, one)| one.unwatched);
        let all: Vec<(LoopName, u32)> =
            unwatched.filter_map(|(name, one)| Some((name.clone(), one.server?))).collect();
        all.iter().for_each(|(name, pid)| self.watch(name, *pid));
    }

    /// Reports to the main loop what `work` found; false when there is no thread for it, and nothing will be reported.
    pub(super) fn spawn(&self, name: &LoopName, work: impl FnOnce() -> What + Send + 'static) -> bool {
        let (sender, name, life) = (self.sender.clone(), name.clone(), self.life(name));
        let work = move || {
            let _ = sender.send(Event::Loop(Report { name, life, what: work() }));
        };
        thread_of_a_loop(work).inspect_err(|error| eprintln!("warning: {error:#}")).is_ok()
    }

    /// Of the loop's present agent.
    pub(super) fn life(&self, name: &LoopName) -> Life {
        self.all.get(name).map_or_else(|| Lives::default().current(), |one| one.lives.current())
    }

    /// The same for a start or stop: they take turns, and a turn lasts until its report is sent. A start whose report came
    /// behind that of the stop after it would be taken for the next one. What there is no thread for is reported as failed.
    pub(super) fn in_turn<T: Send + 'static>(
        &self,
        name: &LoopName,
        what: fn(Result<T>) -> What,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) {
        let (sender, life, turns) = (self.sender.clone(), self.life(name), self.turns(name));
        let report = move |name, life, result| Event::Loop(Report { name, life, what: what(result) });
        let (of, mine) = (name.clone(), life.clone());
        let done = thread_of_a_loop(move || {
            let _turn = turns.lock();
            let _ = sender.send(report(of, mine, work()));
        });
        if let Err(error) = done {
            let _ = self.sender.send(report(name.clone(), life, Err(error)));
        }
    }
}

fn wait_for_end(pid: u32) -> Result<()> {
    match process::watch(pid)? {
        Some(watched) => watched.wait(None).map(drop),
        None => Ok(()),
    }
}

fn is_proof(result: &Result<Delivered>) -> bool {
    matches!(result, Ok(Delivered::Yes(how)) if *how != deliver::EMPTY_AGAIN)
}

fn thread_of_a_loop(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let made = thread::Builder::new().stack_size(STACK).spawn(work);
    made.map(drop).context("no thread could be made for a loop")
}

#[cfg(test)]
mod tests {
    use jiff::tz::{TimeZone, db};

    use super::*;

    #[test]
    fn a_thread_has_room_for_a_time_zone_that_nobody_has_read_yet() {
        let (sender, receiver) = std::sync::mpsc::channel();
        thread_of_a_loop(move || {
            db().reset();
            let _ = sender.send(TimeZone::get("Pacific/Chatham").is_ok());
        })
        .unwrap();
        assert!(receiver.recv().unwrap());
    }
}
