//! Engine time: milliseconds that only grow, over restarts of the supervisor and over reboots.
//!
//! Within a boot it follows the machine's boot clock, so that a wall clock that jumps an hour either way ends no pause
//! early and holds none. Across a reboot the wall clock is all there is: it may be wrong, so what it adds is bounded.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Milliseconds of engine time.
pub type Millis = u64;

/// One second of it.
pub const SECOND: Millis = 1_000;
/// One minute of it.
pub const MINUTE: Millis = 60 * SECOND;
/// One hour of it.
pub const HOUR: Millis = 60 * MINUTE;

/// No reboot counts for more: a host that starts with a wrong clock forgets nothing of value by it.
const LONGEST_AWAY: Millis = 7 * 24 * HOUR;

/// One moment, as the engine is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: for moments that others name (a reset), and for records.
    pub wall: Timestamp,
    /// Engine time: for every duration.
    pub steady: Millis,
}

impl Now {
    /// How far the wall clock is ahead of engine time, in milliseconds.
    pub fn ahead(self) -> i64 {
        self.wall.as_millisecond().saturating_sub(i64::try_from(self.steady).unwrap_or(i64::MAX))
    }
}

/// Engine time with what it was read from last; kept with the engine's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    boot_id: String,
    /// Milliseconds since that boot.
    up: Millis,
    wall: Timestamp,
    now: Millis,
    /// By how many milliseconds the wall clock was set since somebody asked.
    #[serde(skip)]
    set: i64,
}

impl Steady {
    /// Begins at the wall clock, so that a file that is lost costs little.
    pub fn begin(boot_id: &str, up: Millis, wall: Timestamp) -> Self {
        let now = u64::try_from(wall.as_millisecond()).unwrap_or(0);
        Self { boot_id: boot_id.into(), up, wall, now, set: 0 }
    }

    /// By how many milliseconds the wall clock was set within this boot, as of the last time it was read, if that is `least`
    /// or more; told once. Less than that adds up.
    pub fn take_jump(&mut self, least: u64) -> Option<i64> {
        (self.set.unsigned_abs() >= least).then(|| std::mem::take(&mut self.set))
    }

    /// The moment at `up` milliseconds since the boot `boot_id`.
    pub fn at(&mut self, boot_id: &str, up: Millis, wall: Timestamp) -> Now {
        let passed = if self.boot_id == boot_id {
            let passed = up.saturating_sub(self.up);
            let by_wall = wall.as_millisecond().saturating_sub(self.wall.as_millisecond());
            let by = by_wall.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX));
            self.set = self.set.saturating_add(by);
            passed
        } else {
            self.set = 0;
            let away = wall.duration_since(self.wall).as_millis();
            // Whatever the wall clock says, this boot took at least its own time.
            u64::try_from(away).unwrap_or(0).clamp(up.min(LONGEST_AWAY), LONGEST_AWAY)
        };
        self.now += passed;
        if self.boot_id != boot_id {
            self.boot_id = boot_id.into();
        }
        (self.up, self.wall) = (up, wall);
        Now { wall, steady: self.now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_no_time() {
        let mut steady = Steady::begin("a", 5_000, at(1_000_000));
        let start = steady.at("a", 5_000, at(1_000_000)).steady;
        assert_eq!(steady.at("a", 6_000, at(1_003_600)).steady, start + 1_000);
        assert_eq!(steady.at("a", 7_000, at(996_400)).steady, start + 2_000);
    }

    #[test]
    fn a_jump_is_told_once_whoever_read_the_clock_before() {
        let mut steady = Steady::begin("a", 5_000, at(1_000_000));
        steady.at("a", 6_000, at(1_000_001));
        assert_eq!(steady.take_jump(10_000), None);
        // Somebody reads it, and reads it again, before anybody asks.
        steady.at("a", 7_000, at(1_003_602));
        steady.at("a", 8_000, at(1_003_603));
        assert_eq!(steady.take_jump(10_000), Some(3_600_000));
        steady.at("a", 9_000, at(1_003_604));
        assert_eq!(steady.take_jump(10_000), None);
        steady.at("a", 10_000, at(1_000_005));
        assert_eq!(steady.take_jump(10_000), Some(-3_600_000));
        // Small ones add up.
        for second in 1..3 {
            steady.at("a", 10_000 + second * 1_000, at(1_000_005 + i64::try_from(second).unwrap() * 7));
        }
        assert_eq!(steady.take_jump(10_000), Some(12_000));
        steady.at("b", 3_000, at(996_400));
        assert_eq!(steady.take_jump(10_000), None, "a reboot is none");
    }

    #[test]
    fn a_reboot_takes_as_long_as_the_wall_clock_says_within_reason() {
        let mut steady = Steady::begin("a", 5_000, at(1_000_000));
        let start = steady.at("a", 5_000, at(1_000_000)).steady;
        assert_eq!(steady.at("b", 3_000, at(1_000_090)).steady, start + 90_000);
        assert_eq!(steady.at("c", 4_000, at(0)).steady, start + 94_000, "a clock that is lost");
        let far = steady.at("d", 4_000, at(900_000_000)).steady;
        assert_eq!(far, start + 94_000 + LONGEST_AWAY);
    }
}
