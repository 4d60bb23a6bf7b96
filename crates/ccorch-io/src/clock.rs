//! The clocks: wall time for records, boot identity and boot time for the reboot log.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};

/// Wall time now, to the millisecond: what is recorded is what is shown.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The kernel's random id of this boot, the one identity a restart of a service cannot fake.
/// Source: `/proc/sys/kernel/random/boot_id`, random(4).
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).with_context(|| format!("read {path}"))?.trim().to_owned())
}

/// Time since the kernel's boot, the time it slept included: for durations on this one machine, in this one boot.
/// Source: CLOCK_BOOTTIME, clock_gettime(2).
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Sleeps until that much time since the kernel's boot has passed. A machine that was asleep meanwhile is woken from
/// the wait at once when it wakes. Source: clock_nanosleep(2) with TIMER_ABSTIME on CLOCK_BOOTTIME.
pub fn sleep_until(since_boot: Duration) {
    let until = rustix::time::Timespec {
        tv_sec: i64::try_from(since_boot.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(since_boot.subsec_nanos()),
    };
    // A signal ends the sleep early; whoever waits looks at the clock again.
    let _ = rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Boottime, &until);
}

/// When pid 1 of this machine (or container) started, by the wall clock as it stands now.
/// Source: field 22 of `/proc/1/stat` in clock ticks since the kernel's boot, and `/proc/stat` `btime`; proc(5).
pub fn boot_time() -> Result<Timestamp> {
    let stat = fs::read_to_string("/proc/1/stat").context("read /proc/1/stat")?;
    let kernel = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    parse_boot_time(&stat, &kernel, ticks_per_second)
        .context("/proc/1/stat or /proc/stat is not as proc(5) says")
}

fn parse_boot_time(pid1_stat: &str, kernel_stat: &str, ticks_per_second: u64) -> Option<Timestamp> {
    // The command in field 2 may hold spaces and parentheses, so count fields from behind its last one.
    let after_command = pid1_stat.rsplit_once(')')?.1;
    let ticks: u64 = after_command.split_whitespace().nth(19)?.parse().ok()?;
    let btime: i64 = kernel_stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let since = SignedDuration::from_millis(i64::try_from(ticks.checked_mul(1000)? / ticks_per_second).ok()?);
    Timestamp::from_second(btime).ok()?.checked_add(since).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_survives_a_strange_command_name() {
        let mut fields = vec!["0"; 30];
        fields[0] = "S";
        fields[19] = "250";
        let stat = format!("1 (a) b) {}", fields.join(" "));
        let time = parse_boot_time(&stat, "cpu 1\nbtime 1000\n", 100).unwrap();
        assert_eq!(time, Timestamp::from_millisecond(1_002_500).unwrap());
    }

    #[test]
    fn this_machine_has_booted_before_now() {
        assert!(boot_time().unwrap() < now());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
