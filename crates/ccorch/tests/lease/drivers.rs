//! Two drivers of one cutover are kept apart by the arbiter and by each host.

use std::fs;

use ccorch_core::cutover::{Entry, Step};
use ccorch_io::clock;

use crate::common::Env;
use crate::place::{Place, Story, ok, reboot, refused, show};

/// Every act of a driver on a host.
fn acts<'a>(journal: &'a str, turn: &'a str, about: &'a str) -> Vec<Vec<&'a str>> {
    let act = |verb: &[&'a str]| [verb, &["--journal", journal, "--turn", turn]].concat();
    vec![
        act(&["quiesce"]),
        act(&["quiesce", "--undo"]),
        act(&["activate", "--message", "x"]),
        act(&["lease", "write", "--about", about]),
        act(&["lease", "write", "--about", about, "--active"]),
    ]
}

fn none_is_let_in(env: &Env, journal: &str, turn: &str, about: &str, words: &[&str]) {
    for args in acts(journal, turn, about) {
        refused(&env.run(&args), 6, &[&["this driver may not act"], words].concat());
    }
}

#[test]
fn a_driver_that_was_replaced_is_refused_by_both_hosts_and_told_who_drives() {
    let place = Place::new("");
    let mut ann = Story::begin("j1");
    assert_eq!(ann.claim(&place.a, "ann@desk", None).status, Some(0));
    ann.driver(1, "ann@desk").add(Entry::Started { step: Step::Quiesce });
    for env in [&place.a, &place.b] {
        assert_eq!(ann.keep(env).status, Some(0));
        assert_eq!(ann.keep(env).status, Some(0), "a second time changes nothing");
    }
    // Another cutover is refused, by whichever host it is asked.
    let other = Story::begin("j2");
    refused(
        &other.claim(&place.b, "bob@lap", None),
        6,
        &["cutover j1 is under way, driven by ann@desk (turn 1)", "--resume"],
    );
    // Another machine goes on from a host's copy.
    let copy = ok(&place.b, &["journal", "print", "j1"]);
    assert_eq!(copy, ann.text);
    let bob = ann.copied();
    assert_eq!(bob.claim(&place.b, "bob@lap", Some(1)).status, Some(0));
    for env in [&place.a, &place.b] {
        ok(env, &["journal", "print", "j1", "--turn", "2", "--by", "bob@lap"]);
        none_is_let_in(env, "j1", "1", "a", &["bob@lap drives cutover j1 (turn 2)"]);
    }
    // Ann wakes up, and has written more in the dark.
    ann.add(Entry::Done { step: Step::Quiesce, note: String::new() });
    refused(&ann.keep(&place.a), 6, &["this driver may not act", "ccorch journal show j1"]);
}

