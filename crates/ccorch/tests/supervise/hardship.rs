//! What a supervisor meets in its life: a full disk, a read-only one, a clock that jumps, things that vanish under it. It
//! stays up, says what is wrong, and goes on.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::disk::{Disk, run};
use crate::place::{Place, lives, signal, until};

/// A killed loop is back, whatever else is the matter.
pub fn goes_on(place: &Place) {
    let pid = place.pid("watch");
    signal(pid, "KILL");
    place.new_agent("watch", pid);
}

#[test]
fn a_full_disk_is_said_once_and_stops_no_loop() {
    let place = Place::new();
    let disk = Disk::mount(&place.env.root().join("var/lib"));
    let mut place = place.active();
    place.supervise();
    place.at_work();
    let others = ["boss", "builder"].map(|name| place.pid(name));
    disk.fill();
    goes_on(&place);
    until("it to be said", || place.said().contains("state is not kept, and loops go on").then_some(()));
    assert!(place.said().contains("No space left on device"), "{}", place.said());
    let ran = place.run(&["notify", "no", "room"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
    assert!(ran.stderr.contains("No space left on device"), "{}", ran.stderr);
    // A new supervisor finds the disk full, and the agents at work.
    place.kill_supervisor();
    place.supervise();
    goes_on(&place);
    assert_eq!(["boss", "builder"].map(|name| place.pid(name)), others);
    assert_eq!(place.said().matches("state is not kept").count(), 1, "{}", place.said());
    disk.relieve();
    goes_on(&place);
    until("the state to be kept again", || place.said().contains("state-kept-again").then_some(()));
    assert!(fs::metadata(place.state("fleet.json")).unwrap().len() > 0);
    drop((place, disk));
}

#[test]
fn a_read_only_state_folder_is_said_and_stops_no_loop() {
    let place = Place::new();
    let disk = Disk::mount(&place.env.root().join("var/lib"));
    let mut place = place.active();
    // It has something to tell and to forget.
    place.env.write(place.state("handoff.txt"), "The rig came here.\n");
    place.supervise();
    place.at_work();
    let others = ["boss", "builder"].map(|name| place.pid(name));
    place.kill_supervisor();
    place.env.write(place.state("handoff.txt"), "The rig came here again.\n");
    disk.remount("ro");
    place.supervise();
    goes_on(&place);
    until("it to be said", || place.said().contains("state is not kept, and loops go on").then_some(()));
    assert!(place.said().contains("handoff-stays: "), "{}", place.said());
    assert_eq!(["boss", "builder"].map(|name| place.pid(name)), others);
    disk.remount("rw");
    goes_on(&place);
    until("the state to be kept again", || place.said().contains("state-kept-again").then_some(()));
    drop((place, disk));
}

/// Wall time enters by what was kept of it, and by the agents' own records.
#[test]
fn a_clock_that_jumped_an_hour_ends_no_pause_and_forgets_no_crash() {
    for hours in [-1, 1] {
        let mut place = Place::new().active().supervised();
        place.at_work();
        let mut pid = place.killed("watch", 3);
        let others = ["boss", "builder"].map(|name| place.pid(name));
        place.kill_supervisor();
        let moved = |text: &str| {
            let at: jiff::Timestamp = text.parse().unwrap();
            at.checked_add(jiff::SignedDuration::from_hours(hours)).unwrap().to_string()
        };
        let change = |path: PathBuf, keys: &[&str]| {
            let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let mut value = &mut json;
            for key in keys {
                value = &mut value[*key];
            }
            *value = moved(value.as_str().unwrap()).into();
            fs::write(path, json.to_string()).unwrap();
        };
        // What was written before the jump is an hour off.
        change(place.state("fleet.json"), &["clock", "wall"]);
        change(place.state("boot.json"), &["heartbeat"]);
        change(place.state("loops/watch.json"), &["memory", "since"]);
        let run = place.env.root().join("run/ccorch-loops/watch/agent.json");
        change(run, &["started"]);
        place.supervise();
        place.at_work();
        assert_eq!(["boss", "builder"].map(|name| place.pid(name)), others, "by {hours} h");
        assert_eq!(place.pid("watch"), pid);
        assert_eq!(place.status()["reboots"], 0);
        // Three ends are remembered: the fifth is a crash loop.
        signal(pid, "KILL");
        pid = place.new_agent("watch", pid);
        signal(pid, "KILL");
        place.until("watch", |one| one["state"] == "crash-looping");
    }
}

/// Something in the place of a file; what was there is back with the end of this value.
struct InTheWay(PathBuf, PathBuf);

impl InTheWay {
    fn of(path: PathBuf, put: impl FnOnce(&Path)) -> Self {
        let away = path.with_extension("away");
        let _ = fs::rename(&path, &away);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(&path);
        Self(path, away)
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0).or_else(|_| fs::remove_file(&self.0));
        let _ = fs::rename(&self.1, &self.0);
    }
}

#[test]
fn what_an_agent_puts_in_the_way_of_its_files_blocks_nobody() {
    let place =
        Place::new().rig(|rig| rig.replace("prompt: builder.md", "prompt: builder.md, stall_after: 12s"));
    let mut place = place.active().supervised();
    place.at_work();
    let pids = ["boss", "builder", "watch"].map(|name| place.pid(name));
    let transcript = place.transcript_file("builder", "build");
    let pipe = |path: &Path| run("mkfifo", &[path.to_str().unwrap()]);
    let endless = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let root = place.env.root();
    let in_the_way = [
        InTheWay::of(root.join("run/ccorch-loops/builder/agent.json"), pipe),
        InTheWay::of(root.join("var/lib/ccorch-loops/builder/last-exit.json"), endless),
        InTheWay::of(root.join("var/lib/ccorch-loops/builder/last-stop.json"), |path| {
            fs::create_dir(path).unwrap()
        }),
        InTheWay::of(place.workspace().join("phase"), pipe),
        InTheWay::of(transcript, pipe),
    ];
    let threads = place.of_supervisor("Threads");
    // It is looked at each time it is asked about.
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        let asked = Instant::now();
        place.ok(&["loops", "list"]);
        place.ok(&["loops", "capture", "builder", &format!("seen-{}", asked.elapsed().as_nanos())]);
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    }
    assert!(
        place.of_supervisor("Threads") <= threads + 3,
        "{} threads, and {threads} before",
        place.of_supervisor("Threads")
    );
    // A supervisor that begins with all of it there.
    place.kill_supervisor();
    place.supervise();
    goes_on(&place);
    assert!(place.of_supervisor("VmRSS") < 64 << 10, "{} kB", place.of_supervisor("VmRSS"));
    drop(in_the_way);
    let events = fs::read_to_string(place.state("events.jsonl")).unwrap();
    assert_eq!(["boss", "builder"].map(|name| place.pid(name)), pids[..2], "{events}");
}

