//! A target that failed and that no driver takes back: it stops, and gives the lease back to a source that runs ccorch.

use std::fs;
use std::time::{Duration, Instant};

use ccorch_core::cutover::{Entry, SideKind, Step};

use crate::common::Env;
use crate::place::{Place, Story, ok, refused, show, until};

const BY_ANN: [&str; 4] = ["--journal", "j1", "--turn", "1"];
/// On a loaded machine.
const LONG: Duration = Duration::from_secs(100);

fn by_ann(env: &Env, verb: &[&str]) {
    ok(env, &[verb, &BY_ANN].concat());
}

/// A cutover by ann that has just started the rig on `b`, where nothing works: its window of a second fails.
pub fn on_trial(source: SideKind) -> (Place, Story) {
    trial(Place::new(""), source)
}

fn trial(place: Place, source: SideKind) -> (Place, Story) {
    let mut ann = Story::begin_from("j1", source);
    let asked = if source == SideKind::Ccorch { &place.a } else { &place.b };
    let claimed = ann.claim(asked, "ann@desk", None);
    assert_eq!(claimed.status, Some(0), "{}", claimed.snapshot());
    ann.driver(1, "ann@desk").add(Entry::Started { step: Step::Quiesce });
    if source == SideKind::Ccorch {
        assert_eq!(ann.keep(&place.a).status, Some(0));
        by_ann(&place.a, &["quiesce"]);
        by_ann(&place.a, &["lease", "write", "--about", "a"]);
    } else {
        by_ann(&place.b, &["lease", "write", "--about", "a"]);
    }
    assert_eq!(ann.keep(&place.b).status, Some(0));
    by_ann(&place.b, &["lease", "write", "--about", "b", "--active"]);
    by_ann(&place.b, &["activate", "--message", "x", "--confirm-within", "1s"]);
    ok(&place.b, &["lease", "check"]);
    (place, ann)
}

