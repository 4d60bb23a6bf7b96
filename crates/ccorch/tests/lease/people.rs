//! A person's word: release, acquire, a lost lease file, a takeover.

use std::fs;

use crate::place::{Place, Story, ok, reboot, refused, show};

#[test]
fn a_holder_gives_up_and_another_host_takes_what_nobody_holds() {
    let place = Place::new("");
    ok(&place.a, &["lease", "release", "--dry-run"]);
    ok(&place.a, &["lease", "check"]);
    ok(&place.a, &["lease", "release"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    ok(&place.a, &["lease", "release"]);
    refused(&place.b.run(&["lease", "release"]), 6, &["holds the lease"]);
    ok(&place.b, &["lease", "acquire", "--yes-host", "b"]);
    ok(&place.b, &["lease", "check"]);
    refused(&place.a.run(&["lease", "acquire", "--yes-host", "a"]), 6, &["`b` holds the lease"]);
}

#[test]
fn nobody_gives_up_or_takes_in_the_middle_of_a_cutover() {
    let place = Place::new("");
    assert_eq!(Story::begin("j1").claim(&place.a, "ann@desk", None).status, Some(0));
    refused(
        &place.a.run(&["lease", "release"]),
        6,
        &["cutover j1 is under way, driven by ann@desk", "--abort"],
    );
    refused(&place.b.run(&["lease", "acquire", "--yes-host", "b"]), 6, &["cutover j1 is under way"]);
    ok(&place.a, &["lease", "check"]);
}

#[test]
fn a_lost_lease_file_is_no_end_and_needs_a_persons_word() {
    let place = Place::new("");
    fs::remove_file(place.a.root().join("var/lib/ccorch/lease.json")).unwrap();
    reboot(&place.a);
    let ran = place.a.run(&["lease", "tick"]);
    assert!(ran.stderr.contains("its own lease file is gone; `ccorch lease acquire`"), "{}", ran.snapshot());
    refused(&place.a.run(&["lease", "check"]), 6, &["never held"]);
    refused(&place.a.run(&["lease", "acquire"]), 6, &["a person's word", "--yes-host a"]);
    refused(&place.a.run(&["lease", "acquire", "--yes-host", "b"]), 6, &["a person's word"]);
    let before = show(&place.a)["arbiter"]["epoch"].as_u64().unwrap();
    ok(&place.a, &["lease", "acquire", "--yes-host", "a"]);
    ok(&place.a, &["lease", "check"]);
    assert!(show(&place.a)["arbiter"]["epoch"].as_u64().unwrap() > before);
}

/// A copy of the holder's disk takes the lease by that word: the other machine of that name stops at its next look.
#[test]
fn of_two_machines_of_one_name_the_one_without_the_word_stops() {
    let (place, copy) = (Place::new(""), crate::common::Env::new().program("git"));
    copy.script("getent", "#!/bin/sh\nexit 2\n");
    for file in ["etc/ccorch/rig.json", "etc/ccorch/host", "var/lib/ccorch/lease.json"] {
        copy.write(copy.root().join(file), fs::read(place.a.root().join(file)).unwrap());
    }
    ok(&copy, &["lease", "acquire", "--yes-host", "a"]);
    ok(&copy, &["lease", "check"]);
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    ok(&copy, &["lease", "tick"]);
    ok(&copy, &["lease", "check"]);
}

#[test]
fn a_takeover_ends_a_cutover_and_its_driver_for_good() {
    let place = Place::new("");
    let mut story = Story::begin("j1");
    assert_eq!(story.claim(&place.a, "ann@desk", None).status, Some(0));
    story.driver(1, "ann@desk");
    assert_eq!(story.keep(&place.b).status, Some(0));
    refused(&place.b.run(&["lease", "take", "--source", "b"]), 6, &["`b` does not hold the lease"]);
    ok(&place.b, &["lease", "take", "--source", "a"]);
    ok(&place.b, &["lease", "take", "--source", "a"]);
    ok(&place.b, &["lease", "check"]);
    let late = ["--journal", "j1", "--turn", "1"];
    for args in [[&["quiesce"][..], &late].concat(), [&["lease", "close"][..], &late].concat()] {
        refused(&place.b.run(&args), 6, &["this driver may not act", "a takeover by a person's word"]);
    }
    refused(&story.claim(&place.b, "ann@desk", Some(1)), 6, &["is over", "a takeover"]);
    // What was dead comes back, and is standby.
    reboot(&place.a);
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &[]);
}

/// The host that takes over looks for itself: it may see a machine that the operator's does not.
#[test]
fn nobody_takes_over_from_a_machine_that_answers_the_other_host() {
    let place = Place::new("");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let take = ["lease", "take", "--source", "a", "--silent", &at];
    refused(&place.b.run(&take), 6, &["a is not dead: seen from b", "takes connections"]);
    drop(listener);
    refused(&place.b.run(&take), 6, &["refuses connections"]);
    assert_eq!(show(&place.b)["arbiter"]["holder"], "a");
    ok(&place.b, &["lease", "take", "--source", "a", "--silent", "192.0.2.7:22"]);
}

/// Whatever a cutover's decommission left goes away with the standing, whichever way the host becomes active.
#[test]
fn a_host_that_becomes_active_is_no_standby_any_more() {
    let place = Place::new("");
    let state = place.b.root().join("var/lib/ccorch");
    let left = || ["standby.json", "STANDBY.txt"].map(|file| state.join(file).exists());
    let standby = || {
        place.b.write(state.join("standby.json"), "{}").write(state.join("STANDBY.txt"), "on a");
        assert_eq!(left(), [true; 2]);
    };
    standby();
    refused(&place.b.run(&["lease", "acquire", "--yes-host", "b"]), 6, &["`a` holds the lease"]);
    assert_eq!(left(), [true; 2], "a refusal changes nothing");
    ok(&place.b, &["lease", "take", "--source", "a"]);
    assert_eq!(left(), [false; 2]);
    ok(&place.b, &["lease", "release"]);
    standby();
    ok(&place.b, &["lease", "acquire", "--yes-host", "b"]);
    assert_eq!(left(), [false; 2]);
}

/// Two ways to run one rig on one host are one too many.
#[test]
fn a_host_whose_owners_scripts_may_run_the_rig_does_not_take_over() {
    let place = Place::new("");
    let rig = place.b.root().join("etc/ccorch/rig.json");
    let text = fs::read_to_string(&rig).unwrap();
    let runs = r#"{ "ssh": "root@b", "runs": { "stop": ["x"], "start": ["y"] } }"#;
    place.b.write(&rig, text.replace(r#"{ "ssh": "root@b" }"#, runs));
    let take = ["lease", "take", "--source", "a"];
    refused(&place.b.run(&take), 3, &["not fenced", "`ccorch adopt b`"]);
    // Nor by its own word, also not where its file is the only thing that is missing.
    ok(&place.a, &["lease", "release"]);
    let acquire = ["lease", "acquire", "--yes-host", "b"];
    for more in [&[][..], &["--dry-run"]] {
        refused(&place.b.run(&[&acquire, more].concat()), 3, &["not fenced", "`ccorch adopt b`"]);
    }
    ok(&place.a, &["lease", "acquire", "--yes-host", "a"]);
    assert_eq!(show(&place.b)["arbiter"]["holder"], "a");
    place.b.write(place.b.root().join("var/lib/ccorch/fenced"), "");
    ok(&place.b, &take);
}
