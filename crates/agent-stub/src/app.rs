//! The agent's life: one loop over events; asleep when none comes.

mod keys;
mod paint;
mod start;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::Args;
use crate::config::Config;
use crate::draft::Draft;
use crate::events::Event;
use crate::hooks::Hooks;
use crate::input::Parser;
use crate::mode::Mode;
use crate::schedule::Schedule;
use crate::screen::Screen;
use crate::terminal::Terminal;
use crate::transcript::Transcript;
use crate::worker::{Job, Report};

/// The spinner turns this often while the agent works; about as the real one does.
const SPIN: Duration = Duration::from_millis(200);
/// An ESC that nothing follows within this time is the key.
const ESCAPE: Duration = Duration::from_millis(50);
/// A unit of work gets this long to end when the agent is asked to leave.
const GRACE: Duration = Duration::from_secs(2);

/// How the agent ends: exit code and `reason` of `SessionEnd`.
struct End {
    code: u8,
    reason: &'static str,
}

impl End {
    /// As a shell tells a death by signal.
    fn by_signal(signal: i32) -> End {
        End { code: u8::try_from(128 + signal).unwrap_or(u8::MAX), reason: "other" }
    }

    fn by_user(code: u8) -> End {
        End { code, reason: "prompt_input_exit" }
    }
}

/// What has the keyboard in place of the input box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    No,
    /// What to do at a limit; Escape closes it.
    Menu,
}

/// What follows the answer that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    Hold(Held),
    /// The program leaves by itself, with nothing left on its screen.
    Leave,
}

/// The running agent.
struct App {
    args: Args,
    cwd: PathBuf,
    is_clone: bool,
    config_file: PathBuf,
    config: Config,
    transcript: Arc<Transcript>,
    hooks: Arc<Hooks>,

    terminal: Option<Terminal>,
    screen: Screen,
    status: String,
    /// To go on the screen with the next drawing.
    said: Vec<String>,
    working_since: Instant,
    spin: usize,

    parser: Parser,
    draft: Draft,
    /// What is entered goes to a shell.
    shell: bool,
    pasted_at: Option<Instant>,
    interrupts: u32,
    input_ended: bool,

    events: Receiver<Event>,
    jobs: SyncSender<Job>,
    /// Goes before numbered work.
    queue: VecDeque<Job>,
    worker_is_busy: bool,
    schedule: Schedule,
    mode: Mode,
    held: Held,
    then: Then,
    logged_out_at: SystemTime,
}

/// Runs the agent until it ends; returns its exit code.
///
/// # Errors
/// When it cannot begin, or cannot write its transcript.
pub(crate) fn run(args: Args) -> Result<u8> {
    Ok(App::start(args)?.live()?.code)
}

