//! The term, in real seconds: a holder that cannot renew stops in time, and a standby takes over by itself.

use std::time::{Duration, Instant};

use crate::place::{Place, Story, ok, refused, show, until};

const TERM: &str = r#", "heartbeat": "1s", "stop": "1s", "term": "6s""#;

#[test]
fn a_standby_takes_over_after_the_term_and_never_before_the_holder_stopped() {
    let place = Place::new(TERM);
    ok(&place.a, &["lease", "tick"]);
    let renewals = show(&place.a)["arbiter"]["renewal"].as_u64().unwrap();
    ok(&place.b, &["lease", "tick"]);
    ok(&place.a, &["lease", "tick"]);
    let renewed = Instant::now();
    assert_eq!(show(&place.a)["arbiter"]["renewal"], renewals + 1);
    ok(&place.b, &["lease", "tick"]);
    // From here on the holder renews nothing; its guard runs, as its unit would have it.
    let (out, log) = (place.a.root().join("guard.out"), place.a.root().join("guard.log"));
    let mut guard = place.a.spawn(&["lease", "guard"], &out, &log);
    let took = until("the standby to take over", || {
        // First the standby, then the holder: when the standby may start, the holder may not.
        let standby = place.b.run(&["lease", "tick"]).status == Some(0)
            && place.b.run(&["lease", "check"]).status == Some(0);
        if standby {
            refused(&place.a.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
        }
        standby.then(|| renewed.elapsed())
    });
    assert!(guard.wait().unwrap().success());
    assert!(place.a.text(&log).contains("lease-term-over"));
    assert!(took >= Duration::from_secs(8), "a term of 6 s, 1 s to stop and a heartbeat; it took {took:?}");
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &[]);
    assert_eq!(show(&place.a)["arbiter"]["holder"], "b");
}

/// Away while the standby counts, and back but without taking its push: it neither starts by its own count nor by an answer that
/// it did not get, and takes over when the remote has said so.
#[test]
fn a_standby_that_counted_while_the_remote_was_away_starts_by_its_word_alone() {
    let place = Place::new(TERM);
    ok(&place.a, &["lease", "tick"]);
    ok(&place.b, &["lease", "tick"]);
    place.cut(true);
    // Longer than the standby waits: the holder's guard ends with its term.
    ok(&place.a, &["lease", "guard"]);
    let end = Instant::now() + Duration::from_secs(4);
    let stays_down = || {
        place.b.run(&["lease", "tick"]);
        refused(&place.b.run(&["lease", "check"]), 6, &[]);
    };
    while Instant::now() < end {
        stays_down();
    }
    place.cut(false);
    place.refuse_pushes(true);
    for _ in 0..3 {
        stays_down();
        assert_eq!(show(&place.b)["arbiter"]["holder"], "a");
    }
    place.refuse_pushes(false);
    until("the standby to take over", || {
        place.b.run(&["lease", "tick"]);
        (place.b.run(&["lease", "check"]).status == Some(0)).then_some(())
    });
    refused(&place.a.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
    assert_eq!(show(&place.a)["arbiter"]["holder"], "b");
}

#[test]
fn a_holder_that_renews_is_left_alone() {
    let place = Place::new(TERM);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        ok(&place.a, &["lease", "tick"]);
        ok(&place.b, &["lease", "tick"]);
        assert_eq!(show(&place.b)["arbiter"]["holder"], "a");
    }
    ok(&place.a, &["lease", "check"]);
}

/// The remote comes back after the term, and nobody took over meanwhile: the holder goes on at a new epoch.
#[test]
fn a_holder_whose_term_is_over_acquires_anew() {
    let place = Place::new(TERM);
    ok(&place.a, &["lease", "tick"]);
    place.cut(true);
    ok(&place.a, &["lease", "guard"]);
    refused(&place.a.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
    place.cut(false);
    let before = show(&place.a)["arbiter"]["epoch"].as_u64().unwrap();
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
    assert!(show(&place.a)["arbiter"]["epoch"].as_u64().unwrap() > before);
}

/// After a cutover the standby is its old source, which the cutover had stopped: the mark of that is no reason to stay down
/// once it has the lease.
#[test]
fn a_standby_that_a_cutover_stopped_takes_over_and_may_start() {
    let place = Place::new(TERM);
    let mut story = Story::begin("j1");
    assert_eq!(story.claim(&place.a, "ann@desk", None).status, Some(0));
    let driver = ["--journal", "j1", "--turn", "1"];
    ok(&place.b, &[&["quiesce"][..], &driver].concat());
    assert_eq!(story.driver(1, "ann@desk").end().keep(&place.b).status, Some(0));
    ok(&place.a, &[&["lease", "close"][..], &driver].concat());
    let record = place.b.root().join("var/lib/ccorch/standby.json");
    place.b.write(&record, "{}");
    ok(&place.b, &["lease", "tick"]);
    until("the standby to take over", || {
        ok(&place.b, &["lease", "tick"]);
        (show(&place.b)["arbiter"]["holder"] == "b").then_some(())
    });
    ok(&place.b, &["lease", "tick"]);
    ok(&place.b, &["lease", "check"]);
    assert!(!record.exists(), "it is no standby any more");
}

/// Scripts and units of its owner's run the rig on `a`: they renew nothing, and stop at the end of no term.
#[test]
fn nobody_takes_over_by_time_from_a_rig_that_its_owners_scripts_run() {
    let place = Place::new(TERM);
    assert_eq!(Story::begin("j1").claim(&place.a, "ann@desk", None).status, Some(0));
    let driver = ["--journal", "j1", "--turn", "1"];
    let write = ["lease", "write", "--about", "a"];
    ok(&place.a, &[&write[..], &driver].concat());
    ok(&place.a, &[&write[..], &["--active", "--for-its-owner"], &driver].concat());
    ok(&place.a, &[&["lease", "close"][..], &driver].concat());
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        ok(&place.a, &["lease", "tick"]);
        ok(&place.b, &["lease", "tick"]);
        assert_eq!(show(&place.b)["arbiter"]["holder"], "a");
        refused(&place.b.run(&["lease", "check"]), 6, &[]);
    }
}

/// Whoever ends the guard, or keeps it from stopping a loop: the deadline stands until the loops are down.
#[test]
fn a_guard_that_could_not_stop_the_loops_is_not_done() {
    let mut place = Place::new(TERM);
    place.have_clones();
    ok(&place.a, &["lease", "tick"]);
    place.start_loop(&place.a);
    let keeps =
        "#!/bin/sh\ncase \"$*\" in *kill-server*) echo no >&2; exit 1 ;; esac\nexec /usr/bin/tmux \"$@\"\n";
    place.a.without("tmux").script("tmux", keeps);
    place.cut(true);
    let ran = place.a.run(&["lease", "guard"]);
    assert!(ran.status == Some(1) && ran.stderr.contains("| no"), "{}", ran.snapshot());
    refused(&place.a.run(&["lease", "check"]), 6, &["not acquired in this boot"]);
    assert!(place.loop_runs(&place.a));
    place.a.script("tmux", "#!/bin/sh\nexec /usr/bin/tmux \"$@\"\n");
    ok(&place.a, &["lease", "guard"]);
    assert!(!place.loop_runs(&place.a));
    // Told once, however often it began.
    let events = place.a.text(&place.a.root().join("var/lib/ccorch/events.jsonl"));
    assert_eq!(events.matches("lease-term-over").count(), 1, "{events}");
}
