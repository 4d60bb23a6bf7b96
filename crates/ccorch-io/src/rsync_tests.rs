//! Transfers between two folders of this machine; both halves are real.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::host::Reach;

const USER: &str = "nobody";

struct Two {
    dir: tempfile::TempDir,
    host: Host,
}

impl Two {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["from", "to"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let to = dir.path().join("to");
        let owner = crate::command::Command::new("chown").arg(USER).arg(&to);
        owner.run().unwrap();
        Self { dir, host: Host::connect("here", Reach::Local).unwrap() }
    }

    fn path(&self, rest: &str) -> std::path::PathBuf {
        self.dir.path().join(rest)
    }

    fn put(&self, rest: impl AsRef<Path>, content: &str) {
        let path = self.dir.path().join(rest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self, list: Option<&[Vec<u8>]>) -> Result<Stats> {
        let (from, to) = (self.path("from"), self.path("to"));
        Transfer {
            source: &self.host,
            target: &self.host,
            user: USER,
            from: from.to_str().unwrap(),
            to: to.to_str().unwrap(),
            list,
            dry_run: false,
        }
        .run()
    }
}

#[test]
fn names_of_every_kind_arrive_with_mode_and_time_and_only_once() {
    let two = Two::new();
    let names: [&[u8]; 6] =
        [b"a b", b"-rf", b"new\nline", "\u{e4}\u{f6}".as_bytes(), b"\xff\xfe", b"$(reboot)'\""];
    for name in names {
        two.put(Path::new("from/d").join(OsStr::from_bytes(name)), "x");
    }
    two.put("from/other", "not listed");
    let run = two.path("from/d/a b");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o750)).unwrap();
    crate::command::Command::new("chown").arg(USER).arg(&run).run().unwrap();
    symlink("/nowhere/at all", two.path("from/d/link")).unwrap();
    let mut list: Vec<Vec<u8>> = names.iter().map(|n| [b"d/", *n].concat()).collect();
    list.extend([b"d/link".to_vec(), b"d/missing".to_vec()]);
    let stats = two.run(Some(&list)).unwrap();
    assert_eq!((stats.files, stats.bytes), (6, 6));
    for name in names {
        let path = two.path("to/d").join(OsStr::from_bytes(name));
        assert_eq!(fs::read_to_string(&path).unwrap(), "x", "{path:?}");
        assert_ne!(fs::metadata(&path).unwrap().uid(), 0, "{path:?}");
    }
    let (here, there) = (fs::metadata(&run).unwrap(), fs::metadata(two.path("to/d/a b")).unwrap());
    assert_eq!((here.mode(), here.mtime()), (there.mode(), there.mtime()));
    assert_eq!(fs::read_link(two.path("to/d/link")).unwrap(), Path::new("/nowhere/at all"));
    assert!(!two.path("to/other").exists());
    assert_eq!(two.run(Some(&list)).unwrap(), Stats::default());
    let left = fs::read_dir("/tmp")
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("ccorch-list."));
    let ours = left.filter(|e| fs::read(e.path()).is_ok_and(|text| text.starts_with(b"d/a b\0")));
    assert_eq!(ours.count(), 0, "the list is left behind");
}

#[test]
fn what_the_user_may_not_read_there_is_not_carried_whatever_leads_to_it() {
    let two = Two::new();
    two.put("roots/.claude/settings.json", "a token");
    fs::set_permissions(two.path("roots"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(two.path("roots/.claude"), two.path("from/.claude")).unwrap();
    let error = two.run(Some(&[b".claude/settings.json".to_vec()])).unwrap_err().to_string();
    assert!(error.contains("Permission denied"), "{error}");
    assert!(!two.path("to/.claude/settings.json").exists());
}

#[test]
fn deletion_stays_inside_the_trees_that_are_carried() {
    let two = Two::new();
    two.put("from/tree/new", "1");
    two.put("from/f", "2");
    let list = [b"tree".to_vec(), b"f".to_vec()];
    two.run(Some(&list)).unwrap();
    for path in ["to/tree/gone", "to/kept"] {
        two.put(path, "old");
    }
    let stats = two.run(Some(&list)).unwrap();
    assert_eq!((stats.files, stats.deleted), (0, 1));
    assert!(!two.path("to/tree/gone").exists() && two.path("to/kept").exists());
    two.run(None).unwrap();
    assert!(!two.path("to/kept").exists());
}

#[test]
fn what_was_cut_short_is_completed() {
    let two = Two::new();
    two.put("from/big", &"0123456789".repeat(10_000));
    two.run(None).unwrap();
    let to = two.path("to/big");
    fs::write(&to, "01234").unwrap();
    fs::write(two.path("to/.big.Ab12Cd"), "a torn temporary file").unwrap();
    two.run(None).unwrap();
    assert_eq!(fs::read(&to).unwrap(), fs::read(two.path("from/big")).unwrap());
    assert!(!two.path("to/.big.Ab12Cd").exists());
}

#[test]
fn more_than_every_pipe_holds_goes_through() {
    let two = Two::new();
    let content: Vec<u8> = (0..30_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(two.path("from/huge"), &content).unwrap();
    assert_eq!(two.run(None).unwrap().bytes, content.len() as u64);
    assert!(fs::read(two.path("to/huge")).unwrap() == content);
}

#[test]
fn the_half_that_failed_is_the_one_named() {
    let two = Two::new();
    fs::remove_dir(two.path("from")).unwrap();
    let error = two.run(None).unwrap_err().to_string();
    assert!(error.contains("--server --sender") && error.contains("No such file"), "{error}");
    let two = Two::new();
    two.put("from/x", "1");
    fs::set_permissions(two.path("to"), fs::Permissions::from_mode(0o500)).unwrap();
    crate::command::Command::new("chown").arg("root").arg(two.path("to")).run().unwrap();
    let error = two.run(None).unwrap_err().to_string();
    assert!(error.contains("Permission denied") && error.contains("to "), "{error}");
}

#[test]
fn a_target_cannot_ask_for_other_options() {
    assert!(is_flags("-lHtprRe.iLsfxCIvu") && is_flags("-vlogDtpre31.14LsfxCIvu"));
    for word in ["--server", "--remove-source-files", "-e sh", "/etc", "."] {
        assert!(!is_flags(word), "{word}");
    }
}
