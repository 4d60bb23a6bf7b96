//! What a loop needs and is not there: tmux, its prompt, its working directory, its program. Each is said where a
//! person looks, and mends itself once it is there.

use std::fs;

use crate::place::{Place, until};

/// Waits until a loop is said to lack something, in status and in its logs.
fn lacks(place: &Place, name: &str, words: &str) {
    let one = place
        .until(name, |one| one["state"] == "backing-off" && one["reason"].as_str().unwrap().contains(words));
    let reason = one["reason"].as_str().unwrap();
    assert!(!reason.contains('\n'), "one line: {reason:?}");
    let logs = place.ok(&["loops", "logs", name]);
    assert!(logs.contains(words), "{logs}");
    let degraded = place.status()["degraded"].to_string();
    assert!(degraded.contains(&format!("loop {name} is ")), "{degraded}");
}

#[test]
fn tmux() {
    let place = Place::new().active();
    place.env.without("tmux");
    let place = place.supervised();
    lacks(&place, "watch", "no such program");
    insta::assert_snapshot!(place.env.ccorch(&["loops", "start", "watch"]), @r"
    $ ccorch loops start watch
    --- stderr
    error: loop watch does not run: tmux could not be started: no such program
    hint: install tmux on this host
    --- status 7
    ");
    // The same failure, retried every few seconds, fills no log.
    until("some retries", || (place.said().matches("loop-start-failed").count() >= 1).then_some(()));
    place.env.link("tmux");
    place.at_work();
    let logs = place.ok(&["loops", "logs", "watch"]);
    assert_eq!(logs.matches("loop-start-failed").count(), 1, "{logs}");
}

#[test]
fn the_prompt() {
    let place = Place::new().active();
    fs::rename(place.workspace().join("builder.md"), place.workspace().join("away.md")).unwrap();
    let place = place.supervised();
    lacks(&place, "builder", "read the prompt");
    fs::rename(place.workspace().join("away.md"), place.workspace().join("builder.md")).unwrap();
    place.at_work();
    assert!(place.words("builder").contains(&"Build it.".to_owned()));
}

#[test]
fn the_working_directory() {
    let place = Place::new().active();
    fs::rename(place.workspace().join("build"), place.workspace().join("away")).unwrap();
    let place = place.supervised();
    lacks(&place, "builder", "the working directory");
    insta::assert_snapshot!(place.env.ccorch(&["loops", "restart", "builder"]).replace(&again(&place), "AGAIN"), @r"
    $ ccorch loops restart builder
    --- stderr
    error: loop builder does not run: the working directory $TEST/root/srv/w/build does not exist; starts again AGAIN
    hint: `ccorch loops logs builder` tells more
    --- status 1
    ");
    fs::rename(place.workspace().join("away"), place.workspace().join("build")).unwrap();
    place.ok(&["loops", "start", "builder"]);
    assert_eq!(place.one("watch")["restarts"], 0);
}

/// The pause that the builder's reason names.
fn again(place: &Place) -> String {
    let one = place.until("builder", |one| one["state"] == "backing-off");
    one["reason"].as_str().unwrap().rsplit_once("starts again ").unwrap().1.to_owned()
}

#[test]
fn the_program() {
    let place = Place::new().active().supervised();
    place.at_work();
    place.env.without("sleep");
    let pid = place.pid("watch");
    let ran = place.run(&["loops", "restart", "watch"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
    assert!(!crate::place::lives(pid));
    // It had been asked to leave before; that it failed now is no word of a person.
    lacks(&place, "watch", "`sleep` could not be started");
    place.env.link("sleep");
    place.ok(&["loops", "start", "watch"]);
}
