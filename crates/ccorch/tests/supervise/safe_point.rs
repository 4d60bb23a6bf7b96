//! Before a cutover or anybody else stops agents that are at work, they hear of it and may come to a safe point; who does not in time is
//! stopped all the same.

use std::fs;
use std::time::{Duration, Instant};

use crate::place::{Place, signal, until};

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

/// In this order: its own exit, TERM, KILL. Who is in the middle of something cannot be told to end.
#[test]
fn an_agent_at_rest_ends_by_itself_and_one_at_work_by_a_signal() {
    let place = busy(600);
    quiesce(&place, "0s");
    let ended = |name: &str| place.ok(&["loops", "logs", name]);
    assert!(ended("tester").contains("exit status 0, as asked"), "{}", ended("tester"));
    assert!(ended("builder").contains("exit status 143, as asked"), "{}", ended("builder"));
}

/// Half a line of somebody's is no place to type into.
#[test]
fn an_agent_whose_input_line_is_not_empty_is_not_told_to_end() {
    let place = busy(1);
    place.until("builder", |one| one["life"] == "idle");
    let socket = place.socket("tester");
    let typed = std::process::Command::new("tmux")
        .arg("-S")
        .arg(&socket)
        .args(["send-keys", "-l", "half a line"])
        .status();
    assert!(typed.unwrap().success());
    quiesce(&place, "0s");
    let ended = place.ok(&["loops", "logs", "tester"]);
    assert!(ended.contains("exit status 143, as asked"), "{ended}");
    assert!(!place.told("tester", "build").iter().any(|text| text.contains("exit")));
}

#[test]
fn an_agent_that_stays_where_it_is_told_to_end_gets_a_signal() {
    let place = Place::new().with_stub(LOOPS);
    // It shows what is typed, and its Enter does nothing.
    let config = r#"{ "frozen": true }"#;
    place.env.write(place.env.home().join(".claude/stub.json"), config);
    let place = place.active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    let (out, log) = (place.env.root().join("stop.out"), place.env.root().join("stop.log"));
    let began = Instant::now();
    let mut stop = place.env.spawn(&["loops", "stop", "builder"], &out, &log);
    until("its own exit to be asked for", || place.screen("builder").contains("> /exit").then_some(()));
    assert!(stop.wait().unwrap().success(), "{}", place.env.text(&log));
    let exit = place.env.root().join("var/lib/ccorch-loops/builder/last-exit.json");
    let exit: serde_json::Value = serde_json::from_str(&fs::read_to_string(exit).unwrap()).unwrap();
    assert_eq!((&exit["asked"], &exit["code"]), (&true.into(), &143.into()), "{exit}");
    assert!(began.elapsed() >= Duration::from_secs(3), "it had no time: {:?}", began.elapsed());
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

#[test]
fn what_came_of_a_safe_point_is_told_also_where_nobody_supervises() {
    let mut place = busy_with(6, "stop_grace: 20s\n");
    place.ok(&["loops", "stop", "builder"]);
    place.ok(&["loops", "stop", "tester"]);
    let came = |place: &Place, name: &str| {
        until("what came of it", || {
            let events = place.events("loop-safe-point");
            let mine = events.iter().rfind(|event| event["loop"] == name);
            mine.map(|event| event["detail"].as_str().unwrap().to_owned())
        })
    };
    let told = came(&place, "builder");
    assert!(told.contains(": a person held it down; it came to a safe point within "), "{told}");
    let told = came(&place, "tester");
    assert!(told.ends_with("; it was not in a turn"), "{told}");
    let shown = place.ok(&["loops", "show", "builder"]);
    assert!(shown.contains("held it down; it came to a safe point within "), "{shown}");
    // One that is cut off, by its unit's own stop, after the supervisor has left.
    place = busy_with(600, "stop_grace: 3s\n");
    place.end_supervisor();
    // As systemd names it.
    place.env.put("MAINPID", "1");
    place.ok(&["loop-stop", "builder"]);
    assert!(place.events("loop-safe-point").is_empty());
    // What anybody else put there is none.
    let spool = place.env.root().join("var/lib/ccorch-loops/builder/stops");
    place.env.write(spool.join("1"), "{ \"why\": \"");
    place.supervise();
    let told = came(&place, "builder");
    assert!(told.contains(": its unit was stopped by hand; it was cut off in its turn after "), "{told}");
    until("the spool to be emptied", || (fs::read_dir(&spool).unwrap().count() == 0).then_some(()));
    assert_eq!(place.events("loop-safe-point").len(), 1);
}

/// systemd may never have known the main process of a unit, and names none at its stop then.
#[test]
fn a_stop_is_wished_where_systemd_knows_no_main_process() {
    let mut place = busy_with(600, "stop_grace: 3s\n");
    place.end_supervisor();
    place.ok(&["loop-stop", "builder"]);
    let why = |place: &Place, name: &str, what: &str| -> serde_json::Value {
        let file = place.env.root().join("var/lib/ccorch-loops").join(name).join(what);
        serde_json::from_str(&fs::read_to_string(file).unwrap_or_else(|_| "null".into())).unwrap()
    };
    assert_eq!(why(&place, "builder", "last-stop.json")["why"], "outside");
    assert!(why(&place, "builder", "last-stop.json")["safe_point"]["ran-out"].is_u64());
    assert_eq!(why(&place, "builder", "last-exit.json")["asked"], true);
    // Its terminal is gone by itself: what is left of it is nobody's wish.
    let running = fs::read_to_string(place.env.root().join("run/ccorch-loops/tester/agent.json")).unwrap();
    let pid = serde_json::from_str::<serde_json::Value>(&running).unwrap()["pid"].as_u64().unwrap();
    signal(pid, "STOP");
    let mut server = std::process::Command::new("tmux");
    server.arg("-S").arg(place.socket("tester")).args(["display-message", "-p", "#{pid}"]);
    let server = String::from_utf8(server.output().unwrap().stdout).unwrap();
    signal(server.trim().parse().unwrap(), "KILL");
    let (out, log) = (place.env.root().join("stop.out"), place.env.root().join("stop.log"));
    let mut stop = place.env.spawn(&["loop-stop", "tester"], &out, &log);
    until("its TERM", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap().trim();
        (u64::from_str_radix(pending, 16).unwrap() >> 14 & 1 == 1).then_some(())
    });
    signal(pid, "CONT");
    assert!(stop.wait().unwrap().success(), "{}", place.env.text(&log));
    assert_eq!(why(&place, "tester", "last-stop.json"), serde_json::Value::Null);
    assert_eq!(why(&place, "tester", "last-exit.json")["asked"], false);
}

