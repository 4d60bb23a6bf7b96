//! Recording boots: once per boot_id, whoever comes first; and the heartbeat that downtime is counted from.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ccorch_core::boot::{BootState, Reboot, Seen, observe};
use ccorch_io::command::Failure;
use ccorch_io::lock::Lock;
use ccorch_io::{clock, content, durable, lock};
use jiff::{SignedDuration, Timestamp};

use super::runtime::command_as;
use super::{Here, events};

/// So much of a handoff note is read, in bytes; none comes near.
pub const LONGEST_NOTE: u64 = 64 << 10;
/// The log in the workspace takes a line within this time, or goes without: the supervisor's main loop waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// As long as a boot is young, each heartbeat looks whether the clock was set since.
const YOUNG: SignedDuration = SignedDuration::from_hours(1);

/// Records this boot if it is new. Safe to call from several processes at once.
pub fn record(here: &Here) -> Result<Seen> {
    let _turn = turn(here)?;
    let last: Option<BootState> = durable::read_json(&here.paths.boot())?;
    let boot_id = clock::boot_id()?;
    // A log that cannot be read is the supervisor's to mend, and no reason to forget a boot.
    let log = log(here).unwrap_or_else(|error| {
        events::record(here, "warning", None, format!("{error:#}"));
        Log::default()
    });
    let logged = &log.reboots;
    let seen = observe(last.as_ref(), &boot_id, clock::boot_time()?, log.count());
    if let Seen::Rebooted(reboot) = &seen {
        // First the log, then the mark: a crash in between repeats a line's attempt, and the boot_id tells.
        if logged.last().is_none_or(|r| r.boot_id != boot_id) {
            durable::append_line(&here.paths.reboots(), &serde_json::to_string(reboot)?, 0o644)?;
            events::record(here, "reboot", None, reboot.sentence());
            tell_people(here, reboot);
            // Whoever records the boot, the supervisor tells the orchestrator sessions.
            let news = content::text(&here.paths.handoff(), LONGEST_NOTE).ok().flatten().unwrap_or_default();
            let news = format!("{news}{}\n", reboot.sentence());
            durable::replace(&here.paths.handoff(), news.as_bytes(), 0o644)?;
        }
    }
    if seen != Seen::Same {
        let state = BootState { boot_id, heartbeat: clock::now(), shut_down: false };
        durable::replace_json(&here.paths.boot(), &state, 0o644)?;
    }
    Ok(seen)
}

/// The sign of life, and whether the machine is going down in order.
pub fn heartbeat(here: &Here, shut_down: bool) -> Result<()> {
    let state = BootState { boot_id: clock::boot_id()?, heartbeat: clock::now(), shut_down };
    durable::replace_json(&here.paths.boot(), &state, 0o644)?;
    let booted_at = clock::boot_time()?;
    // A clock that was wrong at the boot is put right by then, and years of reboots are not read twice a minute for ever.
    if clock::now().duration_since(booted_at) > YOUNG {
        return Ok(());
    }
    tell_amended(here, booted_at)
}

/// The wall clock was set: what was told of this boot may have been wrong, however long it has lasted.
pub fn clock_was_set(here: &Here) -> Result<()> {
    tell_amended(here, clock::boot_time()?)
}

fn tell_amended(here: &Here, booted_at: Timestamp) -> Result<()> {
    let Some(reboot) = amend(&here.paths.reboots(), &clock::boot_id()?, booted_at)? else {
        return Ok(());
    };
    events::record(here, "reboot-amended", None, reboot.sentence());
    append(here, &format!("  - The clock was set since. {}\n", reboot.sentence()));
    Ok(())
}

/// Has the log tell of this boot by the clock as it is set now; what is said anew, if anything is.
fn amend(log: &Path, boot_id: &str, booted_at: Timestamp) -> Result<Option<Reboot>> {
    let last = read(log)?.reboots.pop().filter(|reboot| reboot.boot_id == boot_id);
    let Some(amended) = last.and_then(|last| last.amended(booted_at, clock::now())) else { return Ok(None) };
    durable::append_line(log, &serde_json::to_string(&amended)?, 0o644)?;
    Ok(Some(amended))
}

/// What the log of reboots holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// All reboots, oldest first; of one that was amended, the newest line.
    pub reboots: Vec<Reboot>,
    /// Lines that tell of none.
    pub damaged: usize,
}

impl Log {
    /// How many reboots there were, whether or not each one's line can be read.
    pub fn count(&self) -> u64 {
        self.reboots.iter().map(|reboot| reboot.number).max().unwrap_or(0).max(self.reboots.len() as u64)
    }

