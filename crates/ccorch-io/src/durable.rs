//! Files that survive a crash: atomic replacement and appends that are on disk before the caller goes on.
//!
//! A rename is durable only when its directory is synced too (fsync(2), "Calling fsync() does not necessarily ensure
//! that the entry in the directory containing the file has also reached disk").

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
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
    use rustix::fs::OFlags;
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

/// Reads a JSON file; `None` when it does not exist.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            let damaged = |e: serde_json::Error| Damaged { path: path.into(), why: e.to_string() };
            Ok(Some(serde_json::from_slice(&bytes).map_err(damaged)?))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
    }
}

/// The text of a log, `""` when it does not exist. A crash may leave bytes that are no text; they cost their line alone.
pub fn read_log(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
    }
}

/// Appends one line and syncs it. A torn last line of an earlier crash is closed first, so lines never merge.
pub fn append_line(path: &Path, line: &str, mode: u32) -> Result<()> {
    append(path, line, mode, true).with_context(|| format!("append to {}", path.display()))
}

/// The same, and returns before it is on disk: [`sync`] sees to that.
pub fn put_line(path: &Path, line: &str, mode: u32) -> Result<()> {
    append(path, line, mode, false).with_context(|| format!("append to {}", path.display()))
}

fn append(path: &Path, line: &str, mode: u32, sync: bool) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let existed = path.exists();
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(mode).open(path)?;
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
}
