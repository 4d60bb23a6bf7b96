//! Files that survive a crash: atomic replacement and appends that are on disk before the caller goes on.
//!
//! A rename is durable only when its directory is synced too (fsync(2), "Calling fsync() does not necessarily ensure
//! that the entry in the directory containing the file has also reached disk").

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces `path` with `bytes` so that after a crash either the old or the new content is there, whole.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_beside(path, bytes, mode, None, true).with_context(|| format!("write {}", path.display()))
}

fn write_beside(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
    sync: bool,
) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".ccorch-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    if let Some((user, group)) = owner {
        fchown(file.as_file(), Some(user), Some(group))?;
    }
    if sync {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|e| e.error)?;
    if sync { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Replaces `path` with `value` as JSON in one piece, and returns before it is on disk: [`sync`] sees to that.
pub fn put_json(path: &Path, value: &impl Serialize, mode: u32) -> Result<()> {
    put_json_for(path, value, mode, None)
}

/// The same for a file that belongs to a user and a group from its beginning, where they are given.
pub fn put_json_for(path: &Path, value: &impl Serialize, mode: u32, owner: Option<(u32, u32)>) -> Result<()> {
    let bytes = json(path, value)?;
    write_beside(path, &bytes, mode, owner, false).with_context(|| format!("write {}", path.display()))
}

/// Has a file and its name on disk; one that is not there is fine. Waits for no pipe and follows no link: the folder may be
/// another user's.
pub fn sync(path: &Path) -> Result<()> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let sync = || -> io::Result<()> {
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        if file.metadata()?.is_file() {
            file.sync_all()?;
        }
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    sync().with_context(|| format!("sync {}", path.display()))
}

/// [`replace`] with `value` as JSON.
pub fn replace_json(path: &Path, value: &impl Serialize, mode: u32) -> Result<()> {
    replace(path, &json(path, value)?, mode)
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes =
        serde_json::to_vec_pretty(value).with_context(|| format!("serialise {}", path.display()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A state file that does not hold what was written to it.
#[derive(Debug, thiserror::Error)]
#[error("{} is damaged: {why}", path.display())]
pub struct Damaged {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// No state file comes near this, in bytes.
const LARGEST_STATE: u64 = 64 << 20;
/// So much of a log is read, in bytes: its end.
pub const LARGEST_LOG: u64 = 16 << 20;

/// Opens a file of ours without waiting for anybody; `None` when there is none. What is no plain file (a pipe, a folder) is
/// damage.
fn open_plain(path: &Path, how: &mut OpenOptions) -> Result<Option<File>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = match how.custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(damaged(path, "it is no plain file")) }
}

fn damaged(path: &Path, why: impl Into<String>) -> anyhow::Error {
    Damaged { path: path.into(), why: why.into() }.into()
}

/// An error of reading, which names the file; one of damage does already.
fn unread(path: &Path, error: anyhow::Error) -> anyhow::Error {
    if error.is::<Damaged>() { error } else { error.context(format!("read {}", path.display())) }
}

/// Reads a JSON file; `None` when it does not exist. One that holds something else, is no plain file or is far too large is
/// [`Damaged`].
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let read = || -> Result<Option<Vec<u8>>> {
        let Some(file) = open_plain(path, OpenOptions::new().read(true))? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(LARGEST_STATE + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    let Some(bytes) = read().map_err(|error| unread(path, error))? else { return Ok(None) };
    if bytes.len() as u64 > LARGEST_STATE {
        return Err(damaged(path, format!("it is larger than {} MiB", LARGEST_STATE >> 20)));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(path, error.to_string()))
}

/// The text of a log, `""` when it does not exist; of one that is larger than [`LARGEST_LOG`], the last lines. A crash may
/// leave bytes that are no text; they cost their line alone. What is no plain file is [`Damaged`].
pub fn read_log(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let Some(mut file) = open_plain(path, OpenOptions::new().read(true))? else {
            return Ok(String::new());
        };
        let cut = file.metadata()?.len().saturating_sub(LARGEST_LOG);
        file.seek(SeekFrom::Start(cut))?;
        let mut bytes = Vec::new();
        file.take(LARGEST_LOG).read_to_end(&mut bytes)?;
        let begin =
            if cut == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        Ok(String::from_utf8_lossy(&bytes[begin..]).into_owned())
    };
    read().map_err(|error| unread(path, error))
}

/// Appends one line and syncs it. A torn last line of an earlier crash is closed first, so lines never merge.
pub fn append_line(path: &Path, line: &str, mode: u32) -> Result<()> {
    append(path, line, mode, true).with_context(|| format!("append to {}", path.display()))
}

/// The same, and returns before it is on disk: [`sync`] sees to that.
pub fn put_line(path: &Path, line: &str, mode: u32) -> Result<()> {
    append(path, line, mode, false).with_context(|| format!("append to {}", path.display()))
}

fn append(path: &Path, line: &str, mode: u32, sync: bool) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let existed = path.exists();
    let mut how = OpenOptions::new();
    how.create(true).read(true).append(true).mode(mode);
    // None is there only where its folder is missing: it is created otherwise.
    let mut file = open_plain(path, &mut how)?.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    let torn = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{torn}{line}\n").as_bytes())?;
    if sync {
        file.sync_all()?;
    }
    if sync && !existed {
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Removes a file; that it is not there is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Creates a directory and its parents with this mode, or corrects the mode of the one that is there.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    let make = || -> io::Result<()> {
        fs::create_dir_all(path)?;
        if fs::metadata(path)?.permissions().mode() & 0o7777 == mode {
            // As on a read-only file system, where there is nothing to do and nothing can be done.
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    make().with_context(|| format!("create directory {}", path.display()))
}

/// Whether a program's words say that a disk takes nothing: full, over its quota, or read-only.
pub fn disk_refuses(words: &str) -> bool {
    ["No space left on device", "Disk quota exceeded", "Read-only file system"]
        .iter()
        .any(|said| words.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_mode_and_no_litter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        replace_json(&path, &[1, 2], 0o640).unwrap();
        replace_json(&path, &[3], 0o640).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_put_is_whole_and_can_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        sync(&path).unwrap();
        put_json(&path, &[1, 2], 0o640).unwrap();
        put_json(&path, &[3], 0o640).unwrap();
        sync(&path).unwrap();
        let log = dir.path().join("log");
        put_line(&log, "one", 0o600).unwrap();
        put_line(&log, "two", 0o600).unwrap();
        sync(&log).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        fs::remove_file(&log).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // Somebody else's link is not followed.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(sync(&link).is_err());
    }

    #[test]
    fn a_damaged_file_is_named_and_an_absent_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(read_json::<u8>(&path).unwrap(), None);
        fs::write(&path, "{").unwrap();
        assert!(format!("{:#}", read_json::<u8>(&path).unwrap_err()).contains("x.json is damaged"));
    }

    #[test]
    fn a_torn_line_is_closed_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append_line(&path, "one", 0o600).unwrap();
        fs::write(&path, "one\nto").unwrap();
        append_line(&path, "three", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nto\nthree\n");
    }

    #[test]
    fn what_is_no_plain_file_or_far_too_large_is_damage_and_waits_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let pipe = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, pipe, 0).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for name in ["pipe", "folder"] {
            let why = format!("{name} is damaged: it is no plain file");
            assert!(read_json::<u8>(&at(name)).unwrap_err().to_string().ends_with(&why), "{name}");
            assert!(read_log(&at(name)).unwrap_err().to_string().ends_with(&why), "{name}");
            assert!(append_line(&at(name), "line", 0o600).is_err(), "{name}");
        }
        let sparse = File::create(at("sparse")).unwrap();
        sparse.set_len(1 << 42).unwrap();
        assert!(read_json::<u8>(&at("sparse")).unwrap_err().is::<Damaged>());
        append_line(&at("sparse"), "last", 0o600).unwrap();
        assert_eq!(read_log(&at("sparse")).unwrap(), "last\n");
        assert!(append_line(&at("none/log"), "line", 0o600).is_err());
    }
}
