//! Which notifications go out: one a key and hour, and never more than a few at once, so that a rig in trouble is heard
//! and nobody silences it. What the rig has to say beyond that is not lost: it is kept, and told together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::steady::{HOUR, MINUTE, Millis};

/// The same key is told once in this time.
pub const AGAIN: Millis = HOUR;
/// So many in [`SPAN`].
pub const MOST: usize = 10;
/// See [`MOST`].
pub const SPAN: Millis = 10 * MINUTE;

/// Of what the rig says, so many in [`BURST_SPAN`] go out one by one.
const BURST: usize = 5;
/// See [`BURST`].
const BURST_SPAN: Millis = MINUTE;
/// So many are kept for later.
const KEPT: usize = 24;
/// No kept one is longer, in characters.
const LONGEST: usize = 1000;
/// Told together, each has so many characters: all of them fit into one message.
const LINE: usize = 140;

/// What went out lately, and what waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    told: BTreeMap<String, Millis>,
    recent: Vec<Millis>,
    held_back: u32,
    /// Key and words of what is told later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<(String, String)>,
}

impl Notices {
    /// The text to send, if it may go out now; it says how many others did not.
    pub fn pass(&mut self, now: Millis, key: &str, text: String) -> Option<String> {
        self.forget_old(now);
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

    /// The same for what must not get lost: what may not go out now is kept, and told by [`Notices::together`].
    pub fn tell(&mut self, now: Millis, key: &str, text: String) -> Option<String> {
        self.forget_old(now);
        if self.told.contains_key(key) {
            return None;
        }
        let short = || text.chars().take(LONGEST).collect();
        if let Some((_, kept)) = self.kept.iter_mut().find(|(kept, _)| kept == key) {
            *kept = short();
        } else if self.kept.is_empty() && self.free_at() <= now {
            self.told.insert(key.into(), now);
            self.recent.push(now);
            return Some(text);
        } else if self.kept.len() < KEPT {
            self.kept.push((key.into(), short()));
        } else {
            self.held_back += 1;
        }
        None
    }

    /// What was kept, in one message, once that may go out.
    pub fn together(&mut self, now: Millis) -> Option<String> {
        // Asked at every step: as long as nothing is told, nothing changes.
        if self.kept.is_empty() || self.free_at() > now {
            return None;
        }
        self.forget_old(now);
        self.recent.push(now);
        let kept = std::mem::take(&mut self.kept);
        self.told.extend(kept.iter().map(|(key, _)| (key.clone(), now)));
        let more = match std::mem::take(&mut self.held_back) {
            0 => String::new(),
            n => format!("\n(and {n} more; `ccorch status` has them)"),
        };
        if let ([(_, text)], "") = (&kept[..], more.as_str()) {
            return Some(text.clone());
        }
        let line = |(_, text): &(String, String)| {
            let line: String = text.replace('\n', " ").chars().take(LINE).collect();
            format!("\n- {line}")
        };
        let lines: String = kept.iter().map(line).collect();
        Some(format!("{} messages that came at once:{lines}{more}", kept.len()))
    }

    /// When what is kept may go out.
    pub fn due(&self) -> Option<Millis> {
        (!self.kept.is_empty()).then(|| self.free_at())
    }

    /// From when on one more may go out.
    fn free_at(&self) -> Millis {
        let full = |most: usize, span| {
            let from = self.recent.len().checked_sub(most)?;
            self.recent.get(from).map(|at| at + span)
        };
        full(MOST, SPAN).max(full(BURST, BURST_SPAN)).unwrap_or(0)
    }

    /// Forgets what does not count any more; a time to come is of a file from elsewhere.
    pub(super) fn forget_old(&mut self, now: Millis) {
        self.told.retain(|_, at| *at <= now && now - *at < AGAIN);
        self.recent.retain(|at| *at <= now && now - at < SPAN);
    }

    /// What was wrong is over: it needs not be told any more, and the next time is news again. Whether anything is known of
    /// it no more.
    pub fn over(&mut self, key: &str) -> bool {
        let before = self.kept.len();
        self.kept.retain(|(kept, _)| kept != key);
        self.told.remove(key).is_some() || self.kept.len() < before
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

    #[test]
    fn what_is_kept_is_told_together_as_soon_as_it_may() {
        let mut notices = Notices::default();
        let tell =
            |notices: &mut Notices, now, n: usize| notices.tell(now, &format!("k{n}"), format!("{n} fell"));
        let at_once = (0..BURST + 3).filter(|n| tell(&mut notices, 0, *n).is_some()).count();
        assert_eq!(at_once, BURST);
        assert!(tell(&mut notices, 1, 6).is_none(), "it waits already");
        assert!(notices.over("k7"), "that one is over");
        assert!(!notices.over("k7"));
        // Kept as well.
        let text = serde_json::to_string(&notices).unwrap();
        let mut notices: Notices = serde_json::from_str(&text).unwrap();
        assert_eq!(notices.due(), Some(BURST_SPAN));
        assert_eq!(notices.together(BURST_SPAN - 1), None);
        let told = notices.together(BURST_SPAN).unwrap();
        assert_eq!(told, "2 messages that came at once:\n- 5 fell\n- 6 fell");
        assert_eq!((notices.due(), notices.together(BURST_SPAN)), (None, None));
        assert!(tell(&mut notices, BURST_SPAN + 1, 6).is_none(), "it was told");
    }

    #[test]
    fn what_waits_is_bounded_and_so_is_the_message() {
        let mut notices = Notices::default();
        let mut sent = Vec::new();
        for n in 0..200 {
            sent.extend(notices.tell(0, &format!("k{n}"), "x".repeat(5000)));
        }
        assert_eq!((sent.len(), notices.kept.len()), (BURST, KEPT));
        let told = notices.together(notices.due().unwrap()).unwrap();
        assert!(told.len() < 4000 && told.contains("and 171 more"), "{} bytes", told.len());
        // However much there is to say, no more goes out than may.
        let mut all = vec![0; BURST];
        for second in 61..3600 {
            let now = second * 1000;
            notices.tell(now, &format!("s{second}"), "y".into());
            if notices.together(now).is_some() {
                all.push(now);
            }
        }
        let most = all.iter().map(|from| all.iter().filter(|at| *at >= from && **at < from + SPAN).count());
        assert!(most.max().unwrap() <= MOST, "{all:?}");
    }
}
