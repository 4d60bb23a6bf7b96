//! The engine, one story a test; the chaos test has the rest.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::rig::{Phase, Role};
use crate::watchdog::{Kind, Verdict};

pub(super) struct Place {
    pub(super) fleet: Fleet,
    pub(super) now: Now,
}

pub(super) fn name(text: &str) -> LoopName {
    LoopName::new(text).unwrap()
}

fn plan() -> Fleets {
    let spec = |role| Spec {
        watched: true,
        role,
        account: "a".into(),
        stall_after: 20 * MINUTE,
        continue_after: 5 * MINUTE,
    };
    let loops = [("boss", Role::Orchestrator), ("one", Role::Worker), ("two", Role::Worker)];
    Fleets {
        loops: loops.into_iter().map(|(n, role)| (name(n), spec(role))).collect(),
        phases: ["x", "y"].map(|id| Phase { id: id.into(), plan: format!("{id}.md") }).into(),
        done_when: vec![name("one"), name("two")],
        seed: 3,
    }
}

impl Place {
    /// All three up and idle.
    pub(super) fn new() -> Self {
        let now = Now { wall: "2026-06-01T00:00:00Z".parse().unwrap(), steady: 1_000_000 };
        let mut place = Self { fleet: Fleet::new(plan(), Shared::default(), BTreeMap::new(), now), now };
        place.feed(Input::Phase(0));
        for who in ["boss", "one", "two"] {
            assert!(place.tell(who, Happens::Found(Found::Absent)).contains(&Action::Start(name(who))));
            place.tell(who, Happens::Started);
            place.saw(who, Kind::Idle);
        }
        place
    }

    pub(super) fn feed(&mut self, input: Input) -> Vec<Action> {
        self.fleet.handle(self.now, input)
    }

    pub(super) fn tell(&mut self, who: &str, happens: Happens) -> Vec<Action> {
        self.feed(Input::Loop(name(who), happens))
    }

    pub(super) fn saw(&mut self, who: &str, kind: Kind) -> Vec<Action> {
        self.tell(who, Happens::Looked(verdict(kind, None)))
    }

    /// Passes time in steps at which something is due; all that was done.
    pub(super) fn pass(&mut self, span: Millis) -> Vec<Action> {
        let end = self.now.steady + span;
        let mut all = Vec::new();
        loop {
            let next = self.fleet.next_wake().filter(|at| *at <= end).unwrap_or(end).max(self.now.steady + 1);
            let step = next - self.now.steady;
            self.now.steady = next;
            self.now.wall += SignedDuration::from_millis(i64::try_from(step).unwrap());
            all.extend(self.feed(Input::Tick));
            if next >= end {
                return all;
            }
        }
    }

    pub(super) fn end(&mut self, who: &str) -> Vec<Action> {
        self.ends(who, false)
    }

    pub(super) fn ends(&mut self, who: &str, asked: bool) -> Vec<Action> {
        let words = "exit status 1".into();
        let end = End { words, screen: "last words".into(), asked, ran: true, verdict: None };
        self.tell(who, Happens::Ended(end))
    }

    pub(super) fn state(&self, who: &str) -> State {
        self.fleet.memory(&name(who)).unwrap().state
    }

    /// A new supervisor with what the old one kept.
    pub(super) fn succeed(&mut self) {
        let kept: BTreeMap<LoopName, Memory> =
            ["boss", "one", "two"].map(|n| (name(n), self.fleet.memory(&name(n)).unwrap().clone())).into();
        let text = serde_json::to_string(&(self.fleet.shared(), &kept)).unwrap();
        let (shared, kept): (Shared, BTreeMap<LoopName, Memory>) = serde_json::from_str(&text).unwrap();
        self.fleet = Fleet::new(plan(), shared, kept, self.now);
    }
}

/// What a hook told, with the line that it came by.
pub(super) fn signal(signal: Signal) -> Happens {
    Happens::Signal(signal, format!("{{\"hook_event_name\":\"{signal:?}\"}}"))
}

pub(super) fn verdict(verdict: Kind, until: Option<Timestamp>) -> Verdict {
    Verdict {
        verdict,
        until,
        account_wide: verdict == Kind::Limited,
        reason: format!("{verdict:?}"),
        evidence: format!("line {verdict:?}"),
        reset: None,
        keyboard: None,
        quiet: None,
    }
}

