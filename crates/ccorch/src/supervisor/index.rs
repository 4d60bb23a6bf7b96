//! The phase index and the loops' word on the phase, read and written by a thread of its own: the workspace's disk may hang,
//! and the main loop waits for it no more than for any other thread's report.
//!
//! An index that cannot be written is tried again, ever more rarely. Before each try everything is read anew and decided
//! anew, so that a person's hand in the file stands, and a loop may take its word back.

use std::mem;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ccorch_core::names::LoopName;

use super::control::Reply;
use super::troubles::Troubles;
use super::{Event, threads};
use crate::here::{Here, events, phases};

/// At a start so long is waited for the first reading: loops that are done should not be started.
const FIRST: Duration = Duration::from_secs(5);
/// A disk that takes longer is told of.
const SLOW: Duration = Duration::from_secs(20);
/// Between two tries to write; doubled each time.
const AGAIN: Duration = Duration::from_secs(1);
/// And never more.
const SELDOM: Duration = Duration::from_secs(60);
/// How long the main loop may take to say whether it still wants a write.
const ANSWER: Duration = Duration::from_secs(10);

/// An index that is not written.
const UNWRITTEN: &str = "phase-unwritten";
/// A disk that does not answer.
const HANGS: &str = "phase-hangs";

/// What the files say.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// The phase index.
    pub index: usize,
    /// Whether each loop that has a say says that this phase is done.
    pub done: Vec<(LoopName, bool)>,
}

/// Whoever waits for a reading.
type Waiting = Vec<Sender<Reply>>;

#[derive(Debug)]
enum Ask {
    Look(Option<Sender<Reply>>),
    Write(usize),
}

/// The main loop's end.
#[derive(Debug)]
pub struct Index {
    asks: Sender<Ask>,
    troubles: Troubles,
    file: String,
    busy: Busy,
}

/// Since when the thread waits for the disk.
type Busy = Arc<Mutex<Option<Instant>>>;

impl Index {
    /// Has everything read once; that reading, unless the disk takes too long: then it is reported when it comes.
    pub fn open(here: &Here, sender: Sender<Event>, troubles: &Troubles) -> Result<(Self, Option<Reading>)> {
        let ((asks, asked), (first, came)) = (mpsc::channel(), mpsc::channel());
        let busy = Busy::default();
        let file = here.in_workspace(&here.rig.workspace.phase_file).display().to_string();
        let index = Self { asks, troubles: troubles.clone(), file: file.clone(), busy: busy.clone() };
        let (here, troubles) = (here.clone(), troubles.clone());
        let mut clerk = Clerk { here, sender, troubles, file, busy, failed: None };
        let serve = move || {
            let reading = clerk.reads();
            // Nobody waits for it any more: as any other reading.
            if let Err(mpsc::SendError(reading)) = first.send(reading) {
                let _ = clerk.sender.send(Event::Phase(reading, Waiting::new()));
            }
            drop(first);
            clerk.serve(&asked);
        };
        thread::Builder::new()
            .stack_size(threads::STACK)
            .spawn(serve)
            .context("a thread for the phase index")?;
        Ok((index, came.recv_timeout(FIRST).ok().flatten()))
    }

    /// Has the files read; what they say comes as an event, and whoever asked is answered after it.
    pub fn look(&self, asker: Option<Sender<Reply>>) {
        let _ = self.asks.send(Ask::Look(asker));
    }

    /// Has the index written if the file still holds the one before.
    pub fn write(&self, index: usize) {
        let _ = self.asks.send(Ask::Write(index));
    }

    /// Tells of a disk that does not answer, for as long as it does not.
    pub fn say_what_is_slow(&self) {
        let since = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        match since.map(|since| since.elapsed()).filter(|waited| *waited >= SLOW) {
            Some(waited) => self.troubles.set(
                HANGS,
                format!(
                    "the disk of the phase index {} does not answer for {} s; loops go on, and the phase stays as it is until \
                     it does: see `dmesg` and `findmnt -T {0}`",
                    self.file,
                    waited.as_secs()
                ),
            ),
            None => self.troubles.over(HANGS),
        }
    }
}

/// What was asked since the thread looked last.
#[derive(Debug, Default)]
struct Asked {
    look: bool,
    write: Option<usize>,
    waiting: Waiting,
}

