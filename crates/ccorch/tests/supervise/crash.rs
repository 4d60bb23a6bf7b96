//! Killed agents, killed supervisors: what goes on, what is started again, and when.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::place::{Place, lives, signal, until};

/// The events of a loop, oldest first.
fn events(place: &Place, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.state("events.jsonl")).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["loop"] == name).collect()
}

#[test]
fn loops_start_at_the_phase_index() {
    let place = Place::new().active().supervised();
    let status = place.at_work();
    assert_eq!(status["phase"], serde_json::json!({ "index": 1, "id": "b", "of": 2 }));
    assert_eq!(status["degraded"], serde_json::json!([]));
    let words = place.words("builder");
    assert_eq!(words[0], "--session-id");
    assert_eq!(words[2..], ["--name", "builder", "Build it.", "", "Phase b (index 1): b.md.", "END"]);
    // Nobody has anything to tell the session above the loops, so it waits for its person.
    assert_eq!(place.words("boss")[2..], ["--name", "boss", "END"]);
}

#[test]
fn a_killed_agent_is_back_at_once_and_then_after_growing_pauses() {
    let place = Place::new().active().supervised();
    let mut pid = place.pid("watch");
    for _ in 0..4 {
        signal(pid, "KILL");
        pid = place.new_agent("watch", pid);
    }
    let one = place.one("watch");
    assert_eq!(one["restarts"], 4);
    let at = |event: &Value| event["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let events = events(&place, "watch");
    let what: Vec<&str> = events.iter().map(|event| event["what"].as_str().unwrap()).collect();
    let mut expected = vec!["loop-started"];
    expected.extend(["loop-ended", "loop-started"].repeat(4));
    assert_eq!(what, expected);
    let ends: Vec<&Value> = events.iter().filter(|event| event["what"] == "loop-ended").collect();
    let said: Vec<&str> =
        ends.iter().map(|end| end["detail"].as_str().unwrap().lines().next().unwrap()).collect();
    let pauses = ["at once", "in 1 s", "in 2 s", "in 4 s"];
    assert_eq!(said, pauses.map(|pause| format!("ended by signal 9; starts again {pause}")));
    for (pair, seconds) in events[1..].chunks(2).zip([0, 1, 2, 4]) {
        let pause = at(&pair[1]).duration_since(at(&pair[0]));
        assert!(pause >= SignedDuration::from_secs(seconds), "{pause:#} is less than {seconds} s");
    }
    let elsewhere = ["boss", "builder"].map(|name| place.one(name)["restarts"].clone());
    assert_eq!(elsewhere, [0, 0], "one loop's crash is no other's business");
}

#[test]
fn a_killed_agent_goes_on_with_exactly_its_conversation() {
    let place = Place::new().active().supervised();
    let pid = place.pid("builder");
    let session = place.words("builder")[1].clone();
    let key: String = place.workspace().join("build").display().to_string();
    let key: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let transcripts = place.env.home().join(".claude/projects").join(key);
    place.env.write(transcripts.join(format!("{session}.jsonl")), "{}\n");
    // A newer one of somebody who worked there by hand.
    place.env.write(transcripts.join("00000000-0000-4000-8000-000000000001.jsonl"), "{}\n");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    let words = place.words("builder");
    assert_eq!(words[..2], ["--resume".to_owned(), session]);
    assert_eq!(words[4..], ["Continue where you were.", "", "Phase b (index 1): b.md.", "END"]);
}

#[test]
fn a_killed_agents_parent_takes_nothing_else_along() {
    let place = Place::new().active().supervised();
    let (pid, other) = (place.pid("watch"), place.pid("builder"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    signal(parent, "KILL");
    place.new_agent("watch", pid);
    until("the agent without a parent to end", || (!lives(pid)).then_some(()));
    assert_eq!(place.pid("builder"), other);
}

#[test]
fn agents_outlive_a_killed_supervisor_and_the_next_one_adopts_them() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let before = ["boss", "builder", "watch"].map(|name| place.pid(name));
    place.kill_supervisor();
    assert!(before.iter().all(|pid| lives(*pid)));
    let status = place.status();
    assert_eq!(status["degraded"], serde_json::json!(["the supervisor does not answer"]));
    assert_eq!(status["loops"][2]["pid"], before[2], "seen without the supervisor");
    place.supervise();
    let status = place.at_work();
    assert_eq!(["boss", "builder", "watch"].map(|name| place.pid(name)), before);
    for one in status["loops"].as_array().unwrap() {
        assert_eq!((&one["reason"], &one["restarts"]), (&"adopted".into(), &0.into()));
    }
    assert_eq!(status["reboots"], 0, "a restart of the supervisor is no reboot");
    // It does not only list them: it sees them end.
    signal(before[2], "KILL");
    place.new_agent("watch", before[2]);
    assert_eq!(place.one("watch")["restarts"], 1);
}

#[test]
fn what_ended_while_nobody_looked_is_started_by_the_next_supervisor() {
    let mut place = Place::new().active().supervised();
    let (watch, builder) = (place.pid("watch"), place.pid("builder"));
    place.end_supervisor();
    assert!(lives(watch) && lives(builder), "agents stay");
    signal(watch, "KILL");
    until("the loop to be seen as stopped", || (place.one("watch")["state"] == "stopped").then_some(()));
    assert_eq!(place.one("watch")["pid"], Value::Null, "a dead agent has no pid");
    place.supervise();
    place.new_agent("watch", watch);
    assert_eq!(place.pid("builder"), builder);
    // It is told and counts like any other.
    assert_eq!(place.one("watch")["restarts"], 1);
    let said = |place: &Place| -> Vec<String> {
        let ends = events(place, "watch").into_iter().filter(|event| event["what"] == "loop-ended");
        ends.map(|end| end["detail"].as_str().unwrap().lines().next().unwrap().to_owned()).collect()
    };
    assert_eq!(said(&place), ["ended by signal 9; starts again at once"]);
    // Once: the next supervisors know of it.
    for _ in 0..2 {
        place.end_supervisor();
        place.supervise();
        place.at_work();
    }
    assert_eq!((said(&place).len(), &place.one("watch")["restarts"]), (1, &1.into()));
}

#[test]
fn an_end_that_the_supervisor_knew_is_not_counted_again_by_the_next() {
    let mut place = Place::new().active().supervised();
    let pid = place.killed("watch", 3);
    signal(pid, "KILL");
    // Its next start waits for seconds, with nobody there.
    until("its end to be known", || (place.events("loop-ended").len() == 4).then_some(()));
    place.kill_supervisor();
    place.supervise();
    place.new_agent("watch", pid);
    assert_eq!((place.events("loop-ended").len(), &place.one("watch")["restarts"]), (4, &4.into()));
}

#[test]
fn ends_that_nobody_saw_make_a_crash_loop_too() {
    let mut place = Place::new().active().supervised();
    for _ in 0..5 {
        let pid = place.pid("watch");
        place.kill_supervisor();
        signal(pid, "KILL");
        until("the loop to be seen as stopped", || (place.one("watch")["state"] == "stopped").then_some(()));
        place.supervise();
        place.until("watch", |one| {
            one["state"] == "crash-looping"
                || one["state"] == "running" && one["pid"].as_u64().is_some_and(|new| new != pid)
        });
    }
    assert_eq!(place.one("watch")["state"], "crash-looping");
    assert_eq!(place.events("loop-crash-looping").len(), 1);
}

#[test]
fn the_crash_count_survives_the_supervisor() {
    let mut place = Place::new().active().supervised();
    for round in 1..=2 {
        let pid = place.pid("watch");
        signal(pid, "KILL");
        place.new_agent("watch", pid);
        place.kill_supervisor();
        place.supervise();
        assert_eq!(place.one("watch")["restarts"], round);
    }
    let pid = place.pid("watch");
    signal(pid, "KILL");
    place.new_agent("watch", pid);
    let ends: Vec<Value> =
        events(&place, "watch").into_iter().filter(|e| e["what"] == "loop-ended").collect();
    assert_eq!(
        ends[2]["detail"].as_str().unwrap().lines().next(),
        Some("ended by signal 9; starts again in 2 s")
    );
}

#[test]
fn an_agent_that_is_deaf_to_every_request_is_ended_all_the_same() {
    let place = Place::new();
    place.env.script("claude", "#!/bin/sh\ntrap '' TERM HUP\nexec sleep 100000\n");
    let place = place.active().supervised();
    let pid = place.pid("builder");
    place.ok(&["loops", "stop", "builder"]);
    // Killed, it is buried by whoever inherited it.
    until("the agent to be gone", || (!lives(pid)).then_some(()));
    assert_eq!(place.one("builder")["state"], "held");
}

#[test]
fn a_second_supervisor_is_told_who_holds_the_lock() {
    let place = Place::new().active().supervised();
    place.at_work();
    let ran = place.run(&["supervise"]);
    let text = ran.snapshot().replace(&format!("pid {} ", place.supervisor()), "pid SUPERVISOR ");
    insta::assert_snapshot!(text, @r"
    $ ccorch supervise
    --- stderr
    error: another run is at work: pid SUPERVISOR (lock $TEST/root/run/ccorch/supervisor.lock)
    hint: wait for it to end, or end that process
    --- status 6
    ");
    place.ok(&["status"]);
}

#[test]
fn only_another_boot_is_a_reboot_and_it_is_logged_once() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    insta::assert_snapshot!(place.env.ccorch(&["reboots"]), @r"
    $ ccorch reboots
    --- stdout
    no reboot since ccorch came to this host
    --- status 0
    ");
    assert_eq!(place.ok(&["reboots", "--json"]), "[]\n");
    place.end_supervisor();
    // As the boot before this one left it.
    let earlier =
        r#"{ "boot_id": "of-the-boot-before", "heartbeat": "2020-01-01T00:00:00Z", "shut_down": true }"#;
    place.env.write(place.state("boot.json"), earlier);
    for _ in 0..2 {
        place.supervise();
        place.end_supervisor();
    }
    let reboots: Value = serde_json::from_str(&place.ok(&["reboots", "--json"])).unwrap();
    assert_eq!(reboots.as_array().unwrap().len(), 1);
    assert_eq!((&reboots[0]["number"], &reboots[0]["clean"]), (&1.into(), &true.into()));
    let log = fs::read_to_string(place.workspace().join("REBOOTS.md")).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.starts_with("- Reboot 1: up again at ") && log.contains("Host `here`, boot "), "{log}");
}
