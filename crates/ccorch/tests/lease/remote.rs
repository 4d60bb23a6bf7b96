//! The lease's remote goes away at every point: nothing is half done that cannot be gone on with.

use std::fs;

use crate::common::disk::Disk;
use crate::place::{Place, Story, ok, reboot, refused, show, until};

const AWAY: &[&str] = &["lease remote", "does not answer"];
const FULL: &str = "No space left on device";

#[test]
fn every_change_is_refused_while_the_remote_is_away_and_done_when_it_is_back() {
    let place = Place::new("");
    let story = Story::begin("j1");
    let act = |verb: &[&'static str]| [verb, &["--journal", "j1", "--turn", "1"]].concat();
    place.cut(true);
    refused(&story.claim(&place.a, "ann@desk", None), 4, AWAY);
    place.cut(false);
    assert_eq!(story.claim(&place.a, "ann@desk", None).status, Some(0));
    let steps = [
        (&place.a, act(&["lease", "write", "--about", "a"])),
        (&place.b, act(&["lease", "write", "--about", "b", "--active"])),
        (&place.b, act(&["lease", "close"])),
    ];
    for (env, args) in steps {
        let lease = || [show(env)["arbiter"].take(), show(env)["file"].take()];
        let before = lease();
        place.cut(true);
        refused(&env.run(&args), 4, AWAY);
        place.cut(false);
        assert_eq!(lease(), before, "{args:?}");
        ok(env, &args);
        ok(env, &args);
    }
    assert_eq!(show(&place.b)["arbiter"]["holder"], "b");
}

#[test]
fn a_push_that_does_not_arrive_leaves_nobody_active_and_is_gone_on_with() {
    let place = Place::new("");
    assert_eq!(Story::begin("j1").claim(&place.a, "ann@desk", None).status, Some(0));
    let standby = ["lease", "write", "--about", "a", "--journal", "j1", "--turn", "1"];
    place.refuse_pushes(true);
    refused(&place.a.run(&standby), 4, AWAY);
    // The file went first: this host starts nothing, by whatever the arbiter says.
    assert_eq!(show(&place.a)["file"]["state"], "standby");
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    place.refuse_pushes(false);
    ok(&place.a, &standby);
    let active = ["lease", "write", "--about", "b", "--active", "--journal", "j1", "--turn", "1"];
    place.refuse_pushes(true);
    refused(&place.b.run(&active), 4, AWAY);
    // The ref goes first: without it the target has nothing.
    assert_eq!(show(&place.b)["file"], serde_json::Value::Null);
    place.refuse_pushes(false);
    ok(&place.b, &active);
    ok(&place.b, &["lease", "tick"]);
    refused(&place.b.run(&["lease", "check"]), 6, &["cutover j1 keeps the loops down"]);
    ok(&place.b, &["activate", "--journal", "j1", "--turn", "1", "--message", "moved"]);
    ok(&place.b, &["lease", "check"]);
}

#[test]
fn a_boot_without_the_remote_waits_and_starts_the_moment_it_answers() {
    let place = Place::new(r#", "offline": "wait""#);
    reboot(&place.a);
    place.cut(true);
    let log = place.a.root().join("tick.log");
    let mut tick = place.a.spawn(&["lease", "tick"], &place.a.root().join("tick.out"), &log);
    until("the wait to be told", || place.a.text(&log).contains("lease-waiting").then_some(()));
    refused(&place.a.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
    place.cut(false);
    assert!(tick.wait().unwrap().success());
    ok(&place.a, &["lease", "check"]);
    assert_eq!(show(&place.a)["arbiter"]["epoch"], 3);
}

#[test]
fn a_boot_without_the_remote_starts_on_trust_where_the_rig_says_so() {
    let place = Place::new(r#", "offline": "trust""#);
    reboot(&place.a);
    place.cut(true);
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
    // A standby has nothing to trust.
    ok(&place.b, &["lease", "tick"]);
    refused(&place.b.run(&["lease", "check"]), 6, &["never held the lease"]);
    place.cut(false);
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
}

#[test]
fn a_holder_that_runs_goes_on_while_the_remote_is_away_and_stops_for_a_stranger() {
    let place = Place::new("");
    place.cut(true);
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
    place.cut(false);
    ok(&place.b, &["lease", "take", "--source", "a"]);
    ok(&place.b, &["lease", "check"]);
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
}

#[test]
fn what_runs_by_its_owners_scripts_holds_the_lease_and_keeps_its_ccorch_down() {
    let place = Place::new("");
    assert_eq!(Story::begin("j1").claim(&place.a, "ann@desk", None).status, Some(0));
    let act = |verb: &[&'static str]| [verb, &["--journal", "j1", "--turn", "1"]].concat();
    ok(&place.a, &act(&["lease", "write", "--about", "a"]));
    for _ in 0..2 {
        ok(&place.a, &act(&["lease", "write", "--about", "a", "--active", "--for-its-owner"]));
        let now = show(&place.a);
        assert_eq!((&now["arbiter"]["holder"], &now["arbiter"]["state"]), (&"a".into(), &"active".into()));
        assert_eq!(now["file"]["state"], "standby");
    }
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    reboot(&place.a);
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    // Another host cannot take it meanwhile, and its own ccorch becomes active by a cutover in place alone.
    refused(&place.b.run(&act(&["lease", "write", "--about", "b", "--active"])), 6, &["`a` holds the lease"]);
    ok(&place.a, &act(&["lease", "write", "--about", "a"]));
    ok(&place.a, &act(&["lease", "write", "--about", "a", "--active"]));
    assert_eq!(show(&place.a)["file"]["state"], "active");
}

#[test]
fn a_remote_that_takes_no_lease_is_known_before_anything_stops() {
    let place = Place::new("");
    let before = show(&place.a)["arbiter"].take();
    ok(&place.a, &["lease", "probe"]);
    place.refuse_pushes(true);
    refused(
        &place.a.run(&["lease", "probe"]),
        7,
        &["does not take a lease", "pre-receive hook declined", "lease.ref"],
    );
    place.refuse_pushes(false);
    assert_eq!(show(&place.a)["arbiter"], before);
    assert_eq!(place.refs().lines().count(), 1, "a probe is left: {}", place.refs());
}

/// A source that was stopped and never fenced runs again without the arbiter: nothing of its lease has changed.
#[test]
fn a_lease_that_never_left_its_holder_is_kept_while_the_remote_is_away() {
    let place = Place::new("");
    assert_eq!(Story::begin("j1").claim(&place.a, "ann@desk", None).status, Some(0));
    let driver = ["--journal", "j1", "--turn", "1"];
    let act = |args: &[&str]| place.a.run(&[args, &driver].concat());
    assert_eq!(act(&["quiesce"]).status, Some(0));
    place.cut(true);
    let back = ["lease", "write", "--about", "a", "--active"];
    refused(&act(&["lease", "write", "--about", "a"]), 4, &["does not answer"]);
    assert_eq!(act(&back).status, Some(0));
    refused(&place.a.run(&["lease", "check"]), 6, &["cutover j1 keeps the loops down"]);
    assert_eq!(act(&["activate", "--message", "as it was"]).status, Some(0));
    ok(&place.a, &["lease", "check"]);
    // Half a fence is one: its file says standby, and only the arbiter can take that back.
    place.cut(false);
    place.refuse_pushes(true);
    refused(&act(&["lease", "write", "--about", "a"]), 4, &[]);
    place.refuse_pushes(false);
    place.cut(true);
    refused(&act(&back), 4, &["does not answer"]);
    // Another host has nothing to keep, and another boot has acquired nothing.
    refused(&place.b.run(&[&["lease", "write", "--about", "b", "--active"][..], &driver].concat()), 4, &[]);
    place.cut(false);
    assert_eq!(act(&back).status, Some(0));
    assert_eq!(act(&["activate", "--message", "as it was"]).status, Some(0));
    ok(&place.a, &["lease", "check"]);
    place.cut(true);
    reboot(&place.a);
    refused(&act(&back), 4, &["does not answer"]);
}

/// A look that died between the mark and the stop, or whose stop failed, leaves no loop running for ever.
#[test]
fn a_standby_whose_loops_still_run_stops_them_at_its_next_look() {
    let mut place = Place::new("");
    place.have_clones();
    place.start_loop(&place.a);
    ok(&place.b, &["lease", "take", "--source", "a"]);
    fs::remove_file(place.a.root().join("run/ccorch/lease-ok")).unwrap();
    ok(&place.a, &["lease", "tick"]);
    assert!(!place.loop_runs(&place.a));
    assert_eq!(show(&place.a)["file"]["state"], "standby");
}

#[test]
fn a_host_that_was_taken_over_from_has_no_trust_in_its_own_file_any_more() {
    let place = Place::new(r#", "offline": "trust""#);
    ok(&place.b, &["lease", "take", "--source", "a"]);
    reboot(&place.a);
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    place.cut(true);
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
}

/// A look of `a` that can keep no word.
fn fails(place: &Place, why: &str) {
    let ran = place.a.run(&["lease", "tick"]);
    assert!(ran.status == Some(1) && ran.stderr.contains(why), "{}", ran.snapshot());
}

/// A disk that is full, and one that went read-only: both keep no word, and nothing runs on for that.
#[test]
fn a_host_whose_disk_takes_nothing_is_fenced_all_the_same() {
    for (hurt, heal, says) in [
        (Disk::fill as fn(&Disk), Disk::relieve as fn(&Disk), FULL),
        (|disk: &Disk| disk.remount("ro"), |disk: &Disk| disk.remount("rw"), "Read-only file system"),
    ] {
        let mut place = Place::new("");
        place.have_clones();
        let disk = Disk::in_place_of(&place.a.root().join("var/lib"));
        place.start_loop(&place.a);
        hurt(&disk);
        ok(&place.b, &["lease", "take", "--source", "a"]);
        fails(&place, says);
        assert!(!place.loop_runs(&place.a));
        refused(&place.a.run(&["lease", "check"]), 6, &[]);
        heal(&disk);
        ok(&place.a, &["lease", "tick"]);
        assert_eq!(show(&place.a)["file"]["state"], "standby");
    }
}

/// Nor does it take the word that it has no room for as silence, which its own file would outlive.
#[test]
fn a_full_disk_hides_no_word_of_the_arbiter() {
    let place = Place::new(r#", "offline": "trust""#);
    let disk = Disk::in_place_of(&place.a.root().join("var/lib"));
    ok(&place.b, &["lease", "take", "--source", "a"]);
    reboot(&place.a);
    disk.fill();
    fails(&place, FULL);
    refused(&place.a.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
    disk.relieve();
}

/// A look that dies at its stop is gone on with by the next one, whatever the remote says by then.
#[test]
fn loops_without_a_mark_are_stopped_while_the_remote_is_away() {
    let mut place = Place::new("");
    place.have_clones();
    place.start_loop(&place.a);
    fs::remove_file(place.a.root().join("run/ccorch/lease-ok")).unwrap();
    place.cut(true);
    let (out, log) = (place.a.root().join("tick.out"), place.a.root().join("tick.log"));
    let mut tick = place.a.spawn(&["lease", "tick"], &out, &log);
    until("the loop to be stopped", || (!place.loop_runs(&place.a)).then_some(()));
    place.cut(false);
    assert!(tick.wait().unwrap().success());
    ok(&place.a, &["lease", "check"]);
}
