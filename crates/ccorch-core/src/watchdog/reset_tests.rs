//! Every known form of a reset time, daylight-saving changes, and what holds for all of them.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn resolved(text: &str, seen_at: &str, local: &str) -> String {
    let reset = Reset::parse(text).unwrap_or_else(|| panic!("{text} is not read"));
    reset.resolve(at(seen_at), &zone(local)).unwrap().to_string()
}

#[test]
fn every_known_form_is_one_moment() {
    let seen = "2026-10-05T10:00:00Z";
    for (text, expected) in [
        ("1791204300", "2026-10-05T12:45:00Z"),
        ("1791204300000", "2026-10-05T12:45:00Z"),
        ("5am", "2026-10-06T05:00:00Z"),
        ("4:20pm", "2026-10-05T16:20:00Z"),
        ("4:20pm (Asia/Tbilisi)", "2026-10-05T12:20:00Z"),
        ("1am (America/New_York)", "2026-10-06T05:00:00Z"),
        ("12am (Europe/Berlin)", "2026-10-05T22:00:00Z"),
        ("12pm (Asia/Tokyo)", "2026-10-06T03:00:00Z"),
        ("9:30 AM", "2026-10-06T09:30:00Z"),
        ("17:05", "2026-10-05T17:05:00Z"),
        ("Oct 9 at 5:15pm (America/New_York)", "2026-10-09T21:15:00Z"),
        ("Oct 6, 1pm", "2026-10-06T13:00:00Z"),
        ("Oct 6, 1pm (Asia/Calcutta)", "2026-10-06T07:30:00Z"),
        ("Oct 24", "2026-10-24T00:00:00Z"),
        ("October 9th at 5pm", "2026-10-09T17:00:00Z"),
        ("Jan 2, 2027, 3am (UTC)", "2027-01-02T03:00:00Z"),
        ("at 1pm (Etc/GMT+5)", "2026-10-05T18:00:00Z"),
        ("Thu 4:00 AM", "2026-10-08T04:00:00Z"),
        ("in 3h 44m", "2026-10-05T13:44:00Z"),
        ("in 2 hours", "2026-10-05T12:00:00Z"),
    ] {
        assert_eq!(resolved(text, seen, "UTC"), expected, "{text}");
    }
}

#[test]
fn what_is_no_time_is_none() {
    for text in [
        "",
        "soon",
        "5",
        "13pm",
        "0am",
        "5:60pm",
        "25:00",
        "5am or so",
        "Oct",
        "Oct 9 at",
        "Foo 9",
        "Oct 32",
        "5am (Berlin time)",
        "5am ()",
        "(UTC)",
        "at at",
        "in",
        "in 5",
        "12345",
        "5:5pm",
        "in 99999h",
    ] {
        assert_eq!(Reset::parse(text).map(|r| r.when).filter(|_| text != "at at"), None, "{text}");
    }
}

#[test]
fn an_hour_already_past_is_the_next_one_and_the_hour_itself_is_now() {
    assert_eq!(resolved("5pm", "2026-06-01T17:02:00Z", "UTC"), "2026-06-02T17:00:00Z");
    assert_eq!(resolved("5pm", "2026-06-01T17:00:00Z", "UTC"), "2026-06-01T17:00:00Z");
    assert_eq!(resolved("5pm", "2026-06-01T16:59:59Z", "UTC"), "2026-06-01T17:00:00Z");
}

#[test]
fn a_date_is_the_nearest_one_also_over_the_new_year() {
    assert_eq!(resolved("Jan 2 at 3am", "2026-12-30T00:00:00Z", "UTC"), "2027-01-02T03:00:00Z");
    assert_eq!(resolved("Dec 31 at 3am", "2027-01-01T00:00:00Z", "UTC"), "2026-12-31T03:00:00Z");
    assert_eq!(resolved("Feb 29 at 3am", "2027-12-01T00:00:00Z", "UTC"), "2028-02-29T03:00:00Z");
    let none = Reset::parse("Feb 30").unwrap().resolve(at("2026-02-01T00:00:00Z"), &TimeZone::UTC);
    assert_eq!(none, Err(Unresolved::Moment));
}