#[test]
fn after_a_reboot_the_orchestrator_hears_who_was_cut_off() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    place.end_supervisor();
    // This machine's own boot is the one that is told.
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let booted: i64 = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse().unwrap();
    let ago = |seconds: i64| jiff::Timestamp::from_second(booted - seconds).unwrap();
    for (name, at, why, came) in [
        ("builder", ago(60), "shutdown", r#"{ "ran-out": 60000 }"#),
        ("watch", ago(60), "shutdown", r#"{ "reached": 4000 }"#),
        ("boss", ago(90_000), "shutdown", r#"{ "ran-out": 60000 }"#),
    ] {
        let stop =
            format!(r#"{{ "at": "{at}", "why": "{why}", "run": "{}", "safe_point": {came} }}"#, ago(100_000));
        let spool = place.env.root().join("var/lib/ccorch-loops").join(name);
        place.env.write(spool.join("last-stop.json"), stop);
    }
    let boot = format!(r#"{{ "boot_id": "before", "heartbeat": "{}", "shut_down": true }}"#, ago(70));
    place.env.write(place.state("boot.json"), boot);
    place.supervise();
    let state = until("the orchestrator's word", || {
        let state = fs::read_to_string(place.state("loops/boss.json")).ok()?;
        let state: serde_json::Value = serde_json::from_str(&state).ok()?;
        state["message"].as_str().map(ToOwned::to_owned)
    });
    let line = state.lines().find(|line| line.starts_with("Cut off in the middle of a turn")).unwrap();
    assert!(line.contains("builder (") && !line.contains("watch") && !line.contains("boss"), "{state}");
    assert!(state.starts_with("Reboot 1: "), "{state}");
}
