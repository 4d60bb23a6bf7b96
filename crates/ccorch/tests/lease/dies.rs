//! Every verb that changes the lease, with the remote away, and killed in the moment after its push arrived: nothing is half done
//! that the same verb does not end.

use std::fs;

use ccorch_core::cutover::SideKind;

use crate::common::Env;
use crate::place::{Place, Story, ok, reboot, refused, show};

/// Kills whoever pushes, once the remote has what was pushed.
const KILL_THE_PUSHER: &str = r#"#!/bin/sh
pid=$PPID
while [ "$pid" -gt 1 ]; do
  read -r name < "/proc/$pid/comm"
  while read -r key value; do [ "$key" != PPid: ] || parent=$value; done < "/proc/$pid/status"
  [ "$name" != ccorch ] || kill -KILL "$pid"
  pid=$parent
done
"#;

/// Refused while the remote is away, with the arbiter as it was; killed after its push; then done.
fn survives(place: &Place, env: &Env, verb: &[&str]) {
    let before = show(env)["arbiter"].clone();
    // The boot's own acquire waits for the remote.
    if verb != ["lease", "tick"] {
        place.cut(true);
        let away = env.run(verb);
        place.cut(false);
        refused(&away, 4, &[]);
    }
    assert_eq!(show(env)["arbiter"], before, "{verb:?}");
    killed_after_its_push(place, env, verb);
    assert_ne!(show(env)["arbiter"], before, "{verb:?}");
    ok(env, verb);
}

fn killed_after_its_push(place: &Place, env: &Env, verb: &[&str]) {
    let hook = place.hook("post-receive");
    env.write(&hook, KILL_THE_PUSHER).mode(&hook, 0o755);
    let killed = env.run(verb);
    fs::remove_file(hook).unwrap();
    assert_eq!(killed.status, None, "{}", killed.snapshot());
}

fn by<'a>(turn: &'a str, verb: &[&'a str]) -> Vec<&'a str> {
    [verb, &["--journal", "j1", "--turn", turn]].concat()
}

fn runs(env: &Env) -> bool {
    ok(env, &["lease", "tick"]);
    env.run(&["lease", "check"]).status == Some(0)
}

#[test]
fn a_cutover_that_dies_at_each_push_is_gone_on_with() {
    let place = Place::new("");
    let (a, b) = (&place.a, &place.b);
    reboot(a);
    survives(&place, a, &["lease", "tick"]);
    assert!(runs(a));
    let story = Story::begin("j1");
    let hook = place.hook("post-receive");
    a.write(&hook, KILL_THE_PUSHER).mode(&hook, 0o755);
    assert_eq!(story.claim(a, "ann@desk", None).status, None);
    fs::remove_file(hook).unwrap();
    assert_eq!(story.claim(a, "ann@desk", None).status, Some(0));
    ok(a, &by("2", &["quiesce"]));
    survives(&place, a, &by("2", &["lease", "write", "--about", "a"]));
    assert!(!runs(a) && !runs(b));
    survives(&place, b, &by("2", &["lease", "write", "--about", "b", "--active"]));
    ok(b, &by("2", &["quiesce", "--undo"]));
    assert!(!runs(a) && runs(b));
    survives(&place, b, &by("2", &["lease", "close"]));
    assert_eq!(show(b)["arbiter"]["cutover"]["open"], false);
}

#[test]
fn a_persons_verb_that_dies_at_its_push_is_said_once_more() {
    let place = Place::new("");
    let (a, b) = (&place.a, &place.b);
    survives(&place, a, &["lease", "release"]);
    assert!(!runs(a) && !runs(b));
    survives(&place, b, &["lease", "acquire", "--yes-host", "b"]);
    assert!(!runs(a) && runs(b));
    survives(&place, a, &["lease", "take", "--source", "b"]);
    assert!(runs(a) && !runs(b));
}

#[test]
fn a_takeover_after_the_term_that_dies_at_its_push_goes_on_by_itself() {
    let place = Place::new(r#", "heartbeat": "1s", "stop": "1s", "term": "5s""#);
    ok(&place.b, &["lease", "tick"]);
    // A host that a cutover had stopped.
    place.b.write(place.b.root().join("var/lib/ccorch/quiesced"), "j0\n");
    reboot(&place.a);
    let hook = place.hook("post-receive");
    place.b.write(&hook, KILL_THE_PUSHER).mode(&hook, 0o755);
    let killed = crate::place::until("the takeover", || {
        let ran = place.b.run(&["lease", "tick"]);
        ran.status.is_none().then_some(ran)
    });
    fs::remove_file(hook).unwrap();
    assert_eq!(show(&place.b)["arbiter"]["holder"], "b", "{}", killed.snapshot());
    assert!(runs(&place.b) && !runs(&place.a));
}

#[test]
fn a_lease_that_is_given_back_by_one_who_dies_is_given_back() {
    let (place, _) = crate::back::on_trial(SideKind::Ccorch);
    killed_after_its_push(&place, &place.b, &["confirm", "watch"]);
    assert!(runs(&place.a) && !runs(&place.b));
    ok(&place.b, &["confirm", "watch"]);
    assert!(crate::back::window(&place.b).contains("fell-back"));
}

/// A host that holds the lease already, and a person who says that the other one is dead: a cutover that was under way is over.
#[test]
fn a_takeover_by_the_holder_ends_a_cutover_too() {
    let place = Place::new("");
    assert_eq!(Story::begin("j1").claim(&place.a, "ann@desk", None).status, Some(0));
    ok(&place.a, &["lease", "take", "--source", "b"]);
    let arbiter = show(&place.a)["arbiter"].clone();
    assert_eq!((arbiter["cutover"]["open"].as_bool(), arbiter["holder"].as_str()), (Some(false), Some("a")));
    refused(&place.a.run(&by("1", &["quiesce"])), 6, &["a takeover by a person's word"]);
    assert!(runs(&place.a));
    assert_eq!(Story::begin("j2").claim(&place.a, "ann@desk", None).status, Some(0));
}
