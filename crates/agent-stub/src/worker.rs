//! The thread that does what takes time (hooks, turns, git), one job after the other,
//! so that the terminal stays alive meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;

use anyhow::Result;

use crate::events::Event;
use crate::hooks::Hooks;
use crate::mode::Reply;
use crate::transcript::Transcript;
use crate::work::Work;

/// What the worker is asked to do.
pub(crate) enum Job {
    /// `SessionStart`, with its source.
    Start(&'static str),
    /// Answer a message.
    Turn { text: String, reply: Reply },
    /// One unit of numbered work.
    Unit { label: String, push: bool },
}

/// What the worker says.
pub(crate) enum Report {
    /// Something for the screen.
    Said(String),
    /// The job is over; for a unit, whether it was done.
    Over(Option<bool>),
}

/// The worker's parts.
pub(crate) struct Worker {
    pub hooks: Arc<Hooks>,
    pub transcript: Arc<Transcript>,
    pub work: Work,
    pub events: SyncSender<Event>,
}

impl Worker {
    /// Works until the other side is gone.
    pub fn run(mut self, jobs: Receiver<Job>) {
        for job in jobs {
            let unit = match self.perform(job) {
                Ok(unit) => unit,
                Err(error) => {
                    self.say(format!("error: {error:#}"));
                    Some(false)
                }
            };
            self.report(Report::Over(unit));
        }
    }

    fn perform(&mut self, job: Job) -> Result<Option<bool>> {
        match job {
            Job::Start(source) => self.hook("SessionStart", Some(("source", source))),
            Job::Turn { text, reply } => self.turn(&text, &reply)?,
            Job::Unit { label, push } => {
                let n = self.work.step(&label, push)?;
                self.say(format!("● {label}: work {n}"));
                return Ok(Some(true));
            }
        }
        Ok(None)
    }

    fn turn(&self, text: &str, reply: &Reply) -> Result<()> {
        self.hook("UserPromptSubmit", Some(("prompt", text)));
        if let Reply::Later(long, _) = reply {
            thread::sleep(*long);
        }
        match reply {
            Reply::Says(text) | Reply::Later(_, text) => {
                self.transcript.assistant(text)?;
                self.say(format!("● {text}"));
                self.hook("Stop", None);
            }
            Reply::Fails { text, error } => {
                self.transcript.api_error(text, error)?;
                self.say(format!("  ⎿  {text}"));
                self.hook("StopFailure", Some(("error", error)));
                self.hook("Notification", Some(("message", "Claude is waiting for your input")));
            }
        }
        Ok(())
    }

    fn hook(&self, event: &str, field: Option<(&str, &str)>) {
        for problem in self.hooks.run(event, field) {
            self.say(problem);
        }
    }

    fn say(&self, text: String) {
        self.report(Report::Said(text));
    }

    fn report(&self, report: Report) {
        // The receiver is gone only while the program ends.
        let _ = self.events.send(Event::Worker(report));
    }
}
