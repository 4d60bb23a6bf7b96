//! What becomes of a loop whose agent ended: at once, after a pause, or not at all.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The first restart is immediate, the second waits this long, each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// An agent that ran this long had a good start: earlier ends are forgotten.
const GOOD_RUN: Duration = Duration::from_secs(600);
/// How many ends are remembered; enough to reach [`LONGEST_PAUSE`], so the file cannot grow.
const REMEMBERED: usize = 16;

/// What a person or the rig wants of a loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It runs whenever this host holds the lease.
    #[default]
    Run,
    /// It stays down until `ccorch loops start`.
    Held,
}

/// Ends of a loop's agent that still count, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<Timestamp>);

impl History {
    /// Takes note of an end at `now` after a run that began at `started`; the pause before the next start.
    pub fn ended(&mut self, started: Timestamp, now: Timestamp) -> Duration {
        let ran = now.duration_since(started);
        if ran >= SignedDuration::try_from(GOOD_RUN).unwrap_or(SignedDuration::MAX) {
            self.0.clear();
        }
        let pause = pause(self.0.len());
        self.0.push(now);
        let extra = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..extra);
        pause
    }

    /// How many ends count.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none counts.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The pause after the n-th end in a row, counted from 0.
fn pause(earlier: usize) -> Duration {
    match u32::try_from(earlier) {
        Ok(0) => Duration::ZERO,
        Ok(n) => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(n - 1)).min(LONGEST_PAUSE),
        Err(_) => LONGEST_PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_restart_is_at_once_and_pauses_grow_to_five_minutes() {
        let mut history = History::default();
        let pauses: Vec<u64> = (0..12).map(|n| history.ended(at(n), at(n + 1)).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn a_good_run_forgives_and_the_history_is_bounded() {
        let mut history = History::default();
        for n in 0..100 {
            history.ended(at(n), at(n + 1));
        }
        assert_eq!(history.len(), REMEMBERED);
        assert_eq!(history.ended(at(1000), at(1600)), Duration::ZERO);
        assert_eq!(history.len(), 1);
    }

    #[test]
    fn a_clock_that_went_back_is_a_short_run() {
        let mut history = History::default();
        history.ended(at(100), at(101));
        assert_eq!(history.ended(at(5000), at(200)), FIRST_PAUSE);
    }
}