pub(super) fn nudges(actions: &[Action]) -> Vec<(String, Purpose)> {
    let nudge = |action: &Action| match action {
        Action::Nudge { name, purpose, .. } => Some((name.to_string(), *purpose)),
        _ => None,
    };
    actions.iter().filter_map(nudge).collect()
}

pub(super) fn starts(actions: &[Action], who: &str) -> usize {
    actions.iter().filter(|action| **action == Action::Start(name(who))).count()
}

#[test]
fn five_ends_in_a_quarter_of_an_hour_stop_that_loop_and_tell_somebody() {
    let mut place = Place::new();
    for times in 1..=5 {
        let mut all = place.end("one");
        all.extend(place.pass(10 * SECOND));
        let event = all.iter().any(|a| {
            matches!(a, Action::Event { what, detail, .. }
                if what == "loop-crash-looping" && detail.contains("last words") && detail.contains("exit status 1"))
        });
        let told = all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "crash-looping:one"));
        assert_eq!((starts(&all, "one"), event, told), (usize::from(times < 5), times == 5, times == 5));
        if times == 3 {
            // The count is kept.
            place.succeed();
            place.tell("one", Happens::Found(Found::Starting));
            place.tell("two", Happens::Found(Found::Running));
        }
        if times < 5 {
            place.tell("one", Happens::Started);
        }
    }
    assert_eq!(place.state("one"), State::CrashLooping);
    assert_eq!(place.fleet.proc(&name("two")), Some(Proc::Up));
    assert_eq!(starts(&place.tell("one", Happens::Release), "one"), 1);
}

#[test]
fn a_limit_holds_the_account_one_loop_tries_and_the_rest_follows() {
    let mut place = Place::new();
    let until = place.now.wall + SignedDuration::from_hours(2);
    place.saw("one", Kind::Working);
    let all = place.tell("one", Happens::Looked(verdict(Kind::Limited, Some(until))));
    assert!(all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "account-limited:a")));
    for who in ["boss", "one", "two"] {
        assert_eq!(place.state(who), State::Limited(Some(until)));
    }
    // It is no crash to end there, and nothing starts before the reset.
    let mut quiet = place.end("two");
    place.tell("one", Happens::Ask { id: "later".into(), text: "Hello.".into() });
    quiet.extend(place.pass(HOUR));
    // Read again after the reset, the old words still mean the old moment.
    place.tell("one", Happens::Looked(verdict(Kind::Limited, Some(until + SignedDuration::from_hours(24)))));
    quiet.extend(place.pass(HOUR));
    assert_eq!((nudges(&quiet), starts(&quiet, "two")), (vec![], 0));
    assert_eq!(place.fleet.memory(&name("two")).unwrap().restarts, 0);

    let all = place.pass(2 * MINUTE);
    let asked = nudges(&all);
    assert_eq!((asked.len(), starts(&all, "two")), (1, 0), "one probe alone: {all:?}");
    let probe = asked[0].0.clone();
    let Some(Action::Nudge { id, .. }) = all.iter().find(|a| matches!(a, Action::Nudge { .. })) else {
        panic!()
    };
    place.tell(&probe, Happens::Received(id.clone()));
    place.saw(&probe, Kind::Working);
    assert_eq!(starts(&place.pass(30 * SECOND), "two"), 0);
    place.tell(&probe, signal(Signal::TurnEnded));
    let all = place.pass(2 * MINUTE);
    assert_eq!(starts(&all, "two"), 1, "{all:?}");
    assert!(place.fleet.shared().blocks.is_empty());
}

#[test]
fn without_a_reset_time_it_tries_ever_more_rarely_and_never_gives_up() {
    let mut place = Place::new();
    place.tell("one", Happens::Looked(verdict(Kind::Limited, None)));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let before = place.now.steady;
        let who = loop {
            let all = place.pass(SECOND * 10);
            if let Some((who, _)) = nudges(&all).into_iter().next() {
                break who;
            }
            assert!(place.now.steady < before + 2 * HOUR, "it gave up");
        };
        pauses.push((place.now.steady - before) / MINUTE);
        let id = format!("probe-{}", place.fleet.memory(&name(&who)).unwrap().numbered);
        place.tell(&who, Happens::Received(id));
        place.tell(&who, Happens::Looked(verdict(Kind::Limited, None)));
    }
    assert!((5..=6).contains(&pauses[0]), "{pauses:?}");
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1] + 6), "{pauses:?}");
    assert!((50..=61).contains(&pauses[7]), "{pauses:?}");
}

