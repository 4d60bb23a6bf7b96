//! Watching files that are renamed over, truncated, removed, and not there yet.

use std::fs;
use std::sync::mpsc::{Receiver, channel};

use super::*;

/// Far beyond what anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// How long nothing may be reported to count as nothing; a failure by load alone is impossible: silence is what it wants.
const QUIET: Duration = Duration::from_millis(600);

fn watch(paths: &[PathBuf]) -> Receiver<usize> {
    let (sender, receiver) = channel();
    let mut watch = Watch::new(paths.to_vec()).unwrap();
    thread::spawn(move || {
        while let Ok(changed) = watch.changed() {
            if changed.into_iter().any(|i| sender.send(i).is_err()) {
                break;
            }
        }
    });
    // Each is reported once at first.
    let first: BTreeSet<usize> = paths.iter().map(|_| receiver.recv_timeout(LONG).unwrap()).collect();
    assert_eq!(first.len(), paths.len());
    receiver
}

#[test]
fn every_way_to_change_a_file_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let file = dir.join("a/b/INBOX.md");
    let changed = watch(std::slice::from_ref(&file));
    let seen = |what: &str| {
        assert_eq!(changed.recv_timeout(LONG), Ok(0), "{what}");
        // One change may settle in two steps where the machine is slow.
        while changed.recv_timeout(QUIET).is_ok() {}
    };
    fs::create_dir(dir.join("a")).unwrap();
    fs::create_dir(dir.join("a/b")).unwrap();
    fs::write(&file, "one").unwrap();
    seen("a folder that comes later");
    fs::write(&file, "two").unwrap();
    seen("written over");
    fs::write(dir.join("a/b/new"), "three").unwrap();
    fs::rename(dir.join("a/b/new"), &file).unwrap();
    seen("replaced");
    fs::write(&file, "four").unwrap();
    seen("written after it was replaced");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    seen("truncated");
    fs::remove_file(&file).unwrap();
    seen("removed");
    fs::rename(dir.join("a"), dir.join("away")).unwrap();
    seen("its folder moved away");
    fs::create_dir_all(dir.join("a/b")).unwrap();
    fs::write(dir.join("other"), "five").unwrap();
    std::os::unix::fs::symlink(dir.join("other"), &file).unwrap();
    seen("a link");
    fs::write(dir.join("other"), "six").unwrap();
    seen("written behind the link");
}

#[test]
fn what_happens_beside_it_wakes_nobody_and_a_flood_is_one_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let changed = watch(&[file.clone(), dir.path().join("never")]);
    for n in 0..100 {
        fs::write(dir.path().join(format!("beside{n}")), "x").unwrap();
    }
    assert!(changed.recv_timeout(QUIET).is_err());
    let began = Instant::now();
    for n in 0..1000 {
        fs::write(&file, n.to_string()).unwrap();
    }
    let took = began.elapsed();
    assert_eq!(changed.recv_timeout(LONG), Ok(0));
    let mut more = 0;
    while changed.recv_timeout(QUIET).is_ok() {
        more += 1;
    }
    // Only a machine that stood still for longer than a change takes to settle sees more than one.
    assert!(more <= took.as_millis() / SETTLE.as_millis(), "{more} more in {took:?}");
}

#[test]
fn a_folder_is_watched_with_the_names_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("spool");
    let changed = watch(std::slice::from_ref(&folder));
    fs::create_dir(&folder).unwrap();
    assert_eq!(changed.recv_timeout(LONG), Ok(0));
    fs::write(folder.join("one"), "").unwrap();
    assert_eq!(changed.recv_timeout(LONG), Ok(0));
}