impl App {
    fn live(mut self) -> Result<End> {
        if let Some(end) = self.first_run()? {
            return Ok(end); // no session began, so none ends
        }
        self.banner();
        if let Some(prompt) = self.args.prompt.take()
            && let Some(end) = self.submit(prompt)?
        {
            return Ok(self.leave(end));
        }
        loop {
            self.give_work()?;
            if self.draw().is_err() {
                // The terminal went away; its SIGHUP may still be on the way.
                return Ok(self.leave(End::by_signal(SIGHUP)));
            }
            if self.input_ended && self.queue.is_empty() && !self.worker_is_busy {
                return Ok(self.leave(End::by_user(0)));
            }
            let end = match self.next_event()? {
                Some(event) => self.handle(event)?,
                None => self.time_passed()?,
            };
            if let Some(end) = end {
                return Ok(self.leave(end));
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<Option<End>> {
        match event {
            Event::Input(bytes) if self.terminal.is_some() => {
                for key in self.parser.feed(&bytes) {
                    if let Some(end) = self.key(key)? {
                        return Ok(Some(end));
                    }
                }
            }
            Event::Input(line) => return self.submit(String::from_utf8_lossy(&line).into_owned()),
            // A terminal that ends is a hangup; a pipe that ends is a conversation that does.
            Event::EndOfInput if self.terminal.is_some() => {
                return Ok(Some(End::by_signal(SIGHUP)));
            }
            Event::EndOfInput => self.input_ended = true,
            Event::Signal(signal @ (SIGTERM | SIGHUP)) => return Ok(Some(End::by_signal(signal))),
            Event::Signal(SIGINT) => return Ok(self.interrupt()),
            Event::Signal(_) => {} // SIGWINCH: the next drawing has the new width
            Event::Worker(Report::Said(text)) => self.said.push(text),
            Event::Worker(Report::Over(unit)) => {
                self.job_is_over(unit);
                return Ok(self.what_follows());
            }
        }
        Ok(None)
    }

    fn time_passed(&mut self) -> Result<Option<End>> {
        self.spin += 1;
        match self.parser.time_passed() {
            Some(key) => self.key(key),
            None => Ok(None),
        }
    }

    /// Hands the worker its next job: what was asked for first, then numbered work.
    fn give_work(&mut self) -> Result<()> {
        if self.worker_is_busy {
            return Ok(());
        }
        let job = match self.queue.pop_front() {
            Some(job) => Some(job),
            None if self.may_work() && self.schedule.is_due(Instant::now()) => self.unit(),
            None => None,
        };
        if let Some(job) = job {
            self.jobs.send(job).context("the worker thread is gone")?;
            self.worker_is_busy = true;
        }
        Ok(())
    }

    fn may_work(&self) -> bool {
        self.mode == Mode::Working && self.is_clone && !self.input_ended
    }

    fn is_working(&self) -> bool {
        self.worker_is_busy || (self.may_work() && self.config.work)
    }

    fn unit(&mut self) -> Option<Job> {
        match Config::read(&self.config_file) {
            Ok(config) => self.config = config,
            Err(error) => self.said.push(format!("error: {error:#}; going on as before")),
        }
        if !self.config.work {
            self.schedule.look_later(Instant::now());
            return None;
        }
        let label = self.config.label(self.args.name.as_deref(), &self.cwd);
        self.schedule.begun(Instant::now());
        Some(Job::Unit { label, push: self.config.push })
    }

    fn job_is_over(&mut self, unit: Option<bool>) {
        self.worker_is_busy = false;
        let now = Instant::now();
        match unit {
            None => {}
            Some(true) => self.schedule.done(now, self.config.interval()),
            Some(false) => self.schedule.failed(now),
        }
    }

    fn what_follows(&mut self) -> Option<End> {
        if !self.queue.is_empty() {
            return None;
        }
        match std::mem::replace(&mut self.then, Then::GoOn) {
            Then::GoOn => None,
            Then::Hold(held) => {
                self.held = held;
                None
            }
            Then::Leave => {
                self.said.clear();
                self.wipe();
                Some(End { code: 1, reason: "other" })
            }
        }
    }

    /// Waits for an event, for ever if nothing is due. None when time alone passed.
    fn next_event(&mut self) -> Result<Option<Event>> {
        let mut waits = Vec::new();
        if self.parser.waits_for_time() {
            waits.push(ESCAPE);
        }
        if self.terminal.is_some() && self.is_working() {
            waits.push(SPIN);
        }
        if !self.worker_is_busy && self.may_work() {
            waits.push(self.schedule.wait(Instant::now()));
        }
        let received = match waits.into_iter().min() {
            Some(wait) => self.events.recv_timeout(wait),
            None => self.events.recv().map_err(RecvTimeoutError::from),
        };
        match received {
            Ok(event) => Ok(Some(event)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the threads that wake the agent are gone")
            }
        }
    }

    /// Ends at a safe point if one comes soon, tells the hooks, and frees the terminal.
    fn leave(mut self, end: End) -> End {
        let deadline = Instant::now() + GRACE;
        while self.worker_is_busy {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Worker(Report::Over(_))) => self.worker_is_busy = false,
                Ok(Event::Worker(Report::Said(text))) => self.said.push(text),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let problems = self.hooks.run("SessionEnd", Some(("reason", end.reason)));
        self.said.extend(problems);
        self.last_words();
        end
    }
}
