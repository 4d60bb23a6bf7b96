//! The engine with agents that nobody can read, that ask, or that were told something when the supervisor changed.

use jiff::SignedDuration;

use super::tests::{Place, name, nudges, signal, verdict};
use super::*;
use crate::watchdog::{DialogKind, Kind, Verdict};

#[test]
fn what_nobody_can_read_is_restarted_once_and_then_a_persons() {
    let mut place = Place::new();
    let look = |place: &mut Place, span| {
        let mut all = Vec::new();
        for _ in 0..span / MINUTE {
            let due = place.pass(MINUTE);
            if due.contains(&Action::Look(name("one"))) {
                all.extend(place.saw("one", Kind::Unknown));
            }
            all.extend(due);
        }
        all
    };
    place.saw("one", Kind::Unknown);
    assert!(!look(&mut place, 15 * MINUTE).contains(&Action::Stop(name("one"))), "a while is nothing");
    assert!(look(&mut place, 30 * MINUTE).contains(&Action::Stop(name("one"))));
    assert!(place.tell("one", Happens::Stopped(Ok(()))).contains(&Action::Start(name("one"))));
    place.tell("one", Happens::Started);
    let all = look(&mut place, 60 * MINUTE);
    assert_eq!(place.state("one"), State::Stalled);
    let told = |a: &Action| matches!(a, Action::Notify { text, .. } if text.contains("one is stalled"));
    assert_eq!(all.iter().filter(|a| told(a)).count(), 1);
    // One that can be read again has its whole time again.
    place.saw("two", Kind::Unknown);
    place.pass(19 * MINUTE);
    place.saw("two", Kind::Idle);
    place.pass(2 * MINUTE);
    assert!(!place.saw("two", Kind::Unknown).contains(&Action::Stop(name("two"))));
}

#[test]
fn a_menu_is_closed_three_times_and_then_a_persons() {
    let mut place = Place::new();
    let menu = Verdict { keyboard: Some(DialogKind::LimitMenu), ..verdict(Kind::Dialog, None) };
    let closes = |actions: &[Action]| actions.iter().filter(|a| matches!(a, Action::Dismiss(..))).count();
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend(place.tell("one", Happens::Looked(menu.clone())));
        all.extend(place.pass(5 * SECOND));
    }
    assert_eq!(closes(&all), 3);
    assert_eq!(place.fleet.dialog(&name("one")), Some("limit menu"));
    let told = |a: &Action| matches!(a, Action::Notify { key, .. } if key == "dialog:one");
    assert_eq!(all.iter().filter(|a| told(a)).count(), 1);
    place.saw("one", Kind::Limited);
    assert_eq!(place.fleet.dialog(&name("one")), None);
    assert_eq!(closes(&place.tell("one", Happens::Looked(menu))), 1, "another one");
}

#[test]
fn a_question_is_told_until_it_is_answered() {
    let mut place = Place::new();
    let trust = Verdict { keyboard: Some(DialogKind::Trust), ..verdict(Kind::Dialog, None) };
    let all = place.tell("one", Happens::Looked(trust));
    assert_eq!(place.fleet.dialog(&name("one")), Some("trust dialog"));
    assert!(all.iter().any(|a| matches!(a, Action::Notify { text, .. } if text.contains("trust dialog"))));
    place.saw("one", Kind::Idle);
    assert_eq!(place.fleet.dialog(&name("one")), None);
}

/// A limit whose reset was told in these words, as one source wrote them.
fn limit(evidence: &str, until: &str) -> Verdict {
    let reset = Some("5am".into());
    Verdict { evidence: evidence.into(), reset, ..verdict(Kind::Limited, Some(until.parse().unwrap())) }
}

#[test]
fn a_limit_adopted_behind_its_reset_is_probed_and_not_slept_on_for_a_day() {
    let mut place = Place::new();
    place.tell("one", Happens::Looked(limit("{hook}", "2026-06-01T05:00:00Z")));
    assert!(matches!(place.state("two"), State::Limited(Some(_))));
    // The supervisor is away over the reset; the next one reads screens, and for those it is five o'clock tomorrow.
    place.now.steady += 5 * HOUR + 20 * SECOND;
    place.now.wall = "2026-06-01T05:00:20Z".parse().unwrap();
    place.succeed();
    for who in ["boss", "one", "two"] {
        place.tell(who, Happens::Found(Found::Running));
    }
    let mut all = Vec::new();
    for who in ["two", "one"] {
        all.extend(place.tell(who, Happens::Looked(limit("the screen", "2026-06-02T05:00:00Z"))));
    }
    all.extend(place.pass(6 * MINUTE));
    let probed = |a: &Action| matches!(a, Action::Nudge { purpose: Purpose::Probe, .. });
    assert!(all.iter().any(probed), "{all:?}");
    // The next day's same words are another limit, however the loop came to work in between.
    for who in ["one", "two"] {
        place.tell(who, signal(Signal::TurnOpen));
        place.tell(who, signal(Signal::TurnEnded));
    }
    place.pass(10 * MINUTE);
    place.tell("one", signal(Signal::TurnOpen));
    place.now.wall = "2026-06-02T01:00:00Z".parse().unwrap();
    place.tell("one", Happens::Looked(limit("{hook}", "2026-06-02T05:00:00Z")));
    assert_eq!(place.state("one"), State::Limited(Some("2026-06-02T05:00:00Z".parse().unwrap())));
}