impl Asked {
    fn add(&mut self, ask: Ask) {
        match ask {
            Ask::Look(asker) => {
                self.look = true;
                self.waiting.extend(asker);
            }
            Ask::Write(index) => self.write = Some(index),
        }
    }
}

/// A write that failed.
#[derive(Debug)]
struct Failed {
    /// No try before this.
    next: Instant,
    /// When something is to be done about it.
    due: Instant,
    pause: Duration,
    /// It was asked for since everything was read last.
    wanted: bool,
}

/// The thread's end.
struct Clerk {
    here: Here,
    sender: Sender<Event>,
    troubles: Troubles,
    file: String,
    busy: Busy,
    failed: Option<Failed>,
}

impl Clerk {
    /// Ends when nobody asks any more.
    fn serve(&mut self, asks: &Receiver<Ask>) {
        while let Some(asked) = self.next(asks) {
            if let Some(failed) = self.failed.as_mut().filter(|_| !asked.waiting.is_empty()) {
                // A person is at it: now may be better than later.
                (failed.next, failed.due) = (Instant::now(), Instant::now() + ANSWER);
            }
            let written = asked.write.is_some_and(|index| self.write(index));
            if asked.look || written {
                let reading = self.reads();
                if self.sender.send(Event::Phase(reading, asked.waiting)).is_err() {
                    return;
                }
            }
        }
    }

    fn next(&mut self, asks: &Receiver<Ask>) -> Option<Asked> {
        let mut asked = Asked::default();
        let first = match self.failed.as_ref().map(|failed| failed.due) {
            None => asks.recv().ok()?,
            Some(due) => match asks.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(ask) => ask,
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.due();
                    Ask::Look(None)
                }
            },
        };
        asked.add(first);
        asks.try_iter().for_each(|ask| asked.add(ask));
        Some(asked)
    }

    /// The pause after a failure is over: who still wants the write says so when everything is read anew.
    fn due(&mut self) {
        match self.failed.as_mut() {
            Some(failed) if failed.wanted => (failed.wanted, failed.due) = (false, Instant::now() + ANSWER),
            _ => {
                self.failed = None;
                self.troubles.over(UNWRITTEN);
            }
        }
    }

    /// Whether the file may hold another index now.
    fn write(&mut self, index: usize) -> bool {
        if let Some(failed) = self.failed.as_mut().filter(|failed| Instant::now() < failed.next) {
            failed.wanted = true;
            return false;
        }
        let here = self.here.clone();
        let write = || -> Result<()> {
            // Somebody else's hand in the file counts: what was decided before it is old.
            if here.phase_index()?.checked_add(1) == Some(index) {
                phases::write_index(&here, index)
            } else {
                Ok(())
            }
        };
        let Err(error) = self.at_the_disk(write) else {
            if self.failed.take().is_some() {
                self.troubles.over(UNWRITTEN);
                let detail = format!("{} takes the phase index again", self.file);
                events::record(&self.here, "phase-written-again", None, detail);
            }
            return true;
        };
        let why = format!(
            "the phase index {index} is not written to {}: {error:#}; see that the user {} can write there: it is tried again \
             every {} s at the latest",
            self.file,
            self.here.rig.workspace.user,
            SELDOM.as_secs()
        );
        if self.failed.is_none() {
            events::record(&self.here, "phase-not-written", None, &why);
        }
        self.troubles.set(UNWRITTEN, why);
        let pause = self.failed.as_ref().map_or(AGAIN, |failed| (failed.pause * 2).min(SELDOM));
        let next = Instant::now() + pause;
        self.failed = Some(Failed { next, due: next, pause, wanted: true });
        false
    }

    fn reads(&mut self) -> Option<Reading> {
        let here = self.here.clone();
        self.at_the_disk(|| read(&here))
    }

    fn at_the_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        let set = |since| mem::replace(&mut *self.busy.lock().unwrap_or_else(PoisonError::into_inner), since);
        set(Some(Instant::now()));
        let done = work();
        set(None);
        done
    }
}

/// Nothing where no index can be read, which `ccorch status` sees by itself.
fn read(here: &Here) -> Option<Reading> {
    let index = here.phase_index().ok()?;
    let says = |name: &LoopName| {
        here.rig.phases.get(index).map(|phase| (name.clone(), phases::says_done(here, name, phase)))
    };
    Some(Reading { index, done: here.rig.done_when.iter().filter_map(says).collect() })
}
