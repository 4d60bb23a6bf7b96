//! Tests of the window: who decides what when, in every order of waking and sleeping.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn terms() -> Terms {
    Terms {
        timeout: Seconds(180),
        settle: Seconds(60),
        crashes: 3,
        prove_reboot: false,
        fallback: Seconds(120),
    }
}

fn one(name: &str, worked: bool, ends: u64) -> LoopFacts {
    LoopFacts { name: LoopName::new(name).unwrap(), wrong: None, worked: Some(worked), ends }
}

fn facts(loops: Vec<LoopFacts>, watched: u64, quiet: u64) -> Facts {
    let seconds = Duration::from_secs;
    Facts {
        boot_id: "b1".into(),
        loops,
        all_held: false,
        missing: vec![],
        lost: None,
        watched: seconds(watched),
        quiet: seconds(quiet),
    }
}

fn says(terms: &Terms, facts: &Facts) -> String {
    match judge(terms, &Stage::Watching, facts) {
        Judgement::Wait(missing) => format!("wait: {}", missing.join("; ")),
        Judgement::Reboot => "reboot".into(),
        Judgement::Decide(Event::Fail(why)) => format!("fail: {why}"),
        Judgement::Decide(event) => format!("{event:?}"),
    }
}

#[test]
fn work_of_every_loop_and_a_quiet_time_confirm() {
    let both = |worked| vec![one("a", true, 0), one("b", worked, 0)];
    assert_eq!(says(&terms(), &facts(both(false), 61, 61)), "wait: loop b has not worked yet");
    assert_eq!(says(&terms(), &facts(both(true), 10, 10)), "wait: all work; settling, 50 s left");
    assert_eq!(says(&terms(), &facts(both(true), 60, 60)), "Confirm");
    let late = "fail: not at work after 3m: loop b has not worked yet";
    assert_eq!(says(&terms(), &facts(both(false), 240, 240)), late);
}

#[test]
fn a_rig_whose_loops_are_all_held_is_not_confirmed() {
    let held = |watched| Facts { all_held: true, ..facts(vec![], watched, watched) };
    let why =
        "every loop is held, so nothing shows that this host works; `ccorch loops start LOOP` lets one run";
    assert_eq!(says(&terms(), &held(100)), format!("wait: {why}"));
    assert_eq!(says(&terms(), &held(240)), format!("fail: not at work after 3m: {why}"));
    // One loop at work is enough, and a rig may have none.
    assert_eq!(says(&terms(), &facts(vec![one("a", true, 0)], 60, 60)), "Confirm");
    assert_eq!(says(&terms(), &facts(vec![], 60, 60)), "Confirm");
}

#[test]
fn a_crash_loop_fails_at_once_and_a_single_end_only_delays() {
    let fail = "fail: loop a is in a crash loop: it ended 3 times";
    assert_eq!(says(&terms(), &facts(vec![one("a", true, 3)], 2, 0)), fail);
    assert_eq!(
        says(&terms(), &facts(vec![one("a", true, 2)], 60, 20)),
        "wait: all work; settling, 40 s left"
    );
    assert_eq!(says(&terms(), &facts(vec![one("a", true, 2)], 100, 60)), "Confirm");
    // Ending again and again, but too slowly to be called a loop: the window ends all the same.
    let slow = "fail: not at work after 3m: all work; settling, 40 s left";
    assert_eq!(says(&terms(), &facts(vec![one("a", true, 2)], 240, 20)), slow);
}

#[test]
fn a_lost_lease_and_something_missing_count() {
    let mut now = facts(vec![one("a", true, 0)], 60, 60);
    now.missing = vec!["http://x does not answer".into()];
    assert_eq!(says(&terms(), &now), "wait: http://x does not answer");
    now.lost = Some("the lease went elsewhere".into());
    assert_eq!(says(&terms(), &now), "fail: the lease went elsewhere");
}

#[test]
fn a_reboot_is_proven_by_another_boot() {
    let terms = Terms { prove_reboot: true, ..terms() };
    let good = facts(vec![one("a", true, 0)], 60, 60);
    assert_eq!(judge(&terms, &Stage::Watching, &good), Judgement::Reboot);
    let leaving = Stage::Rebooting { from: "b1".into() };
    assert!(matches!(judge(&terms, &leaving, &good), Judgement::Wait(_)));
    let back = Facts { boot_id: "b2".into(), ..good };
    assert_eq!(judge(&terms, &leaving, &back), Judgement::Decide(Event::Confirm));
}

#[test]
fn a_window_is_kept_as_it_was() {
    let window = Window {
        journal: "j".into(),
        opened: Timestamp::UNIX_EPOCH,
        terms: terms(),
        stage: Stage::Rebooting { from: "b1".into() },
        verdict: Verdict::Failed { why: "x".into() },
        missing: vec!["y".into()],
        worked: [(LoopName::new("a").unwrap(), Timestamp::UNIX_EPOCH)].into(),
        spent_ms: 7,
        stood_down: true,
    };
    let text = serde_json::to_string(&window).unwrap();
    assert_eq!(serde_json::from_str::<Window>(&text).unwrap(), window);
}

#[test]
fn a_target_that_failed_is_alone_only_after_its_time() {
    let alone =
        |seconds, source, arbiter| without_driver(&terms(), Duration::from_secs(seconds), source, arbiter);
    assert_eq!(alone(119, SideKind::Ccorch, true), Alone::Wait);
    assert_eq!(alone(120, SideKind::Ccorch, true), Alone::GiveBack);
    assert_eq!(alone(120, SideKind::Ccorch, false), Alone::StandDown);
    assert_eq!(alone(120, SideKind::Legacy, true), Alone::StandDown);
}