#[test]
fn a_plan_that_changed_while_nobody_looked_is_told_to_who_runs() {
    let mut place = Place::new();
    place.succeed();
    place.feed(Input::Phase(1));
    let mut all = place.tell("one", Happens::Found(Found::Running));
    all.extend(place.saw("one", Kind::Idle));
    all.extend(place.tell("two", Happens::Found(Found::Ended)));
    place.tell("two", Happens::Started);
    all.extend(place.saw("two", Kind::Idle));
    let told: Vec<&str> = all
        .iter()
        .filter_map(|a| match a {
            Action::Nudge { name, purpose: Purpose::Phase, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["one"], "the other has it among its first words");
}

#[test]
fn the_phase_is_the_next_one_when_the_file_says_so() {
    let mut place = Place::new();
    let says = |place: &mut Place, who| place.tell(who, Happens::Says { phase: 0, done: true });
    says(&mut place, "one");
    let all = says(&mut place, "two");
    assert!(all.contains(&Action::WritePhase(1)));
    assert!(!all.iter().any(|a| matches!(a, Action::Nudge { .. } | Action::Notify { .. })), "{all:?}");
    // It died before it wrote; the next one is told the same.
    place.succeed();
    place.feed(Input::Phase(0));
    for who in ["boss", "one", "two"] {
        place.tell(who, Happens::Found(Found::Running));
        place.saw(who, Kind::Idle);
    }
    assert!(says(&mut place, "one").contains(&Action::WritePhase(1)));
    let all = place.feed(Input::Phase(1));
    assert_eq!(all.iter().filter(|a| matches!(a, Action::Nudge { purpose: Purpose::Phase, .. })).count(), 2);
    assert!(all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "phase:1")));
}

#[test]
fn a_held_loop_whose_stop_failed_is_stopped_in_the_end() {
    let mut place = Place::new();
    assert!(place.tell("one", Happens::Hold).contains(&Action::Stop(name("one"))));
    let mut stops = 0;
    for _ in 0..5 {
        place.tell("one", Happens::Stopped(Err("systemd does not answer".into())));
        stops += place.pass(2 * MINUTE).iter().filter(|a| **a == Action::Stop(name("one"))).count();
    }
    assert_eq!((stops, place.state("one")), (5, State::Held));
    place.tell("one", Happens::Stopped(Ok(())));
    assert!(!place.pass(HOUR).contains(&Action::Stop(name("one"))));
    assert_eq!(place.fleet.proc(&name("one")), Some(Proc::Down));
}

#[test]
fn news_that_was_not_taken_is_told_again_when_the_agent_shows_a_sign_of_life() {
    let mut place = Place::new();
    let inbox =
        |place: &mut Place| place.tell("one", Happens::Inbox { hash: "a".into(), path: "INBOX.md".into() });
    let id = |all: &[Action]| {
        all.iter().find_map(|a| match a {
            Action::Nudge { id, purpose: Purpose::Inbox, .. } => Some(id.clone()),
            _ => None,
        })
    };
    let mut all = inbox(&mut place);
    for _ in 0..3 {
        let id = id(&all).expect("it is told");
        all = place.tell("one", Happens::NotReceived(id, "no receipt".into(), true));
        all.extend(place.pass(MINUTE));
    }
    assert_eq!(id(&inbox(&mut place)), None, "the same content is no news");
    place.succeed();
    place.tell("one", Happens::Found(Found::Running));
    let mut all = place.tell("one", signal(Signal::TurnOpen));
    all.extend(place.pass(SECOND));
    assert_eq!(id(&all).as_deref(), Some("inbox-a"));
}

