//! What a key does, and what a submitted line sets going.

use std::fs;
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use rustix::process::{Signal, getpid, kill_process};

use super::{App, End, Held, Then};
use crate::command::{Command, Crash};
use crate::input::Key;
use crate::mode::{self, Mode};
use crate::paths;
use crate::worker::Job;

impl App {
    pub(super) fn key(&mut self, key: Key) -> Result<Option<End>> {
        if key != Key::Interrupt {
            self.interrupts = 0;
        }
        if self.held != Held::No {
            if key == Key::Escape && self.held == Held::Menu {
                self.held = Held::No;
            }
            return Ok(None);
        }
        match key {
            Key::Backspace | Key::ClearLine | Key::Enter if self.config.frozen => {}
            Key::Char('!') if self.config.shell_mode && self.draft.is_empty() => self.shell = true,
            Key::Backspace if self.shell && self.draft.is_empty() => self.shell = false,
            Key::Char(c) => self.draft.push(c),
            Key::LineBreak => self.draft.push('\n'),
            Key::Backspace => self.draft.backspace(),
            Key::ClearLine => self.draft.clear(),
            Key::Paste(text) => {
                self.draft.paste(text);
                self.pasted_at = Some(Instant::now());
            }
            Key::Enter if self.paste_is_unsettled() => self.draft.push('\n'),
            Key::Enter => {
                let text = self.draft.take();
                if std::mem::take(&mut self.shell) {
                    // What it would print is not this stub's business.
                    self.said.push(format!("! {text}"));
                    return Ok(None);
                }
                return self.submit(text);
            }
            Key::Interrupt => return Ok(self.interrupt()),
            Key::EndOfInput if self.draft.is_empty() => return Ok(Some(End::by_user(0))),
            Key::Escape => self.stop_turn(),
            Key::EndOfInput | Key::Up | Key::Down | Key::Ignored => {}
        }
        Ok(None)
    }

    fn paste_is_unsettled(&mut self) -> bool {
        let settle = Duration::from_millis(self.config.paste_settle_ms);
        self.pasted_at.take().is_some_and(|at| at.elapsed() < settle)
    }

    /// Ctrl-C or SIGINT: the first stops what is going on, the next in a row ends the agent.
    pub(super) fn interrupt(&mut self) -> Option<End> {
        self.interrupts += 1;
        if self.interrupts > 1 {
            return Some(End::by_signal(signal_hook::consts::SIGINT));
        }
        self.draft.clear();
        self.stop_turn();
        self.said.push("  Press Ctrl-C again to exit".to_owned());
        None
    }

    fn stop_turn(&mut self) {
        if self.mode == Mode::Working {
            self.mode = Mode::Waiting;
            self.said.push("  ⎿  Interrupted by user".to_owned());
        }
    }

    /// A line was entered, by whatever way.
    pub(super) fn submit(&mut self, text: String) -> Result<Option<End>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        self.interrupts = 0;
        self.transcript.user(&text)?;
        self.said.push(format!("> {text}"));
        let command = Command::parse(&text);
        let login_is_new = self.login_is_new();
        let Some((mode, reply)) = mode::after(self.mode, &command, &text, login_is_new) else {
            return Ok(perform(&command));
        };
        if mode != self.mode {
            match mode {
                Mode::LoggedOut => self.logged_out_at = SystemTime::now(),
                Mode::Working => self.schedule.wake(Instant::now()),
                Mode::Waiting => {}
            }
        }
        self.mode = mode;
        self.then = match command {
            Command::LimitExit(_) => Then::Leave,
            Command::LimitMenu(_) => Then::Hold(Held::Menu),
            _ => Then::GoOn,
        };
        self.queue.push_back(Job::Turn { text, reply });
        Ok(None)
    }

    fn login_is_new(&self) -> bool {
        let file = paths::credentials().ok();
        let written = file.and_then(|file| fs::metadata(file).ok()?.modified().ok());
        written.is_some_and(|written| written > self.logged_out_at)
    }
}

/// The commands that are no turn; only an exit comes back.
fn perform(command: &Command) -> Option<End> {
    match command {
        Command::Hang => hang(),
        // A crash leaves the terminal as it is and runs no hook.
        Command::Crash(Crash::Code(code)) => exit((*code).into()),
        Command::Crash(Crash::Signal(signal)) => crash(*signal),
        Command::Exit(code) => Some(End::by_user(*code)),
        _ => None,
    }
}

/// Neither output nor work, nor an answer to any signal that can be caught.
fn hang() -> ! {
    loop {
        thread::park();
    }
}

fn crash(signal: i32) -> ! {
    // Comes back for SIGKILL, which has no handler to put back.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