/// The watch of a target that stands down, killed in the moment when that is so.
fn watch_killed_when(target: &Env, stands_down: impl Fn() -> bool) {
    let (out, log) = (target.root().join("watch.out"), target.root().join("watch.log"));
    let mut watch = target.spawn(&["confirm", "watch"], &out, &log);
    until("the target to stand down", || stands_down().then_some(()));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

pub fn window(env: &Env) -> String {
    env.text(&env.root().join("var/lib/ccorch/confirm.json"))
}

#[test]
fn a_target_alone_gives_the_lease_back_and_the_source_takes_it_up() {
    let (place, ann) = on_trial(SideKind::Ccorch);
    refused(&place.a.run(&["lease", "check"]), 6, &["standby"]);
    let began = Instant::now();
    ok(&place.b, &["confirm", "watch"]);
    assert!(
        began.elapsed() < LONG && window(&place.b).contains(r#""verdict": "fell-back""#),
        "{}",
        window(&place.b)
    );
    refused(&place.b.run(&["lease", "check"]), 6, &["standby"]);
    let arbiter = show(&place.b)["arbiter"].clone();
    assert_eq!((arbiter["holder"].as_str(), arbiter["state"].as_str()), (Some("a"), Some("active")));
    assert_eq!(arbiter["cutover"]["by"], "b, which did not confirm itself");
    // Nobody told the source: its own next look takes it up, and what the cutover stopped may start.
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
    let told = fs::read_to_string(place.a.root().join("var/lib/ccorch/handoff.txt")).unwrap_or_default();
    assert!(told.is_empty() || told.contains("taken back by b"), "{told}");
    ok(&place.b, &["lease", "tick"]);
    refused(&place.b.run(&["lease", "check"]), 6, &[]);
    // The driver wakes: it is over, by every host's word.
    for (env, about) in [(&place.a, "a"), (&place.b, "b")] {
        let write = [&["lease", "write", "--about", about, "--active"][..], &BY_ANN].concat();
        refused(&env.run(&write), 6, &["b, which did not confirm itself"]);
        refused(&env.run(&[&["quiesce"][..], &BY_ANN].concat()), 6, &["b, which did not confirm itself"]);
    }
    refused(&ann.claim(&place.a, "ann@desk", Some(1)), 6, &["is over since turn 2"]);
    let status = place.b.run(&["status", "--json"]).stdout;
    assert!(status.contains("the lease was given back to its source"), "{status}");
    // Nothing is in the way of the next one.
    assert_eq!(Story::begin("j2").claim(&place.a, "ann@desk", None).status, Some(0));
}

/// Nobody carries anything back where no driver is: what can be pushed is, and the source's agents hear of it.
#[test]
fn what_a_target_alone_has_not_saved_is_rescued_before_the_source_works_again() {
    let mut place = Place::new("");
    place.have_clones();
    let (place, _) = trial(place, SideKind::Ccorch);
    place.git(&place.b, &["commit", "-q", "--allow-empty", "-m", "alone"]);
    place.b.write("ws/w/draft", "by an agent on b\n");
    ok(&place.b, &["confirm", "watch"]);
    assert!(window(&place.b).contains(r#""verdict": "fell-back""#), "{}", window(&place.b));
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
    let events = place.b.text(&place.b.root().join("var/lib/ccorch/events.jsonl"));
    assert!(events.contains("work-rescued") && events.contains("ccorch/rescue/b/j1 ("), "{events}");
    let rescued = "origin/ccorch/rescue/b/j1";
    assert_eq!(place.git(&place.a, &["show", &format!("{rescued}:draft")]), "by an agent on b");
    assert_eq!(
        place.git(&place.a, &["log", "-1", "--format=%s", &format!("{rescued}-branch-main")]),
        "alone"
    );
    let told = place.a.text(&place.a.root().join("var/lib/ccorch/handoff.txt"));
    assert!(told.contains("taken back by b") && told.contains(&format!("w: {rescued} at ")), "{told}");
}

#[test]
fn what_cannot_be_pushed_stays_with_a_target_alone_and_is_told() {
    let mut place = Place::new("");
    let remote = place.have_clones();
    let (place, _) = trial(place, SideKind::Ccorch);
    place.b.write("ws/w/draft", "by an agent on b\n");
    fs::rename(&remote, remote.with_extension("away")).unwrap();
    ok(&place.b, &["confirm", "watch"]);
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
    assert_eq!(place.git(&place.b, &["show", "refs/ccorch/rescue/b/j1:draft"]), "by an agent on b");
    let letters = fs::read_dir(place.b.root().join("var/lib/ccorch/notify")).unwrap().flatten();
    let said = "not pushed: the push failed";
    assert!(letters.into_iter().any(|one| fs::read_to_string(one.path()).unwrap_or_default().contains(said)));
}

#[test]
fn what_a_dying_target_began_to_give_back_the_next_watch_ends() {
    let (place, _) = on_trial(SideKind::Ccorch);
    place.refuse_pushes(true);
    // Its file is standby before the arbiter hears of it: whoever dies in between leaves no two at work.
    watch_killed_when(&place.b, || {
        let lease = place.b.text(&place.b.root().join("var/lib/ccorch/lease.json"));
        lease.contains(r#""state": "standby""#)
    });
    assert_eq!(show(&place.a)["arbiter"]["holder"], "b");
    ok(&place.a, &["lease", "tick"]);
    refused(&place.a.run(&["lease", "check"]), 6, &[]);
    place.refuse_pushes(false);
    ok(&place.b, &["confirm", "watch"]);
    assert!(window(&place.b).contains(r#""verdict": "fell-back""#));
    ok(&place.a, &["lease", "tick"]);
    ok(&place.a, &["lease", "check"]);
}

#[test]
fn a_target_alone_stops_and_says_so_where_its_source_is_its_owners() {
    let (place, ann) = on_trial(SideKind::Legacy);
    ok(&place.b, &["confirm", "watch"]);
    assert!(window(&place.b).contains(r#""stood_down": true"#), "{}", window(&place.b));
    refused(&place.b.run(&["lease", "check"]), 6, &["cutover j1 keeps the loops down"]);
    let said =
        "nobody took it back for 1s: b has stopped its loops. Nothing runs until `ccorch cutover --resume`";
    let note = place.b.text(&place.b.root().join("var/lib/ccorch/HANDOFF.md"));
    assert!(note.contains(said), "{note}");
    let letters = fs::read_dir(place.b.root().join("var/lib/ccorch/notify")).unwrap().flatten();
    assert!(letters.into_iter().any(|one| fs::read_to_string(one.path()).unwrap_or_default().contains(said)));
    let status = place.b.run(&["status", "--json"]).stdout;
    assert!(status.contains("nobody took it back: the loops were stopped"), "{status}");
    // The driver that wakes is still the one who takes it back.
    assert_eq!(show(&place.b)["arbiter"]["cutover"]["open"], true);
    assert_eq!(ann.claim(&place.b, "ann@desk", Some(1)).status, Some(0));
    by_turn_two(&place.b, &["quiesce"]);
    by_turn_two(&place.b, &["lease", "write", "--about", "b"]);
    by_turn_two(&place.b, &["lease", "write", "--about", "a", "--active", "--for-its-owner"]);
    assert_eq!(show(&place.b)["arbiter"]["holder"], "a");
}

/// A person's word ended the cutover and made the rig the failed target's: what it would have done alone is not its business
/// any more.
#[test]
fn a_failed_target_that_took_over_since_keeps_its_loops() {
    let (place, _) = on_trial(SideKind::Ccorch);
    place.refuse_pushes(true);
    watch_killed_when(&place.b, || window(&place.b).contains(r#""stood_down": true"#));
    place.refuse_pushes(false);
    ok(&place.b, &["lease", "take", "--source", "a"]);
    ok(&place.b, &["lease", "tick"]);
    ok(&place.b, &["lease", "check"]);
    ok(&place.b, &["confirm", "watch"]);
    ok(&place.b, &["lease", "check"]);
    assert!(window(&place.b).contains(r#""verdict": "withdrawn""#), "{}", window(&place.b));
    assert_eq!(show(&place.b)["arbiter"]["holder"], "b");
}

fn by_turn_two(env: &Env, verb: &[&str]) {
    ok(env, &[verb, &["--journal", "j1", "--turn", "2"]].concat());
}