#[test]
fn what_is_in_the_way_of_a_nudge_is_told_once_and_after_a_while_to_people() {
    let mut place = Place::new();
    let mut all = place.tell("one", Happens::Ask { id: "x".into(), text: "go".into() });
    for _ in 0..60 {
        if all.iter().any(|a| matches!(a, Action::Nudge { id, .. } if id == "x")) {
            let why = "somebody is attached, and the input line is not empty";
            all.extend(place.tell("one", Happens::NotReceived("x".into(), why.into(), false)));
        }
        all.retain(|a| !matches!(a, Action::Nudge { .. }));
        all.extend(place.pass(20 * SECOND));
    }
    let retried = |a: &&Action| matches!(a, Action::Event { what, about, .. } if what == "nudge-retried" && *about == Some(name("one")));
    assert_eq!(all.iter().filter(retried).count(), 1);
    let told = |a: &&Action| matches!(a, Action::Notify { key, .. } if key == "nudge-waits:one");
    assert_eq!(all.iter().filter(told).count(), 1);
}

#[test]
fn who_stays_down_after_a_reboot_does_not_hold_the_report_up() {
    let mut place = Place::new();
    place.tell("one", Happens::Hold);
    place.tell("one", Happens::Stopped(Ok(())));
    place.succeed();
    place.feed(Input::Rebooted("Reboot 1.".into()));
    place.tell("boss", Happens::Found(Found::Running));
    place.tell("one", Happens::Found(Found::Absent));
    place.tell("two", Happens::Found(Found::Absent));
    let all = place.tell("two", Happens::Refused("another host holds the lease".into()));
    let report = all.iter().find_map(|a| match a {
        Action::Event { what, detail, .. } if what == "resume-report" => Some(detail.clone()),
        _ => None,
    });
    let report = report.expect("at once");
    assert!(report.contains("one stays down (held)") && report.contains("two did not come back"), "{report}");
}

#[test]
fn a_limit_that_ended_while_nobody_supervised_is_probed_whoever_is_looked_at_first() {
    let mut place = Place::new();
    place.tell("one", Happens::Looked(limit("{hook}", "2026-06-01T05:00:00Z")));
    place.now.steady += 5 * HOUR + 2 * MINUTE;
    place.now.wall = "2026-06-01T05:02:00Z".parse().unwrap();
    place.succeed();
    // The phase is read before anybody is looked for.
    place.feed(Input::Phase(0));
    let mut all = Vec::new();
    for who in ["boss", "one", "two"] {
        all.extend(place.tell(who, Happens::Found(Found::Running)));
    }
    all.extend(place.pass(MINUTE));
    let probed = |a: &&Action| matches!(a, Action::Nudge { purpose: Purpose::Probe, .. });
    assert_eq!(all.iter().filter(probed).count(), 1, "{all:?}");
}

#[test]
fn a_question_that_a_person_answered_holds_no_nudge_back() {
    let mut place = Place::new();
    place.tell("one", signal(Signal::TurnOpen));
    let asks = Verdict { keyboard: Some(DialogKind::Permission), ..verdict(Kind::Dialog, None) };
    place.tell("one", Happens::Looked(asks));
    place.tell("one", Happens::Ask { id: "x".into(), text: "go".into() });
    // Answered, and the turn is over before the next look was due.
    place.tell("one", signal(Signal::TurnEnded));
    let mut all = place.pass(10 * SECOND);
    assert!(all.contains(&Action::Look(name("one"))), "{all:?}");
    all = place.saw("one", Kind::Idle);
    assert!(all.iter().any(|a| matches!(a, Action::Nudge { id, .. } if id == "x")), "{all:?}");
}

#[test]
fn an_agent_that_ended_during_a_stop_that_failed_is_gone_all_the_same() {
    let mut place = Place::new();
    place.tell("one", Happens::Restart);
    assert_eq!(place.fleet.proc(&name("one")), Some(Proc::Stopping { again: true }));
    place.end("one");
    let all = place.tell("one", Happens::Stopped(Err("systemd does not answer".into())));
    assert!(all.contains(&Action::Start(name("one"))), "{all:?}");
}

#[test]
fn of_a_tool_that_shows_nothing_but_its_seconds_somebody_hears_once() {
    let mut place = Place::new();
    let look = |place: &mut Place, minutes: i64| {
        let quiet = Some(SignedDuration::from_mins(minutes));
        place.tell("one", Happens::Looked(Verdict { quiet, ..verdict(Kind::Working, None) }))
    };
    let told = |all: &[Action]| {
        let told = |a: &&Action| matches!(a, Action::Notify { text, .. } if text.contains("but its seconds"));
        all.iter().filter(told).count()
    };
    // Six times what an open turn may show no change.
    let mut all: Vec<Action> = (0..12).flat_map(|n| look(&mut place, n * 10)).collect();
    assert_eq!(told(&all), 0);
    for n in 12..60 {
        all.extend(look(&mut place, n * 10));
        all.extend(place.pass(10 * MINUTE));
    }
    assert_eq!(told(&all), 1, "however long it lasts");
    assert!(!all.contains(&Action::Stop(name("one"))));
    assert!(nudges(&all).iter().all(|(who, _)| who != "one"), "it is left alone");
    // The next tool is another one.
    place.saw("one", Kind::Working);
    assert_eq!(told(&look(&mut place, 120)), 1);
}

