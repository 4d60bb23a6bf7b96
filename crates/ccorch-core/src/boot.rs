//! Reboots: when a boot is one, how long the host was away, and whether it went down in order.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What a host keeps about its current boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootState {
    /// The kernel's id of the boot.
    pub boot_id: String,
    /// The last sign of life in it.
    pub heartbeat: Timestamp,
    /// Set when the machine began to shut down in order.
    #[serde(default)]
    pub shut_down: bool,
}

/// One reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// Counted from 1.
    pub number: u64,
    /// When the new boot began.
    pub booted_at: Timestamp,
    /// The last sign of life before it.
    pub last_alive: Timestamp,
    /// From there to the boot, in milliseconds; 0 where the clock makes no sense of it.
    pub downtime_ms: u64,
    /// Whether the shutdown was in order.
    pub clean: bool,
    /// The new boot's id.
    pub boot_id: String,
}

/// What the present boot is to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The first boot this host ever records: a baseline, not a reboot.
    Baseline,
    /// The boot already recorded; a service restarted.
    Same,
    /// A reboot.
    Rebooted(Reboot),
}

/// Tells a reboot from a restart of a service: only the kernel's boot_id decides.
pub fn observe(last: Option<&BootState>, boot_id: &str, booted_at: Timestamp, reboots: u64) -> Seen {
    match last {
        None => Seen::Baseline,
        Some(last) if last.boot_id == boot_id => Seen::Same,
        Some(last) => {
            let away = booted_at.duration_since(last.heartbeat).max(SignedDuration::ZERO);
            Seen::Rebooted(Reboot {
                number: reboots + 1,
                booted_at,
                last_alive: last.heartbeat,
                downtime_ms: u64::try_from(away.as_millis()).unwrap_or(0),
                clean: last.shut_down,
                boot_id: boot_id.into(),
            })
        }
    }
}

/// A smaller change of the wall clock is no news.
const STEP: SignedDuration = SignedDuration::from_secs(5);
/// A clock that is set later than this after the boot says nothing about it.
const EARLY: SignedDuration = SignedDuration::from_hours(1);

impl Reboot {
    /// This reboot as the wall clock has it since it was set, by the network or by a person: a machine without a battery
    /// for its clock boots in the past. `booted_at` is when it booted by the clock of now; nothing when that is no news.
    pub fn amended(&self, booted_at: Timestamp, now: Timestamp) -> Option<Self> {
        let step = booted_at.duration_since(self.booted_at).abs();
        if step < STEP || now.duration_since(booted_at) > EARLY {
            return None;
        }
        let away = booted_at.duration_since(self.last_alive).max(SignedDuration::ZERO);
        let downtime_ms = u64::try_from(away.as_millis()).unwrap_or(0);
        Some(Self { booted_at, downtime_ms, ..self.clone() })
    }

    /// One sentence for people and for the orchestrator session.
    pub fn sentence(&self) -> String {
        let manner = if self.clean { "after a clean shutdown" } else { "without a clean shutdown" };
        let down = SignedDuration::from_millis(i64::try_from(self.downtime_ms).unwrap_or(i64::MAX));
        format!("Reboot {}: up again at {} {manner}, down for {down:#}.", self.number, self.booted_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn state(boot_id: &str) -> BootState {
        BootState { boot_id: boot_id.into(), heartbeat: at(1000), shut_down: true }
    }

    #[test]
    fn only_another_boot_id_is_a_reboot() {
        assert_eq!(observe(None, "a", at(1), 0), Seen::Baseline);
        assert_eq!(observe(Some(&state("a")), "a", at(9999), 3), Seen::Same);
        let Seen::Rebooted(reboot) = observe(Some(&state("a")), "b", at(1042), 3) else {
            panic!("no reboot")
        };
        assert_eq!((reboot.number, reboot.downtime_ms, reboot.clean), (4, 42_000, true));
        let sentence = "Reboot 4: up again at 1970-01-01T00:17:22Z after a clean shutdown, down for 42s.";
        assert_eq!(reboot.sentence(), sentence);
    }

    #[test]
    fn a_clock_that_is_set_after_the_boot_amends_it() {
        let Seen::Rebooted(reboot) = observe(Some(&state("a")), "b", at(5), 0) else { panic!("no reboot") };
        assert_eq!(reboot.amended(at(9), at(20)), None, "no news");
        let amended = reboot.amended(at(1030), at(1060)).unwrap();
        assert_eq!((amended.booted_at, amended.downtime_ms), (at(1030), 30_000));
        assert_eq!(amended.amended(at(1030), at(1070)), None, "once");
        assert_eq!(reboot.amended(at(1030), at(1030 + 3601)), None, "too late to be about the boot");
    }

    #[test]
    fn a_wrong_clock_gives_no_negative_downtime() {
        let Seen::Rebooted(reboot) = observe(Some(&state("a")), "b", at(5), 0) else { panic!("no reboot") };
        assert_eq!(reboot.downtime_ms, 0);
    }
}
