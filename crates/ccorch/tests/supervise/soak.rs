//! Months in a minute: so many inputs of every kind that whatever grows with them would be seen, in memory and on disk.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::place::{Place, until};

/// The first rounds fill what is bounded; the others must add nothing.
const WARM: usize = 3;
const ROUNDS: usize = 10;
/// Of each round: hooks, requests, nudges, contents of an inbox, messages to people, restarts.
const HOOKS: usize = 4_000;
const REQUESTS: usize = 1_000;
const NUDGES: usize = 40;
const CONTENTS: usize = 10;
const MESSAGES: usize = 5;
const RESTARTS: usize = 2;

/// What a supervisor takes of the machine.
#[derive(Debug)]
struct Figures {
    /// Memory in KiB.
    resident: u64,
    threads: u64,
    descriptors: usize,
    /// Files below the state folders, and their bytes without the events, which have a bound of their own.
    files: usize,
    bytes: u64,
    events: u64,
}

fn figures(place: &Place) -> Figures {
    let mut files = Vec::new();
    for folder in ["var/lib/ccorch", "var/lib/ccorch-loops", "run/ccorch"] {
        below(&place.env.root().join(folder), &mut files);
    }
    let sum = |events: bool| -> u64 {
        let is_events = |name: &str| name.contains("/events.");
        files.iter().filter(|(name, _)| is_events(name) == events).map(|(_, bytes)| bytes).sum()
    };
    Figures {
        resident: place.of_supervisor("VmRSS"),
        threads: place.of_supervisor("Threads"),
        descriptors: fs::read_dir(format!("/proc/{}/fd", place.supervisor())).unwrap().count(),
        files: files.len(),
        bytes: sum(false),
        events: sum(true),
    }
}

fn below(folder: &Path, files: &mut Vec<(String, u64)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // What is gone meanwhile does not stay.
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        if metadata.is_dir() {
            below(&entry.path(), files);
        } else {
            files.push((entry.path().display().to_string(), metadata.len()));
        }
    }
}

fn ask(place: &Place, request: &str) {
    let mut stream = UnixStream::connect(place.control()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("\"answer\""), "{request}: {answer:?}");
}

fn round(place: &Place, round: usize) {
    let (hooks, path) = (UnixDatagram::unbound().unwrap(), place.env.root().join("run/ccorch/hooks.sock"));
    hooks.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    for n in 0..HOOKS {
        let name = ["builder", "boss", "nobody"][n % 3];
        let event = ["UserPromptSubmit", "Stop", "Notification", "SessionStart"][n / 3 % 4];
        let line =
            format!("{name}\n{{\"hook_event_name\":\"{event}\",\"n\":\"{round}-{n}\",\"prompt\":\"p{n}\"}}");
        hooks.send_to(line.as_bytes(), &path).unwrap();
    }
    for n in 0..REQUESTS {
        ask(place, [r#"{"ask":"status"}"#, r#"{"ask":"evidence","name":"builder"}"#][n % 2]);
    }
    for n in 0..NUDGES {
        let id = format!("{round}-{n}");
        let text = "x".repeat(1000);
        ask(place, &format!(r#"{{"ask":"nudge","name":"boss","id":"{id}","text":"{text}","within":0}}"#));
    }
    for n in 0..CONTENTS {
        place.env.write(place.workspace().join("build/INBOX.md"), format!("{round} {n}\n"));
        place.env.write(place.workspace().join("build/STATUS.md"), format!("{round} {n}\n"));
    }
    for n in 0..MESSAGES {
        place.ok(&["notify", &format!("message {n} of round {round}")]);
    }
    for _ in 0..RESTARTS {
        ask(place, r#"{"ask":"restart","name":"watch"}"#);
    }
}

#[test]
fn nothing_grows_with_what_happens() {
    let place = Place::new()
        .rig(|rig| rig.replace("prompt: builder.md", "prompt: builder.md, inbox: INBOX.md"))
        .active()
        .supervised();
    place.at_work();
    (0..WARM).for_each(|n| round(&place, n));
    let before = figures(&place);
    (WARM..ROUNDS).for_each(|n| round(&place, n));
    // Those who answered last are still leaving.
    let after = until("threads and descriptors to be as few as before", || {
        let now = figures(&place);
        (now.threads <= before.threads + 2 && now.descriptors <= before.descriptors + 2).then_some(now)
    });
    println!("before {before:?}\nafter  {after:?}");
    assert!(after.resident < before.resident + (4 << 10), "memory: {before:?}, {after:?}");
    assert!(after.files <= before.files + 2, "files: {before:?}, {after:?}");
    assert!(after.bytes < before.bytes + (64 << 10), "bytes: {before:?}, {after:?}");
    assert!(after.events < 9 << 20, "events: {after:?}");
    place.until("watch", |one| one["state"] == "running");
}
