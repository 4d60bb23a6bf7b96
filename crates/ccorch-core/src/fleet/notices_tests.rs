//! What people are told of loops that fell, whatever else they are told at that time.

use std::collections::BTreeMap;

use super::tests::{Place, name, verdict};
use super::*;
use crate::rig::Role;
use crate::watchdog::{DialogKind, Kind, Verdict};

/// The messages about a key.
fn told(actions: &[Action], about: &str) -> usize {
    actions.iter().filter(|a| matches!(a, Action::Notify { key, .. } if key == about)).count()
}

/// Ends its agent until it is a crash loop; all that was done.
fn fells(place: &mut Place, who: &str) -> Vec<Action> {
    let mut all = Vec::new();
    for _ in 0..5 {
        all.extend(place.end(who));
        all.extend(place.pass(10 * SECOND));
        place.tell(who, Happens::Started);
    }
    all
}

#[test]
fn a_crash_loop_after_a_person_let_it_run_again_is_told_again() {
    let mut place = Place::new();
    assert_eq!(told(&fells(&mut place, "one"), "crash-looping:one"), 1);
    place.end("one");
    place.tell("one", Happens::Release);
    place.tell("one", Happens::Started);
    assert_eq!(told(&fells(&mut place, "one"), "crash-looping:one"), 1);
    assert_eq!(place.state("one"), State::CrashLooping);
}

#[test]
fn a_question_after_the_keyboard_was_free_is_told_again() {
    let mut place = Place::new();
    let trust = Verdict { keyboard: Some(DialogKind::Trust), ..verdict(Kind::Dialog, None) };
    let asks = |place: &mut Place| told(&place.tell("one", Happens::Looked(trust.clone())), "dialog:one");
    assert_eq!((asks(&mut place), asks(&mut place)), (1, 0));
    place.saw("one", Kind::Unknown);
    assert_eq!(asks(&mut place), 0, "nobody knows that it was answered");
    place.saw("one", Kind::Working);
    assert_eq!(asks(&mut place), 1);
}

#[test]
fn twelve_loops_that_fall_at_once_are_all_named_in_a_few_messages() {
    let now = Now { wall: "2026-06-01T00:00:00Z".parse().unwrap(), steady: 1_000_000 };
    let names: Vec<String> = (10..22).map(|n| format!("loop-{n}")).collect();
    let spec = |name: &String| Spec {
        watched: true,
        role: Role::Worker,
        account: name.clone(),
        stall_after: 20 * MINUTE,
        continue_after: 5 * MINUTE,
    };
    let loops = names.iter().map(|one| (name(one), spec(one))).collect();
    let plan = Fleets { loops, phases: vec![], done_when: vec![], seed: 3 };
    let mut place = Place { fleet: Fleet::new(plan, Shared::default(), BTreeMap::new(), now), now };
    for one in &names {
        place.tell(one, Happens::Found(Found::Absent));
        place.tell(one, Happens::Started);
    }
    let mut all = Vec::new();
    for _ in 0..5 {
        for one in &names {
            all.extend(place.end(one));
        }
        all.extend(place.pass(10 * SECOND));
        for one in &names {
            all.extend(place.tell(one, Happens::Started));
        }
    }
    assert!(names.iter().all(|one| place.state(one) == State::CrashLooping));
    all.extend(place.pass(10 * MINUTE));
    let texts: Vec<&str> = all
        .iter()
        .filter_map(|a| match a {
            Action::Notify { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let unnamed =
        names.iter().find(|one| !texts.iter().any(|text| text.contains(&format!("{one}: crash loop"))));
    assert_eq!((unnamed, texts.len()), (None, 6), "{texts:#?}");
}
