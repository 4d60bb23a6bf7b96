//! Tests of what ends a driver, and of who drives on.

use jiff::Timestamp;

use super::*;
use crate::cutover::confirm::{Stage, Terms};
use crate::cutover::{Asked, Entry, Origin, Outcome, Said, Side};
use crate::names::RigName;
use crate::seconds::Seconds;

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn plan(from: SideKind, to: SideKind) -> Plan {
    Plan {
        from: Side { name: host("pi"), kind: from },
        to: Side { name: host("vm"), kind: to },
        steps: Step::ALL.into(),
    }
}

#[test]
fn what_is_stopped_with_the_rig_is_known_by_unit_or_by_where_it_works() {
    use SideKind::{Ccorch, Legacy};
    let units = ["loops.service".to_owned()];
    let ended = |cgroups: &str, kind, at_work| ended_with(cgroups, kind, &units, at_work);
    let in_loop = "0::/ccorch.slice/ccorch-loops.slice/ccorch-loop@builder.service/deeper\n";
    assert_eq!(ended(in_loop, Ccorch, None).as_deref(), Some("ccorch-loop@builder.service"));
    let version_1 = "9:memory:/system.slice/loops.service\n1:name=systemd:/system.slice/loops.service\n";
    assert_eq!(ended(version_1, Legacy, None).as_deref(), Some("loops.service"));
    assert_eq!(ended(version_1, Ccorch, None), None, "a unit of that name is nobody's rig");
    let person = "0::/user.slice/user-1000.slice/session-3.scope\n";
    assert_eq!(ended(person, Ccorch, Some(7)), None, "the stop spares drivers and who waits for them");
    assert!(ended(person, Legacy, Some(7)).unwrap().contains("process 7"));
    assert_eq!(ended(person, Legacy, None), None);
    let own = "0::/system.slice/ccorch-cutover-20261122T055230Z-abc123.service\n";
    assert_eq!((ended(own, Ccorch, None), ended(own, Legacy, None)), (None, None), "it leaves once");
}

#[test]
fn a_session_hears_when_its_own_rig_is_being_stopped() {
    let said = Said::default().of(None);
    let begin = |asked: Asked| {
        let origin = Origin { ccorch: "1".into(), plan_hash: "0".into() };
        let (id, rig, plan) =
            ("j".into(), RigName::new("r").unwrap(), plan(SideKind::Ccorch, SideKind::Ccorch));
        Journal::begin(id, rig, plan, origin, asked, Timestamp::UNIX_EPOCH).0
    };
    let mut journal = begin(said);
    let mut take = |entry| {
        journal.append(Timestamp::UNIX_EPOCH, entry).unwrap();
        (stops(&journal, &host("pi"), None), stops(&journal, &host("vm"), None))
    };
    for step in [Step::Preflight, Step::Presync] {
        assert_eq!(take(Entry::Started { step }), (false, false));
        assert_eq!(take(Entry::Done { step, note: String::new() }), (false, false));
    }
    for step in [Step::Quiesce, Step::Fence, Step::FinalSync, Step::Prove, Step::Activate] {
        assert_eq!(take(Entry::Started { step }), (true, false));
        assert_eq!(take(Entry::Done { step, note: String::new() }), (true, false));
    }
    assert_eq!(take(Entry::TurnBack { why: "a person".into() }), (true, true));
    let sum = journal.sum().to_owned();
    assert!(!stops(&journal, &host("pi"), Some(&sum)), "nobody has driven since");
    journal.append(Timestamp::UNIX_EPOCH, Entry::UndoStarted { step: Step::Activate }).unwrap();
    assert!(stops(&journal, &host("pi"), Some(&sum)));
    journal.append(Timestamp::UNIX_EPOCH, Entry::End { outcome: Outcome::Superseded }).unwrap();
    assert!(!stops(&journal, &host("pi"), Some(&sum)), "an earlier cutover");
}

#[test]
fn only_a_target_that_runs_ccorch_is_handed_the_driving() {
    use SideKind::{Ccorch, Legacy};
    assert!(may_hand_over(&plan(Ccorch, Ccorch)) && may_hand_over(&plan(Legacy, Ccorch)));
    assert!(!may_hand_over(&plan(Ccorch, Legacy)));
    let in_place = Plan { to: Side { name: host("pi"), kind: Ccorch }, ..plan(Legacy, Ccorch) };
    assert!(!may_hand_over(&in_place), "it is the same machine");
}

fn window(journal: &str, verdict: Verdict) -> Window {
    let terms = Terms {
        timeout: Seconds(60),
        settle: Seconds(3),
        crashes: 3,
        prove_reboot: false,
        fallback: Seconds(120),
    };
    Window {
        journal: journal.into(),
        opened: Timestamp::UNIX_EPOCH,
        terms,
        stage: Stage::Watching,
        verdict,
        missing: Vec::new(),
        worked: [].into(),
        spent_ms: 0,
        stood_down: false,
    }
}