    /// What is wrong with it, in words.
    pub fn trouble(&self, here: &Here) -> Option<String> {
        let lines = match self.damaged {
            0 => return None,
            1 => "1 line of".to_owned(),
            n => format!("{n} lines of"),
        };
        let (is, file) = (if self.damaged == 1 { "is" } else { "are" }, here.paths.reboots());
        Some(format!(
            "{lines} the reboot log {} {is} damaged and passed over; the supervisor puts such a log aside when it starts",
            file.display()
        ))
    }
}

/// The log of reboots; of one that is far too large, its end.
pub fn log(here: &Here) -> Result<Log> {
    read(&here.paths.reboots())
}

/// Whoever writes the log waits for their turn.
pub fn turn(here: &Here) -> Result<Lock> {
    lock::wait(&here.paths.state().join("boot.lock"))
}

fn read(log: &Path) -> Result<Log> {
    let text = durable::read_log(log)?;
    let (mut all, mut damaged): (Vec<Reboot>, usize) = (Vec::new(), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match (serde_json::from_str::<Reboot>(line), all.last_mut()) {
            (Ok(reboot), Some(last)) if last.boot_id == reboot.boot_id => *last = reboot,
            (Ok(reboot), _) => all.push(reboot),
            (Err(_), _) => damaged += 1,
        }
    }
    Ok(Log { reboots: all, damaged })
}

/// The reboot of this very boot, if this boot is one.
pub fn of_this_boot(here: &Here) -> Option<Reboot> {
    let boot_id = clock::boot_id().ok()?;
    log(here).ok()?.reboots.pop().filter(|reboot| reboot.boot_id == boot_id)
}

/// A line about a reboot, for people.
fn tell_people(here: &Here, reboot: &Reboot) {
    append(here, &format!("- {} Host `{}`, boot {}.\n", reboot.sentence(), here.name, reboot.boot_id));
}

/// Appends to the log in the workspace, with its user's own rights: the folder belongs to the agents, and a link they
/// put there must not lead root astray.
fn append(here: &Here, line: &str) {
    let path = here.in_workspace(&here.rig.workspace.reboot_log);
    if let Err(error) = append_as(&here.rig.workspace.user, &path, line)
        .context("the reboot log in the workspace was not written")
    {
        events::record(here, "warning", None, format!("{error:#}"));
    }
}

/// Appends to a plain file and to nothing else: whoever opens a pipe to write waits until somebody reads it.
fn append_as(user: &str, path: &Path, line: &str) -> Result<()> {
    let shown = path.display().to_string();
    let plain = ["test", "!", "-e", &shown, "-o", "-f", &shown];
    match command_as(user, &plain).deadline(PATIENCE).run() {
        Err(error) if error.failure == Failure::Exit(1) => bail!("{shown} is no plain file; move it away"),
        done => done?,
    };
    let argv = ["dd", &format!("of={shown}"), "oflag=append,nonblock", "conv=notrunc", "status=none"];
    command_as(user, &argv).input(line).deadline(PATIENCE).run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_in_the_past_is_told_anew_once_and_stays_one_reboot() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("reboots.jsonl");
        let ago = |seconds| clock::now().checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
        let reboot = |number, boot_id: &str| Reboot {
            number,
            booted_at: ago(9_000_000),
            last_alive: ago(100),
            downtime_ms: 0,
            clean: false,
            boot_id: boot_id.into(),
        };
        for reboot in [reboot(1, "a"), reboot(2, "b")] {
            durable::append_line(&log, &serde_json::to_string(&reboot).unwrap(), 0o644).unwrap();
        }
        assert_eq!(amend(&log, "c", ago(60)).unwrap(), None, "a boot that is none of the log's");
        let booted_at = ago(60);
        let amended = amend(&log, "b", booted_at).unwrap().unwrap();
        assert!((39_000..42_000).contains(&amended.downtime_ms), "{amended:?}");
        assert_eq!(amend(&log, "b", booted_at).unwrap(), None, "once");
        let all = read(&log).unwrap();
        assert_eq!(all.reboots, [all.reboots[0].clone(), amended]);
        assert_eq!((all.count(), all.damaged), (2, 0));
        // A line that cannot be read is counted, and its number is not given again.
        durable::append_line(&log, "torn", 0o644).unwrap();
        durable::append_line(&log, &serde_json::to_string(&reboot(7, "h")).unwrap(), 0o644).unwrap();
        let all = read(&log).unwrap();
        assert_eq!((all.reboots.len(), all.count(), all.damaged), (3, 7, 1));
    }
}
