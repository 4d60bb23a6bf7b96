//! What a session remembers of its work: read from its transcript, and nothing else.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A unit of work that was begun. Written before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The number, from 1.
    pub n: u64,
    /// Whose work.
    pub label: String,
    /// The branch it is done on.
    pub branch: String,
    /// In the commit's message, so that this very unit is found again. A number alone could
    /// be another session's, and the same line committed in the same second by a copy of
    /// this session would even be the same commit: a repeat that nobody sees.
    pub unit: String,
    /// HEAD before it; empty when there was no commit yet.
    pub base: String,
}

/// The state of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The last number that is done; 0 when none is.
    pub last_done: u64,
    /// Begun and not known to be done.
    pub pending: Option<Intent>,
}

impl Memory {
    /// Replays a transcript. Lines that are not JSON (torn by a crash) are passed over:
    /// an intent is on disk before its work begins, so a torn one has no work.
    pub fn replay(transcript: &str) -> Memory {
        let mut memory = Memory::default();
        for line in transcript.lines() {
            let Ok(record) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            if record["type"] != "work" {
                continue;
            }
            match record["state"].as_str() {
                Some("intent") => memory.pending = serde_json::from_value(record).ok(),
                Some("done") => memory.finish(record["n"].as_u64().unwrap_or_default()),
                _ => {}
            }
        }
        memory
    }

    /// The number a new unit gets.
    pub fn next(&self) -> u64 {
        self.last_done + 1
    }

    /// Takes note that a number is done.
    pub fn finish(&mut self, n: u64) {
        self.last_done = n;
        self.pending = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(n: u64) -> String {
        format!(
            r#"{{"type":"work","n":{n},"state":"intent","label":"b","branch":"main","unit":"u","base":"abc"}}"#
        )
    }

    fn done(n: u64) -> String {
        format!(r#"{{"type":"work","n":{n},"state":"done"}}"#)
    }

    #[test]
    fn a_new_session_starts_at_one() {
        assert_eq!(Memory::replay("").next(), 1);
        assert_eq!(Memory::replay(r#"{"type":"user","n":7,"state":"done"}"#).next(), 1);
    }

    #[test]
    fn the_next_number_follows_the_last_done() {
        let text = [intent(1), done(1), intent(2), done(2)].join("\n");
        assert_eq!(Memory::replay(&text), Memory { last_done: 2, pending: None });
    }

    #[test]
    fn an_intent_without_done_is_pending() {
        let memory = Memory::replay(&[intent(1), done(1), intent(2)].join("\n"));
        assert_eq!(memory.last_done, 1);
        assert_eq!(memory.pending.map(|intent| intent.n), Some(2));
    }

    #[test]
    fn a_torn_line_is_passed_over_wherever_it_is() {
        let whole = [intent(1), done(1), intent(2)].join("\n");
        for cut in 0..intent(2).len() {
            let torn = format!("{}\n{}", [intent(1), done(1)].join("\n"), &intent(2)[..cut]);
            assert_eq!(Memory::replay(&torn), Memory { last_done: 1, pending: None });
            let later = format!("{torn}\n{}\n{}", intent(2), done(2));
            assert_eq!(Memory::replay(&later).last_done, 2);
        }
        assert_eq!(Memory::replay(&whole).pending.map(|i| i.n), Some(2));
    }
}
