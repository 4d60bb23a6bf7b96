//! The page as a whole, for a cutover that went well and for one that was taken back.

use super::*;
use crate::cutover::{Origin, Plan, Said, Side, SideKind};
use crate::names::{HostName, RigName};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_000 + ms).unwrap()
}

fn journal(events: Vec<(i64, Entry)>) -> Journal {
    let side = |name: &str, kind| Side { name: HostName::new(name).unwrap(), kind };
    let plan = Plan {
        from: side("pi", SideKind::Legacy),
        to: side("vm", SideKind::Ccorch),
        steps: Step::ALL.into(),
    };
    let rig = RigName::new("cc-ci").unwrap();
    let origin = Origin { ccorch: "1.2.3".into(), plan_hash: "0123456789abcdef".into() };
    let asked = Said::default().of(None);
    let (mut journal, _) = Journal::begin("20260101T000000Z-abcdef".into(), rig, plan, origin, asked, at(0));
    for (ms, entry) in events {
        journal.append(at(ms), entry).unwrap();
    }
    journal
}

/// Performed from when to when, one after the other.
fn steps(ends: &[(Step, i64)]) -> Vec<(i64, Entry)> {
    let mut events = Vec::new();
    let mut now = 100;
    for (step, end) in ends {
        events.push((now, Entry::Started { step: *step }));
        now = *end;
        events.push((now, Entry::Done { step: *step, note: format!("{} is done", step.name()) }));
    }
    events
}

fn well() -> (Journal, Gap) {
    let mut events = steps(&[
        (Step::Preflight, 900),
        (Step::Presync, 4_200),
        (Step::Quiesce, 6_900),
        (Step::Fence, 7_300),
        (Step::FinalSync, 8_800),
        (Step::Prove, 9_700),
        (Step::Activate, 11_000),
        (Step::Verify, 24_500),
        (Step::Decommission, 26_000),
    ]);
    events.push((26_010, Entry::End { outcome: Outcome::Completed }));
    (journal(events), Gap { source_last: at(6_000), target_first: at(12_500) })
}

fn taken_back() -> Journal {
    let mut events = steps(&[(Step::Preflight, 900), (Step::Presync, 4_200), (Step::Quiesce, 6_900)]);
    let why = "on vm: <img src=x onerror=\"alert('1')\"> & No space left".to_owned();
    events.push((6_950, Entry::Started { step: Step::Fence }));
    events.push((9_000, Entry::Failed { step: Step::Fence, why: why.clone() }));
    events.push((9_001, Entry::TurnBack { why }));
    for (ms, step) in
        [(9_010, Step::Fence), (9_500, Step::Quiesce), (11_500, Step::Presync), (11_600, Step::Preflight)]
    {
        events.push((ms, Entry::UndoStarted { step }));
        events.push((ms + 90, Entry::UndoDone { step, note: String::new() }));
    }
    events.push((12_000, Entry::End { outcome: Outcome::RolledBack }));
    journal(events)
}

#[test]
fn a_cutover_that_went_well() {
    let (journal, gap) = well();
    insta::assert_snapshot!(render(&journal, Some(&gap)));
}

#[test]
fn a_cutover_that_was_taken_back() {
    let page = render(&taken_back(), None);
    assert!(!page.contains("<img"), "what came from a host must stay text");
    insta::assert_snapshot!(page);
}

#[test]
fn an_empty_journal_and_a_clock_that_went_back_are_drawn() {
    let (_, gap) = well();
    let page = render(&journal(Vec::new()), Some(&gap));
    assert!(page.contains("Not finished."), "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf\""), "{page}");
    let back = journal(vec![
        (5_000, Entry::Started { step: Step::Preflight }),
        (-60_000, Entry::Done { step: Step::Preflight, note: String::new() }),
    ]);
    let page = render(&back, None);
    assert!(!page.contains("=\"-"), "nothing is outside the picture: {page}");
}

#[test]
fn the_page_needs_nothing_else() {
    let (journal, gap) = well();
    let page = render(&journal, Some(&gap));
    for outside in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn when_each_host_was_active() {
    let (journal, _) = well();
    let spans = Spans::of(&journal);
    assert_eq!(spans.source, [(at(0), at(7_300))]);
    assert_eq!(spans.target, [(at(11_000), at(26_010))]);
    let spans = Spans::of(&taken_back());
    // The fence never came to be, so the source was active all the time.
    assert_eq!((spans.source, spans.target), (vec![(at(0), at(12_000))], vec![]));
}
