//! An account that a person brought back, which the supervisor finds out by what its loops then do.

use jiff::{SignedDuration, Timestamp};

use super::tests::{Place, name, nudges, signal, verdict};
use super::*;
use crate::watchdog::Kind;

/// An account that is used up for months, as loop `one` found.
fn used_up() -> (Place, Timestamp) {
    let mut place = Place::new();
    let until = place.now.wall + SignedDuration::from_hours(24 * 90);
    place.saw("one", Kind::Working);
    place.tell("one", Happens::Looked(verdict(Kind::Limited, Some(until))));
    place.pass(HOUR);
    assert!(!works(&place));
    (place, until)
}

fn works(place: &Place) -> bool {
    place.fleet.shared().blocks.is_empty()
}

#[test]
fn a_turn_that_began_after_the_limit_and_ended_well_lifts_it_for_all() {
    let (mut place, _) = used_up();
    place.tell("one", Happens::Ask { id: "later".into(), text: "Hello.".into() });
    // Somebody buys more, attaches and types.
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    place.pass(MINUTE);
    assert!(!works(&place), "it may be refused yet");
    let all = place.tell("one", signal(Signal::TurnEnded));
    assert!(works(&place));
    let said = |a: &&Action| matches!(a, Action::Event { what, .. } if what == "account-works");
    assert_eq!(all.iter().filter(said).count(), 1, "{all:?}");
    assert_eq!(nudges(&all), [("one".into(), Purpose::Asked)], "what waited goes out");
    let mut woken: Vec<String> = nudges(&place.pass(2 * MINUTE)).into_iter().map(|(who, _)| who).collect();
    woken.sort();
    assert_eq!(woken, ["boss", "two"], "the rest follows as after a probe");
    // The next limit is told as news.
    let until = place.now.wall + SignedDuration::from_hours(1);
    let all = place.tell("one", Happens::Looked(verdict(Kind::Limited, Some(until))));
    assert!(all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "account-limited:a")));
}

#[test]
fn after_a_login_by_hand_nobody_waits_for_the_next_try() {
    let mut place = Place::new();
    place.saw("one", Kind::LoginNeeded);
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.tell("two", signal(Signal::TurnEnded));
    assert!(works(&place), "whichever loop shows it");
}

#[test]
fn a_turn_that_was_open_already_is_no_proof() {
    let mut place = Place::new();
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.pass(MINUTE);
    place.tell("one", Happens::Looked(verdict(Kind::Limited, None)));
    // It goes on, and takes words that somebody typed meanwhile, in the same turn.
    place.pass(MINUTE);
    place.tell("two", signal(Signal::TurnOpen));
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.tell("two", signal(Signal::TurnEnded));
    assert!(!works(&place));
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.tell("two", signal(Signal::TurnEnded));
    assert!(works(&place), "the next one is");
}

#[test]
fn an_end_without_a_beginning_or_behind_a_failure_is_no_proof() {
    let (mut place, _) = used_up();
    // Of the turn before, and late.
    place.tell("one", signal(Signal::TurnEnded));
    assert!(!works(&place));
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    place.tell("one", signal(Signal::TurnFailed));
    place.tell("one", signal(Signal::TurnEnded));
    assert!(!works(&place), "it failed");
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    place.saw("one", Kind::Limited);
    place.tell("one", signal(Signal::TurnEnded));
    assert!(!works(&place), "it was refused");
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    place.end("one");
    place.tell("one", Happens::Started);
    place.tell("one", signal(Signal::TurnEnded));
    assert!(!works(&place), "another agent");
    // What nobody heard begin goes on: nobody knows since when.
    place.tell("two", signal(Signal::TurnOpen));
    place.tell("two", signal(Signal::TurnEnded));
    assert!(!works(&place));
}

#[test]
fn a_beginning_that_is_told_late_is_no_proof() {
    let mut place = Place::new();
    // Its screen was seen before its hooks were heard.
    place.saw("one", Kind::Limited);
    place.tell("one", signal(Signal::TurnBegan { ago: MINUTE }));
    place.tell("one", signal(Signal::TurnEnded));
    assert!(!works(&place));
}

