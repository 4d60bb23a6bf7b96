//! Watching files by inotify, wherever they are on their way: absent, in a folder that comes later, replaced by a rename,
//! truncated, moved away with the folder above. A change is reported when it has settled.
//!
//! Each folder on the way to a file is watched for names that come and go, and the file itself for its content; so what
//! others write beside it wakes nobody. Source: inotify(7).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// A file that did not change for this long has settled.
pub const SETTLE: Duration = Duration::from_millis(200);
/// One that never settles is reported this long after its first change.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two readings of the queue while something changes, so that a flood costs a bounded number of wake-ups.
const BATCH: Duration = Duration::from_millis(20);
/// Events read at once.
const MOST: usize = 4096;

const FOLDER: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
const FILE: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// Who waits for what happens to one watched inode, by their number.
#[derive(Debug, Default)]
struct Interest {
    /// In a folder on the way: those whose next name this is.
    names: BTreeMap<OsString, BTreeSet<usize>>,
    /// At the end of the way: the file itself, or the folder with all in it.
    whole: BTreeSet<usize>,
}

/// Files (or folders, with the names in them) that are watched.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    paths: Vec<PathBuf>,
    interests: BTreeMap<i32, Interest>,
    /// The first and the latest change of each that has not been reported.
    dirty: BTreeMap<usize, (Instant, Instant)>,
    /// Names came or went: the ways are other ones now.
    moved: bool,
}

impl Watch {
    /// Watches these absolute paths; whether they exist matters not. At first each counts as changed.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("inotify")?;
        let now = Instant::now();
        // Settled from the start: nothing is known of a change.
        let past = now.checked_sub(SETTLE).unwrap_or(now);
        let dirty = (0..paths.len()).map(|i| (i, (past, past))).collect();
        let mut watch = Self { inotify, paths, interests: BTreeMap::new(), dirty, moved: false };
        watch.arm()?;
        Ok(watch)
    }

    /// Waits until some have changed and settled; their places in the list.
    pub fn changed(&mut self) -> Result<Vec<usize>> {
        loop {
            if self.moved {
                self.arm()?;
            }
            let now = Instant::now();
            let settled: Vec<usize> =
                self.dirty.iter().filter(|(_, change)| due(**change) <= now).map(|(i, _)| *i).collect();
            if !settled.is_empty() {
                self.dirty.retain(|i, _| !settled.contains(i));
                return Ok(settled);
            }
            let first = self.dirty.values().map(|change| due(*change)).min();
            self.wait(first.map(|due| due.saturating_duration_since(now)))?;
            self.drain()?;
            if !self.dirty.is_empty() {
                thread::sleep(BATCH);
            }
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<()> {
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        match poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("wait for inotify"),
        }
    }

    fn drain(&mut self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut seen: Vec<(i32, ReadFlags, Option<OsString>)> = Vec::new();
        while seen.len() < MOST {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                    seen.push((event.wd(), event.events(), name));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("read from inotify"),
            }
        }
        // What was read together with the last one and is left in the buffer must not be lost.
        if seen.len() >= MOST {
            seen.push((-1, ReadFlags::QUEUE_OVERFLOW, None));
        }
        let now = Instant::now();
        for (wd, flags, name) in seen {
            self.happened(now, wd, flags, name.as_deref());
        }
        Ok(())
    }

    fn happened(&mut self, now: Instant, wd: i32, flags: ReadFlags, name: Option<&OsStr>) {
        let mut changed: BTreeSet<usize> = BTreeSet::new();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            changed.extend(0..self.paths.len());
            self.moved = true;
        } else if let Some(interest) = self.interests.get(&wd) {
            changed.extend(&interest.whole);
            if let Some(waiting) = name.and_then(|name| interest.names.get(name)) {
                changed.extend(waiting);
                self.moved = true;
            }
            if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED) {
                changed.extend(interest.names.values().flatten());
                self.moved = true;
            }
        }
        for i in changed {
            self.dirty.entry(i).and_modify(|(_, latest)| *latest = now).or_insert((now, now));
        }
    }

    /// Watches every way as it is now. A folder is watched before it is asked for the next name, so nothing that comes
    /// meanwhile is missed.
    fn arm(&mut self) -> Result<()> {
        self.moved = false;
        let mut fresh: BTreeMap<i32, Interest> = BTreeMap::new();
        let mut folders: BTreeMap<PathBuf, Option<i32>> = BTreeMap::new();
        for (i, path) in self.paths.iter().enumerate() {
            // Through a link, both what the link is and what it leads to may change.
            let real = path.canonicalize().ok().filter(|real| real != path);
            for way in [Some(path.clone()), real].into_iter().flatten() {
                self.follow(i, &way, &mut fresh, &mut folders)?;
            }
        }
        for wd in self.interests.keys().filter(|wd| !fresh.contains_key(wd)) {
            // It may be gone with what it watched.
            let _ = inotify::remove_watch(&self.inotify, *wd);
        }
        self.interests = fresh;
        Ok(())
    }

    fn follow(
        &self,
        i: usize,
        way: &Path,
        fresh: &mut BTreeMap<i32, Interest>,
        folders: &mut BTreeMap<PathBuf, Option<i32>>,
    ) -> Result<()> {
        let mut at = PathBuf::from("/");
        for name in way.components().skip(1) {
            let wd = match folders.get(&at) {
                Some(known) => *known,
                None => {
                    let wd = self.add(&at, FOLDER)?;
                    folders.insert(at.clone(), wd);
                    wd
                }
            };
            let Some(wd) = wd else { return Ok(()) };
            let names = &mut fresh.entry(wd).or_default().names;
            names.entry(name.as_os_str().to_owned()).or_default().insert(i);
            at.push(name);
        }
        let wd = if at.is_dir() { self.add(&at, FOLDER)? } else { self.add(&at, FILE)? };
        if let Some(wd) = wd {
            fresh.entry(wd).or_default().whole.insert(i);
        }
        Ok(())
    }

    /// `None` when there is nothing to watch at the path.
    fn add(&self, path: &Path, flags: WatchFlags) -> Result<Option<i32>> {
        match inotify::add_watch(&self.inotify, path, flags) {
            Ok(wd) => Ok(Some(wd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("watch {}", path.display())),
        }
    }
}

/// When a change is to be reported.
fn due((first, latest): (Instant, Instant)) -> Instant {
    (latest + SETTLE).min(first + LONGEST)
}

#[cfg(test)]
mod tests;