#[test]
fn a_stall_is_nudged_then_restarted_then_a_persons() {
    let mut place = Place::new();
    place.saw("one", Kind::Working);
    assert_eq!(nudges(&place.saw("one", Kind::Stalled)), [("one".into(), Purpose::Stall)]);
    place.tell("one", Happens::Received("stall-1".into()));
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend(place.pass(MINUTE));
        all.extend(place.saw("one", Kind::Stalled));
        if all.contains(&Action::Stop(name("one"))) {
            break;
        }
    }
    assert!(all.contains(&Action::Stop(name("one"))));
    assert_eq!(starts(&place.tell("one", Happens::Stopped(Ok(()))), "one"), 1);
    place.tell("one", Happens::Started);
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend(place.pass(MINUTE));
        all.extend(place.saw("one", Kind::Stalled));
    }
    assert_eq!(place.state("one"), State::Stalled);
    assert!(all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "stalled:one")));
    assert_eq!(place.fleet.memory(&name("one")).unwrap().restarts, 0, "a restart by the ladder is no crash");
}

#[test]
fn an_idle_loop_of_an_open_phase_is_told_to_go_on_and_others_are_not() {
    let mut place = Place::new();
    assert_eq!(nudges(&place.pass(5 * MINUTE - 10)), []);
    let told = nudges(&place.pass(20));
    assert_eq!(told, [("one".into(), Purpose::Continue), ("two".into(), Purpose::Continue)]);
    let mut place = Place::new();
    place.tell("one", Happens::Says { phase: 0, done: true });
    assert_eq!(nudges(&place.pass(6 * MINUTE)), [("two".into(), Purpose::Continue)]);
}

#[test]
fn a_phase_is_over_when_all_say_so_and_the_last_one_ends_the_work() {
    let mut place = Place::new();
    assert!(
        place
            .tell("one", Happens::Says { phase: 0, done: true })
            .iter()
            .all(|a| !matches!(a, Action::WritePhase(_)))
    );
    let all = place.tell("two", Happens::Says { phase: 0, done: true });
    assert!(all.contains(&Action::WritePhase(1)));
    let all = place.feed(Input::Phase(1));
    assert_eq!(nudges(&all), [("one".into(), Purpose::Phase), ("two".into(), Purpose::Phase)]);
    assert!(all.iter().any(|a| matches!(a, Action::Notify { key, .. } if key == "phase:1")));
    // The old phase's word counts no more.
    assert!(place.tell("two", Happens::Says { phase: 0, done: true }).is_empty());
    for who in ["one", "two"] {
        let all = place.tell(who, Happens::Says { phase: 1, done: true });
        assert_eq!(all.contains(&Action::WritePhase(2)), who == "two");
    }
    place.feed(Input::Phase(2));
    assert_eq!(
        (place.state("one"), place.state("two"), place.state("boss")),
        (State::Done, State::Done, State::Idle)
    );
    let all = place.pass(24 * HOUR);
    assert!(
        nudges(&all).iter().all(|(_, purpose)| *purpose != Purpose::Continue),
        "kept idle: {:?}",
        nudges(&all)
    );
}

#[test]
fn new_content_is_announced_once_over_supervisors() {
    let mut place = Place::new();
    let inbox = |hash: &str| Happens::Inbox { hash: hash.into(), path: "INBOX.md".into() };
    assert_eq!(nudges(&place.tell("one", inbox("aaaa"))), [("one".into(), Purpose::Inbox)]);
    place.tell("one", Happens::Received("inbox-aaaa".into()));
    place.succeed();
    place.tell("one", Happens::Found(Found::Running));
    assert_eq!(nudges(&place.tell("one", inbox("aaaa"))), []);
    assert_eq!(nudges(&place.tell("one", inbox("bbbb"))), [("one".into(), Purpose::Inbox)]);
}

