//! Processes in the workspace when every loop has stopped: what an agent put out of its unit, or a person's. They would
//! go on writing behind a cutover's proof, so a host is not quiet before they are gone.
//!
//! What runs as a user of the rig is the rig's, and is ended; anybody else's is named and refused. A shell of somebody
//! else's that only stands there writes nothing and stays. The driver of a cutover, with whoever waits for it, stays too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_io::process;

use super::runtime::account;
use super::{Here, events};
use crate::error::{Kind, Problem};

/// How long they may take to leave by themselves: a command of a driver that died ends in a moment. The same again after
/// TERM and after KILL.
const LEAVE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// What a person stands in a folder with.
const SHELLS: [&str; 12] =
    ["sh", "bash", "dash", "zsh", "fish", "ksh", "su", "sudo", "runuser", "login", "sshd", "tmux: server"];
/// The verbs that drive a cutover.
const DRIVERS: [&str; 3] = ["cutover", "rollback", "adopt"];
/// How much of a command line is told.
const SHOWN: usize = 80;

type Signal = fn(u32) -> Result<()>;

/// One process of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    uid: u32,
    name: String,
    argv: Vec<String>,
    /// Whether it works in the workspace or runs a program of it.
    inside: bool,
    /// Whether it has a file of the workspace open for writing.
    writes: bool,
}

/// Has them end, or refuses by name. Nothing of the rig may run.
pub fn end(here: &Here) -> Result<()> {
    end_those(here, |_| true).map(drop)
}

/// The same on a standby, for those alone that are there now: should the rig come back meanwhile, it is left alone. What was
/// there, in words.
pub fn end_present(here: &Here) -> Result<Vec<String>> {
    let now: BTreeSet<u32> = found(here).into_iter().map(|one| one.pid).collect();
    if now.is_empty() { Ok(Vec::new()) } else { end_those(here, |one| now.contains(&one.pid)) }
}

fn users(here: &Here) -> BTreeSet<u32> {
    let users =
        here.rig.loops.values().map(|spec| here.rig.user_of(spec)).chain([here.rig.workspace.user.as_str()]);
    let users: BTreeSet<&str> = users.collect();
    users.into_iter().filter_map(account).map(|account| account.uid).collect()
}

fn found(here: &Here) -> Vec<Process> {
    strays(&all(Path::new(&here.rig.workspace.root)), std::process::id(), &users(here))
}

/// Those of this kind; what was there after a moment, in words.
fn end_those(here: &Here, wanted: impl Fn(&Process) -> bool) -> Result<Vec<String>> {
    let root = Path::new(&here.rig.workspace.root);
    let uids = users(here);
    let left = || -> Vec<Process> { found(here).into_iter().filter(&wanted).collect() };
    let rounds: [Option<Signal>; 3] = [None, Some(process::terminate), Some(process::kill)];
    let (mut found, mut stayed) = (left(), Vec::new());
    for signal in rounds {
        let ours = found.iter().filter(|one| uids.contains(&one.uid));
        for one in ours.filter(|_| signal.is_some()) {
            let words = words(one);
            eprintln!("ended in the workspace: {words}");
            events::record(here, "stray-ended", None, words);
            signal.map_or(Ok(()), |signal| signal(one.pid))?;
        }
        let until = Instant::now() + LEAVE;
        while !found.is_empty() && Instant::now() < until {
            thread::sleep(LOOK);
            found = left();
        }
        if signal.is_none() {
            stayed = found.iter().map(words).collect();
        }
        if found.iter().all(|one| !uids.contains(&one.uid)) {
            break;
        }
    }
    if found.is_empty() {
        return Ok(stayed);
    }
    let list: String = found.iter().map(|one| format!("\n  - {}", words(one))).collect();
    let message = format!("processes that are no loop's are at work in {}:{list}", root.display());
    Err(Problem::new(Kind::Conflict, message).hint("end them there, then run this again").into())
}

/// For people: its number and its command line.
fn words(process: &Process) -> String {
    let line: String = process.argv.join(" ").chars().take(SHOWN).collect();
    format!(
        "pid {} (user {}) {}",
        process.pid,
        process.uid,
        if line.is_empty() { &process.name } else { &line }
    )
}

