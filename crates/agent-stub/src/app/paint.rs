//! What the agent puts on its screen, or on its output when there is no terminal.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGWINCH};

use super::{App, ESCAPE, End, Held};
use crate::events::Event;
use crate::paths;
use crate::screen::{View, frame};
use crate::trust;

/// The bytes after which a terminal shows nothing.
const WIPE: &str = "\x1b[2J\x1b[3J\x1b[H";
/// The menu at a limit, as the real agent words it.
const LIMIT_MENU: [&str; 7] = [
    "",
    " What do you want to do?",
    "",
    " ❯ 1. Stop and wait for limit to reset",
    "   2. Upgrade your plan",
    "",
    " Enter to confirm · Esc to cancel",
];

impl App {
    pub(super) fn banner(&mut self) {
        let mut rows = vec![
            format!(" ✻ Agent stub {}", env!("CARGO_PKG_VERSION")),
            format!("   cwd: {}", self.cwd.display()),
        ];
        rows.extend(self.args.model.iter().map(|model| format!("   model: {model}")));
        if let Some(name) = &self.args.remote_control {
            rows.push(format!("   remote control: {name}"));
        }
        if !self.is_clone {
            rows.push("   not a git clone: no numbered work".to_owned());
        }
        self.said.extend(rows);
    }

    /// Shows what was said and, on a terminal, the live part below it.
    pub(super) fn draw(&mut self) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            let mut out = io::stdout().lock();
            for line in self.said.drain(..) {
                writeln!(out, "{line}")?;
            }
            return Ok(());
        };
        let working = self.is_working();
        if !working {
            self.working_since = Instant::now();
        }
        let seconds = self.working_since.elapsed().as_secs();
        let text = format!("Working… ({seconds}s · esc to interrupt)");
        let view = View {
            busy: working.then_some((text, self.spin)),
            prompt: if self.shell { '!' } else { '>' },
            draft: &self.draft.shown(),
            hint: &self.config.hint,
            status: &self.status,
        };
        let rows = match self.held {
            Held::No => frame(&view, terminal.width()),
            Held::Menu => LIMIT_MENU.map(Into::into).into(),
        };
        terminal.write(&self.screen.draw(&self.said, &rows))?;
        self.said.clear();
        Ok(())
    }

    /// Leaves nothing on the terminal.
    pub(super) fn wipe(&mut self) {
        if let Some(terminal) = &self.terminal {
            let _ = terminal.write(&self.screen.erase());
            let _ = terminal.write(WIPE);
        }
    }

    /// The last drawing: no live part. A terminal that is gone is no error.
    pub(super) fn last_words(&mut self) {
        let _ = match &self.terminal {
            Some(terminal) => terminal.write(&self.screen.draw(&self.said, &[])),
            None => self.draw(),
        };
    }

    /// The trust dialog, if it has to come; it holds the keyboard until it is answered.
    pub(super) fn first_run(&mut self) -> Result<Option<End>> {
        let file = paths::first_run_state()?;
        let cwd = self.cwd.to_string_lossy().into_owned();
        let state = trust::read(&file)?;
        let is_needed = trust::is_needed(state.as_ref(), &cwd);
        let Some(terminal) = self.terminal.as_ref().filter(|_| is_needed) else {
            return Ok(None);
        };
        let mut dialog = trust::Dialog::default();
        loop {
            terminal.write(&self.screen.draw(&[], &dialog.rows(&cwd)))?;
            let wait = if self.parser.waits_for_time() { ESCAPE } else { Duration::MAX };
            let keys = match self.events.recv_timeout(wait) {
                Ok(Event::Input(bytes)) => self.parser.feed(&bytes),
                Ok(Event::Signal(SIGWINCH) | Event::Worker(_)) => continue,
                Ok(Event::Signal(signal)) => return Ok(Some(End::by_signal(signal))),
                Ok(Event::EndOfInput) => return Ok(Some(End::by_signal(SIGHUP))),
                Err(_) => self.parser.time_passed().into_iter().collect(),
            };
            match keys.iter().find_map(|key| dialog.key(key)) {
                None => {}
                Some(false) => return Ok(Some(End::by_user(1))),
                Some(true) => {
                    trust::accept(&file, state.unwrap_or_default(), &cwd)?;
                    terminal.write(&self.screen.erase())?;
                    return Ok(None);
                }
            }
        }
    }
}
