//! The confirm window of a host that a cutover has just given the rig: what it takes for work, and what it does not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::{Place, signal, until};

/// A turn that an agent finished.
const TURN: &str = r#"{"type":"assistant","timestamp":"2026-01-01T00:00:09.000Z","message":{"content":[{"type":"text","text":"done"}],"stop_reason":"end_turn"}}"#;

/// A host that was just given the rig, on trial: `terms` are options of `activate`. Its loops start with the supervisor.
fn on_trial(confirm: &str, terms: &[&str]) -> Place {
    on_trial_with("", confirm, terms)
}

/// The same with more in the rig.
fn on_trial_with(more: &str, confirm: &str, terms: &[&str]) -> Place {
    let place = Place::new()
        .rig(|rig| format!("{rig}{more}cutover: {{ from: there, to: here, confirm: {{ {confirm} }} }}\n"));
    place.env.link("head");
    let place = place.active();
    place.ok(&["quiesce", "--journal", "j0", "--turn", "1"]);
    let activate =
        ["activate", "--journal", "j1", "--turn", "2", "--message", "The rig moved.", "--confirm-within"];
    place.ok(&[&activate[..], terms].concat());
    place.supervised()
}

/// The window as it is; asking waits for nothing.
fn window(place: &Place) -> Value {
    serde_json::from_str(&place.ok(&["confirm", "show"])).unwrap()
}

