//! Processes by pid: waiting for the end of one that is not ours, and asking one to leave.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process, pidfd_open, setrlimit,
};

/// A handle on a process that stays right when its number is used again. Works across users for waiting.
#[derive(Debug)]
pub struct Watched(OwnedFd);

/// What a file of `/proc` says. Names in it are whatever a process made them: any bytes, cut anywhere.
pub fn about(file: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

/// The process that waits for one; none above the first, nor of one that is gone. Source: `PID (NAME) STATE PARENT ...`,
/// proc_pid_stat(5); the name may have any letter in it.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = about(&Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok().filter(|parent| *parent > 0)
}

/// Opens a handle; `None` when there is no such process.
pub fn watch(pid: u32) -> Result<Option<Watched>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(Watched(fd))),
        Err(Errno::SRCH) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("watch process {pid}")),
    }
}

/// Raises the number of files that this process may have open, as far as it is allowed to.
pub fn allow_files(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_none_or(|current| current >= most) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(most), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).with_context(|| format!("allow {most} open files"))
}

impl Watched {
    /// Waits until it has ended (true) or the time is over (false); without a time, for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let until = timeout.map(|t| Instant::now() + t);
        loop {
            let left = until.map(|until| {
                let left = until.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
            });
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e).context("wait for a process"),
            }
        }
    }
}

/// Sends TERM; that it is gone already is fine.
pub fn terminate(pid: u32) -> Result<()> {
    send(pid, Signal::TERM)
}

/// Sends KILL; that it is gone already is fine.
pub fn kill(pid: u32) -> Result<()> {
    send(pid, Signal::KILL)
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match kill_process(raw, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("send {signal:?} to process {pid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_and_a_dead_one_is_none() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let watched = watch(child.id()).unwrap().unwrap();
        assert!(!watched.wait(Some(Duration::from_millis(10))).unwrap());
        terminate(child.id()).unwrap();
        assert!(watched.wait(Some(Duration::from_secs(10))).unwrap());
        child.wait().unwrap();
        assert!(watch(child.id()).unwrap().is_none());
        terminate(child.id()).unwrap();
    }
}