#[test]
fn a_turn_from_before_a_try_that_failed_is_no_proof() {
    let (mut place, _) = used_up();
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.pass(MINUTE);
    place.tell("one", Happens::Release);
    place.pass(MINUTE);
    place.tell("one", Happens::Looked(verdict(Kind::Limited, None)));
    place.tell("two", signal(Signal::TurnEnded));
    assert!(!works(&place));
}

#[test]
fn an_interrupted_turn_of_before_hides_no_later_one() {
    let mut place = Place::new();
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.pass(MINUTE);
    place.tell("one", Happens::Looked(verdict(Kind::Limited, None)));
    place.pass(MINUTE);
    // Somebody stops it by a key, of which no hook tells, and types something else.
    place.saw("two", Kind::Idle);
    place.tell("two", signal(Signal::TurnBegan { ago: 0 }));
    place.tell("two", signal(Signal::TurnEnded));
    assert!(works(&place));
}

#[test]
fn the_proof_outlives_a_supervisor() {
    let (mut place, _) = used_up();
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    place.succeed();
    place.tell("one", Happens::Found(Found::Running));
    place.tell("one", signal(Signal::TurnEnded));
    assert!(works(&place));
}

#[test]
fn who_could_work_and_is_told_nothing_says_why() {
    let (mut place, until) = used_up();
    assert!(place.fleet.held_up(&name("one")).is_none(), "its state says so already");
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    let said = |place: &Place| {
        place.fleet.held_up(&name("one")).map(|(account, block)| (account.to_owned(), block.until))
    };
    assert_eq!(said(&place), Some(("a".into(), Some(until))));
    // Another one found out, so that this one is idle and waits.
    place.tell("one", signal(Signal::TurnEnded));
    assert_eq!(said(&place), None);
}

/// How long it takes until one of the account's loops is asked to try, within that time.
fn until_tried(place: &mut Place, within: Millis) -> Option<Millis> {
    let begun = place.now.steady;
    while place.now.steady < begun + within {
        let all = place.pass(SECOND);
        if let Some(Action::Nudge { name, id, .. }) = all.iter().find(|a| matches!(a, Action::Nudge { .. })) {
            let took = place.now.steady - begun;
            place.tell(name.as_str(), Happens::Received(id.clone()));
            return Some(took);
        }
    }
    None
}

#[test]
fn a_reset_that_is_past_when_it_is_heard_of_is_tried_soon_and_but_once() {
    let mut place = Place::new();
    let past = place.now.wall - SignedDuration::from_hours(1);
    let limited = |place: &mut Place| {
        for who in ["boss", "one", "two"] {
            place.tell(who, Happens::Looked(verdict(Kind::Limited, Some(past))));
        }
    };
    limited(&mut place);
    let took = until_tried(&mut place, 2 * MINUTE);
    assert!(took.is_some_and(|took| took > 5 * SECOND), "not all accounts at one moment: {took:?}");
    // The try meets the limit again.
    limited(&mut place);
    assert_eq!(until_tried(&mut place, 5 * MINUTE), None);
    assert!(until_tried(&mut place, 10 * MINUTE).is_some());
    // Its turn ends as if it had worked, and the same is heard: that is no loop of tries at once, over supervisors too.
    for _ in 0..3 {
        for who in ["boss", "one", "two"] {
            place.tell(who, signal(Signal::TurnBegan { ago: 0 }));
            place.tell(who, signal(Signal::TurnEnded));
        }
        place.pass(2 * MINUTE);
        assert!(works(&place));
        limited(&mut place);
        assert!(!works(&place));
        assert_eq!(until_tried(&mut place, 5 * MINUTE), None);
        place.succeed();
        for who in ["boss", "one", "two"] {
            place.tell(who, Happens::Found(Found::Running));
        }
    }
    // A later one is another one.
    place.tell("one", signal(Signal::TurnBegan { ago: 0 }));
    place.tell("one", signal(Signal::TurnEnded));
    place.pass(2 * MINUTE);
    let past = place.now.wall - SignedDuration::from_mins(1);
    place.tell("one", Happens::Looked(verdict(Kind::Limited, Some(past))));
    assert!(until_tried(&mut place, 2 * MINUTE).is_some());
}
