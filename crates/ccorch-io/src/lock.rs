//! One run at a time: an advisory lock (flock(2)) on a file that says who holds it.
//!
//! The kernel releases the lock with the process, so a crash leaves nothing to clean up.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::process;

/// How long a lock whose holder was killed may take to be free.
const LEFT_BY_THE_DEAD: Duration = Duration::from_secs(10);

/// Between two looks at a lock that somebody holds.
const LOOK: Duration = Duration::from_millis(50);

/// A held lock; released when dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it would not do while a process that is being started has a copy of it, until its exec closes that.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Somebody else holds the lock.
#[derive(Debug, thiserror::Error)]
#[error("another run is at work: {holder} (lock {})", path.display())]
pub struct Held {
    /// Who, in their own words: command, pid and start time.
    pub holder: String,
    /// The lock file.
    pub path: PathBuf,
}

/// Takes the lock or fails at once with [`Held`]. `who` is what the next one is told, `pid PID` among it.
pub fn acquire(path: &Path, who: &str) -> Result<Lock> {
    let opened =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    let mut file = opened.with_context(|| format!("open lock {}", path.display()))?;
    let end = Instant::now() + LEFT_BY_THE_DEAD;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error).with_context(|| format!("lock {}", path.display())),
        }
        let holder = fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        if !has_ended(&holder) || Instant::now() > end {
            return Err(Held { holder, path: path.into() }.into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    // On a full disk the next one is not told who holds it; held it is.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{who}"));
    Ok(Lock { file })
}

/// Whether the process that took the lock is over, or has become this one by exec: one that it was starting may have a copy
/// until its own exec closes that.
fn has_ended(holder: &str) -> bool {
    let digits = holder.rsplit("pid ").next().unwrap_or_default();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let Ok(pid) = digits.parse() else { return false };
    if pid == std::process::id() {
        return true;
    }
    match process::watch(pid) {
        Ok(Some(watched)) => watched.wait(Some(Duration::ZERO)).unwrap_or(false),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Waits for one's turn, for short sections that several processes of one host share.
pub fn wait(path: &Path) -> Result<Lock> {
    let file = open(path)?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("lock {}", path.display()))?;
    Ok(Lock { file })
}

fn open(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    // A disk that takes no writes any more holds nobody up whose lock file is there.
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => File::open(path),
        opened => opened,
    };
    file.with_context(|| format!("open lock {}", path.display()))
}

/// Waits for one's turn; a process that has not given it up after `grace` is killed, with all that inherited it.
pub fn wait_or_end(path: &Path, grace: Duration) -> Result<Lock> {
    let file = open(path)?;
    let until = Instant::now() + grace;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != Errno::WOULDBLOCK {
            return Err(error).with_context(|| format!("lock {}", path.display()));
        }
        let over = Instant::now().saturating_duration_since(until);
        ensure!(over < LEFT_BY_THE_DEAD, "{} is held by what cannot be ended", path.display());
        if over > Duration::ZERO {
            for pid in holders(&file)? {
                // It may be over by now.
                let _ = process::kill(pid);
            }
        }
        thread::sleep(LOOK);
    }
    Ok(Lock { file })
}

/// Other processes that have this file open. Those of other users are seen by root alone.
fn holders(file: &File) -> Result<Vec<u32>> {
    let this = file.metadata()?;
    let same = |open: &fs::DirEntry| {
        fs::metadata(open.path()).is_ok_and(|found| (found.dev(), found.ino()) == (this.dev(), this.ino()))
    };
    let mut pids = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(mut opens) = fs::read_dir(process.path().join("fd")) else { continue };
        if pid != std::process::id() && opens.any(|open| open.is_ok_and(|open| same(&open))) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_in_a_process_that_was_started_meanwhile_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = acquire(&path, "first").unwrap();
        let copy = first.file.try_clone().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(copy).spawn().unwrap();
        drop(first);
        let second = acquire(&path, "second");
        child.kill().unwrap();
        child.wait().unwrap();
        second.unwrap();
    }

    #[test]
    fn who_does_not_give_it_up_is_ended_with_its_children() {
        use std::process::Command;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // The command that took it is over, and its child has it.
        let script = "exec 9> \"$1\"; flock -s 9; sleep 600 & exec 8> \"$1.begun\"; wait";
        let mut holder = Command::new("sh").args(["-c", script, "sh"]).arg(&path).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !dir.path().join("lock.begun").exists() {
            assert!(Instant::now() < until, "it never began");
            thread::sleep(Duration::from_millis(10));
        }
        let begun = Instant::now();
        let lock = wait_or_end(&path, Duration::from_millis(300)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300), "nobody was waited for");
        assert!(!holder.wait().unwrap().success());
        assert_eq!(holders(&lock.file).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn what_a_killed_run_was_starting_holds_it_for_a_moment() {
        use std::io::Read;
        use std::process::{Command, Stdio};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        fs::write(&path, format!("provision, pid {}, since now\n", dead.id())).unwrap();
        // Another process has its lock, until it hears that this test is on its way.
        let mut copy = Command::new("flock");
        copy.arg(&path).args(["-c", "echo; read -r go"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut copy = copy.spawn().unwrap();
        copy.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let go = copy.stdin.take();
        let ends = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            drop(go);
            copy.wait().unwrap()
        });
        let taken = acquire(&path, "other");
        ends.join().unwrap();
        taken.unwrap();
    }

    #[test]
    fn the_second_is_told_who_holds_it_and_the_third_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let who = format!("cutover, pid {}", std::process::id());
        let first = acquire(&path, &who).unwrap();
        let refused = acquire(&path, "other").unwrap_err();
        assert_eq!(refused.downcast_ref::<Held>().unwrap().holder, who);
        drop(first);
        acquire(&path, "third").unwrap();
    }
}
