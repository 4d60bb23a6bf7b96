//! An agent's own way out: one that rests at an empty prompt is told to end as a person would tell it, by keys. It says goodbye to
//! whatever it has connected to, which a signal may cut short; versions that do not end by it were seen, so a signal follows.
//! Source: <https://github.com/anthropics/claude-code/issues/31517>.

use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_core::watchdog::screen;
use ccorch_io::process::Watched;

use super::runtime::tmux;
use super::{Here, keyboard};

/// What a person types.
const EXIT: &str = "/exit";
/// How long it may take to show in the input line.
const SHOWN: Duration = Duration::from_secs(1);
/// How long the agent may take from the Enter on.
const ENDS: Duration = Duration::from_secs(3);
/// Between two looks at the input line.
const LOOK: Duration = Duration::from_millis(50);

/// Has an agent of this kind end by itself; false when it did not, and when something is in the way of being typed to.
pub fn ask(here: &Here, name: &LoopName, agent: &Watched) -> Result<bool> {
    let tmux = tmux(here, name);
    let draft = || -> Result<Option<String>> {
        let live = screen::read(&tmux.drawn()?);
        Ok(live.draft.filter(|_| live.dialog.is_none() && live.mode.is_none()))
    };
    if draft()?.as_deref() != Some("") || keyboard::free(&tmux)?.is_some() {
        return Ok(false);
    }
    tmux.type_text(EXIT)?;
    let until = Instant::now() + SHOWN;
    while draft()?.is_none_or(|draft| draft.trim() != EXIT) {
        // What came up meanwhile must not get the Enter.
        if Instant::now() >= until || agent.wait(Some(LOOK))? {
            return Ok(false);
        }
    }
    tmux.press("Enter")?;
    agent.wait(Some(ENDS))
}