#[test]
fn a_target_takes_the_driving_from_nobody_but_who_handed_it_over() {
    let handed = HandOver {
        journal: "j".into(),
        turn: Turn(4),
        from: host("pi"),
        to: host("vm"),
        user: "loops".into(),
        rig: "/home/loops/rig/ccorch.yaml".into(),
        started: 0,
    };
    let heard = |journal: &str, turn, open| Owner {
        journal: journal.into(),
        turn: Turn(turn),
        by: "loops@pi".into(),
        open,
    };
    let takes =
        |verdict, heard: Option<Owner>| takes_up(&handed, &window("j", verdict), heard.as_ref(), "vm");
    let failed = || Verdict::Failed { why: "a crash loop".into() };
    assert!(takes(Verdict::Confirmed, Some(heard("j", 4, true))));
    assert!(takes(failed(), Some(heard("j", 4, true))), "who takes it back drives too");
    assert!(!takes(Verdict::Open, Some(heard("j", 4, true))), "the target judges first");
    assert!(!takes(Verdict::Withdrawn, Some(heard("j", 4, true))), "somebody takes it back already");
    assert!(!takes(Verdict::Confirmed, Some(heard("j", 5, true))), "somebody went on with it");
    assert!(!takes(Verdict::Confirmed, Some(heard("j", 4, false))), "it is over");
    assert!(!takes(Verdict::Confirmed, Some(heard("k", 6, true))) && !takes(Verdict::Confirmed, None));
    let other = window("k", Verdict::Confirmed);
    assert!(!takes_up(&handed, &other, Some(&heard("j", 4, true)), "vm"));

    // Its own driver had the cutover in hand, and may be gone.
    let begun = |started| HandOver { started, ..handed.clone() };
    let own = |turn, open| Owner { by: "loops@vm".into(), ..heard("j", turn, open) };
    let again =
        |handed: &HandOver, heard| takes_up(handed, &window("j", Verdict::Confirmed), Some(&heard), "vm");
    assert!(again(&begun(1), own(5, true)) && again(&begun(2), own(6, true)));
    assert!(again(&begun(1), heard("j", 4, true)), "it died before it had it in hand");
    assert!(!again(&begun(1), own(5, false)), "it is over");
    assert!(!again(&begun(1), heard("j", 6, true)), "somebody else went on with it");
    assert!(!again(&handed, own(5, true)), "a person on this machine drives");
    assert!(!again(&begun(MOST_DRIVERS + 1), own(5, true)), "it comes to nothing");
}

#[test]
fn an_onlooker_drives_on_only_where_nobody_does() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let base =
        Sight { ours: Turn(4), theirs: Some(Turn(4)), over: false, judged: None, silent: Duration::ZERO };
    assert_eq!(onlooker(&base), Onlooker::LooksOn);
    assert_eq!(onlooker(&Sight { silent: minutes(60), ..base }), Onlooker::LooksOn, "the target has time");
    let judged = Sight { judged: Some(minutes(2)), ..base };
    assert_eq!(onlooker(&judged), Onlooker::LooksOn, "a heartbeat has its driver started anew");
    assert_eq!(onlooker(&Sight { judged: Some(minutes(3)), ..base }), Onlooker::GoesOn);
    let driven = Sight { theirs: Some(Turn(5)), judged: Some(minutes(3)), ..base };
    assert_eq!(onlooker(&driven), Onlooker::LooksOn);
    assert_eq!(onlooker(&Sight { silent: minutes(10), ..driven }), Onlooker::Leaves);
    assert_eq!(onlooker(&Sight { over: true, ..driven }), Onlooker::Ends);
    assert_eq!(onlooker(&Sight { over: true, ..base }), Onlooker::Ends);
}

#[test]
fn a_unit_of_its_own_shares_nothing_with_who_asked_for_it() {
    let argv = ["/usr/local/bin/ccorch", "--rig", "/home/loops/r.yaml", "cutover"].map(String::from);
    let unit = Unit {
        id: "20261122T055230Z-abc123",
        user: "loops",
        environment: &[("HOME", "/home/loops".into())],
        files: Some(("/home/loops/out", "/home/loops/err")),
        argv: &argv,
    };
    insta::assert_snapshot!(unit.start().join("\n"), @r"
    systemd-run
    --quiet
    --collect
    --working-directory=/
    --unit=ccorch-cutover-20261122T055230Z-abc123.service
    --uid=loops
    --description=ccorch: the driver of a cutover
    --property=RuntimeDirectory=ccorch-cutover/abc123
    --property=RuntimeDirectoryMode=0700
    --property=StandardOutput=append:/home/loops/out
    --property=StandardError=append:/home/loops/err
    --setenv=HOME=/home/loops
    --setenv=XDG_RUNTIME_DIR=/run/ccorch-cutover/abc123
    --
    /usr/local/bin/ccorch
    --rig
    /home/loops/r.yaml
    cutover
    ");
}
