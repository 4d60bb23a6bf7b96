//! Whether the keys of a loop's terminal reach its agent: a pane that is scrolled back takes them for tmux, and what is pasted
//! there is never submitted.

use std::time::Duration;

use ccorch_io::clock;
use ccorch_io::command::CommandError;
use ccorch_io::tmux::Tmux;

/// Who is attached and has pressed no key for this long left what they were at.
const AWAY: Duration = Duration::from_secs(10 * 60);

/// Whether somebody is attached who may type, and who did something lately.
pub fn has_typist(tmux: &Tmux) -> Result<bool, CommandError> {
    tmux.has_typist(clock::now().as_second(), AWAY)
}

/// Gives the agent its keys back where somebody went and left the pane scrolled back; what keeps them where they are still there.
pub fn free(tmux: &Tmux) -> Result<Option<&'static str>, CommandError> {
    if !tmux.is_in_mode()? {
        return Ok(None);
    }
    if has_typist(tmux)? {
        return Ok(Some("somebody is attached, and the pane is in copy mode"));
    }
    tmux.leave_mode()?;
    Ok(None)
}
