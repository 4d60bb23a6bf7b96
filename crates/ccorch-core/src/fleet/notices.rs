//! Which notifications go out: one a key and hour, and never more than a few at once, so that a rig in trouble is heard
//! and nobody silences it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::steady::{HOUR, MINUTE, Millis};

/// The same key is told once in this time.
pub const AGAIN: Millis = HOUR;
/// So many in [`SPAN`].
pub const MOST: usize = 10;
/// See [`MOST`].
pub const SPAN: Millis = 10 * MINUTE;

/// What went out lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    told: BTreeMap<String, Millis>,
    recent: Vec<Millis>,
    held_back: u32,
}

impl Notices {
    /// The text to send, if it may go out now; it says how many others did not.
    pub fn pass(&mut self, now: Millis, key: &str, text: String) -> Option<String> {
        self.told.retain(|_, at| *at <= now && now - *at < AGAIN);
        self.recent.retain(|at| *at <= now && now - at < SPAN);
        if self.told.contains_key(key) {
            return None;
        }
        if self.recent.len() >= MOST {
            self.held_back += 1;
            return None;
        }
        self.told.insert(key.into(), now);
        self.recent.push(now);
        match std::mem::take(&mut self.held_back) {
            0 => Some(text),
            n => Some(format!("{text}\n({n} more were held back; `ccorch status` has them)")),
        }
    }

    /// What was wrong is over: the next time is news again.
    pub fn over(&mut self, key: &str) {
        self.told.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_an_hour_and_a_flood_is_cut() {
        let mut notices = Notices::default();
        assert!(notices.pass(0, "a", "A".into()).is_some());
        assert!(notices.pass(AGAIN - 1, "a", "A".into()).is_none());
        assert!(notices.pass(AGAIN, "a", "A".into()).is_some());
        let start = AGAIN * 3;
        let passed = (0..50).filter(|n| notices.pass(start, &format!("k{n}"), "x".into()).is_some()).count();
        assert_eq!(passed, MOST);
        let later = notices.pass(start + SPAN, "z", "Z".into()).unwrap();
        assert!(later.contains("40 more were held back"), "{later}");
        notices.over("z");
        assert!(notices.pass(start + SPAN, "z", "Z".into()).is_some());
        assert!(notices.told.len() < 20, "bounded");
    }
}
