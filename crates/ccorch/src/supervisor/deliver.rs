//! Delivering a nudge: pasted as one, Enter apart, and proven by the transcript or the emptied input line.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ccorch_core::names::LoopName;
use uuid::Uuid;

use super::look;
use crate::here::Here;
use crate::here::runtime::tmux;

/// How long a receipt may take.
const RECEIPT: Duration = Duration::from_secs(10);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(200);

/// How a try went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The agent has it.
    Yes,
    /// A menu holds the keyboard; nothing was typed.
    InTheWay,
}

/// Types the text and waits for the receipt.
pub fn deliver(here: &Here, name: &LoopName, session: Option<Uuid>, text: &str) -> Result<Delivered> {
    let before = look::look(here, name, session);
    let verdict = look::Eyes::default().judge(&before, jiff::SignedDuration::MAX);
    if verdict.keyboard.is_some() {
        return Ok(Delivered::InTheWay);
    }
    let tmux = tmux(here, name);
    let has = |seen: &look::Seen| {
        let line = serde_json::to_string(text).unwrap_or_default();
        seen.transcript.contains(line.trim_matches('"')) && seen.transcript != before.transcript
    };
    tmux.paste(text)?;
    let end = Instant::now() + RECEIPT;
    let mut pressed = Instant::now();
    tmux.press("Enter")?;
    while Instant::now() < end {
        if has(&look::look(here, name, session)) {
            return Ok(Delivered::Yes);
        }
        // A paste followed at once by Enter is sometimes drafted and not submitted.
        if pressed.elapsed() > Duration::from_secs(2) {
            tmux.press("Enter")?;
            pressed = Instant::now();
        }
        thread::sleep(LOOK);
    }
    bail!("no receipt within {} s", RECEIPT.as_secs())
}