#[test]
fn a_whole_cutover_by_two_drivers_moves_the_lease_once() {
    let place = Place::new("");
    let mut ann = Story::begin("j1");
    assert_eq!(ann.claim(&place.a, "ann@desk", None).status, Some(0));
    ann.driver(1, "ann@desk");
    ok(&place.a, &["quiesce", "--journal", "j1", "--turn", "1"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["cutover j1 keeps the loops down"]);
    ok(&place.a, &["lease", "write", "--about", "a", "--journal", "j1", "--turn", "1"]);
    let mut bob = ann.copied();
    assert_eq!(bob.claim(&place.b, "bob@lap", Some(1)).status, Some(0));
    bob.driver(2, "bob@lap");
    // The arbiter knows the newest driver, whatever the host has heard.
    none_is_let_in(&place.b, "j1", "1", "b", &["bob@lap"]);
    let late = place.a.run(&["lease", "write", "--about", "a", "--active", "--journal", "j1", "--turn", "1"]);
    refused(&late, 6, &["this driver may not act", "bob@lap"]);
    let active = ["lease", "write", "--about", "b", "--active", "--journal", "j1", "--turn", "2"];
    ok(&place.b, &active);
    ok(&place.b, &active);
    ok(&place.b, &["activate", "--journal", "j1", "--turn", "2", "--message", "moved"]);
    ok(&place.b, &["lease", "check"]);
    let seen = show(&place.a);
    assert_eq!((&seen["arbiter"]["holder"], &seen["arbiter"]["state"]), (&"b".into(), &"active".into()));
    assert_eq!((&seen["file"]["state"], &seen["may_start"]), (&"standby".into(), &false.into()));
    let close = ["lease", "close", "--journal", "j1", "--turn", "2"];
    ok(&place.b, &close);
    ok(&place.b, &close);
    bob.end();
    for env in [&place.a, &place.b] {
        // Its last line comes after b has heard of the end by the arbiter.
        assert_eq!(bob.keep(env).status, Some(0));
        none_is_let_in(env, "j1", "2", "b", &["is over"]);
        none_is_let_in(env, "j1", "1", "b", &[]);
    }
    let shown = ok(&place.b, &["lease", "show"]);
    assert!(shown.contains("cutover: j1 is over, turn 2, driven by bob@lap"), "{shown}");
    assert!(shown.contains("cutover j1, turn 1, driven by ann@desk"), "the chain names the journal: {shown}");
    assert_eq!(Story::begin("j2").claim(&place.a, "ann@desk", None).status, Some(0));
}

#[test]
fn a_host_that_a_cutover_makes_active_has_acquired_the_lease_with_that_for_this_boot_alone() {
    let place = Place::new("");
    let mut ann = Story::begin("j1");
    assert_eq!(ann.claim(&place.a, "ann@desk", None).status, Some(0));
    ann.driver(1, "ann@desk");
    let driver = ["--journal", "j1", "--turn", "1"];
    ok(&place.a, &[&["lease", "write", "--about", "a"][..], &driver].concat());
    ok(&place.b, &[&["lease", "write", "--about", "b", "--active"][..], &driver].concat());
    let epoch = || show(&place.b)["arbiter"]["epoch"].as_u64().unwrap();
    let written = epoch();
    assert_eq!(show(&place.b)["arbiter"]["boot_id"], clock::boot_id().unwrap());
    // Acquired, and nothing starts before the cutover says so.
    ok(&place.b, &["lease", "tick"]);
    refused(&place.b.run(&["lease", "check"]), 6, &["cutover j1 keeps the loops down"]);
    ok(&place.b, &[&["activate", "--message", "moved"][..], &driver].concat());
    ok(&place.b, &["lease", "check"]);
    ok(&place.b, &["lease", "tick"]);
    assert_eq!(epoch(), written, "one change at the arbiter");
    reboot(&place.b);
    refused(&place.b.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
    ok(&place.b, &["lease", "tick"]);
    ok(&place.b, &["lease", "check"]);
    assert_eq!(epoch(), written + 1);
}

#[test]
fn a_host_that_missed_the_end_hears_of_it_by_its_heartbeat() {
    let place = Place::new("");
    let mut ann = Story::begin("j1");
    assert_eq!(ann.claim(&place.a, "ann@desk", None).status, Some(0));
    ann.driver(1, "ann@desk");
    assert_eq!(ann.keep(&place.b).status, Some(0));
    ok(&place.a, &["lease", "close", "--journal", "j1", "--turn", "1"]);
    let heard = || fs::read_to_string(place.b.root().join("var/lib/ccorch/driver.json")).unwrap();
    assert!(heard().contains(r#""open": true"#), "{}", heard());
    ok(&place.b, &["lease", "tick"]);
    assert!(heard().contains(r#""open": false"#), "{}", heard());
    none_is_let_in(&place.b, "j1", "1", "b", &["is over"]);
}

#[test]
fn a_copy_is_kept_whole_whatever_a_crash_left_of_it() {
    let place = Place::new("");
    let mut story = Story::begin("j1");
    assert_eq!(story.claim(&place.a, "ann@desk", None).status, Some(0));
    story.driver(1, "ann@desk");
    let path = place.a.root().join("var/lib/ccorch/journals/j1.jsonl");
    for step in [Step::Preflight, Step::Presync] {
        story.add(Entry::Started { step }).add(Entry::Done { step, note: "x".into() });
        assert_eq!(story.keep(&place.a).status, Some(0));
        let whole = fs::read_to_string(&path).unwrap();
        assert_eq!(whole, story.text);
        fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    }
    assert_eq!(story.keep(&place.a).status, Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), story.text);
    // Two copies of one machine: the same turn, another story.
    let mut twin = Story::begin("j1");
    twin.driver(1, "ann@desk").add(Entry::TurnBack { why: "x".into() });
    refused(&twin.keep(&place.a), 6, &["went another way"]);
    // A newer driver's story wins; the other is kept aside.
    let mut newer = Story::begin("j1");
    newer.driver(2, "bob@lap").add(Entry::TurnBack { why: "x".into() });
    assert_eq!(newer.keep(&place.a).status, Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), newer.text);
    assert_eq!(fs::read_to_string(path.with_extension("replaced-by-turn-2")).unwrap(), story.text);
    let listed = ok(&place.a, &["journal", "list"]);
    assert!(listed.contains("j1") && listed.contains("bob@lap, turn 2"), "{listed}");
    let shown = ok(&place.a, &["journal", "show", "--json"]);
    assert!(shown.contains("\"state\": \"going back\""), "{shown}");
}
