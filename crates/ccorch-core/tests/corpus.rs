//! Screens written for this project and the verdict each must get: none missed, none mistaken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ccorch_core::watchdog::{Evidence, Kind, decide};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

struct Case {
    file: String,
    screen: String,
    now: Timestamp,
    seen_at: Option<Timestamp>,
    zone: TimeZone,
    verdict: String,
    until: Option<Timestamp>,
    account_wide: Option<bool>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn cases() -> Vec<Case> {
    let table = fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let [file, now, seen_at, zone, verdict, until, wide] =
            row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let given = |text: &str| (text != "-").then(|| text.parse().unwrap());
        Case {
            file: file.to_owned(),
            screen: fs::read_to_string(folder().join(file)).unwrap(),
            now: now.parse().unwrap(),
            seen_at: given(seen_at),
            zone: TimeZone::get(zone).unwrap(),
            verdict: verdict.to_owned(),
            until: given(until),
            account_wide: (wide != "-").then(|| wide == "true"),
        }
    })
    .collect()
}

#[test]
fn every_screen_gets_its_verdict() {
    let (mut hits, mut false_alarms, mut missed) = (0, 0, 0);
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases() {
        let evidence = Evidence {
            hooks: "",
            transcript: "",
            screen: &case.screen,
            now: case.now,
            seen_at: case.seen_at,
            zone: case.zone.clone(),
            stall_after: SignedDuration::from_mins(20),
            still: None,
        };
        let found = decide(&evidence);
        *counts.entry(case.verdict.clone()).or_default() += 1;
        match (case.verdict == "limited", found.verdict == Kind::Limited) {
            (true, true) => hits += 1,
            (false, true) => false_alarms += 1,
            (true, false) => missed += 1,
            (false, false) => {}
        }
        let word = serde_json::to_value(found.verdict).unwrap();
        let fits = word == case.verdict
            && found.until == case.until
            && case.account_wide.is_none_or(|wide| wide == found.account_wide);
        if !fits {
            wrong.push(format!("{}: expected {} {:?}, found {found:?}", case.file, case.verdict, case.until));
        }
    }
    let limited = hits + missed;
    let others: usize = counts.values().sum::<usize>() - limited;
    let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
    let (precision, recall) = (share(hits, hits + false_alarms), share(hits, limited));
    println!("{limited} limits, {others} others: precision {precision:.3}, recall {recall:.3}; {counts:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(limited >= 60 && others >= 120, "{limited} positive and {others} negative screens");
    assert_eq!((precision, recall), (1.0, 1.0));
}

#[test]
fn every_file_is_listed_once_and_no_two_are_the_same() {
    let cases = cases();
    let listed: BTreeSet<&str> = cases.iter().map(|case| case.file.as_str()).collect();
    assert_eq!(listed.len(), cases.len());
    let screens: BTreeSet<&str> = cases.iter().map(|case| case.screen.as_str()).collect();
    // A screen may be there with two moments of first sight.
    assert!(screens.len() + 3 >= cases.len(), "{} screens in {} files", screens.len(), cases.len());
    let mut on_disk = 0;
    for kind in fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()) {
        on_disk += fs::read_dir(kind).unwrap().count();
    }
    assert_eq!(on_disk, cases.len());
}
