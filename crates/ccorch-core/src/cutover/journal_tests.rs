//! Tests of the journal: the table is total, every prefix is read back, no damage is misread.

use proptest::prelude::*;

use super::*;
use crate::cutover::{Side, SideKind};
use crate::safepoint::UnsavedPolicy;
use crate::seconds::Seconds;

fn plan() -> Plan {
    let side = |name: &str| Side { name: HostName::new(name).unwrap(), kind: SideKind::Ccorch };
    Plan { from: side("a"), to: side("b"), steps: Step::ALL.into() }
}

fn origin() -> Origin {
    Origin { ccorch: "1.2.3".into(), plan_hash: "0123456789abcdef".into() }
}

fn asked() -> Asked {
    Asked { unsaved: UnsavedPolicy::Rescue, timeout: Seconds(60), settle: Seconds(5), prove_reboot: true }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A journal whose every step succeeds up to `failing`, which fails; then all is undone. With its text.
fn story(failing: Option<Step>) -> (Journal, String) {
    let (mut journal, first) =
        Journal::begin("j1".into(), RigName::new("r").unwrap(), plan(), origin(), asked(), at(0));
    let mut text = format!("{first}\n");
    let driver = Entry::Driver { turn: Turn(3), by: "ann@desk".into() };
    text += &format!("{}\n", journal.append(at(0), driver).unwrap());
    let mut clock = 0;
    loop {
        clock += 1;
        let entry = match journal.next() {
            Next::Perform(step) => Entry::Started { step },
            Next::Probe(step) if Some(step) == failing => Entry::Failed { step, why: "full disk".into() },
            Next::Probe(step) => Entry::Done { step, note: "2 Schleifen für heute".into() },
            Next::Undo(step) if journal.status(step) == Status::Undoing => {
                Entry::UndoDone { step, note: String::new() }
            }
            Next::Undo(step) => Entry::UndoStarted { step },
            Next::Close(outcome) => Entry::End { outcome },
            Next::Over(_) => return (journal, text),
        };
        let turn = matches!(entry, Entry::Failed { .. });
        text += &format!("{}\n", journal.append(at(clock), entry).unwrap());
        if turn {
            let back = Entry::TurnBack { why: "it failed".into() };
            text += &format!("{}\n", journal.append(at(clock), back).unwrap());
        }
    }
}

#[test]
fn every_story_ends_where_it_should() {
    assert_eq!(story(None).0.outcome(), Some(Outcome::Completed));
    for step in Step::ALL {
        let (journal, _) = story(Some(step));
        assert_eq!(journal.outcome(), Some(Outcome::RolledBack));
        for step in Step::ALL {
            assert!(matches!(journal.status(step), Status::Pending | Status::Undone));
        }
    }
}

#[test]
fn undo_goes_backwards_through_what_was_begun() {
    let (journal, _) = story(Some(Step::Fence));
    let undone: Vec<Step> = journal
        .lines
        .iter()
        .filter_map(|line| if let Entry::UndoDone { step, .. } = line.entry { Some(step) } else { None })
        .collect();
    assert_eq!(undone, [Step::Fence, Step::Quiesce, Step::Presync, Step::Preflight]);
}

/// As a file is read.
fn read(bytes: &[u8]) -> Result<Journal, Damage> {
    Journal::read(Journal::whole_lines(bytes)?)
}

#[test]
fn a_line_that_is_no_text_is_named() {
    let (_, text) = story(None);
    let mut bytes = text.into_bytes();
    let third = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    bytes[third + 3] = 0xff;
    assert_eq!(read(&bytes), Err(Damage::Line(3)));
}

#[test]
fn every_truncation_is_an_earlier_state_of_the_same_journal() {
    let (whole, text) = story(Some(Step::Verify));
    for cut in 0..text.len() {
        match read(&text.as_bytes()[..cut]) {
            Ok(journal) => assert_eq!(journal.lines, whole.lines[..journal.lines.len()]),
            Err(damage) => assert_eq!((damage, cut < text.find('\n').unwrap() + 1), (Damage::Empty, true)),
        }
    }
    assert_eq!(Journal::read(&text).unwrap(), whole);
}

#[test]
fn every_flipped_byte_is_refused_or_costs_the_torn_end_alone() {
    let (whole, text) = story(None);
    for position in 0..text.len() {
        for flip in [0x01_u8, 0x20, 0x0a, 0x80] {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= flip;
            if let Ok(journal) = read(&bytes) {
                // Only the last newline can be lost without damage: then the last line counts as torn.
                assert_eq!(position, text.len() - 1, "byte {position} ^ {flip:#x} was misread");
                assert_eq!(journal.lines, whole.lines[..whole.lines.len() - 1]);
            }
        }
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let json = r#"{"at":"1970-01-01T00:00:00Z","entry":"begin","version":9,"id":"x","rig":"r","plan":PLAN}"#;
    let json = json.replace("PLAN", &serde_json::to_string(&plan()).unwrap());
    let text = format!("{} {json}\n", checksum("", &json));
    assert_eq!(Journal::read(&text), Err(Damage::Version(9)));
}

fn entry() -> impl Strategy<Value = Entry> {
    let step = prop::sample::select(Step::ALL.to_vec());
    let why = String::from("x");
    (step, 0..6).prop_map(move |(step, kind)| match kind {
        0 => Entry::Started { step },
        1 => Entry::Done { step, note: why.clone() },
        2 => Entry::Failed { step, why: why.clone() },
        3 => Entry::UndoStarted { step },
        4 => Entry::UndoDone { step, note: why.clone() },
        _ => Entry::UndoFailed { step, why: why.clone() },
    })
}

proptest! {
    /// The table answers everything, and what it refuses leaves the journal as it was.
    #[test]
    fn the_table_is_total(entries in prop::collection::vec(entry(), 0..40)) {
        let rig = RigName::new("r").unwrap();
        let (mut journal, first) = Journal::begin("j".into(), rig, plan(), origin(), asked(), at(0));
        let mut text = format!("{first}\n");
        for entry in entries {
            let before = journal.clone();
            match journal.append(at(1), entry) {
                Ok(line) => text += &format!("{line}\n"),
                Err(_) => prop_assert_eq!(&journal, &before),
            }
            journal.next();
        }
        prop_assert_eq!(Journal::read(&text).unwrap(), journal);
    }
}

#[test]
fn of_copies_the_newest_drivers_wins_and_then_the_longer() {
    let (whole, text) = story(None);
    let lines: Vec<&str> = text.lines().collect();
    let short = Journal::read(&format!("{}\n", lines[..5].join("\n"))).unwrap();
    assert!(whole.is_newer_than(&short) && !short.is_newer_than(&whole) && !whole.is_newer_than(&whole));
    let mut taken = short.clone();
    taken.append(at(9), Entry::Driver { turn: Turn(4), by: "bob@lap".into() }).unwrap();
    assert!(taken.is_newer_than(&whole));
    assert_eq!((whole.turn(), taken.turn()), (Some(Turn(3)), Some(Turn(4))));
    assert_ne!(whole.sum(), short.sum());
}

#[test]
fn what_was_asked_is_in_the_first_line() {
    let (_, text) = story(None);
    let first = &text[..=text.find('\n').unwrap()];
    assert_eq!(Journal::read(first).unwrap().asked, Some(asked()));
}

/// A journal of the format before goes on as before: its checksums are those of its own lines.
#[test]
fn the_format_before_is_read_and_gone_on_with_and_says_nothing_of_what_was_asked() {
    let json = r#"{"at":"1970-01-01T00:00:00Z","entry":"begin","version":2,"id":"x","rig":"r","plan":PLAN,
        "ccorch":"0","plan_hash":"0"}"#;
    let json = json.replace("PLAN", &serde_json::to_string(&plan()).unwrap()).replace("\n        ", " ");
    let text = format!("{} {json}\n", checksum("", &json));
    let mut journal = Journal::read(&text).unwrap();
    assert_eq!((journal.id.as_str(), journal.asked), ("x", None));
    let line = journal.append(at(1), Entry::Started { step: Step::Preflight }).unwrap();
    assert_eq!(Journal::read(&format!("{text}{line}\n")).unwrap(), journal);
}

#[test]
fn the_format_before_the_last_is_refused_by_name() {
    let json = r#"{"at":"1970-01-01T00:00:00Z","entry":"begin","version":1,"id":"x","rig":"r"}"#;
    assert_eq!(Journal::read(&format!("{} {json}\n", checksum("", json))), Err(Damage::Version(1)));
}
