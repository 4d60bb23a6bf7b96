//! Ends of an agent that count as crashes: the pause before the next start, and when there is none.

use serde::{Deserialize, Serialize};

use super::jitter;
use super::steady::{MINUTE, Millis, SECOND};

/// The first restart is immediate, the second waits this long, each further one twice as long.
const FIRST_PAUSE: Millis = SECOND;
/// No pause is longer, jitter included.
pub const LONGEST_PAUSE: Millis = 5 * MINUTE;
/// An agent that ran this long had a good start: pauses begin anew.
const GOOD_RUN: Millis = 10 * MINUTE;
/// So many ends in [`WINDOW`] are a crash loop.
pub const TOO_MANY: usize = 5;
/// See [`TOO_MANY`].
pub const WINDOW: Millis = 15 * MINUTE;

/// Ends of a loop's agent that still count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashes {
    /// Ends in a row without a good run between them.
    row: u32,
    /// Those within the window, oldest first; fewer than [`TOO_MANY`].
    recent: Vec<Millis>,
}

/// What follows from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Another start after this pause.
    Again(Millis),
    /// None: it is a crash loop.
    No,
}

impl Crashes {
    /// Takes note of an end at `now` of a run that began at `began`. What never ran (`ran` is false: a missing program)
    /// mends itself once it is there, so it is tried for ever, ever more rarely.
    pub fn ended(&mut self, began: Millis, now: Millis, ran: bool, seed: u64, who: &str) -> Follows {
        if now.saturating_sub(began) >= GOOD_RUN {
            self.row = 0;
        }
        let pause = pause(self.row, seed, who);
        self.row = self.row.saturating_add(1);
        if !ran {
            return Follows::Again(pause);
        }
        // An end in the future is of a state file from elsewhere.
        self.recent.retain(|end| *end <= now && now - end < WINDOW);
        self.recent.push(now);
        if self.recent.len() < TOO_MANY {
            return Follows::Again(pause);
        }
        // Whoever lets it run again starts from nothing.
        *self = Self::default();
        Follows::No
    }
}

impl Crashes {
    /// Ends in a row without a good run between them.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// How many count within [`WINDOW`].
    pub fn recent(&self) -> usize {
        self.recent.len()
    }

    /// Takes note of an end of before that had this place in a row.
    pub(super) fn happened(&mut self, row: u32, at: Millis) {
        self.row = row;
        self.recent.push(at);
        let extra = self.recent.len().saturating_sub(TOO_MANY - 1);
        self.recent.drain(..extra);
    }

    /// Forgets those that do not count any more.
    pub(super) fn forget_old(&mut self, now: Millis) {
        self.recent.retain(|end| *end <= now && now - end < WINDOW);
    }
}

/// The pause after the n-th end in a row, counted from 0.
fn pause(nth: u32, seed: u64, who: &str) -> Millis {
    let Some(doublings) = nth.checked_sub(1) else { return 0 };
    let base = FIRST_PAUSE.saturating_mul(1 << doublings.min(20)).min(LONGEST_PAUSE);
    let jitter = jitter::below(base / 5, seed, who, u64::from(nth));
    if base + jitter > LONGEST_PAUSE { LONGEST_PAUSE - jitter } else { base + jitter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_pauses_grow_to_five_minutes() {
        let pauses: Vec<Millis> = (0..12).map(|n| pause(n, 1, "a")).collect();
        for (pause, seconds) in pauses.iter().zip([0, 1, 2, 4, 8, 16, 32, 64, 128]) {
            assert!((seconds * 1000..=seconds * 1200).contains(pause), "{pauses:?}");
        }
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE), "{pauses:?}");
        assert!(pauses[9..].iter().all(|pause| *pause >= LONGEST_PAUSE * 4 / 5), "{pauses:?}");
        let others: Vec<Millis> = (0..12).map(|n| pause(n, 1, "b")).collect();
        assert_ne!(pauses, others, "two loops do not move in step");
    }

    #[test]
    fn five_ends_in_a_quarter_of_an_hour_are_a_crash_loop_and_five_in_more_are_not() {
        let mut crashes = Crashes::default();
        for minute in [0, 3, 6, 9] {
            let again = crashes.ended(minute * MINUTE, minute * MINUTE + 1, true, 1, "a");
            assert!(matches!(again, Follows::Again(_)), "{again:?}");
        }
        let mut later = crashes.clone();
        assert_eq!(crashes.ended(14 * MINUTE, 15 * MINUTE, true, 1, "a"), Follows::No);
        assert_eq!(crashes, Crashes::default());
        let again = later.ended(14 * MINUTE, 15 * MINUTE + 1, true, 1, "a");
        assert!(matches!(again, Follows::Again(_)), "{again:?}");
    }

    #[test]
    fn a_good_run_forgives_and_what_never_ran_is_tried_for_ever() {
        let mut crashes = Crashes::default();
        for n in 0..100 {
            let again = crashes.ended(n, n, false, 1, "a");
            assert!(matches!(again, Follows::Again(_)));
        }
        assert_eq!(crashes.ended(1_000, 1_000 + GOOD_RUN, true, 1, "a"), Follows::Again(0));
        assert_eq!(crashes.recent.len(), 1);
    }
}
