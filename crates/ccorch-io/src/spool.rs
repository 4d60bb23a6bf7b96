//! A bounded folder of messages that nobody was there to take: many processes put them in, one takes them out in order.
//!
//! The folder is another user's than the taker's, so no link in it is followed, and only plain files of the expected
//! owner are read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// No folder has more messages; the oldest make room.
pub const MOST: usize = 256;

/// Puts a message in, durably. Messages are ordered by `order` and then by process; one too many drops the oldest.
pub fn put(dir: &Path, order: u128, bytes: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let name = format!("{order:020}-{:07}", std::process::id());
        let draft = dir.join(format!(".{name}"));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, dir.join(name))?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("spool into {}", dir.display()))?;
    let names = names(fs::read_dir(dir)?.flatten().map(|entry| entry.file_name().into_encoded_bytes()));
    for name in names.iter().take(names.len().saturating_sub(MOST)) {
        // Somebody else may have taken it.
        let _ = fs::remove_file(dir.join(name));
    }
    Ok(())
}

/// Those that are whole, oldest first.
fn names(all: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    let mut names: Vec<String> =
        all.filter_map(|name| String::from_utf8(name).ok()).filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    names
}

/// What was taken out, to be removed when it has been dealt with.
#[derive(Debug)]
pub struct Taken {
    dir: PathBuf,
    /// The messages, oldest first.
    pub messages: Vec<Vec<u8>>,
    names: Vec<String>,
}

/// Looks into the folder of `owner`; none when it is not there or empty. Files of others, links and what is longer than
/// `longest` are removed unread.
pub fn take(dir: &Path, owner: u32, longest: usize) -> io::Result<Option<Taken>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = match openat(CWD, dir, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let entries = Dir::read_from(&handle)?.flatten().map(|entry| entry.file_name().to_bytes().to_vec());
    // A flood of files is bounded here too: whoever fills the folder need not keep to our rules.
    let names = names(entries.take(MOST * 4));
    let read = |name: &String| -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&handle, name.as_str(), flags, Mode::empty()).ok()?);
        let meta = file.metadata().ok()?;
        let fine = meta.is_file() && meta.uid() == owner && meta.len() <= longest as u64;
        let mut bytes = Vec::new();
        fine.then(|| file.take(longest as u64).read_to_end(&mut bytes).ok())??;
        Some(bytes)
    };
    let from = names.len().saturating_sub(MOST);
    let messages = names[from..].iter().filter_map(read).collect();
    if names.is_empty() {
        return Ok(None);
    }
    Ok(Some(Taken { dir: dir.to_owned(), messages, names }))
}

impl Taken {
    /// Removes what was taken.
    pub fn done(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = openat(CWD, &self.dir, flags, Mode::empty())?;
        for name in &self.names {
            match unlinkat(&handle, name.as_str(), AtFlags::empty()) {
                // A folder by that name is nothing of ours; it stays and is passed over.
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, me) = (dir.path().join("s"), rustix::process::geteuid().as_raw());
        assert!(take(&dir, me, 64).unwrap().is_none());
        for order in [3, 1, 2] {
            put(&dir, order, format!("m{order}").as_bytes()).unwrap();
        }
        let taken = take(&dir, me, 64).unwrap().unwrap();
        assert_eq!(taken.messages, [b"m1", b"m2", b"m3"]);
        put(&dir, 4, b"m4").unwrap();
        taken.done().unwrap();
        assert_eq!(take(&dir, me, 64).unwrap().unwrap().messages, [b"m4"]);
    }

    #[test]
    fn it_is_bounded_and_the_newest_stay() {
        let dir = tempfile::tempdir().unwrap();
        let me = rustix::process::geteuid().as_raw();
        for order in 0..MOST as u128 + 5 {
            put(dir.path(), order, format!("{order}").as_bytes()).unwrap();
        }
        let taken = take(dir.path(), me, 64).unwrap().unwrap();
        assert_eq!((taken.messages.len(), taken.messages[0].as_slice()), (MOST, b"5".as_slice()));
    }

    #[test]
    fn nothing_but_plain_files_of_the_owner_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let me = rustix::process::geteuid().as_raw();
        let secret = dir.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let spool = dir.path().join("spool");
        put(&spool, 5, b"good").unwrap();
        std::os::unix::fs::symlink(&secret, spool.join("1")).unwrap();
        fs::write(spool.join("2"), "x".repeat(65)).unwrap();
        fs::create_dir(spool.join("3")).unwrap();
        rustix::fs::mknodat(CWD, spool.join("4"), rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        let taken = take(&spool, me, 64).unwrap().unwrap();
        assert_eq!(taken.messages, [b"good"]);
        taken.done().unwrap();
        assert!(secret.exists() && !spool.join("1").exists());
        assert!(take(&spool, me + 1, 64).unwrap().is_none_or(|taken| taken.messages.is_empty()));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&spool, &link).unwrap();
        assert!(take(&link, me, 64).is_err());
    }
}
