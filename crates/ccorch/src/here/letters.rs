//! Messages to people that wait to be sent: left in a folder by whoever has something to say, sent by the supervisor.
//! They outlive it, and the host's reboot.

use anyhow::{Context as _, Result};
use ccorch_core::names::LoopName;
use ccorch_io::clock;
use ccorch_io::spool::{self, Full};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Here, events};

/// The longest text that is sent, in bytes: ntfy makes an attachment of a longer one.
pub const LONGEST: usize = 4000;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When it was left.
    pub at: Timestamp,
    /// The loop whose agent says it. In a loop's own folder it is not believed: the folder tells whose it is.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub about: Option<LoopName>,
    /// The words.
    pub text: String,
}

impl Letter {
    /// One that is said now.
    pub fn new(about: Option<&LoopName>, text: &str) -> Self {
        Self { at: clock::now(), about: about.cloned(), text: cut(text.trim()) }
    }

    /// Whether the other one says the same of the same loop.
    pub fn says_as(&self, other: &Self) -> bool {
        (&self.about, &self.text) == (&other.about, &other.text)
    }
}

fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.into();
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{} [cut]", &text[..end])
}

/// Leaves a message in the host's own folder.
pub fn leave(here: &Here, letter: &Letter) -> Result<()> {
    let bytes = serde_json::to_vec(letter)?;
    spool::leave(&here.paths.outbox(), &bytes, Full::Refuse)
        .context("leave a message for the supervisor to send")
}

/// Tells people what a unit beside the supervisor did; that it cannot be told stops nothing.
pub fn tell(here: &Here, text: &str) {
    if let Err(error) = leave(here, &Letter::new(None, text)) {
        events::record(here, "notify-not-left", None, format!("{text}: {error:#}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let letter = Letter::new(None, &format!(" x{}\n", "ü".repeat(LONGEST)));
        assert!(letter.text.len() <= LONGEST + 10 && letter.text.ends_with("ü [cut]"));
        assert_eq!(Letter::new(None, " hello\n").text, "hello");
    }
}