#[test]
fn a_tmux_server_that_is_killed_under_its_loop_is_started_again_with_its_agent() {
    let place = Place::new().active().supervised();
    place.at_work();
    let (pid, other) = (place.pid("builder"), place.pid("watch"));
    let socket = place.socket("builder");
    let server =
        Command::new("tmux").arg("-S").arg(&socket).args(["display-message", "-p", "#{pid}"]).output();
    let server: u64 = String::from_utf8(server.unwrap().stdout).unwrap().trim().parse().unwrap();
    signal(server, "KILL");
    place.new_agent("builder", pid);
    until("the old agent to follow its terminal", || (!lives(pid)).then_some(()));
    assert_eq!(place.pid("watch"), other);
}

#[test]
fn a_working_directory_that_vanishes_is_said_and_waited_for() {
    let place = Place::new().active().supervised();
    place.at_work();
    let (pid, other) = (place.pid("builder"), place.pid("watch"));
    let away = place.workspace().join("away");
    fs::rename(place.workspace().join("build"), &away).unwrap();
    signal(pid, "KILL");
    place.until("builder", |one| {
        one["state"] == "backing-off"
            && one["reason"].as_str().unwrap().contains("the working directory")
            && one["reason"].as_str().unwrap().contains("does not exist")
    });
    assert_eq!(place.pid("watch"), other);
    fs::rename(away, place.workspace().join("build")).unwrap();
    place.ok(&["loops", "start", "builder"]);
    place.at_work();
}

#[test]
fn an_inbox_that_nobody_can_write_is_said_once_and_read_all_the_same() {
    let place =
        Place::new().rig(|rig| rig.replace("prompt: builder.md", "prompt: builder.md, inbox: docs/INBOX.md"));
    let docs = place.workspace().join("build/docs");
    let disk = Disk::mount(&docs);
    fs::write(docs.join("INBOX.md"), "one\n").unwrap();
    disk.remount("ro");
    let place = place.active().supervised();
    place.at_work();
    until("it to be said", || (!place.events("inbox-unwritable").is_empty()).then_some(()));
    let announced =
        || fs::read_to_string(place.state("loops/builder.json")).unwrap().contains("new content in your");
    until("it to be announced", || announced().then_some(()));
    disk.remount("rw");
    fs::write(docs.join("INBOX.md"), "two\n").unwrap();
    goes_on(&place);
    assert_eq!(place.events("inbox-unwritable").len(), 1);
    drop((place, disk));
}

#[test]
fn a_supervisor_at_rest_writes_its_heartbeat_and_nothing_else() {
    use std::os::unix::fs::MetadataExt as _;
    let mut place = Place::new();
    // Half a second between two heartbeats.
    place.env.put("WATCHDOG_USEC", "1000000");
    let place = place.active().supervised();
    place.at_work();
    // Each write is a new file; the last of the start has settled when several beats left the others alone.
    let files = ["fleet.json", "events.jsonl", "loops/builder.json"];
    let numbers = || files.map(|name| fs::metadata(place.state(name)).map(|m| (m.ino(), m.size())).unwrap());
    let beat = || fs::metadata(place.state("boot.json")).unwrap().ino();
    let (mut before, mut still, mut last) = (numbers(), 0, beat());
    until("ten beats without another write", || {
        let now = beat();
        if now != last {
            last = now;
            still = if numbers() == before { still + 1 } else { 0 };
            before = numbers();
        }
        (still >= 10).then_some(())
    });
}

#[test]
fn the_events_file_does_not_grow_with_time() {
    let place = Place::new().active().supervised();
    place.at_work();
    let events = place.state("events.jsonl");
    let line = serde_json::json!({ "at": "2020-01-01T00:00:00Z", "what": "old", "detail": "x".repeat(1000) });
    let text = format!("{line}\n").repeat(5000);
    fs::OpenOptions::new().append(true).open(&events).unwrap().write_all(text.as_bytes()).unwrap();
    goes_on(&place);
    let kept = events.with_file_name("events.1.jsonl");
    until("the full file to be put aside", || kept.exists().then_some(()));
    assert!(fs::metadata(&events).unwrap().len() < 100_000);
    // What was put aside is read with the new one, and the next time it is replaced.
    assert!(place.ok(&["loops", "logs", "watch", "-n", "1000"]).matches("loop-started").count() >= 2);
    fs::write(&events, text.replace("2020", "2021")).unwrap();
    goes_on(&place);
    until("it to be replaced", || {
        fs::read_to_string(&kept).unwrap().starts_with("{\"at\":\"2021").then_some(())
    });
    let total: u64 = [&events, &kept].iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(total < 6 << 20, "{total}");
}
