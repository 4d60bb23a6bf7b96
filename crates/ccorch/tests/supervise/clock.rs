//! A wall clock that is set by an hour either way while everything runs.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::place::{Place, signal, until};

/// As the rig below says.
const STALL: Duration = Duration::from_secs(30);

/// A host on which the wall clock can be set.
fn place() -> Place {
    let loops = "  builder: { agent: claude, workdir: build, prompt: builder.md, stall_after: 30s }\n";
    let mut place = Place::new().with_stub(loops);
    place.preload("clock");
    set(&place, 0);
    let file = place.env.root().with_file_name("clock");
    place.env.put("CLOCK_OFF", file.display().to_string());
    let mut place = place.active();
    place.supervise();
    place.until("builder", |one| one["life"] == "idle");
    place
}

/// Sets it, this many hours ahead of the true one.
fn set(place: &Place, hours: i64) {
    place.env.write(place.env.root().with_file_name("clock"), (hours * 3600).to_string());
}

/// Sets it, and waits until the supervisor has seen it.
fn jump(place: &Place, hours: i64, seen: usize) {
    set(place, hours);
    // Whatever happens has it look.
    until("the clock to be looked at", || {
        place.ok(&["loops", "list"]);
        (place.events("clock-set").len() == seen).then_some(())
    });
}

fn is_set_by(hours: i64) {
    let place = place();
    // A turn that stays open, on a screen that stands still.
    let begun = Instant::now();
    place.ok(&["loops", "nudge", "builder", "!stub hang"]);
    place.until("builder", |one| one["life"] == "working");
    jump(&place, hours, 1);
    let said = place.events("clock-set")[0]["detail"].as_str().unwrap().to_owned();
    assert!(said.ends_with(if hours > 0 { "ahead" } else { "back" }), "{said}");
    // It is looked at more than once meanwhile, and judged by the time that passed: an hour of the clock is none.
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        let stalled = place.events("loop-stall-nudge");
        assert!(stalled.is_empty() || begun.elapsed() >= STALL, "{hours} h: {stalled:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let stalled = until("it to be stalled in the end", || place.events("loop-stall-nudge").first().cloned());
    assert!(begun.elapsed() >= STALL, "{hours} h: {stalled}");
    // Its end is known by its own record.
    let pid = place.pid("builder");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    let end = place.events("loop-ended").pop().unwrap();
    let detail = end["detail"].as_str().unwrap();
    assert!(detail.starts_with("ended by signal 9"), "{hours} h: {detail}");
    place.until("builder", |one| one["life"] == "idle");
    // What it says of a limit is read by the clock as it is set.
    let now = Timestamp::now().as_second() + hours * 3600;
    let limit = format!("!stub limit Claude AI usage limit reached|{}", now + 600);
    place.ok(&["loops", "nudge", "builder", &limit]);
    let one = place.until("builder", |one| one["life"] == "limited");
    let next: Timestamp = one["next"].as_str().unwrap().parse().unwrap();
    assert!(next.as_second() - now < 720, "{hours} h: it would sleep on: {one}");
    jump(&place, 0, 2);
    assert_eq!(place.one("builder")["restarts"], 1);
}

#[test]
fn a_clock_put_back_while_an_agent_works_changes_nothing_for_it() {
    is_set_by(-1);
}

#[test]
fn a_clock_put_forward_while_an_agent_works_changes_nothing_for_it() {
    is_set_by(1);
}
