//! Processes that belong to a bed, found by what they carry of its folder.
//!
//! A number in a file alone proves nothing: it may have been given to another
//! process since. Here a process belongs to the bed when it runs a program of
//! Incus and its environment or command line names the bed's Incus folder, or
//! when an ancestor's does. Environment alone would not do: a person's shell
//! may have INCUS_DIR exported too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// The programs a daemon and its helpers run: LXC monitors and port forwarders
/// are `incusd` too.
const PROGRAMS: &[&str] = &["incusd", "dnsmasq", "lxcfs"];

/// A running process, as seen in `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    parent: i32,
    /// Its command line, or its name when that is empty.
    pub command: String,
    named: bool,
}

/// All processes of the bed whose daemon lives in `incus_dir`.
pub fn of_bed(incus_dir: &Path) -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in Path::new("/proc").read_dir()?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // One that ended since, or a zombie, is no process of ours any more.
        all.extend(pid.and_then(|pid| look(pid, incus_dir)));
    }
    Ok(family(all, std::process::id().cast_signed()))
}

/// The daemon among them.
pub fn daemon(incus_dir: &Path) -> Result<Option<i32>> {
    Ok(of_bed(incus_dir)?.into_iter().find(|process| is_daemon(&process.command)).map(|process| process.pid))
}

fn is_daemon(command: &str) -> bool {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    program.rsplit('/').next() == Some("incusd") && words.next() == Some("--group")
}

/// Those that name the folder, and all their descendants; never ourselves.
fn family(all: Vec<Process>, ourselves: i32) -> Vec<Process> {
    let parents: BTreeMap<i32, i32> = all.iter().map(|process| (process.pid, process.parent)).collect();
    let named: BTreeSet<i32> =
        all.iter().filter(|process| process.named).map(|process| process.pid).collect();
    let ancestors = |pid: i32| std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
    let own: BTreeSet<i32> = ancestors(ourselves).collect();
    all.into_iter()
        .filter(|process| {
            !own.contains(&process.pid)
                && ancestors(process.pid).any(|pid| named.contains(&pid) && !own.contains(&pid))
        })
        .collect()
}

fn look(pid: i32, incus_dir: &Path) -> Option<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The name in the second field may hold anything: go by the last parenthesis (proc(5)).
    let (name, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    if state == "Z" || state == "X" {
        return None;
    }
    let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
    let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
    let command = String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned();
    let variable = format!("INCUS_DIR={}", incus_dir.display());
    let incus_dir = incus_dir.display().to_string();
    let names = |text: &str| mentions(text, &incus_dir);
    let named = runs_one_of_ours(&folder)
        && (environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
            || names(&command))
        || starts_a_namespace(&folder)
            && std::fs::read_to_string(folder.join("mountinfo"))
                .is_ok_and(|text| has_from(&text, &incus_dir));
    let command = if command.is_empty() { name.to_owned() } else { command };
    Some(Process { pid, parent, command, named })
}

fn runs_one_of_ours(folder: &Path) -> bool {
    let Ok(program) = folder.join("exe").read_link() else {
        return false;
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // After an upgrade of its package the kernel shows the old file as deleted.
    PROGRAMS.contains(&name.trim_end_matches(" (deleted)"))
}

/// Whether it is process 1 of a container: that of ours is known by where its
/// root lies, should its monitor be gone.
fn starts_a_namespace(folder: &Path) -> bool {
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

/// Whether the folder, or what lies in it, is mounted elsewhere: `ID PARENT DEVICE ROOT MOUNT-POINT ...`,
/// proc_pid_mountinfo(5). A namespace of somebody else's has this machine's mounts, those of the bed at their own places.
fn has_from(mountinfo: &str, folder: &str) -> bool {
    mountinfo.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, place) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        mentions(root, folder) && !mentions(place, folder)
    })
}

/// Whether a command line has the folder itself, not one with a longer name.
fn mentions(command: &str, folder: &str) -> bool {
    command.match_indices(folder).any(|(at, _)| {
        let next = command[at + folder.len()..].chars().next();
        next.is_none_or(|next| matches!(next, '/' | ' ' | ':' | ','))
    })
}