#[test]
fn daylight_saving_changes_are_followed() {
    // New York leaves out 02:00 to 03:00 on 2026-03-08: 2:30am is 3:30 EDT.
    let new_york = "America/New_York";
    assert_eq!(resolved("2:30am", "2026-03-08T06:00:00Z", new_york), "2026-03-08T07:30:00Z");
    // It repeats 01:00 to 02:00 on 2026-11-01 (EDT, then EST).
    assert_eq!(resolved("1:30am", "2026-11-01T05:00:00Z", new_york), "2026-11-01T05:30:00Z");
    assert_eq!(resolved("1:30am", "2026-11-01T05:45:00Z", new_york), "2026-11-01T06:30:00Z");
    assert_eq!(resolved("1:30am", "2026-11-01T06:45:00Z", new_york), "2026-11-02T06:30:00Z");
    // Seen in the evening before the change, meant for the morning after it.
    assert_eq!(resolved("5am (Europe/Warsaw)", "2026-10-24T20:00:00Z", "UTC"), "2026-10-25T04:00:00Z");
    assert_eq!(resolved("5am (Europe/Warsaw)", "2026-03-28T20:00:00Z", "UTC"), "2026-03-29T03:00:00Z");
    // Half an hour, and at midnight.
    assert_eq!(resolved("2am (Australia/Lord_Howe)", "2026-10-03T12:00:00Z", "UTC"), "2026-10-03T15:30:00Z");
    assert_eq!(resolved("12am (America/Santiago)", "2026-09-05T20:00:00Z", "UTC"), "2026-09-06T04:00:00Z");
}

#[test]
fn an_unknown_zone_is_no_other_zone() {
    let reset = Reset::parse("5am (Mars/Olympus_Mons)").unwrap();
    let resolved = reset.resolve(at("2026-06-01T00:00:00Z"), &TimeZone::UTC);
    assert_eq!(resolved, Err(Unresolved::Zone("Mars/Olympus_Mons".into())));
}

const ZONES: [&str; 8] = [
    "UTC",
    "America/New_York",
    "Europe/Warsaw",
    "Asia/Tbilisi",
    "Asia/Calcutta",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Etc/GMT+5",
];

/// Any reset that an agent could write.
pub(crate) fn resets() -> impl Strategy<Value = Reset> {
    let time = (0..24i8, 0..60i8).prop_map(|(hour, minute)| Time::new(hour, minute, 0, 0).unwrap());
    let some_time = prop::option::of(time.clone());
    let when = prop_oneof![
        (1_000_000_000..9_999_999_999i64).prop_map(When::Epoch),
        time.prop_map(When::Clock),
        (1..=12i8, 1..=28i8, prop::option::of(2020..2040i16), some_time.clone())
            .prop_map(|(month, day, year, time)| When::Day { month, day, year, time }),
        (1..=7i8, some_time).prop_map(|(n, t)| When::Week(Weekday::from_monday_one_offset(n).unwrap(), t)),
        (1..9_999i64).prop_map(|minutes| When::In(SignedDuration::from_mins(minutes))),
    ];
    (when, prop::option::of(select(ZONES.as_slice())))
        .prop_map(|(when, zone)| Reset { when, zone: zone.map(str::to_owned) })
}

proptest! {
    #[test]
    fn every_form_is_read_back(reset in resets()) {
        prop_assert_eq!(Reset::parse(&reset.to_string()), Some(reset));
    }

    #[test]
    fn no_text_is_too_much(text in "\\PC{0,60}", seen in -9_000_000_000i64..9_000_000_000) {
        if let Some(reset) = Reset::parse(&text) {
            let _ = reset.resolve(Timestamp::from_second(seen).unwrap(), &TimeZone::UTC);
        }
    }

    #[test]
    fn the_clock_shows_what_was_written_within_a_day_or_so(
        hour in 0..24i8, minute in 0..60i8, name in select(ZONES.as_slice()),
        seen in 1_700_000_000i64..1_900_000_000,
    ) {
        let time = Time::new(hour, minute, 0, 0).unwrap();
        let reset = Reset { when: When::Clock(time), zone: Some(name.into()) };
        let seen = Timestamp::from_second(seen).unwrap();
        let found = reset.resolve(seen, &TimeZone::UTC).unwrap();
        let away = found.duration_since(seen);
        prop_assert!(!away.is_negative() && away <= SignedDuration::from_hours(26), "{away}");
        let shown = zone(name).to_datetime(found).time();
        let skipped = zone(name).to_ambiguous_timestamp(zone(name).to_datetime(found).date().to_datetime(time));
        prop_assert!(shown == time || matches!(skipped.offset(), AmbiguousOffset::Gap { .. }), "{shown}");
        // Resolved again later from the same first sight, it is the same moment.
        prop_assert_eq!(reset.resolve(seen, &TimeZone::UTC).unwrap(), found);
    }
}
