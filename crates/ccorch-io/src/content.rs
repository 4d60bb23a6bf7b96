//! Reading files that agents own: bounded, and never waiting, whatever lies at the path.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Opens a regular file; `None` when there is nothing, or something that is no file (a folder, a pipe).
pub fn open(path: &Path) -> io::Result<Option<File>> {
    open_with(path, OFlags::empty())
}

fn open_with(path: &Path, more: OFlags) -> io::Result<Option<File>> {
    // A pipe without a writer would block the open.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | more).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        file => file?,
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The first `longest` bytes as text; invalid UTF-8 is replaced.
pub fn text(path: &Path, longest: u64) -> io::Result<Option<String>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// No more than `longest` bytes from where `from` says, given the file's length.
pub fn part(path: &Path, longest: u64, from: impl FnOnce(u64) -> u64) -> io::Result<Option<Vec<u8>>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let from = from(file.metadata()?.len());
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// A small JSON file that is its owner's to write, and nobody's to lead elsewhere: no link is followed. What cannot be read
/// is none.
pub fn json<T: DeserializeOwned>(path: &Path, longest: u64) -> Option<T> {
    let file = open_with(path, OFlags::NOFOLLOW).ok()??;
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fingerprint {
    /// Nothing: there is no file, or nothing but white space in it.
    Nothing,
    /// The SHA-256 of all of it, in hexadecimal.
    Of(String),
    /// More than was to be read.
    TooLarge,
}

/// What a file holds, of which no more than `longest` bytes are read.
pub fn fingerprint(path: &Path, longest: u64) -> io::Result<Fingerprint> {
    let Some(file) = open(path)? else { return Ok(Fingerprint::Nothing) };
    if file.metadata()?.len() > longest {
        return Ok(Fingerprint::TooLarge);
    }
    // It may grow meanwhile.
    let (mut file, mut left) = (file.take(longest + 1), longest);
    let (mut hasher, mut blank) = (Sha256::new(), true);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                let Some(rest) = left.checked_sub(read as u64) else { return Ok(Fingerprint::TooLarge) };
                left = rest;
                blank &= buffer[..read].iter().all(u8::is_ascii_whitespace);
                hasher.update(&buffer[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if blank {
        return Ok(Fingerprint::Nothing);
    }
    Ok(Fingerprint::Of(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_nothing_else_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "hello\n").unwrap();
        std::fs::write(at("blank"), " \n\n").unwrap();
        let pipe = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, pipe, 0).unwrap();
        std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
        assert_eq!(text(&at("file"), 4).unwrap().as_deref(), Some("hell"));
        // Source of the value: sha256sum(1).
        let known = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert_eq!(fingerprint(&at("file"), 6).unwrap(), Fingerprint::Of(known.into()));
        assert_eq!(fingerprint(&at("file"), 5).unwrap(), Fingerprint::TooLarge);
        File::create(at("sparse")).unwrap().set_len(1 << 42).unwrap();
        assert_eq!(fingerprint(&at("sparse"), 16 << 20).unwrap(), Fingerprint::TooLarge);
        for nothing in ["blank", "absent", "pipe", ".", "file/below"] {
            assert_eq!(fingerprint(&at(nothing), 100).unwrap(), Fingerprint::Nothing, "{nothing}");
        }
        assert!(fingerprint(&at("loop"), 100).is_err());
        assert_eq!(part(&at("file"), 3, |length| length - 4).unwrap().as_deref(), Some(&b"llo"[..]));
        assert_eq!(part(&at("pipe"), 3, |_| 0).unwrap(), None);
    }

    #[test]
    fn a_record_is_a_small_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "[1, 2]").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        let pipe = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, pipe, 0).unwrap();
        assert_eq!(json::<Vec<u8>>(&at("file"), 100), Some(vec![1, 2]));
        assert_eq!(json::<Vec<u8>>(&at("file"), 3), None, "too long");
        for name in ["link", "zero", "pipe", ".", "absent"] {
            assert_eq!(json::<Vec<u8>>(&at(name), 100), None, "{name}");
        }
    }
}