/// Ends every process of the bed; says how many there were.
///
/// The daemon is asked, so that its database is closed well; the rest is
/// killed: to the init of a container SIGTERM means something else.
pub fn end_all(incus_dir: &Path, grace: Duration) -> Result<usize> {
    let first = of_bed(incus_dir)?;
    let daemons = || {
        Ok::<_, anyhow::Error>(of_bed(incus_dir)?.into_iter().filter(|process| is_daemon(&process.command)))
    };
    signal(daemons()?, Signal::TERM);
    let asked = wait::until("the daemon to end", grace, || Ok(daemons()?.next().is_none().then_some(())));
    // Again and again: what was being started meanwhile is ended too.
    let kill = || {
        let left = of_bed(incus_dir)?;
        let none = left.is_empty();
        signal(left.into_iter(), Signal::KILL);
        Ok(none.then_some(()))
    };
    if wait::until("killed processes to end", Duration::from_secs(20), kill).is_err() {
        let left: Vec<String> =
            of_bed(incus_dir)?.iter().map(|process| format!("{} {}", process.pid, process.command)).collect();
        bail!("these processes of the bed cannot be ended:\n{}", left.join("\n"));
    }
    if asked.is_err() {
        println!("the daemon did not end when asked and was killed");
    }
    Ok(first.len())
}

fn signal(processes: impl Iterator<Item = Process>, signal: Signal) {
    for process in processes {
        // One that ended in between is what is wanted.
        let _ = Pid::from_raw(process.pid).map(|pid| kill_process(pid, signal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, named: bool) -> Process {
        Process { pid, parent, command: String::new(), named }
    }

    #[test]
    fn descendants_belong_and_ourselves_do_not() {
        let all = vec![
            process(1, 0, false),
            process(10, 1, true),   // the daemon
            process(11, 10, false), // its child
            process(20, 1, false),
            process(30, 1, true),   // a shell that names the folder ...
            process(31, 30, false), // ... and runs us
        ];
        let pids: Vec<i32> = family(all, 31).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [10, 11]);
    }

    #[test]
    fn a_folder_with_a_longer_name_is_another() {
        assert!(mentions("[lxc monitor] /c/ab/incus/containers vm", "/c/ab/incus"));
        assert!(!mentions("incusd /c/ab/incus2/x", "/c/ab/incus"));
    }

    #[test]
    fn a_namespace_with_this_machines_mounts_is_no_container() {
        let container =
            "310 300 254:0 /c/ab/incus/storage-pools/p/containers/x/rootfs / rw - ext4 /dev/vda rw";
        assert!(has_from(container, "/c/ab/incus"));
        let others = "40 30 254:0 / / rw - ext4 /dev/vda rw\n\
            41 40 254:0 /c/ab/incus/devices /c/ab/incus/devices rw shared:5 - ext4 /dev/vda rw\n\
            42 40 7:1 / /c/ab/incus/storage-pools/p rw - btrfs /dev/loop1 rw";
        assert!(!has_from(others, "/c/ab/incus"));
    }

    #[test]
    fn a_helper_is_found_by_its_environment_and_ended_and_a_shell_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("dnsmasq");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let start = |program: &Path| {
            std::process::Command::new(program).arg("600").env("INCUS_DIR", folder.path()).spawn().unwrap()
        };
        let mut stranger = start(Path::new("/bin/sleep"));
        let mut helper = start(&program);
        let pid = helper.id().cast_signed();
        let found = || {
            let pids: Vec<i32> = of_bed(folder.path())?.iter().map(|process| process.pid).collect();
            Ok((pids == [pid]).then_some(()))
        };
        wait::until("the helper alone to be found", Duration::from_secs(10), found).unwrap();
        let reaper = std::thread::spawn(move || helper.wait().unwrap());
        assert_eq!(end_all(folder.path(), Duration::from_secs(10)).unwrap(), 1);
        assert!(!reaper.join().unwrap().success());
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger still runs");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn the_daemon_is_told_from_its_helpers() {
        assert!(is_daemon("/usr/libexec/incus/incusd --group root"));
        assert!(!is_daemon("/usr/libexec/incus/incusd forkproxy -- 1 2"));
        assert!(!is_daemon("dnsmasq --group root"));
    }
}
