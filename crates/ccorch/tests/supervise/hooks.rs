//! The hooks' socket against agents that do not behave: garbage, floods, strangers.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{Place, until};

/// How long a storm lasts, and how many messages a second it brings from how many senders.
const STORM: Duration = Duration::from_secs(10);
const RATE: u64 = 10_000;
const SENDERS: u64 = 4;
/// Two agents that fire hooks of their own.
const LOOPS: &str = "  boss: { agent: claude, workdir: ., role: orchestrator }
  builder: { agent: claude, workdir: build, prompt: builder.md }
";

fn socket(place: &Place) -> PathBuf {
    place.env.root().join("run/ccorch/hooks.sock")
}

fn sender() -> UnixDatagram {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
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
    let good = b"builder\n{\"hook_event_name\":\"Stop\",\"at\":\"2036-01-01T00:00:00Z\"}";
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

/// How many messages were offered to the socket, and how many of them it took.
#[derive(Default)]
struct Storm {
    offered: u64,
    taken: u64,
}

/// One sender of several: `rate` messages a second, of every kind, each offered once and not waited for.
fn sends(path: &Path, rate: u64) -> Storm {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    let (began, mut storm) = (Instant::now(), Storm::default());
    while began.elapsed() < STORM {
        let due = rate * began.elapsed().as_micros() as u64 / 1_000_000;
        while storm.offered < due {
            let event = ["UserPromptSubmit", "Stop", "Notification"][storm.offered as usize % 3];
            let line = format!("builder\n{{\"hook_event_name\":\"{event}\",\"n\":{}}}", storm.offered);
            match socket.send_to(line.as_bytes(), path) {
                Ok(_) => storm.taken += 1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            storm.offered += 1;
        }
        // Until more is due.
        std::thread::sleep(Duration::from_millis(1));
    }
    storm
}

#[test]
fn a_storm_is_dropped_aloud_and_keeps_nobody_waiting() {
    let place = Place::new().with_stub(LOOPS).active().supervised();
    let idle = |name: &str| place.until(name, |one| one["life"] == "idle");
    idle("builder");
    let (before, pid) = (place.of_supervisor("VmRSS"), place.pid("builder"));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let path = socket(&place);
            std::thread::spawn(move || sends(&path, RATE / SENDERS))
        })
        .collect();
    let (mut slowest, mut asked) = (Duration::ZERO, 0);
    while !senders.iter().all(std::thread::JoinHandle::is_finished) {
        let began = Instant::now();
        place.ok(&["loops", "list"]);
        slowest = slowest.max(began.elapsed());
        asked += 1;
    }
    let storms = senders.into_iter().map(|sender| sender.join().unwrap());
    let all = storms
        .fold(Storm::default(), |a, b| Storm { offered: a.offered + b.offered, taken: a.taken + b.taken });
    let grown = place.of_supervisor("VmRSS").saturating_sub(before);
    let Storm { offered, taken } = all;
    println!(
        "{offered} messages in {STORM:?}, {taken} taken; {asked} answers, the slowest in {slowest:?}; {grown} KiB more"
    );
    // A machine that is busy with other things may offer fewer than the full rate, and less than this is no storm.
    assert!(offered >= RATE * STORM.as_secs() / 2, "only {offered} messages came about");
    assert!(taken >= 1000 && asked >= 1, "{taken} taken, {asked} asked");
    assert!(grown < 16 << 10, "{grown} KiB more");
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
    assert!(lost(&place).contains("dropped"), "{}", lost(&place));
    // Another loop's news still comes through, and this one is judged by what its own agent does.
    place.ok(&["loops", "nudge", "boss", "who is there", "--timeout", "1m"]);
    idle("boss");
    place.ok(&["loops", "nudge", "builder", "after the storm", "--id", "after", "--timeout", "1m"]);
    idle("builder");
    assert_eq!(place.told("builder", "build").iter().filter(|words| *words == "after the storm").count(), 1);
    place.ok(&["loops", "nudge", "builder", "!stub hang", "--timeout", "1m"]);
    place.until("builder", |one| one["life"] == "working");
    assert_eq!(place.pid("builder"), pid, "the agent is another process");
}

/// Hooks that are called at once.
const AT_ONCE: u64 = 200;
/// None of them takes longer, on a machine that is busy with all the others.
const SLOW: Duration = Duration::from_secs(30);

/// Calls all of them, each with a number of its own; how long the slowest took.
fn called_at_once(place: &Place, event: &str) -> Duration {
    let call = |n: u64| {
        let payload = place.env.root().join(format!("payload-{n}.json"));
        place.env.write(&payload, format!("{{\"hook_event_name\":\"{event}\",\"n\":{n}}}"));
        let mut hook = Command::new(env!("CARGO_BIN_EXE_ccorch"));
        hook.args(["hook", "builder"]).env_clear().env("CCORCH_ROOT", place.env.root());
        let began = Instant::now();
        let output = hook.stdin(fs::File::open(&payload).unwrap()).output().unwrap();
        let took = began.elapsed();
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{n}");
        assert!(took < SLOW, "hook {n} took {took:?}");
        took
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..AT_ONCE).map(|n| scope.spawn(move || call(n))).collect();
        all.into_iter().map(|one| one.join().unwrap()).max().unwrap()
    })
}

/// The number that a line tells of.
fn number(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["n"].as_u64().unwrap()
}

/// What was put aside, by number.
fn aside(place: &Place) -> Vec<u64> {
    let spool = place.env.root().join("var/lib/ccorch-loops/builder/hooks");
    let files = fs::read_dir(spool).into_iter().flatten().flatten();
    files.map(|file| number(&fs::read_to_string(file.path()).unwrap())).collect()
}

#[test]
fn two_hundred_hooks_at_once_are_all_told_and_none_is_slow() {
    let everyone: Vec<u64> = (0..AT_ONCE).collect();
    // The test listens itself, and no faster than a supervisor that has other things to do.
    let place = Place::new();
    let path = socket(&place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let inbox = UnixDatagram::bind(&path).unwrap();
    inbox.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let (slowest, mut told) = std::thread::scope(|scope| {
        let listens = scope.spawn(|| {
            let (mut told, mut line) = (Vec::new(), vec![0; 1 << 16]);
            loop {
                // Whether all had ended is asked before it is seen that nothing waits.
                let last = over.load(std::sync::atomic::Ordering::SeqCst);
                match inbox.recv(&mut line) {
                    Ok(length) => {
                        let text = std::str::from_utf8(&line[..length]).unwrap();
                        told.push(number(text.strip_prefix("builder\n").unwrap()));
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Err(_) if last => return told,
                    Err(_) => {}
                }
            }
        });
        let slowest = called_at_once(&place, "Stop");
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        (slowest, listens.join().unwrap())
    });
    let by_socket = told.len();
    told.extend(aside(&place));
    told.sort_unstable();
    println!("{by_socket} of {AT_ONCE} by the socket, the slowest in {slowest:?}");
    assert_eq!(told, everyone, "each once, by the socket or put aside");
}

#[test]
fn two_hundred_hooks_that_nobody_hears_are_all_put_aside_and_taken() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    called_at_once(&place, "Stop");
    place.until("builder", |one| one["life"] == "idle");
    place.kill_supervisor();
    let slowest = called_at_once(&place, "UserPromptSubmit");
    let mut kept = aside(&place);
    kept.sort_unstable();
    assert_eq!(kept, (0..AT_ONCE).collect::<Vec<_>>(), "the slowest took {slowest:?}");
    place.supervise();
    until("what was put aside to be taken", || aside(&place).is_empty().then_some(()));
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
