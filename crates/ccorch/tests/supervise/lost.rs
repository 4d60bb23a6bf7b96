//! A state that is damaged costs no loop what it had behind it: the events tell it, also those of a file that is full.

use std::fs;

use jiff::Timestamp;
use serde_json::Value;

use crate::place::{Place, signal, until};

/// An agent that has read its first words, and a plain program.
fn place() -> Place {
    let loops = "  builder: { agent: claude, workdir: build, prompt: builder.md, inbox: INBOX.md }\n  \
                 other: { agent: command, workdir: ., command: [sleep, \"100000\"], inbox: OTHER.md }\n";
    let place = Place::new().with_stub(loops).active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    place
}

/// Ends the supervisor, damages these files of its state, has the files of events taken for full ones, and begins anew.
fn damage(place: &mut Place, files: &[&str]) {
    place.kill_supervisor();
    for file in files {
        place.env.write(place.state(file), "{ \"restarts\": ");
    }
    for file in ["events", "chatter"] {
        let (new, full) = (place.state(&format!("{file}.jsonl")), place.state(&format!("{file}.1.jsonl")));
        let all = [fs::read(&full), fs::read(&new)].into_iter().flatten().collect::<Vec<_>>().concat();
        fs::write(full, all).unwrap();
        let _ = fs::remove_file(new);
    }
    place.supervise();
}

#[test]
fn ends_of_before_still_count_for_a_crash_loop() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let mut pid = place.killed("watch", 3);
    damage(&mut place, &["loops/watch.json"]);
    assert_eq!(place.pid("watch"), pid);
    assert_eq!(place.one("watch")["restarts"], 3);
    signal(pid, "KILL");
    pid = place.new_agent("watch", pid);
    signal(pid, "KILL");
    let one = place.until("watch", |one| one["state"] == "crash-looping");
    assert!(one["reason"].as_str().unwrap().starts_with("crash loop: 5 ends"), "{one}");
}

#[test]
fn a_pause_before_the_next_start_goes_on() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let pid = place.killed("watch", 3);
    // The supervisor is gone before that pause is over.
    signal(pid, "KILL");
    let next = place.until("watch", |one| one["life"] == "backing-off")["next"].clone();
    let next: Timestamp = next.as_str().unwrap().parse().unwrap();
    damage(&mut place, &["loops/watch.json"]);
    place.new_agent("watch", pid);
    let started = place.events("loop-started").last().unwrap()["at"].as_str().unwrap().parse().unwrap();
    assert!(next.duration_since(started).as_millis() < 500, "started at {started}, due at {next}");
}

#[test]
fn an_account_is_not_tried_before_its_reset() {
    let mut place = place();
    let reset = Timestamp::from_second(Timestamp::now().as_second() + 3600).unwrap();
    let words = format!("!stub limit Claude AI usage limit reached|{}", reset.as_second());
    place.ok(&["loops", "nudge", "builder", &words]);
    place.until("builder", |one| one["life"] == "limited");
    let told = place.told("builder", "build");
    let waits = |place: &Place| {
        let one = place.until("builder", |one| one["life"] == "limited" && one["next"].is_string());
        let at = |key: &str| one[key].as_str().unwrap().parse::<Timestamp>().unwrap();
        assert_eq!(at("until"), reset, "{one}");
        assert!(at("next") > reset, "{one}");
        assert!(place.events("account-probe").is_empty(), "{}", place.said());
    };
    // The account's part alone, under an agent that runs.
    damage(&mut place, &["fleet.json"]);
    waits(&place);
    assert_eq!(place.told("builder", "build"), told);
    // All of it, and there is no agent any more whose screen could tell.
    let pid = place.pid("builder");
    place.kill_supervisor();
    signal(pid, "KILL");
    until("the agent to be gone", || (!crate::place::lives(pid)).then_some(()));
    place.supervise();
    damage(&mut place, &["fleet.json", "loops/builder.json"]);
    waits(&place);
    assert!(place.one("builder")["pid"].is_null());
}

#[test]
fn what_an_agent_was_asked_by_that_name_is_not_typed_again() {
    let mut place = place();
    place.ok(&["loops", "nudge", "builder", "only once", "--id", "x"]);
    damage(&mut place, &["loops/builder.json"]);
    place.until("builder", |one| one["life"] == "idle");
    let again = place.ok(&["loops", "nudge", "builder", "only once", "--id", "x"]);
    assert!(again.contains("already"), "{again}");
    let told = place.told("builder", "build");
    assert_eq!(told.iter().filter(|text| *text == "only once").count(), 1, "{told:?}");
    let other = place.run(&["loops", "nudge", "builder", "other", "--id", "x"]);
    assert!(other.stderr.contains("stands for another text"), "{}", other.stderr);
}

#[test]
fn what_was_told_of_an_inbox_is_not_told_again() {
    let mut place = place();
    let inbox = place.workspace().join("build/INBOX.md");
    let told = |place: &Place| {
        let told = place.told("builder", "build");
        told.iter().filter(|text| text.starts_with("There is new content in your inbox")).count()
    };
    let received = |place: &Place, count: usize| {
        until("the receipt", || {
            let inbox = |event: &&Value| event["detail"].as_str().unwrap().starts_with("inbox-");
            (place.events("nudge-received").iter().filter(inbox).count() == count).then_some(())
        });
    };
    fs::write(&inbox, "one\n").unwrap();
    received(&place, 1);
    // The other one's inbox is looked at after this one's.
    fs::write(place.workspace().join("OTHER.md"), "news\n").unwrap();
    damage(&mut place, &["loops/builder.json", "loops/other.json"]);
    until("the inboxes to be looked at", || {
        let state = fs::read_to_string(place.state("loops/other.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        state["memory"]["inbox"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    });
    place.until("builder", |one| one["life"] == "idle");
    fs::write(&inbox, "two\n").unwrap();
    received(&place, 1);
    place.until("builder", |one| one["life"] == "idle" && one["waiting"] == Value::Null);
    assert_eq!(told(&place), 2, "{:?}", place.told("builder", "build"));
}