#[test]
fn a_restart_whose_stop_was_called_failed_and_came_all_the_same_is_one() {
    let mut place = Place::new();
    place.tell("one", Happens::Restart);
    place.tell("one", Happens::Stopped(Err("systemd does not answer".into())));
    assert_eq!(place.fleet.proc(&name("one")), Some(Proc::Up));
    // systemd had queued it.
    let all = place.ends("one", true);
    assert!(all.contains(&Action::Start(name("one"))), "{all:?}");
    // A person's word ends that wish.
    let mut place = Place::new();
    place.tell("one", Happens::Restart);
    place.tell("one", Happens::Stopped(Err("systemd does not answer".into())));
    place.tell("one", Happens::Hold);
    let all = place.ends("one", true);
    assert!(!all.contains(&Action::Start(name("one"))), "{all:?}");
}

#[test]
fn a_stalled_loop_that_is_tried_again_was_restarted_by_nobody() {
    let mut place = Place::new();
    let mut all = Vec::new();
    while place.state("one") != State::Stalled {
        all.extend(place.pass(MINUTE));
        all.extend(place.saw("one", Kind::Stalled));
        if all.contains(&Action::Stop(name("one"))) {
            place.tell("one", Happens::Stopped(Ok(())));
            place.tell("one", Happens::Started);
            all.clear();
        }
    }
    let all = place.pass(HOUR + MINUTE);
    assert!(all.contains(&Action::Stop(name("one"))), "{all:?}");
    assert!(matches!(place.fleet.memory(&name("one")).unwrap().rung, Rung::Restarted(_)));
}

#[test]
fn every_change_of_the_phase_is_told_however_often_it_is_the_same() {
    let mut place = Place::new();
    let told =
        |all: &[Action]| all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "phase:1"));
    assert!(told(&place.feed(Input::Phase(1))));
    place.feed(Input::Phase(0));
    place.pass(10 * MINUTE);
    assert!(told(&place.feed(Input::Phase(1))), "the same index within an hour is a change all the same");
}

#[test]
fn who_has_just_been_started_behind_a_limit_is_told_nothing_before_it_listens() {
    let mut place = Place::new();
    let until = place.now.wall + SignedDuration::from_hours(1);
    let limited = Verdict { account_wide: false, ..verdict(Kind::Limited, Some(until)) };
    place.tell("one", Happens::Looked(limited));
    place.end("one");
    place.tell("one", Happens::Ask { id: "x".into(), text: "go".into() });
    let all = place.pass(HOUR + 5 * MINUTE);
    assert!(all.contains(&Action::Start(name("one"))), "{all:?}");
    let mut all = place.tell("one", Happens::Started);
    all.extend(place.pass(MINUTE));
    assert_eq!(nudges(&all).iter().filter(|(who, _)| who == "one").count(), 0, "{all:?}");
    let all = place.saw("one", Kind::Idle);
    assert!(all.iter().any(|a| matches!(a, Action::Nudge { id, .. } if id == "x")), "{all:?}");
}

/// A limit of its own, of the model for example, ends by the wall clock like that of an account.
#[test]
fn a_limit_of_one_loop_alone_follows_a_clock_that_is_set() {
    for (set, comes) in [(3, true), (-1, false)] {
        let mut place = Place::new();
        let until = place.now.wall + SignedDuration::from_hours(4);
        let limited = Verdict { account_wide: false, ..verdict(Kind::Limited, Some(until)) };
        place.tell("one", Happens::Looked(limited));
        let asked = |all: &[Action]| nudges(all).iter().any(|(who, _)| who == "one");
        assert!(!asked(&place.pass(30 * MINUTE)));
        place.now.wall += SignedDuration::from_hours(set);
        assert_eq!(asked(&place.pass(40 * MINUTE)), comes, "set by {set} h");
        if !comes {
            assert!(!asked(&place.pass(3 * HOUR)), "it wakes by the old clock");
            assert!(asked(&place.pass(HOUR)));
        }
    }
}