#[test]
fn a_nudge_under_way_when_the_supervisor_dies_is_asked_for_again_by_its_id() {
    let mut place = Place::new();
    let ask = Happens::Ask { id: "mine".into(), text: "Do this.".into() };
    assert_eq!(nudges(&place.tell("one", ask.clone())).len(), 1);
    place.succeed();
    let all = place.tell("one", Happens::Found(Found::Running));
    let again = all.iter().find(|a| matches!(a, Action::Nudge { id, .. } if id == "mine"));
    assert!(again.is_some(), "{all:?}");
    assert_eq!(nudges(&place.tell("one", ask)), [], "asking twice is asking once");
}

#[test]
fn a_held_loop_stays_down_whatever_happens() {
    let mut place = Place::new();
    assert!(place.tell("one", Happens::Hold).contains(&Action::Stop(name("one"))));
    place.tell("one", Happens::Stopped(Ok(())));
    place.succeed();
    let mut all = place.tell("one", Happens::Found(Found::Absent));
    all.extend(place.tell("one", Happens::Wanted));
    all.extend(place.pass(24 * HOUR));
    assert_eq!((starts(&all, "one"), place.state("one")), (0, State::Held));
    assert_eq!(starts(&place.tell("one", Happens::Release), "one"), 1);
}

#[test]
fn the_orchestrator_hears_what_came_back() {
    let mut place = Place::new();
    place.end("two");
    let all = place.feed(Input::Rebooted("Reboot 3: down for 2m.".into()));
    assert_eq!(nudges(&all), [], "two is not back yet");
    let all = place.tell("two", Happens::Started);
    let told = all.iter().find_map(|a| match a {
        Action::Nudge { name, text, purpose: Purpose::Report, .. } if name.as_str() == "boss" => {
            Some(text.clone())
        }
        _ => None,
    });
    let told = told.unwrap();
    assert!(
        told.contains("Reboot 3") && told.contains("one came back") && told.contains("two came back"),
        "{told}"
    );
}

#[test]
fn nothing_starts_before_somebody_looked_what_runs() {
    let mut place = Place::new();
    place.end("one");
    place.end("one");
    place.succeed();
    let all = place.pass(HOUR);
    assert!(
        all.iter().all(|a| !matches!(a, Action::Start(_) | Action::Stop(_) | Action::Nudge { .. })),
        "{all:?}"
    );
}

#[test]
fn what_somebody_asks_is_told_once_for_its_id() {
    let mut place = Place::new();
    let ask = |text: &str| Happens::Ask { id: "a".into(), text: text.into() };
    let is_nudge = |action: &Action| matches!(action, Action::Nudge { id, .. } if id == "a");
    let standing = |place: &Place, text| place.fleet.standing(&name("one"), "a", text);
    assert_eq!(standing(&place, "x"), Standing::Unknown);
    assert!(place.tell("one", ask("x")).iter().any(is_nudge));
    assert!(!place.tell("one", ask("x")).iter().any(is_nudge), "it is under way");
    assert_eq!(standing(&place, "x"), Standing::Waiting { tries: 0 });
    assert_eq!(standing(&place, "y"), Standing::Other);
    place.tell("one", Happens::Received("a".into()));
    assert_eq!((standing(&place, "x"), standing(&place, "y")), (Standing::Received, Standing::Other));
    assert!(!place.tell("one", ask("x")).iter().any(is_nudge), "it was received");
    for n in 0..100 {
        place.tell("one", Happens::Ask { id: format!("n{n}"), text: "z".into() });
        place.tell("one", Happens::Received(format!("n{n}")));
    }
    assert_eq!(place.fleet.memory(&name("one")).unwrap().told.len(), 64, "it does not grow for ever");
}

#[test]
fn a_failure_that_was_told_while_the_turn_was_still_drawn_is_looked_at_again_soon() {
    let mut place = Place::new();
    place.tell("one", Happens::Ask { id: "a".into(), text: "x".into() });
    place.tell("one", signal(Signal::TurnOpen));
    place.tell("one", signal(Signal::TurnFailed));
    assert!(place.pass(0).contains(&Action::Look(name("one"))));
    place.saw("one", Kind::Working);
    assert!(place.pass(6 * SECOND).contains(&Action::Look(name("one"))), "not at the usual pace");
    place.saw("one", Kind::Throttled);
    // The receipt of what began that turn comes late.
    place.tell("one", Happens::Received("a".into()));
    assert_eq!(place.fleet.memory(&name("one")).unwrap().state, State::Throttled);
}
