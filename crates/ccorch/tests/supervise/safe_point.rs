//! Before a cutover stops agents that are at work, they hear of it and may come to a safe point; who does not in time is
//! stopped all the same.

use std::fs;

use crate::place::Place;

const LOOPS: &str = "  builder: { agent: claude, workdir: build, prompt: builder.md }\n  tester: { agent: claude, workdir: build, prompt: builder.md }\n";

/// Two agents that have read their first words; the builder is in the middle of a turn that takes so many seconds.
fn busy(seconds: u64) -> Place {
    let place = Place::new().with_stub(LOOPS).active().supervised();
    for name in ["builder", "tester"] {
        place.until(name, |one| one["life"] == "idle");
    }
    place.ok(&["loops", "nudge", "builder", &format!("!stub turn {seconds}")]);
    place.until("builder", |one| one["life"] == "working");
    place
}

fn quiesce(place: &Place, within: &str) -> String {
    place.ok(&["quiesce", "--journal", "j1", "--turn", "1", "--safe-point", within])
}

fn finished(place: &Place) -> bool {
    place.transcript("builder", "build").iter().any(|line| line.to_string().contains("Finished after"))
}

#[test]
fn an_agent_finishes_what_it_is_at_before_it_is_stopped() {
    let place = busy(6);
    let said = quiesce(&place, "2m");
    assert!(said.starts_with("waited ") && said.trim().ends_with(" s for a safe point of builder"), "{said}");
    assert!(finished(&place), "{said}");
    let told = place.told("builder", "build");
    let asked: Vec<_> = told.iter().filter(|text| text.contains("Come to a safe point")).collect();
    assert_eq!(asked.len(), 1, "{told:?}");
    assert!(asked[0].contains("cutover j1"), "{asked:?}");
    // Whoever is not at work is not kept from it either.
    assert!(!place.told("tester", "build").iter().any(|text| text.contains("safe point")));
    assert_eq!(place.events("safe-point").len(), 1);
    // Everything is down, and a driver that asks again waits for nobody.
    assert_eq!(quiesce(&place, "2m"), "");
}

#[test]
fn who_does_not_come_to_a_safe_point_in_time_is_stopped_as_it_is() {
    let place = busy(600);
    let said = quiesce(&place, "3s");
    assert!(said.contains("safe point of builder, not reached by builder"), "{said}");
    assert!(!finished(&place));
    assert_eq!(quiesce(&place, "3s"), "", "nothing runs any more");
}

#[test]
fn nobody_is_asked_when_that_takes_no_time_or_nobody_listens() {
    let mut place = busy(600);
    let transcript = place.transcript_file("builder", "build");
    place.end_supervisor();
    let said = quiesce(&place, "3s");
    assert!(said.starts_with("no loop was told of a safe point: "), "{said}");
    let heard = fs::read_to_string(transcript).unwrap();
    assert!(heard.contains("!stub turn 600") && !heard.contains("safe point"), "{heard}");
    let place = busy(600);
    assert_eq!(quiesce(&place, "0s"), "");
    assert!(!finished(&place));
}
