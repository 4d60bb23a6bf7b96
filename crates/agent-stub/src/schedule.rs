//! When the next unit of numbered work is due.

use std::time::{Duration, Instant};

/// While the configuration forbids work, it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// Times of the work.
pub(crate) struct Schedule {
    due: Instant,
    failures: u32,
}

impl Schedule {
    pub fn new(now: Instant) -> Schedule {
        Schedule { due: now, failures: 0 }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// How long until then.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// A message came: work at once.
    pub fn wake(&mut self, now: Instant) {
        self.due = now;
    }

    /// The configuration forbids work for now.
    pub fn look_later(&mut self, now: Instant) {
        self.due = now + LOOK;
    }

    pub fn done(&mut self, now: Instant, interval: Duration) {
        self.failures = 0;
        self.due = now + interval;
    }

    /// A unit failed: the next try comes later each time, up to a bound.
    pub fn failed(&mut self, now: Instant) {
        let backoff = FIRST_BACKOFF * 2u32.pow(self.failures.min(10));
        self.failures += 1;
        self.due = now + backoff.min(LONGEST_BACKOFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_wait_longer_up_to_a_bound() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert!(schedule.is_due(now));
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            schedule.failed(now);
            assert!(schedule.wait(now) >= last && schedule.wait(now) <= LONGEST_BACKOFF);
            last = schedule.wait(now);
        }
        assert_eq!(last, LONGEST_BACKOFF);
        schedule.done(now, Duration::from_millis(20));
        schedule.failed(now);
        assert_eq!(schedule.wait(now), FIRST_BACKOFF);
    }
}
