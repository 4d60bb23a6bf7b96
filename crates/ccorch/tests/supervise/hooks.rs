//! The hooks' socket against agents that do not behave: garbage, floods, strangers.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Place, until};

fn socket(place: &Place) -> PathBuf {
    place.env.root().join("run/ccorch/hooks.sock")
}

fn sender() -> UnixDatagram {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// Pages of the supervisor that are in memory, in KiB.
fn resident(place: &Place) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", place.supervisor())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The end of the events that say that something was lost.
fn lost(place: &Place) -> String {
    until("what was lost to be said", || {
        let events = place.events("hooks-lost");
        events.last().map(|event| event["detail"].as_str().unwrap().to_owned())
    })
}

#[test]
fn garbage_is_counted_and_disturbs_nothing() {
    let place = Place::new().active().supervised();
    place.at_work();
    let before = (place.pid("builder"), place.one("builder")["life"].clone());
    let (socket, sender) = (socket(&place), sender());
    let good = b"builder\n{\"hook_event_name\":\"Stop\",\"at\":\"2026-01-01T00:00:00Z\"}";
    let cases: [&[u8]; 7] = [
        b"builder\n{\"hook_event_name\":",
        b"builder\n[1,2]",
        b"builder\n\xff\xfe\x00",
        b"builder\n{\"hook_event_name\":{\"a\":1}}",
        b"../../etc\n{}",
        b"nobody\n{\"hook_event_name\":\"Stop\"}",
        b"",
    ];
    for case in cases {
        sender.send_to(case, &socket).unwrap();
    }
    sender
        .send_to(
            &[b"builder\n{\"hook_event_name\":\"Stop\",\"x\":\"".as_slice(), &[b'x'; 60_000]].concat(),
            &socket,
        )
        .unwrap();
    assert!(lost(&place).contains("not understood"), "{}", lost(&place));
    assert_eq!((place.pid("builder"), place.one("builder")["life"].clone()), before);
    sender.send_to(good, &socket).unwrap();
    place.until("builder", |one| one["life"] == "idle");
}

#[test]
fn a_storm_is_dropped_aloud_and_keeps_nobody_waiting() {
    let place = Place::new().active().supervised();
    place.at_work();
    let before = resident(&place);
    let (path, end) = (socket(&place), Instant::now() + Duration::from_secs(3));
    // As fast as it goes for three seconds, of every kind.
    let storm = std::thread::spawn(move || {
        let (sender, mut sent) = (sender(), 0_u64);
        while Instant::now() < end {
            let event = ["UserPromptSubmit", "Stop", "Notification"][sent as usize % 3];
            let line = format!("builder\n{{\"hook_event_name\":\"{event}\",\"n\":{sent}}}");
            sender.send_to(line.as_bytes(), &path).unwrap();
            sent += 1;
        }
        sent
    });
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while !storm.is_finished() {
        let began = Instant::now();
        place.ok(&["loops", "list"]);
        slowest = slowest.max(began.elapsed());
        asked += 1;
    }
    let sent = storm.join().unwrap();
    let grown = resident(&place).saturating_sub(before);
    println!(
        "{sent} messages in 3 s; {asked} answers meanwhile, the slowest in {slowest:?}; {grown} KiB more"
    );
    assert!(sent >= 3000 && asked >= 1, "{sent} sent, {asked} asked");
    assert!(grown < 16 << 10, "{grown} KiB more");
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    assert!(lost(&place).contains("dropped"), "{}", lost(&place));
    // Other loops' news still comes through.
    sender().send_to(b"boss\n{\"hook_event_name\":\"Stop\"}", socket(&place)).unwrap();
    place.until("boss", |one| one["life"] == "idle");
}

#[test]
fn two_hundred_hooks_at_once_are_all_told_and_none_is_slow() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let run = |place: &Place, event: &str| {
        let payload = place.env.root().join("payload.json");
        place.env.write(&payload, format!("{{\"hook_event_name\":\"{event}\"}}"));
        let began = Instant::now();
        let spawn = |_| {
            let mut hook = Command::new(env!("CARGO_BIN_EXE_ccorch"));
            hook.args(["hook", "builder"]).env_clear().env("CCORCH_ROOT", place.env.root());
            hook.stdin(fs::File::open(&payload).unwrap())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let all: Vec<_> = (0..200).map(spawn).collect();
        for hook in all {
            let output = hook.wait_with_output().unwrap();
            assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
        }
        began.elapsed()
    };
    let took = run(&place, "Stop");
    place.until("builder", |one| one["life"] == "idle");
    // Nobody listens: they are put aside, as many as are kept.
    place.kill_supervisor();
    let aside = run(&place, "UserPromptSubmit");
    println!("200 hooks at once: {took:?} with a supervisor, {aside:?} without");
    place.supervise();
    let spool = place.env.root().join("var/lib/ccorch-loops/builder/hooks");
    until("what was put aside to be taken", || (fs::read_dir(&spool).unwrap().count() == 0).then_some(()));
}

#[test]
fn broken_input_ends_a_hook_quietly() {
    let place = Place::new();
    for input in ["", "{", "not json", "[]"] {
        let ran = place.env.run_with(&["hook", "builder"], input);
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{input}");
    }
    // An agent that never closes the hook's input waits no longer than a few seconds.
    let began = Instant::now();
    let mut hook = Command::new(env!("CARGO_BIN_EXE_ccorch"))
        .args(["hook", "builder"])
        .env("CCORCH_ROOT", place.env.root())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let input = hook.stdin.take();
    assert!(hook.wait().unwrap().success());
    drop(input);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn a_stranger_has_no_say() {
    if !rustix::process::geteuid().is_root() {
        println!("needs root, to become somebody else");
        return;
    }
    let place = Place::new().active().supervised();
    place.at_work();
    let before = place.one("builder")["life"].clone();
    let path = socket(&place);
    // Everybody may reach the socket; who they are is the kernel's word.
    for dir in path.ancestors().skip(1).filter(|dir| dir.starts_with(place.env.root().parent().unwrap())) {
        place.env.mode(dir, 0o755);
    }
    let stranger = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65534);
        // Of this thread alone.
        rustix::thread::set_thread_uid(nobody).unwrap();
        sender().send_to(b"builder\n{\"hook_event_name\":\"Stop\"}", path).unwrap();
    });
    stranger.join().unwrap();
    assert!(lost(&place).contains("1 refused: sent by a user who is not the loop's"), "{}", lost(&place));
    assert_eq!(place.one("builder")["life"], before);
}
