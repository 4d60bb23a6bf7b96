//! When the next unit of numbered work is due.

use std::time::{Duration, Instant};

/// While the configuration forbids work, it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// A push that was lost often does not count as slow for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Times of the work.
pub(crate) struct Schedule {
    due: Instant,
    begun: Instant,
    failures: u32,
}

impl Schedule {
    pub fn new(now: Instant) -> Schedule {
        Schedule { due: now, begun: now, failures: 0 }
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

    /// A unit begins.
    pub fn begun(&mut self, now: Instant) {
        self.begun = now;
    }

    /// The next unit comes an interval later, and not before as much time as this one took: on a slow machine a
    /// session that pushes without a pause would win every push, and one that shares its branch none.
    pub fn done(&mut self, now: Instant, interval: Duration) {
        self.failures = 0;
        let took = now.saturating_duration_since(self.begun);
        self.due = now + interval.max(took.min(LONGEST_PAUSE));
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
        schedule.begun(now);
        schedule.done(now, Duration::from_millis(20));
        schedule.failed(now);
        assert_eq!(schedule.wait(now), FIRST_BACKOFF);
    }

    #[test]
    fn who_needs_long_for_a_unit_leaves_as_long_to_the_others() {
        let (start, interval) = (Instant::now(), Duration::from_millis(500));
        let mut schedule = Schedule::new(start);
        schedule.begun(start);
        let soon = start + Duration::from_millis(100);
        schedule.done(soon, interval);
        assert_eq!(schedule.wait(soon), interval);
        let late = start + Duration::from_secs(4);
        schedule.done(late, interval);
        assert_eq!(schedule.wait(late), Duration::from_secs(4));
        let later = start + Duration::from_secs(90);
        schedule.done(later, interval);
        assert_eq!(schedule.wait(later), LONGEST_PAUSE);
    }
}