proptest! {
    /// Whatever was said first stays, but for a person's word.
    #[test]
    fn a_verdict_never_changes_into_another_but_withdrawn(events in prop::collection::vec(0..4_usize, 0..12)) {
        let mut verdict = Verdict::Open;
        for event in events {
            let event = [Event::Confirm, Event::Fail("x".into()), Event::FallBack, Event::Withdraw][event].clone();
            let next = rule(verdict.clone(), event);
            let failed = matches!((&verdict, &next), (Verdict::Failed { .. }, Verdict::FellBack { .. }));
            prop_assert!(failed || verdict == Verdict::Open || next == verdict || next == Verdict::Withdrawn);
            verdict = next;
        }
    }
}

/// What one of two drivers is about to do. Each act is one atom; between any two anybody may fall asleep or die.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Driver {
    Reads,
    /// It read this some time ago.
    Knows(u8),
    Withdraws,
    StartsSource,
    Over,
}

/// The world of the decision: the journal's direction, the target's verdict, who runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    /// 0 open, 1 confirmed, 2 failed, 3 withdrawn, 4 fell back.
    verdict: u8,
    back: bool,
    completed: bool,
    /// The target gave the lease back itself, which ended the turn of every driver.
    given: bool,
    source_runs: bool,
    target_runs: bool,
    driver: Driver,
}

fn number(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Open => 0,
        Verdict::Confirmed => 1,
        Verdict::Failed { .. } => 2,
        Verdict::Withdrawn => 3,
        Verdict::FellBack { .. } => 4,
    }
}

fn verdict(number: u8) -> Verdict {
    let failed = Verdict::Failed { why: "x".into() };
    let fell_back = Verdict::FellBack { why: "x".into() };
    [Verdict::Open, Verdict::Confirmed, failed, Verdict::Withdrawn, fell_back][usize::from(number)].clone()
}

/// Every world that can follow. The journal has one driver at a time (the operator's lock and the journal's copies see to
/// that); it may die at any moment and another begins by reading the journal.
fn next(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut World)| {
        let mut world = world.clone();
        change(&mut world);
        all.push(world);
    };
    // The target wakes, whatever the driver and the source do.
    for event in [Event::Confirm, Event::Fail("x".into())] {
        add(&|w| w.verdict = number(&rule(verdict(w.verdict), event.clone())));
    }
    if world.verdict == 2 {
        add(&|w| {
            w.verdict = number(&rule(verdict(w.verdict), Event::FallBack));
            (w.given, w.target_runs) = (true, false);
        });
    }
    if world.given {
        // The source wakes.
        add(&|w| w.source_runs = true);
    }
    match &world.driver {
        Driver::Withdraws | Driver::StartsSource if world.given => add(&|w| w.driver = Driver::Over),
        Driver::Knows(4) => add(&|w| w.driver = Driver::Over),
        Driver::Reads if world.back => add(&|w| w.driver = Driver::Withdraws),
        Driver::Reads => {
            add(&|w| w.driver = Driver::Knows(w.verdict));
            // A person aborts.
            add(&|w| (w.back, w.driver) = (true, Driver::Withdraws));
        }
        Driver::Knows(1) => add(&|w| (w.completed, w.driver) = (true, Driver::Over)),
        Driver::Knows(2 | 3) => add(&|w| (w.back, w.driver) = (true, Driver::Withdraws)),
        Driver::Knows(_) => add(&|w| w.driver = Driver::Reads),
        Driver::Withdraws => add(&|w| {
            w.verdict = number(&rule(verdict(w.verdict), Event::Withdraw));
            (w.target_runs, w.driver) = (false, Driver::StartsSource);
        }),
        Driver::StartsSource => add(&|w| (w.source_runs, w.driver) = (true, Driver::Over)),
        Driver::Over => {}
    }
    // It dies, and another one reads the journal: from there on it goes the way the journal says.
    if !world.completed && world.driver != Driver::Over {
        add(&|w| w.driver = Driver::Reads);
    }
    all
}

#[test]
fn in_every_order_one_of_them_decides_and_one_of_them_runs() {
    let first = World {
        verdict: 0,
        back: false,
        completed: false,
        given: false,
        source_runs: false,
        target_runs: true,
        driver: Driver::Reads,
    };
    let (mut seen, mut open) = (BTreeSet::from([first.clone()]), vec![first]);
    while let Some(world) = open.pop() {
        assert!(!(world.source_runs && world.target_runs), "both run: {world:?}");
        assert!(!(world.source_runs && world.verdict < 3), "the source runs and was not let go: {world:?}");
        assert!(!world.completed || world.verdict == 1, "completed without the target's word: {world:?}");
        assert!(!(world.completed && world.source_runs), "{world:?}");
        let follow = next(&world);
        assert!(world.driver == Driver::Over || !follow.is_empty(), "nobody can go on: {world:?}");
        for world in follow {
            if seen.insert(world.clone()) {
                open.push(world);
            }
        }
    }
    let over = |source: bool| seen.iter().any(|w| w.driver == Driver::Over && w.source_runs == source);
    assert!(over(true) && over(false), "both ends are reached");
    let alone = seen.iter().any(|w| w.given && w.source_runs && w.driver == Driver::Reads);
    assert!(alone, "it falls back while the driver sleeps");
}
