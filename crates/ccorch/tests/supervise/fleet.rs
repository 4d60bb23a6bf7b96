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
    // What it says is told before the supervisor has acted on it.
    let supervisor = u64::from(place.supervisor());
    signal(supervisor, "STOP");
    fs::remove_file(place.workspace().join("build/machine-docs/STATUS-a.md")).unwrap();
    assert!(place.ok(&["phase", "show"]).contains("builder: says done"));
    signal(supervisor, "CONT");
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
        "# Later\n- this\n- [x] done\n* that\n* [X] done too\n",
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

#[test]
fn who_goes_on_in_a_loops_folder_may_hold_its_conversation_whoever_starts_the_loop() {
    let place = Place::new().active().supervised();
    place.at_work();
    place.ok(&["loops", "stop", "builder"]);
    // A person's `claude -c`: nothing of its words tells which conversation that is.
    let claude = place.env.root().with_file_name("claude");
    place.env.write(&claude, "#!/bin/sh\nread line\n").mode(&claude, 0o755);
    let mut start = Command::new(&claude);
    start.arg("-c").current_dir(place.workspace().join("build")).stdin(std::process::Stdio::piped());
    let mut other = start.spawn().unwrap();
    let says = format!("process {} goes on with a conversation of the folder of loop builder", other.id());
    let ran = place.run(&["loops", "start", "builder"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
    assert!(ran.stderr.contains(&says), "{}", ran.stderr);
    // By hand, past the supervisor.
    place.ok(&["loops", "stop", "builder"]);
    let ran = place.run(&["loop-exec", "builder"]);
    assert!(ran.status != Some(0) && ran.stderr.contains(&says), "{}", ran.snapshot());
    other.kill().unwrap();
    other.wait().unwrap();
    place.ok(&["loops", "start", "builder"]);
    place.at_work();
}

#[test]
fn a_conversation_that_an_agent_went_over_to_is_its_loops_from_then_on() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let (pid, old) = (place.pid("builder"), place.one("builder")["session"].clone());
    let boss = place.one("boss")["session"].as_str().unwrap().to_owned();
    let new = "11111111-2222-4333-8444-555555555555";
    let over = |session: &str, source: &str| {
        let hook =
            serde_json::json!({ "hook_event_name": "SessionStart", "session_id": session, "source": source });
        place.env.run_with(&["hook", "builder"], &hook.to_string());
    };
    // Another loop's is not for it to take, and what only begins is somebody else's.
    over(&boss, "clear");
    over("99999999-2222-4333-8444-555555555555", "startup");
    over(new, "clear");
    let one = place.until("builder", |one| one["session"] != old);
    assert_eq!((&one["session"], one["pid"].as_u64()), (&new.into(), Some(pid)));
    assert_eq!(place.events("loop-session").len(), 1, "{:?}", place.events("loop-session"));
    place.words("builder");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    let words = place.words("builder");
    assert!(words.windows(2).any(|two| two == ["--session-id", new]), "{words:?}");
    // Also where its state is lost.
    place.kill_supervisor();
    let state = place.state("loops/builder.json");
    std::fs::remove_file(&state).unwrap();
    place.env.write(state.join("in-the-way"), "");
    place.supervise();
    assert_eq!(place.one("builder")["session"], new);
    let pid = place.pid("builder");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    let words = place.words("builder");
    assert!(words.windows(2).any(|two| two == ["--session-id", new]), "{words:?}");
}