/// The window, once there is a verdict. Without systemd somebody has to watch it.
fn verdict(place: &Place) -> Value {
    let root = place.env.root();
    let mut watch = place.env.spawn(&["confirm", "watch"], &root.join("watch.out"), &root.join("watch.log"));
    let judged = until("a verdict", || Some(window(place)).filter(|window| window["verdict"] != "open"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    judged
}

#[test]
fn whoever_asks_for_the_window_does_not_wait_for_its_verdict() {
    let place = on_trial("settle: 1h", &["5m"]);
    place.at_work();
    assert_eq!(window(&place)["verdict"], "open");
}

/// Has a loop's agent finish a turn.
fn turn(place: &Place, name: &str, workdir: &str) {
    let state = until("the loop's conversation", || {
        let text = fs::read_to_string(place.state(&format!("loops/{name}.json"))).ok()?;
        let state: Value = serde_json::from_str(&text).ok()?;
        state["session"].as_str().map(str::to_owned)
    });
    let workdir = place.workspace().join(workdir).display().to_string();
    let workdir = workdir.trim_end_matches('/');
    let key: String = workdir.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = place.env.home().join(".claude/projects").join(key).join(format!("{state}.jsonl"));
    let before = fs::read_to_string(&path).unwrap_or_default();
    place.env.write(&path, format!("{before}{TURN}\n"));
}

#[test]
fn work_of_every_loop_confirms_the_host_and_people_are_told() {
    let place = on_trial("settle: 1s", &["5m"]);
    place.at_work();
    assert!(
        place.status()["provisional"].as_str().unwrap().starts_with("cutover j1: "),
        "{}",
        place.status()
    );
    turn(&place, "builder", "build");
    turn(&place, "boss", "");
    let window = verdict(&place);
    assert_eq!(window["verdict"], "confirmed", "{window}");
    // Nothing can be known of a plain program that stands in no clone.
    let worked: Vec<&String> = window["worked"].as_object().unwrap().keys().collect();
    assert_eq!(worked, ["boss", "builder"]);
    assert_eq!(place.status()["provisional"], Value::Null);
    let note = place.env.text(&place.state("HANDOFF.md"));
    assert!(note.starts_with("The rig moved.\n- Host: here, lease epoch "), "{note}");
    assert!(note.contains("- Phase: b (index 1 of 2), plan b.md."), "{note}");
    // The orchestrator's first words are the note.
    let words = place.words("boss").join("\n");
    assert!(words.contains(note.trim_end()), "{words}");
}

#[test]
fn who_only_lives_does_not_count_and_the_reason_is_told() {
    let place = on_trial("settle: 0s", &["2s"]);
    place.at_work();
    turn(&place, "boss", "");
    let window = verdict(&place);
    assert_eq!(window["verdict"], "failed", "{window}");
    assert_eq!(window["why"], "not at work after 2s: loop builder has not worked yet");
    // A verdict stays, whatever is seen later.
    turn(&place, "builder", "build");
    assert_eq!(verdict(&place)["verdict"], "failed");
    let degraded = place.status()["degraded"].to_string();
    assert!(degraded.contains("cutover j1 failed here (not at work after 2s"), "{degraded}");
}

#[test]
fn a_crash_loop_fails_the_window_at_once() {
    let place = on_trial("crashes: 2", &["30m", "--settle", "30m"]);
    let mut pid = place.pid("watch");
    for _ in 0..2 {
        signal(pid, "KILL");
        pid = place.new_agent("watch", pid);
    }
    let began = Instant::now();
    let window = verdict(&place);
    assert_eq!(window["why"], "loop watch is in a crash loop: it ended 2 times", "{window}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn what_is_taken_back_never_confirms_itself() {
    let place = on_trial("settle: 0s", &["5m"]);
    place.at_work();
    turn(&place, "builder", "build");
    turn(&place, "boss", "");
    place.ok(&["quiesce", "--journal", "j1", "--turn", "2"]);
    assert_eq!(verdict(&place)["verdict"], "withdrawn");
    assert!(!place.state("HANDOFF.md").exists(), "the rig is not here, whatever the note said");
    // A driver that slept through it comes with the same cutover: the window stays as it is.
    place.ok(&["activate", "--journal", "j1", "--turn", "2", "--message", "x", "--confirm-within", "5m"]);
    assert_eq!(verdict(&place)["verdict"], "withdrawn");
}

#[test]
fn health_and_hand_offs_are_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // What may be a token is asked with, and told nowhere.
    let url = format!("http://{}/up?token=hush-1", listener.local_addr().unwrap());
    let confirm = format!(
        "settle: 0s, health: [{{ url: '{url}' }}], handoffs: [{{ file: build/INBOX.md, matching: to the adversary }}]"
    );
    let place = on_trial(&confirm, &["5m"]);
    place.at_work();
    turn(&place, "builder", "build");
    turn(&place, "boss", "");
    // Well from the third time it is asked on. The hand-off shows later still, and not by any change of its file.
    let (inbox, asked) = (place.workspace().join("build/INBOX.md"), Arc::new(AtomicU32::new(0)));
    let counter = asked.clone();
    let (file, (tell, told)) = (place.state("confirm.json"), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            let count = counter.fetch_add(1, Ordering::SeqCst);
            match count {
                1 => tell.send((request[..length].to_vec(), fs::read_to_string(&file).unwrap())).unwrap(),
                3 => fs::write(&inbox, "nothing for anybody\n").unwrap(),
                5 => fs::write(&inbox, "to the adversary: look at this\n").unwrap(),
                _ => {}
            }
            let status = if count < 2 { "503 Starting" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let window = verdict(&place);
    assert_eq!(window["verdict"], "confirmed", "{window}");
    assert!(asked.load(Ordering::SeqCst) >= 6, "{asked:?}");
    let (request, missing) = told.recv().unwrap();
    assert!(request.starts_with(b"GET /up?token=hush-1 "), "{request:?}");
    assert!(missing.contains("/up is not well: status 503"), "{missing}");
    let events = fs::read_to_string(place.state("events.jsonl")).unwrap();
    assert!(!missing.contains("hush-1") && !events.contains("hush-1"), "{missing}{events}");
}

/// A commit of the clone that is asked for, since the window was opened, with the words that are asked for.
#[test]
fn a_hand_off_by_commits_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let handoffs = "handoffs: [{ commits: handed, matching: to the adversary }]";
    let confirm = format!("settle: 0s, health: [{{ url: '{url}' }}], {handoffs}");
    let place = Place::new().rig(|rig| {
        let clones = "repositories: { handed: { url: 'file:///handed.git', branch: main } }";
        let rig = rig.replace("repositories: {}", clones);
        assert!(rig.contains(clones), "{rig}");
        format!("{rig}cutover: {{ from: there, to: here, confirm: {{ {confirm} }} }}\n")
    });
    place.env.link("git");
    let clone = place.workspace().join("handed");
    let commit = |words: &str| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&clone).args(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q"]);
        assert!(git.args(["--allow-empty", "-m", words]).status().unwrap().success());
    };
    assert!(Command::new("git").args(["init", "-q"]).arg(&clone).status().unwrap().success());
    commit("to the adversary: of the last phase");
    let place = place.active();
    place.ok(&["quiesce", "--journal", "j0", "--turn", "1"]);
    let activate = ["activate", "--journal", "j1", "--turn", "2", "--message", "x", "--confirm-within", "5m"];
    place.ok(&activate);
    let place = place.supervised();
    place.at_work();
    turn(&place, "builder", "build");
    turn(&place, "boss", "");
    let root = place.env.root();
    let mut watch = place.env.spawn(&["confirm", "watch"], &root.join("watch.out"), &root.join("watch.log"));
    // Every look asks the URL.
    let (tell, looks) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    let look = || looks.recv_timeout(Duration::from_secs(60)).unwrap();
    let missing = until("nothing but the hand-off to be missed", || {
        look();
        window(&place)["missing"].as_array().filter(|missing| missing.len() == 1).cloned()
    });
    assert!(missing[0].as_str().unwrap().contains("handed"), "{missing:?}");
    commit("for nobody");
    for _ in 0..3 {
        look();
        assert_eq!(window(&place)["verdict"], "open");
    }
    commit("to the adversary: look at this");
    until("a verdict", || (window(&place)["verdict"] != "open").then_some(()));
    assert_eq!(window(&place)["verdict"], "confirmed");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_proxy_that_passes_no_traffic_is_waited_for() {
    let behind = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let check = behind.local_addr().unwrap();
    let proxy = format!("proxy: {{ backend: tailscaled, listen: '127.0.0.1:{port}', check: '{check}' }}\n");
    let place = on_trial_with(&proxy, "settle: 0s", &["5m"]);
    place.at_work();
    turn(&place, "builder", "build");
    turn(&place, "boss", "");
    let file = place.state("confirm.json");
    let helper = std::thread::spawn(move || {
        let missing = until("the proxy to be missed", || {
            fs::read_to_string(&file).ok().filter(|text| text.contains(&format!("127.0.0.1:{port}")))
        });
        let mut microsocks = Command::new("microsocks");
        microsocks.args(["-i", "127.0.0.1", "-p", &port.to_string()]).stderr(Stdio::null());
        (missing, microsocks.spawn().expect("microsocks (Debian: microsocks)"))
    });
    let window = verdict(&place);
    let (missing, mut microsocks) = helper.join().unwrap();
    microsocks.kill().unwrap();
    microsocks.wait().unwrap();
    assert_eq!(window["verdict"], "confirmed", "{window}");
    assert!(
        missing.contains("\"verdict\":\"open\"") || missing.contains("\"verdict\": \"open\""),
        "{missing}"
    );
    // Its far side was really asked for.
    behind.set_nonblocking(true).unwrap();
    assert!(behind.accept().is_ok());
}
