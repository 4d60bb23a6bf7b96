//! The engine's decisions on real processes: crash loops, phases, conversations that somebody else holds.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::place::{Place, lives, signal, until};

fn events(place: &Place, what: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.state("events.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|e| e["what"] == what)
        .collect()
}

#[test]
fn a_loop_that_ends_five_times_stays_down_and_others_go_on() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let other = place.pid("builder");
    let mut pid = place.pid("watch");
    for _ in 0..4 {
        signal(pid, "KILL");
        pid = place.new_agent("watch", pid);
    }
    signal(pid, "KILL");
    let one = place.until("watch", |one| one["state"] == "crash-looping");
    assert_eq!((&one["life"], &one["pid"]), (&"crash-looping".into(), &Value::Null));
    assert!(one["reason"].as_str().unwrap().contains("ended by signal 9"), "{one}");
    let looped = events(&place, "loop-crash-looping");
    assert_eq!(looped.len(), 1);
    assert!(looped[0]["detail"].as_str().unwrap().contains("ended by signal 9"), "{looped:?}");
    assert_eq!(events(&place, "notify").len(), 1);
    assert!(lives(other));
    // It is remembered, and only a person ends it.
    place.kill_supervisor();
    place.supervise();
    assert_eq!(place.one("watch")["state"], "crash-looping");
    assert!(place.ok(&["loops", "show", "watch"]).contains("crash-looping"));
    place.ok(&["loops", "start", "watch"]);
    place.at_work();
}

#[test]
fn the_phase_is_moved_by_hand_and_by_the_loops_own_word() {
    let place = Place::new().active().supervised();
    place.at_work();
    assert!(place.ok(&["phase", "show"]).contains(">   1  b"));
    assert_eq!(place.ok(&["phase", "set", "a", "--dry-run"]), "would go to index 0 (phase a)\n");
    assert_eq!(place.ok(&["phase", "set", "a"]), "index 0 (phase a)\n");
    assert_eq!(fs::read_to_string(place.workspace().join("phase")).unwrap(), "0\n");
    assert_eq!(place.ok(&["phase", "set", "0"]), "nothing to do: it is at index 0 (phase a)\n");
    // In the repository's root second, in its folder for machines first.
    place.env.write(place.workspace().join("build/STATUS-a.md"), "# a\n\n## DONE\n");
    place.env.write(place.workspace().join("build/machine-docs/STATUS-a.md"), "# a\n\nnot ## DONE\n");
    assert!(place.ok(&["phase", "show"]).contains("builder: not done yet"));
    fs::remove_file(place.workspace().join("build/machine-docs/STATUS-a.md")).unwrap();
    assert!(place.ok(&["phase", "show"]).contains("builder: says done"));
    let index = || fs::read_to_string(place.workspace().join("phase")).unwrap();
    until("the index to be written", || (index() == "1\n").then_some(()));
    let words = "phase b (index 1), after index 0";
    until("the change to be told", || {
        let told = |event: &Value| event["detail"].as_str().unwrap().starts_with(words);
        events(&place, "phase").iter().any(told).then_some(())
    });
    assert_eq!(place.ok(&["phase", "next"]), "index 2 (every phase done)\n");
    place.until("builder", |one| one["life"] == "done");
    assert_eq!(place.run(&["phase", "next"]).status, Some(6));
    place.env.write(
        place.workspace().join("build/machine-docs/DEFERRED.md"),
        "# Later\n- this\n- [x] done\n* that\n",
    );
    assert_eq!(place.status()["deferred"], 2);
}

#[test]
fn a_conversation_that_somebody_else_holds_is_not_resumed_until_they_leave() {
    let place = Place::new().active().supervised();
    place.at_work();
    let session = place.one("builder")["session"].as_str().unwrap().to_owned();
    place.ok(&["loops", "stop", "builder"]);
    let mut other =
        Command::new("sh").args(["-c", "sleep 100; true", "claude", "--resume", &session]).spawn().unwrap();
    let ran = place.run(&["loops", "start", "builder"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
    assert!(ran.stderr.contains(&format!("process {} holds the conversation", other.id())), "{}", ran.stderr);
    assert!(!place.socket("builder").exists() || place.one("builder")["pid"].is_null());
    other.kill().unwrap();
    other.wait().unwrap();
    place.at_work();
}
