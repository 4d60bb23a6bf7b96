//! A folder in which one program leaves things for another, one file each: written by whoever owns it, emptied by root.
//!
//! What agents own can lead nobody astray: the way is gone name by name without following links, and only small plain
//! files with one name are read. Source: openat(2), `O_NOFOLLOW`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

use crate::{clock, durable};

/// So many may wait.
pub const MOST: usize = 200;
/// The largest thing that is left, in bytes.
pub const LONGEST: u64 = 64 << 10;

/// What becomes of one thing too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Who leaves it is told that nobody takes them.
    Refuse,
    /// The oldest makes room.
    DropOldest,
}

/// Leaves one thing; it is there whole or not at all.
pub fn leave(dir: &Path, bytes: &[u8], full: Full) -> Result<()> {
    if !dir.is_dir() {
        durable::create_dir(dir, 0o700)?;
    }
    let read = || format!("read {}", dir.display());
    let mut waiting: Vec<OsString> =
        std::fs::read_dir(dir).with_context(read)?.flatten().map(|entry| entry.file_name()).collect();
    if waiting.len() >= MOST && full == Full::Refuse {
        bail!("{} holds {} that nobody has taken", dir.display(), waiting.len());
    }
    waiting.retain(|name| !name.as_bytes().starts_with(b"."));
    waiting.sort();
    for name in waiting.iter().take((waiting.len() + 1).saturating_sub(MOST)) {
        // Somebody else may have taken it.
        let _ = std::fs::remove_file(dir.join(name));
    }
    let name = format!("{:020}-{}", turn(waiting.last()), uuid::Uuid::new_v4().simple());
    durable::replace(&dir.join(name), bytes, 0o600)
}

/// Names sort in the order in which things were left. It is the time in nanoseconds, and behind the `last` that waits
/// whatever a clock that was set back says.
fn turn(last: Option<&OsString>) -> u128 {
    let now = u128::try_from(clock::now().as_nanosecond()).unwrap_or(0);
    let last = last.and_then(|name| name.to_str()?.split('-').next()?.parse::<u64>().ok());
    last.map_or(now, |last| now.max(u128::from(last) + 1))
}

/// An open folder.
#[derive(Debug)]
pub struct Spool(OwnedFd);

impl Spool {
    /// Opens `base`, which is trusted, and below it one name after the other; `None` when one is not there.
    pub fn open(base: &Path, names: &[&str]) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut dir = match openat(CWD, base, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            dir => dir?,
        };
        for name in names {
            dir = match openat(&dir, *name, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                dir => dir?,
            };
        }
        Ok(Some(Self(dir)))
    }

    /// What lies there, oldest first, no more than [`MOST`]. What is still being written has a name with a dot in front.
    pub fn list(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)?.take(MOST * 4) {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if !name.as_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        names.sort();
        names.truncate(MOST);
        Ok(names)
    }

    /// Reads one; with `owner`, one of this user's.
    pub fn read(&self, name: &OsStr, owner: Option<u32>) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1;
        if !plain || u64::try_from(stat.st_size).unwrap_or(u64::MAX) > LONGEST {
            return Err(io::Error::other("it is no small plain file"));
        }
        if owner.is_some_and(|owner| owner != stat.st_uid) {
            return Err(io::Error::other(format!("it is uid {}'s", stat.st_uid)));
        }
        let mut bytes = Vec::new();
        std::fs::File::from(file).take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Removes one; that it is gone is fine. A folder that was put there goes when it is empty.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?),
            Err(Errno::NOENT) => Ok(()),
            done => Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_left_is_taken_in_order_and_no_more_than_may_wait() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("loop/notify");
        assert!(Spool::open(dir.path(), &["loop", "notify"]).unwrap().is_none());
        for n in 0..3 {
            leave(&folder, format!("{n}").as_bytes(), Full::Refuse).unwrap();
        }
        let spool = Spool::open(dir.path(), &["loop", "notify"]).unwrap().unwrap();
        let names = spool.list().unwrap();
        let read: Vec<Vec<u8>> = names.iter().map(|name| spool.read(name, None).unwrap()).collect();
        assert_eq!(read, [b"0", b"1", b"2"]);
        let me = rustix::process::geteuid().as_raw();
        assert!(spool.read(&names[0], Some(me)).is_ok() && spool.read(&names[0], Some(me + 1)).is_err());
        spool.remove(&names[0]).unwrap();
        spool.remove(&names[0]).unwrap();
        assert_eq!(spool.list().unwrap(), names[1..]);
        let refused = (0..MOST).filter(|_| leave(&folder, b"x", Full::Refuse).is_err()).count();
        assert_eq!(refused, 2);
        leave(&folder, b"y", Full::DropOldest).unwrap();
        let waiting = spool.list().unwrap();
        assert_eq!((waiting.len(), waiting.contains(&names[1])), (MOST, false));
        assert_eq!(spool.read(&waiting[MOST - 1], None).unwrap(), b"y");
    }

    #[test]
    fn a_clock_that_was_set_back_changes_no_order() {
        let dir = tempfile::tempdir().unwrap();
        let in_an_hour = clock::now().as_nanosecond() + 3_600_000_000_000;
        fs::write(dir.path().join(format!("{in_an_hour:020}-0")), "0").unwrap();
        leave(dir.path(), b"1", Full::Refuse).unwrap();
        leave(dir.path(), b"2", Full::Refuse).unwrap();
        let spool = Spool::open(dir.path(), &[]).unwrap().unwrap();
        let read: Vec<Vec<u8>> =
            spool.list().unwrap().iter().map(|name| spool.read(name, None).unwrap()).collect();
        assert_eq!(read, [b"0", b"1", b"2"]);
    }

    #[test]
    fn links_lead_nobody_astray() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "s").unwrap();
        fs::create_dir_all(dir.path().join("loops/a/notify/folder")).unwrap();
        symlink(&secret, dir.path().join("loops/b")).unwrap();
        let notify = dir.path().join("loops/a/notify");
        symlink(secret.join("key"), notify.join("link")).unwrap();
        fs::hard_link(secret.join("key"), notify.join("hard")).unwrap();
        fs::write(notify.join("huge"), vec![b'x'; 1 << 20]).unwrap();
        assert!(Spool::open(&dir.path().join("loops"), &["b"]).is_err());
        let spool = Spool::open(&dir.path().join("loops"), &["a", "notify"]).unwrap().unwrap();
        let names = spool.list().unwrap();
        assert_eq!(names, ["folder", "hard", "huge", "link"]);
        for name in names {
            assert!(spool.read(&name, None).is_err(), "{name:?}");
            spool.remove(&name).unwrap();
        }
        assert_eq!(fs::read_to_string(secret.join("key")).unwrap(), "s");
    }
}