/// Those that may write. `own` is this process: it and all that wait for it are the driver's.
fn strays(all: &BTreeMap<u32, Process>, own: u32, uids: &BTreeSet<u32>) -> Vec<Process> {
    let drives = |one: &Process| {
        let program = one.argv.first().and_then(|path| path.rsplit('/').next());
        program == Some("ccorch") && one.argv.iter().any(|word| DRIVERS.contains(&word.as_str()))
    };
    let drivers: BTreeSet<u32> =
        all.values().filter(|one| drives(one)).map(|one| one.pid).chain([own]).collect();
    let above = |pid: u32| std::iter::successors(Some(pid), |pid| all.get(pid).map(|one| one.parent));
    let waiting: BTreeSet<u32> = drivers.iter().flat_map(|pid| above(*pid)).collect();
    let spared =
        |one: &Process| waiting.contains(&one.pid) || above(one.pid).any(|pid| drivers.contains(&pid));
    let stands =
        |one: &Process| !uids.contains(&one.uid) && SHELLS.contains(&one.name.as_str()) && !one.writes;
    let works = all.values().filter(|one| one.inside || one.writes);
    works.filter(|one| !spared(one) && !stands(one)).cloned().collect()
}

/// Every process; one that ends meanwhile is none.
fn all(root: &Path) -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| look(&entry.path(), root)).map(|one| (one.pid, one)).collect()
}

fn look(process: &Path, root: &Path) -> Option<Process> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let uid = fs::metadata(process).ok()?.uid();
    // `PID (NAME) STATE PARENT ...`, proc_pid_stat(5); the name may have any letter in it. A zombie works no more.
    let stat = process::about(&process.join("stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    let name = head.split_once(" (")?.1.to_owned();
    let mut rest = rest.split(' ');
    if rest.next()? == "Z" {
        return None;
    }
    let parent = rest.next()?.parse().ok()?;
    let argv = fs::read(process.join("cmdline")).ok()?;
    let argv = String::from_utf8_lossy(&argv).split_terminator('\0').map(ToOwned::to_owned).collect();
    let below = |link: &Path| fs::read_link(link).is_ok_and(|path| path.starts_with(root));
    let inside = below(&process.join("cwd")) || below(&process.join("exe"));
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let mut files = files.filter(|file| below(&file.path()));
    let writes = files.any(|file| is_open_for_writing(&process.join("fdinfo").join(file.file_name())));
    Some(Process { pid, parent, uid, name, argv, inside, writes })
}

/// `flags:` is octal, and its last two bits say how the file was opened (proc_pid_fdinfo(5)): 0 is for reading.
fn is_open_for_writing(info: &Path) -> bool {
    let text = fs::read_to_string(info).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pid: u32, parent: u32, uid: u32, argv: &str, inside: bool, writes: bool) -> (u32, Process) {
        let argv: Vec<String> = argv.split(' ').map(ToOwned::to_owned).collect();
        let name = argv[0].rsplit('/').next().unwrap().to_owned();
        (pid, Process { pid, parent, uid, name, argv, inside, writes })
    }

    #[test]
    fn a_program_with_a_name_that_is_no_text_is_seen() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join(OsStr::from_bytes(b"caf\xe9"));
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("600").spawn().unwrap();
        let seen =
            look(&Path::new("/proc").join(child.id().to_string()), &root.path().canonicalize().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.is_some_and(|one| one.inside));
    }

    #[test]
    fn the_driver_and_who_waits_for_it_are_spared_and_nobody_else() {
        let all: BTreeMap<u32, Process> = [
            one(1, 0, 0, "/sbin/init", false, false),
            // A person drives in the workspace, by ssh to their own machine; their terminal has another window.
            one(10, 1, 7, "bash", true, false),
            one(11, 10, 7, "/usr/local/bin/ccorch --rig x cutover", true, true),
            one(12, 11, 7, "ssh me", true, false),
            one(13, 1, 0, "/usr/local/bin/ccorch quiesce", false, false),
            one(14, 10, 7, "vi notes", true, false),
            // What an agent left, and what it asks ccorch for.
            one(20, 1, 7, "node worker.js", true, false),
            one(21, 20, 7, "/usr/local/bin/ccorch status", true, false),
            // Others: one stands there, one looks, two write.
            one(30, 1, 9, "bash", true, false),
            one(31, 1, 9, "bash", false, true),
            one(32, 1, 9, "tail", false, false),
            one(33, 1, 9, "backup", false, true),
        ]
        .into();
        let found = strays(&all, 13, &BTreeSet::from([7]));
        assert_eq!(found.iter().map(|one| one.pid).collect::<Vec<_>>(), [14, 20, 21, 31, 33]);
        assert_eq!(words(&found[1]), "pid 20 (user 7) node worker.js");
    }
}
