//! What the scripts do on a host whose rig ccorch does not run.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::copies::{ADMIT, IS_FENCED};
use super::super::side::{GATE, LEAVES};
use super::{FENCE, PROCESSES, UNFENCE};

#[test]
fn a_process_of_the_rig_is_known_by_its_folder_its_program_or_an_open_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (root, beside) = (folder.join("a[b]*"), folder.join("a[b]*c"));
    for dir in [&root, &beside] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("log"), "").unwrap();
    }
    let log = |dir: &std::path::Path| Stdio::from(File::create(dir.join("log")).unwrap());
    let start = |dir: &std::path::Path, out: Stdio| -> Child {
        Command::new("sleep").arg("60").current_dir(dir).stdout(out).spawn().unwrap()
    };
    let away = std::path::Path::new("/");
    let mut ours = [start(&root, Stdio::null()), start(away, log(&root))];
    let mut others = [start(&beside, Stdio::null()), start(away, log(&beside))];
    let output = Command::new("sh").args(["-c", PROCESSES, "ccorch"]).arg(&root).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    for child in ours.iter_mut().chain(&mut others) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut wanted: Vec<String> = ours.iter().map(|child| format!("{} sleep 60 ", child.id())).collect();
    wanted.sort_by_key(|line| line.split(' ').next().and_then(|pid| pid.parse::<u32>().ok()));
    assert_eq!(found.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_process_is_one_line_whatever_its_arguments_hold() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "read -r line", "you are\n-1 a\tbuilder\u{7f}"]).current_dir(folder.path());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // Its own command line is there when its program is.
    let line = format!("/proc/{}/cmdline", child.id());
    let until = Instant::now() + Duration::from_secs(20);
    while !fs::read(&line).unwrap().starts_with(b"sh\0-c") {
        assert!(Instant::now() < until, "it does not begin");
        thread::sleep(Duration::from_millis(10));
    }
    let output = Command::new("sh").args(["-c", PROCESSES, "ccorch"]).arg(folder.path()).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found, format!("{} sh -c read -r line you are -1 a builder  \n", child.id()));
}

/// A host's folders, with a `systemctl` that waits as long as there is a file `busy`.
fn host() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let systemctl = folder.path().join("systemctl");
    let text = format!("#!/bin/sh\nwhile [ -e {}/busy ]; do sleep 0.02; done\n", folder.path().display());
    fs::write(&systemctl, text).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A script on that host.
