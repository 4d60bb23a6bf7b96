//! What decided is kept beside the state it decided, and nothing else is.

use jiff::SignedDuration;

use super::tests::{Place, name, signal, verdict};
use super::*;
use crate::watchdog::{Kind, Verdict};

fn evidence(place: &Place, who: &str) -> String {
    place.fleet.memory(&name(who)).unwrap().evidence.clone()
}

fn event(actions: &[Action], word: &str) -> String {
    let found = actions.iter().find_map(|action| match action {
        Action::Event { what, detail, .. } if what == word => Some(detail.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

#[test]
fn a_state_is_shown_with_what_decided_it_and_never_with_what_decided_another() {
    let mut place = Place::new();
    let until = place.now.wall + SignedDuration::from_hours(1);
    let limit = Verdict { evidence: "5-hour limit reached".into(), ..verdict(Kind::Limited, Some(until)) };
    place.tell("one", signal(Signal::TurnOpen));
    assert!(evidence(&place, "one").contains("TurnOpen"));
    place.tell("one", Happens::Looked(limit.clone()));
    assert_eq!(evidence(&place, "one"), "5-hour limit reached");
    // Of its account: the line that decided stood on the other's screen.
    assert_eq!(evidence(&place, "two"), "at loop one: 5-hour limit reached");
    place.pass(HOUR + 2 * MINUTE);
    place.tell("one", signal(Signal::TurnOpen));
    let all = place.tell("one", signal(Signal::TurnEnded));
    assert!(evidence(&place, "one").contains("TurnEnded"), "{}", evidence(&place, "one"));
    assert!(event(&all, "loop-idle").contains("hook_event_name"), "{all:?}");
    // One that starts anew shows nothing of its life before; one that ended, what it showed last.
    let end = End {
        words: "exit status 1".into(),
        screen: "panic: no disk\n\n".into(),
        asked: false,
        ran: true,
        verdict: None,
    };
    place.tell("one", Happens::Ended(end.clone()));
    place.tell("one", Happens::Started);
    assert_eq!(evidence(&place, "one"), "");
    place.tell("one", Happens::Ended(end));
    assert_eq!((place.state("one"), evidence(&place, "one")), (State::BackingOff, "panic: no disk".into()));
}

#[test]
fn a_turn_that_goes_on_is_not_written_for_each_of_its_tools() {
    let mut place = Place::new();
    place.tell("one", signal(Signal::TurnOpen));
    let before = place.fleet.memory(&name("one")).cloned();
    place.tell("one", Happens::Signal(Signal::TurnOpen, "another tool".into()));
    assert_eq!(place.fleet.memory(&name("one")).cloned(), before);
}

#[test]
fn who_is_done_or_held_is_so_for_its_own_reason_whatever_is_seen() {
    let mut place = Place::new();
    place.feed(Input::Phase(2));
    assert_eq!(place.state("one"), State::Done);
    place.tell("one", signal(Signal::TurnOpen));
    place.tell("one", signal(Signal::TurnEnded));
    assert_eq!(place.fleet.memory(&name("one")).unwrap().reason, "every phase is done");
}
