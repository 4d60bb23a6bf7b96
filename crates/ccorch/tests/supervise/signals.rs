//! What an agent's hooks, transcript and screen tell, on a real terminal: limits, throttles, logins, and quotations.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::place::Place;

fn place(more: &str) -> Place {
    let loops = format!("  builder: {{ agent: claude, workdir: build, prompt: builder.md, {more} }}\n");
    let place = Place::new().with_stub(&loops).active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    place
}

#[test]
fn a_limit_is_known_until_its_reset_and_then_the_agent_is_woken() {
    let place = place("");
    let reset = Timestamp::from_second(Timestamp::now().as_second() + 5).unwrap();
    place.ok(&[
        "loops",
        "nudge",
        "builder",
        &format!("!stub limit Claude AI usage limit reached|{}", reset.as_second()),
    ]);
    let one = place.until("builder", |one| one["life"] == "limited");
    assert_eq!(one["until"].as_str().unwrap().parse::<Timestamp>().unwrap(), reset, "{one}");
    assert!(one["evidence"].as_str().unwrap().contains("usage limit reached"), "{one}");
    assert_eq!(one["restarts"], 0);
    // A margin and jitter of up to 70 s follow the reset.
    let end = Instant::now() + Duration::from_secs(180);
    while place.one("builder")["life"] == "limited" {
        assert!(Instant::now() < end, "it sleeps on: {}", place.one("builder"));
        std::thread::sleep(Duration::from_millis(200));
    }
    place.until("builder", |one| one["life"] == "idle");
    let told = place.told("builder", "build");
    assert_eq!(told.last().unwrap(), "The pause is over. Continue where you were.");
    assert_eq!(place.events("account-works").len(), 1);
}

#[test]
fn a_throttle_is_a_short_pause_and_no_limit() {
    let place = place("");
    place.ok(&["loops", "nudge", "builder", "!stub throttle"]);
    let one = place.until("builder", |one| one["life"] == "throttled");
    let next: Timestamp = one["next"].as_str().unwrap().parse().unwrap();
    assert!(next.duration_since(Timestamp::now()) <= SignedDuration::from_secs(30), "{one}");
    assert!(one["until"].is_null() && one["restarts"] == 0, "{one}");
}

#[test]
fn an_expired_login_waits_for_a_person() {
    let place = place("");
    place.ok(&["loops", "nudge", "builder", "!stub login"]);
    let one = place.until("builder", |one| one["life"] == "login-needed");
    assert!(one["reason"].as_str().unwrap().contains("Please run /login"), "{one}");
    assert_eq!(one["restarts"], 0);
}

#[test]
fn what_an_agent_quotes_is_no_limit_and_the_evidence_can_be_saved() {
    let place = place("stall_after: 8s");
    place.ok(&["loops", "nudge", "builder", "!stub say 5-hour limit reached ∙ resets 5am"]);
    place.ok(&["loops", "nudge", "builder", "!stub say Login expired · Please run /login"]);
    place.until("builder", |one| one["life"] == "idle");
    let line = place.ok(&["loops", "capture", "builder", "seen"]);
    let words: Vec<&str> = line.trim().strip_prefix("ccorch ").unwrap().split(' ').collect();
    let explained: serde_json::Value =
        serde_json::from_str(&place.ok(&[&words[..], &["--json"]].concat())).unwrap();
    assert_eq!(explained["verdict"], "idle", "{explained}");
    let seen = place.env.work().join("seen");
    let text = |file: &str| std::fs::read_to_string(seen.join(file)).unwrap();
    assert!(text("screen.txt").contains("● 5-hour limit reached"), "{}", text("screen.txt"));
    assert!(text("hooks.jsonl").contains("\"Stop\"") && text("transcript.jsonl").contains("!stub say"));
    for (path, mode) in
        [(seen.clone(), 0o700), (seen.join("screen.txt"), 0o600), (seen.join("hooks.jsonl"), 0o600)]
    {
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            mode,
            "{}",
            path.display()
        );
    }
    let again = place.run(&["loops", "capture", "builder", "seen"]);
    assert_eq!(again.status, Some(6), "{}", again.snapshot());
    for state in ["limited", "login-needed", "throttled"] {
        assert_eq!(place.events(&format!("loop-{state}")).len(), 0, "it was never {state}");
    }
}
