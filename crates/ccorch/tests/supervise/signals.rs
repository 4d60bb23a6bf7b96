//! What an agent's hooks, transcript and screen tell, on a real terminal: limits, throttles, logins, and quotations.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::place::{Place, until};

fn place(more: &str) -> Place {
    let loops = format!("  builder: {{ agent: claude, workdir: build, prompt: builder.md, {more} }}\n");
    let place = Place::new().with_stub(&loops).active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    place
}

#[test]
fn a_limit_is_known_until_its_reset_and_then_the_agent_is_woken() {
    let place = place("");
    let reset = Timestamp::from_second(Timestamp::now().as_second() + 15).unwrap();
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
    let shown = place.run(&["status"]).stdout;
    assert!(shown.contains("\n  evidence: ") && shown.contains("usage limit reached"), "{shown}");
    // A margin and jitter of up to 70 s follow the reset.
    let end = Instant::now() + Duration::from_secs(180);
    while place.one("builder")["life"] == "limited" {
        assert!(Instant::now() < end, "it sleeps on: {}", place.one("builder"));
        std::thread::sleep(Duration::from_millis(200));
    }
    // It is idle for what its last hook told, and no longer shows the limit.
    let one = place.until("builder", |one| one["life"] == "idle");
    assert!(one["evidence"].as_str().unwrap().contains("\"Stop\""), "{one}");
    assert!(!place.run(&["status"]).stdout.contains("evidence:"), "{}", place.run(&["status"]).stdout);
    let events = place.events("loop-idle");
    let last = events.last().unwrap()["detail"].as_str().unwrap();
    assert!(last.contains("hook_event_name"), "{last}");
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
fn an_account_that_a_person_brought_back_is_noticed_and_an_old_end_of_a_turn_is_not() {
    let place = place("");
    // A day that is past would be tried at once.
    let day = Timestamp::now().checked_add(SignedDuration::from_hours(24 * 20)).unwrap().strftime("%b %-d");
    let limit = format!("!stub limit Weekly limit reached ∙ resets {day} at 5:15pm (America/New_York)");
    place.ok(&["loops", "nudge", "builder", &limit]);
    place.until("builder", |one| one["life"] == "limited");
    let send = |line: &str| {
        let socket = place.env.root().join("run/ccorch/hooks.sock");
        UnixDatagram::unbound().unwrap().send_to(format!("builder\n{line}").as_bytes(), socket).unwrap();
    };
    let hook = |event: &str, at: Timestamp| {
        send(&format!("{{\"hook_event_name\":\"{event}\",\"prompt_sha256\":\"x\",\"at\":\"{at}\"}}"));
    };
    let (now, heard) = (Timestamp::now(), || place.events("loop-working").len());
    let before = heard();
    hook("UserPromptSubmit", now);
    // Its screen shows the limit still, so that it may be taken for limited again at once.
    until("the words to be heard", || (heard() > before).then_some(()));
    hook("Stop", now.checked_sub(SignedDuration::from_secs(1)).unwrap());
    // What nobody understands is counted, in its turn.
    send("{");
    until("the hooks to be heard", || place.events("hooks-lost").first().map(drop));
    let one = place.one("builder");
    let waits = one["reason"].as_str().unwrap().contains("is used up and waits until 20");
    assert!(one["life"] == "limited" || one["life"] == "working" && waits, "{one}");
    assert_eq!(place.events("account-works").len(), 0);
    // Somebody attaches and types.
    for key in ["s", "o", "Enter"] {
        place.press("builder", key);
    }
    until("the account to be seen to work", || place.events("account-works").first().map(drop));
    let one = place.until("builder", |one| one["life"] == "idle");
    assert!(!one["reason"].as_str().unwrap().contains("used up"), "{one}");
    place.ok(&["loops", "nudge", "builder", "go on", "--timeout", "1m"]);
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

#[test]
fn an_agent_that_leaves_at_its_limit_did_not_crash_however_often() {
    let place = place("");
    for turn in 1..=6 {
        let reset = Timestamp::now().as_second() + 3600;
        let text = format!("!stub limit-exit Claude AI usage limit reached|{reset}");
        let pid = place.pid("builder");
        place.ok(&["loops", "nudge", "builder", &text, "--id", &format!("exit-{turn}")]);
        let one = place.until("builder", |one| one["life"] == "limited" && one["state"] != "running");
        assert_eq!(one["restarts"], 0, "the {turn}. time: {one}");
        assert_eq!(place.events("loop-ended").len(), turn, "{one}");
        place.ok(&["loops", "start", "builder"]);
        place.new_agent("builder", pid);
        place.until("builder", |one| one["life"] == "idle");
    }
    assert_eq!(place.events("loop-crash-looping").len(), 0);
}

/// Two loops have one login, a third has its own. The reset comes while no supervisor runs.
#[test]
fn one_login_is_tried_by_one_loop_behind_its_menu_and_the_other_follows() {
    let loops = "  builder: { agent: claude, workdir: build, prompt: builder.md }\n  \
                 critic: { agent: claude, workdir: build/critic, prompt: builder.md }\n  \
                 loner: { agent: claude, workdir: build/loner, prompt: builder.md, account: its own }\n";
    let place = Place::new().with_stub(loops);
    for folder in ["critic", "loner"] {
        place.env.write(place.workspace().join("build").join(folder).join("README"), "");
    }
    let mut place = place.active().supervised();
    for name in ["builder", "critic", "loner"] {
        place.until(name, |one| one["life"] == "idle");
    }
    let reset = Timestamp::now().as_second() + 20;
    let text = format!("!stub limit-menu Claude AI usage limit reached|{reset}");
    place.ok(&["loops", "nudge", "builder", &text]);
    for name in ["builder", "critic"] {
        let one = place.until(name, |one| one["life"] == "limited");
        assert!(one["evidence"].as_str().unwrap().contains("usage limit reached"), "{one}");
    }
    until("the menu to be closed", || place.events("menu-dismissed").first().map(drop));
    until("the input box", || (!place.screen("builder").contains("What do you want")).then_some(()));
    assert_eq!(place.events("account-limited").len(), 1);
    assert_eq!(place.one("loner")["life"], "idle");
    place.kill_supervisor();
    until("the reset", || (Timestamp::now().as_second() > reset).then_some(()));
    place.supervise();
    // A margin and jitter of up to 70 s follow the reset, and a minute's jitter the other loop's turn.
    let end = Instant::now() + Duration::from_secs(300);
    let asked = |workdir: &str, name: &str| {
        place.told(name, workdir).iter().any(|text| text.starts_with("The pause"))
    };
    while !(asked("build", "builder") && asked("build/critic", "critic")) {
        assert!(Instant::now() < end, "{} {}", place.one("builder"), place.one("critic"));
        std::thread::sleep(Duration::from_millis(200));
    }
    for (name, workdir) in [("builder", "build"), ("critic", "build/critic")] {
        place.until(name, |one| one["life"] == "idle");
        let told = place.told(name, workdir);
        assert_eq!(told.last().unwrap(), "The pause is over. Continue where you were.", "{told:?}");
        assert_eq!(told.iter().filter(|text| text.starts_with("The pause")).count(), 1, "{told:?}");
    }
    assert_eq!((place.events("account-probe").len(), place.events("account-works").len()), (1, 1));
    let loner = place.told("loner", "build/loner");
    assert!(!loner.iter().any(|text| text.starts_with("The pause")), "{loner:?}");
    assert!(
        place.events("loop-limited").iter().all(|event| event["loop"] != "loner"),
        "it has a login of its own"
    );
}

#[test]
fn a_turn_that_is_over_is_followed_by_the_word_to_go_on() {
    let place = place("continue_after: 2s");
    let told = until("the word to go on", || place.told("builder", "build").get(1).cloned());
    assert_eq!(told, "Continue with phase b (index 1): b.md.");
}

#[test]
fn what_is_not_received_is_given_up_aloud_after_three_tries() {
    let place = place("");
    // It takes the words and is deaf from then on.
    place.ok(&["loops", "nudge", "builder", "!stub hang"]);
    let ran = place.run(&["loops", "nudge", "builder", "are you there", "--id", "x", "--timeout", "5s"]);
    assert_eq!(ran.status, Some(10), "{}", ran.snapshot());
    let end = Instant::now() + Duration::from_secs(180);
    while place.events("nudge-given-up").is_empty() {
        assert!(Instant::now() < end, "{:?}", place.events("nudge-retried"));
        std::thread::sleep(Duration::from_millis(200));
    }
    let tries =
        place.events("nudge").iter().filter(|e| e["detail"].as_str().unwrap().starts_with("x, ")).count();
    assert_eq!(tries, 3);
    let told = place.events("notify");
    assert!(
        told.iter().any(|event| event["detail"].as_str().unwrap().contains("x was not received after 3")),
        "{told:?}"
    );
    assert_eq!(place.one("builder")["waiting"], serde_json::Value::Null);
}
