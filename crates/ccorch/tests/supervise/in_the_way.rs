//! What lies in the place of a file, cannot be written, is far too large or comes too often: the supervisor waits for none
//! of it, tells it in `ccorch status`, and goes on when it is over.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::disk::{Disk, run};
use crate::hardship::goes_on;
use crate::place::{Place, until};

/// No answer that waits for nothing takes so long, on a machine with much else to do.
const AT_ONCE: Duration = Duration::from_secs(60);

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    run("mkfifo", &[path.to_str().unwrap()]);
}

/// The troubles that `status --json` shows.
fn troubles(place: &Place) -> Vec<String> {
    let status = place.status();
    let all = status["troubles"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Waits for a trouble that has all these words.
fn until_troubled(place: &Place, words: &[&str]) -> String {
    until(&format!("a trouble with {words:?}"), || {
        troubles(place).into_iter().find(|one| words.iter().all(|word| one.contains(word)))
    })
}

fn until_well(place: &Place) {
    until("the trouble to be over", || troubles(place).is_empty().then_some(()));
}

/// The workspace is another user's than the supervisor's, who becomes that user by this script.
fn of_another_user(place: &Place, become_user: &str) {
    let (uid, gid) = (rustix::process::geteuid().as_raw() + 1, rustix::process::getegid().as_raw());
    let account = format!("agents:x:{uid}:{gid}::{}:/bin/sh", place.env.home().display());
    place.env.script("getent", &format!("#!/bin/sh\n[ \"$2\" = agents ] && echo '{account}'\n"));
    place.env.script("runuser", &format!("#!/bin/sh\nshift 3\n{become_user}\nexec \"$@\"\n"));
    for program in ["mkdir", "mv", "rm", "sync"] {
        place.env.link(program);
    }
}

#[test]
fn a_pipe_beside_the_phase_index_keeps_nobody_from_writing_it() {
    let place = Place::new().active();
    of_another_user(&place, "");
    pipe(&place.workspace().join("phase.ccorch"));
    let began = Instant::now();
    assert_eq!(place.ok(&["phase", "set", "0"]), "index 0 (phase a)\n");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(fs::read_to_string(place.workspace().join("phase")).unwrap(), "0\n");
}

#[test]
fn a_pipe_in_the_place_of_a_reboot_log_keeps_no_supervisor_from_its_work() {
    for log in ["the workspace's", "the host's"] {
        let place = Place::new().active();
        let in_workspace = place.workspace().join("REBOOTS.md");
        pipe(&if log == "the host's" { place.state("reboots.jsonl") } else { in_workspace.clone() });
        let boot = r#"{ "boot_id": "another", "heartbeat": "2020-01-01T00:00:00Z" }"#;
        place.env.write(place.state("boot.json"), boot);
        let began = Instant::now();
        let place = place.supervised();
        assert!(began.elapsed() < AT_ONCE, "{log}: {:?}", began.elapsed());
        place.at_work();
        goes_on(&place);
        assert_eq!(place.status()["reboots"], 1, "{log}");
        let said = place.said();
        assert!(said.contains("is no plain file"), "{log}: {said}");
    }
}

#[test]
fn a_disk_that_never_takes_the_phase_index_keeps_no_loop_waiting() {
    let place = Place::new().active();
    of_another_user(&place, "case $1 in dd) sleep 1000 ;; esac");
    let place = place.supervised();
    place.at_work();
    place.env.write(place.workspace().join("build/STATUS-b.md"), "## DONE\n");
    until("the loop's word", || (place.events("loop-says-done").len() == 1).then_some(()));
    let began = Instant::now();
    place.ok(&["loops", "list"]);
    goes_on(&place);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    until_troubled(&place, &["phase index", "/srv/w/phase", "does not answer"]);
}

#[test]
fn a_phase_index_that_cannot_be_written_is_told_until_it_can_be() {
    let place = Place::new().rig(|rig| rig.replace("phase_file: phase", "phase_file: logs/phase"));
    let disk = Disk::mount(&place.workspace().join("logs"));
    place.env.write(place.workspace().join("logs/phase"), "1\n");
    let place = place.active().supervised();
    place.at_work();
    disk.remount("ro");
    place.env.write(place.workspace().join("build/STATUS-b.md"), "## DONE\n");
    let said = until_troubled(&place, &["phase index 2", "/srv/w/logs/phase", "Read-only file system"]);
    assert!(said.contains("it is tried again"), "{said}");
    let text = place.run(&["status"]);
    assert!(text.status == Some(1) && text.stdout.contains("  - the phase index 2 "), "{}", text.snapshot());
    goes_on(&place);
    // Tried again and again, and told once.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(place.events("phase-not-written").len(), 1);
    disk.remount("rw");
    let index = || fs::read_to_string(place.workspace().join("logs/phase")).unwrap();
    until("the index", || (index() == "2\n").then_some(()));
    until_well(&place);
    assert_eq!(place.events("phase-written-again").len(), 1);
    place.until("builder", |one| one["life"] == "done");
    assert_eq!(place.run(&["status"]).status, Some(0));
    drop((place, disk));
}

#[test]
fn a_write_that_nobody_wants_any_more_is_no_trouble_and_a_persons_word_stands() {
    let place = Place::new().rig(|rig| rig.replace("phase_file: phase", "phase_file: logs/phase"));
    let disk = Disk::mount(&place.workspace().join("logs"));
    place.env.write(place.workspace().join("logs/phase"), "1\n");
    let place = place.active().supervised();
    place.at_work();
    disk.remount("ro");
    let word = place.workspace().join("build/STATUS-b.md");
    place.env.write(&word, "## DONE\n");
    until_troubled(&place, &["phase index 2"]);
    // The loop takes its word back.
    fs::remove_file(&word).unwrap();
    until_well(&place);
    disk.remount("rw");
    assert_eq!(place.ok(&["phase", "set", "0"]), "index 0 (phase a)\n");
    goes_on(&place);
    assert_eq!(fs::read_to_string(place.workspace().join("logs/phase")).unwrap(), "0\n");
    drop((place, disk));
}

#[test]
fn an_inbox_of_terabytes_is_told_and_keeps_no_other_inbox_waiting() {
    let place = Place::new().rig(|rig| {
        let rig =
            rig.replace("workdir: ., role: orchestrator", "workdir: ., role: orchestrator, inbox: BOSS.md");
        rig.replace("prompt: builder.md", "prompt: builder.md, inbox: INBOX.md")
    });
    let [huge, other] = ["BOSS.md", "build/INBOX.md"].map(|file| place.workspace().join(file));
    run("truncate", &["-s", "4T", huge.to_str().unwrap()]);
    fs::write(&other, "one\n").unwrap();
    let place = place.active().supervised();
    place.at_work();
    let announced = |name: &str| {
        let state = fs::read_to_string(place.state(&format!("loops/{name}.json"))).unwrap_or_default();
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        state["memory"]["inbox"].as_array().map_or(0, Vec::len)
    };
    until("the other inbox", || (announced("builder") == 1).then_some(()));
    let said = until_troubled(&place, &["inbox of boss", "BOSS.md", "16 MiB"]);
    assert!(said.contains("empty it"), "{said}");
    // It grows, and is the same trouble.
    run("truncate", &["-s", "5T", huge.to_str().unwrap()]);
    fs::write(&other, "two\n").unwrap();
    until("the other inbox", || (announced("builder") == 2).then_some(()));
    assert_eq!(place.events("inbox-unreadable").len(), 1);
    assert!(place.of_supervisor("VmRSS") < 64 << 10, "{} kB", place.of_supervisor("VmRSS"));
    assert_eq!(announced("boss"), 0);
    fs::write(&huge, "short\n").unwrap();
    until("the inbox to be read again", || (announced("boss") == 1).then_some(()));
    until_well(&place);
}

#[test]
fn what_is_held_back_is_counted_and_flushes_no_history() {
    let place = Place::new().active().supervised();
    place.at_work();
    let folder = place.env.root().join("var/lib/ccorch-loops/watch/notify");
    fs::create_dir_all(&folder).unwrap();
    let (mut left, mut batch) = (0_u32, 0);
    // Twice as much as all events together may take.
    while left < 4400 {
        for _ in 0..200 {
            let text = format!("{left} {}", "x".repeat(3900));
            let letter = serde_json::json!({ "at": "2026-01-01T00:00:00Z", "text": text });
            fs::write(folder.join(format!("{left:08}")), letter.to_string()).unwrap();
            left += 1;
        }
        batch += 1;
        until(&format!("batch {batch} to be taken"), || {
            fs::read_dir(&folder).unwrap().next().is_none().then_some(())
        });
    }
    assert!(place.ok(&["loops", "logs", "watch", "-n", "1000"]).contains("loop-started"));
    assert!(!place.events("loop-started").is_empty() && !place.state("events.1.jsonl").exists());
    // A person's script that nudges a held loop without end.
    place.ok(&["loops", "stop", "builder"]);
    for n in 0..100 {
        let ran = place.run(&["loops", "nudge", "builder", &format!("word {n}"), "--timeout", "0s"]);
        assert_ne!(ran.status, Some(0), "{}", ran.snapshot());
    }
    assert!(place.events("nudge-refused").len() <= 61, "{}", place.events("nudge-refused").len());
    assert!(place.events("notify-held-back").len() <= 61);
    // What was not written is counted, at the latest when the supervisor leaves.
    let mut place = place;
    place.end_supervisor();
    let logs = place.ok(&["loops", "logs", "watch", "-n", "1000"]);
    let counted = logs.lines().find(|line| line.contains("more were held back")).expect(&logs);
    assert!(counted.contains("notify-held-back"), "{counted}");
    let said = place.ok(&["loops", "logs", "builder", "-n", "1000"]);
    assert!(said.contains("more were held back"), "{said}");
}

#[test]
fn a_reboot_log_that_is_damaged_is_put_aside_and_told() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    place.end_supervisor();
    let reboot = |number: u32| {
        format!(
            "{{\"number\":{number},\"booted_at\":\"2020-01-01T00:01:00Z\",\"last_alive\":\"2020-01-01T00:00:00Z\",\
             \"downtime_ms\":60000,\"clean\":true,\"boot_id\":\"b{number}\"}}\n"
        )
    };
    let damaged = format!("{}torn {{\n{}", reboot(1), reboot(3));
    fs::write(place.state("reboots.jsonl"), &damaged).unwrap();
    let ran = place.run(&["reboots"]);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    assert!(ran.stderr.contains("1 line of ") && ran.stderr.contains("is damaged"), "{}", ran.stderr);
    until_troubled(&place, &["1 line of ", "reboots.jsonl", "damaged"]);
    place.supervise();
    let said = place.events("state-damaged");
    assert_eq!(said.len(), 1, "{said:?}");
    let detail = said[0]["detail"].as_str().unwrap();
    assert!(detail.contains("reboots.jsonl") && detail.contains("kept as "), "{detail}");
    assert_eq!(fs::read_to_string(place.state("reboots.jsonl")).unwrap(), reboot(1) + &reboot(3));
    assert!(troubles(&place).is_empty());
    // A sparse one of terabytes costs no memory; what it holds at its end is kept.
    place.end_supervisor();
    let log = place.state("reboots.jsonl");
    run("truncate", &["-s", "4T", log.to_str().unwrap()]);
    let append = format!("printf '\\n%s' '{}' >> {}", reboot(4), log.display());
    assert!(Command::new("sh").args(["-c", &append]).status().unwrap().success());
    let began = Instant::now();
    place.supervise();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(place.events("state-damaged").len(), 2);
    assert_eq!(fs::read_to_string(&log).unwrap(), reboot(4));
}