fn script(host: &Path, text: &str, args: &[&str]) -> Command {
    let at = |text: &str| {
        let root = host.display().to_string();
        text.replace("/var/lib/ccorch", &format!("{root}/state"))
            .replace("/etc/systemd/system", &format!("{root}/units"))
    };
    let mut command = Command::new("sh");
    command.args(["-c", &at(text), "ccorch"]).args(args.iter().map(|arg| at(arg)));
    command.env("PATH", format!("{}:/usr/bin:/bin", host.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One act of the driver of this turn.
fn act(host: &Path, turn: u32, text: &str, args: &[&str]) -> Command {
    let turn = turn.to_string();
    let args = [&[&turn, "j1", "stale"], args].concat();
    script(host, &format!("{ADMIT}{text}"), &args)
}

/// A command of the driver of this turn that changes something.
fn gated(host: &Path, turn: u32, argv: &[&str]) -> Command {
    let turn = turn.to_string();
    script(host, GATE, &[&[&turn[..], "stale"], argv].concat())
}

fn said(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap().trim().to_owned())
}

const UNITS: [&str; 2] = ["/var/lib/ccorch/fenced", "rig.service"];

#[test]
fn a_driver_that_was_replaced_neither_fences_nor_lifts_a_fence() {
    let host = host();
    let host = host.path();
    assert_eq!(said(act(host, 2, FENCE, &UNITS)).0, Some(0));
    assert_eq!(said(act(host, 3, IS_FENCED, &[])), (Some(0), "fenced".into()));
    for script in [FENCE, UNFENCE] {
        let (status, text) = said(act(host, 2, script, &UNITS));
        assert_eq!((status, text.contains("stale: a newer driver")), (Some(6), true), "{text}");
    }
    assert_eq!(said(act(host, 3, IS_FENCED, &[])).1, "fenced");
    assert_eq!(said(act(host, 3, UNFENCE, &UNITS)).0, Some(0));
    assert_eq!(said(act(host, 4, IS_FENCED, &[])).1, "open");
}

#[test]
fn nothing_is_changed_for_a_driver_that_was_replaced_on_either_kind_of_host() {
    let host = host();
    let host = host.path();
    let says = |turn| said(gated(host, turn, &["echo", "done  so"]));
    assert_eq!(says(1), (Some(0), "done  so".into()), "nobody was ever here");
    assert_eq!(said(act(host, 3, IS_FENCED, &[])).0, Some(0));
    let refused = |turn, newest: u32| {
        let (status, text) = says(turn);
        let told = text == format!("error: stale: a newer driver has taken over (turn {newest})");
        assert!(status == Some(6) && told, "{status:?} {text}");
    };
    refused(2, 3);
    assert_eq!(says(3).0, Some(0));
    let driver = serde_json::json!({"journal": "j2", "turn": 12, "by": "9 \"turn\": 99", "open": true});
    fs::write(host.join("state/driver.json"), serde_json::to_vec_pretty(&driver).unwrap()).unwrap();
    refused(3, 12);
    assert_eq!(says(12).0, Some(0));
    assert_eq!(said(gated(host, 12, &["sh", "-c", "exit 9"])).0, Some(9));
}

#[test]
fn who_takes_over_waits_for_what_is_being_changed() {
    let host = host();
    let host = host.path();
    assert_eq!(said(act(host, 2, IS_FENCED, &[])).0, Some(0));
    let busy = host.join("busy");
    fs::write(&busy, "").unwrap();
    let waits = format!("echo; while [ -e {} ]; do sleep 0.02; done", busy.display());
    let mut changes = gated(host, 2, &["sh", "-c", &waits]).spawn().unwrap();
    let mut begun = [0];
    std::io::Read::read_exact(changes.stdout.as_mut().unwrap(), &mut begun).unwrap();
    let mut takes_over = act(host, 3, IS_FENCED, &[]).spawn().unwrap();
    // Another act of the same driver does not wait.
    assert_eq!(said(gated(host, 2, &["true"])).0, Some(0));
    thread::sleep(Duration::from_millis(300));
    assert!(takes_over.try_wait().unwrap().is_none(), "it does not wait");
    fs::remove_file(&busy).unwrap();
    assert!(changes.wait().unwrap().success() && takes_over.wait().unwrap().success());
    assert_eq!(said(gated(host, 2, &["true"])).0, Some(6));
}

/// A machine that sleeps leaves a transfer which waits for its next word, for as long as its connection seems to stand. What its
/// owner's command left running is none of that.
#[test]
fn who_takes_over_ends_what_does_not_end_and_nothing_that_its_owner_started() {
    let host = host();
    let host = host.path();
    assert_eq!(said(act(host, 2, IS_FENCED, &[])).0, Some(0));
    let begins = |turn, argv: &[&str]| {
        let mut command = gated(host, turn, argv).stdin(Stdio::piped()).spawn().unwrap();
        let mut begun = [0];
        std::io::Read::read_exact(command.stdout.as_mut().unwrap(), &mut begun).unwrap();
        command
    };
    let mut waits = begins(2, &["sh", "-c", "echo; cat"]);
    let mut left = begins(2, &["sh", "-c", "(sleep 600; echo) & echo; exit 0"]);
    let mut owners = begins(2, &["sh", "-c", LEAVES, "owner", "sh", "-c", "echo; cat"]);
    assert_eq!(said(act(host, 3, IS_FENCED, &[])).0, Some(0));
    assert!(!waits.wait().unwrap().success());
    // Its output ends with what it had left.
    let mut rest = Vec::new();
    std::io::Read::read_to_end(left.stdout.as_mut().unwrap(), &mut rest).unwrap();
    assert!(left.wait().unwrap().success());
    assert!(owners.try_wait().unwrap().is_none(), "its owner's command was ended");
    drop(owners.stdin.take());
    assert!(owners.wait().unwrap().success());
    // The same for one that asks again, as it was not answered.
    let mut again = begins(3, &["sh", "-c", "echo; cat"]);
    assert_eq!(said(act(host, 3, "end_acts", &[])).0, Some(0));
    assert!(!again.wait().unwrap().success());
}

/// A driver that lifts the fence in the very moment in which another one takes over: that one hears of it.
#[test]
fn who_takes_over_waits_for_an_act_that_is_under_way_and_sees_what_it_did() {
    let host = host();
    let host = host.path();
    assert_eq!(said(act(host, 2, FENCE, &UNITS)).0, Some(0));
    fs::write(host.join("busy"), "").unwrap();
    let mut lifts = act(host, 2, UNFENCE, &UNITS).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while host.join("state/fenced").exists() && lifts.try_wait().unwrap().is_none() && !is_waited_for(host) {
        assert!(Instant::now() < until, "it never began");
        thread::sleep(Duration::from_millis(10));
    }
    let mut takes_over = act(host, 3, IS_FENCED, &[]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(takes_over.try_wait().unwrap().is_none(), "it does not wait");
    fs::remove_file(host.join("busy")).unwrap();
    assert!(lifts.wait().unwrap().success());
    let output = takes_over.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "open");
}

/// Whether somebody holds the lock of acts.
fn is_waited_for(host: &Path) -> bool {
    let lock = host.join("state/driver-turn.lock");
    let free = Command::new("flock").arg("-n").arg(&lock).arg("true").status();
    lock.exists() && !free.unwrap().success()
}
