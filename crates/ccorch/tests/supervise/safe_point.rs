//! Before a cutover or anybody else stops agents that are at work, they hear of it and may come to a safe point; who does not in time is
//! stopped all the same.

use std::fs;
use std::time::{Duration, Instant};

use crate::place::Place;

const LOOPS: &str = "  builder: { agent: claude, workdir: build, prompt: builder.md }\n  tester: { agent: claude, workdir: build, prompt: builder.md }\n";

/// Two agents that have read their first words; the builder is in the middle of a turn that takes so many seconds.
fn busy(seconds: u64) -> Place {
    busy_with(seconds, "")
}

/// The same with more in the rig.
fn busy_with(seconds: u64, more: &str) -> Place {
    let place = Place::new().with_stub(LOOPS);
    let place = if more.is_empty() { place } else { place.rig(|rig| rig + more) };
    let place = place.active().supervised();
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

/// Every other stop asks too; the agent that is stopped does so by itself, for at a shutdown no supervisor is left.
#[test]
fn a_stop_by_hand_lets_an_agent_come_to_a_safe_point() {
    let place = busy(6);
    let began = Instant::now();
    place.ok(&["loops", "stop", "builder"]);
    assert!(finished(&place), "{:?}\n{}", began.elapsed(), place.said());
    let told = place.told("builder", "build");
    let asked: Vec<_> = told.iter().filter(|text| text.contains("Come to a safe point")).collect();
    assert_eq!(asked.len(), 1, "{told:?}");
    assert!(asked[0].starts_with("A person is stopping this loop, and "), "{asked:?}");
    // Whoever is at rest is stopped at once, and is told nothing.
    let began = Instant::now();
    place.ok(&["loops", "stop", "tester"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(!place.told("tester", "build").iter().any(|text| text.contains("safe point")));
}

#[test]
fn a_stop_by_hand_waits_no_longer_than_the_rig_says() {
    for (grace, told) in [("3s", 1), ("0s", 0)] {
        let place = busy_with(600, &format!("stop_grace: {grace}\n"));
        let transcript = place.transcript_file("builder", "build");
        let began = Instant::now();
        place.ok(&["loops", "restart", "builder"]);
        // What an agent says that ends in the middle of its turn costs ten seconds more at most.
        assert!(began.elapsed() < Duration::from_secs(40), "{grace}: {:?}", began.elapsed());
        assert!(!finished(&place));
        let heard = fs::read_to_string(transcript).unwrap();
        assert_eq!(heard.matches("Come to a safe point").count().min(1), told, "{grace}: {heard}");
    }
}
