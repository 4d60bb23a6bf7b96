//! The terminal: raw while the agent runs, as it was before when it ends.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

const PASTE_ON: &str = "\x1b[?2004h";
const PASTE_OFF: &str = "\x1b[?2004l";

/// A terminal in raw mode with bracketed paste.
pub(crate) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Takes the terminal over; None when input or output is none.
    pub fn open() -> Result<Option<Terminal>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("cannot make the terminal raw")?;
        let terminal = Terminal { before };
        terminal.write(PASTE_ON)?;
        Ok(Some(terminal))
    }

    /// Writes bytes as they are.
    pub fn write(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to the terminal")
    }

    /// Columns; 80 when the terminal does not know.
    pub fn width(&self) -> usize {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => size.ws_col.into(),
            _ => 80,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to restore.
        let _ = self.write(PASTE_OFF);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
