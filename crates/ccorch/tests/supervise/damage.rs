//! State files that are damaged or unreadable: one clear error that names the file, never a panic, nothing lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::place::{Place, lives, signal, until};

/// The name under which a damaged file is kept.
fn kept(place: &Place, folder: &str, file: &str) -> Option<std::path::PathBuf> {
    let prefix = format!("{file}.damaged-");
    let entries = fs::read_dir(place.state(folder)).unwrap().flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix))
}

#[test]
fn damaged_state_is_put_aside_and_said_and_the_agents_are_adopted_all_the_same() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let before = ["boss", "builder", "watch"].map(|name| place.pid(name));
    place.kill_supervisor();
    let files = [(".", "boot.json"), (".", "fleet.json"), ("loops", "watch.json")];
    for (folder, file) in files {
        place.env.write(place.state(folder).join(file), "{ \"restarts\": ");
    }
    place.supervise();
    place.at_work();
    assert_eq!(["boss", "builder", "watch"].map(|name| place.pid(name)), before);
    for (folder, file) in files {
        let aside = kept(&place, folder, file).unwrap_or_else(|| panic!("{file} is not kept"));
        assert_eq!(fs::read_to_string(aside).unwrap(), "{ \"restarts\": ");
        let said = place.said();
        assert!(said.contains(&format!("{file} is damaged: ")) && said.contains("kept as "), "{said}");
    }
    // The next one finds everything in order.
    place.kill_supervisor();
    place.supervise();
    place.at_work();
    let events = fs::read_to_string(place.state("events.jsonl")).unwrap();
    assert_eq!(events.matches("state-damaged").count(), files.len());
}

#[test]
fn a_damaged_state_is_rebuilt_from_the_agent_and_the_events() {
    let loops = "  builder: { agent: claude, workdir: build, prompt: builder.md }\n  \
                 held: { agent: command, workdir: ., command: [sleep, \"100000\"] }\n  \
                 loop: { agent: command, workdir: ., command: [\"false\"] }\n";
    let place = Place::new().with_stub(loops);
    place.env.link("false");
    let mut place = place.active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    place.ok(&["loops", "stop", "held"]);
    place.until("loop", |one| one["state"] == "crash-looping");
    let (pid, session) = (place.pid("builder"), place.one("builder")["session"].clone());
    // A conversation by hand in the same folder, newer than the agent's own.
    let own = place.transcript_file("builder", "build");
    place.kill_supervisor();
    let other = own.with_file_name("11111111-2222-4333-8444-555555555555.jsonl");
    place.env.write(&other, "{\"type\":\"user\"}\n");
    for name in ["builder", "held", "loop"] {
        for n in 0..8 {
            place.env.write(place.state(&format!("loops/{name}.json.damaged-{n}")), "{");
        }
        place.env.write(place.state(&format!("loops/{name}.json")), "{ \"desired\": ");
    }
    place.supervise();
    let one = place.until("builder", |one| one["life"] == "idle");
    assert_eq!((one["pid"].as_u64(), &one["session"]), (Some(pid), &session));
    assert_eq!(place.one("held")["state"], "held");
    let one = place.one("loop");
    assert_eq!(one["state"], "crash-looping", "{one}");
    assert!(one["reason"].as_str().unwrap().starts_with("crash loop: 5 ends"), "{one}");
    let said: Vec<_> = place.events("state-damaged").iter().map(|e| e["detail"].to_string()).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("by its agent") && said[1].contains("rebuilt: held since"), "{said:?}");
    let kept = fs::read_dir(place.state("loops")).unwrap().flatten();
    assert_eq!(kept.filter(|e| e.file_name().to_string_lossy().contains(".damaged-")).count(), 15);
    // What a person says next counts.
    place.ok(&["loops", "start", "held"]);
    place.pid("held");
}

#[test]
fn a_state_folder_that_takes_nothing_stops_no_loop() {
    let place = Place::new().active().supervised();
    place.at_work();
    let pid = place.pid("watch");
    // Even root cannot put a file in the place of a folder that is not empty.
    let file = place.state("fleet.json");
    fs::remove_file(&file).unwrap();
    place.env.write(file.join("in-the-way"), "");
    place.ok(&["phase", "set", "0"]);
    until("the supervisor to say so", || {
        place.said().contains("state is not kept, and loops go on").then_some(())
    });
    signal(pid, "KILL");
    place.new_agent("watch", pid);
    fs::remove_dir_all(&file).unwrap();
    until("the state to be kept again", || place.said().contains("state-kept-again").then_some(()));
    until("what the disk had not taken", || file.is_file().then_some(()));
}

#[test]
fn a_damaged_lease_starts_nothing_and_every_verb_says_why() {
    let place = Place::new().active();
    place.env.write(place.state("lease.json"), "\0\0\0");
    for verb in [&["status"][..], &["lease", "check"], &["lease", "show"], &["lease", "tick"], &["resume"]] {
        let ran = place.run(verb);
        assert_eq!(ran.status, Some(7), "{}", ran.snapshot());
        assert!(
            ran.stderr.starts_with("error: $TEST/root/var/lib/ccorch/lease.json is damaged: "),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    }
    // The supervisor stays: it has to see the lease come back.
    let place = place.supervised();
    assert_eq!(place.run(&["loops", "start", "watch"]).status, Some(1));
    assert!(!place.socket("watch").exists());
    assert!(place.ok(&["loops", "list"]).contains("lease.json is damaged"));
}

#[test]
fn a_lease_damaged_while_loops_run_stops_no_running_loop() {
    let place = Place::new().active().supervised();
    place.at_work();
    let (pid, killed) = (place.pid("builder"), place.pid("watch"));
    place.env.write(place.state("lease.json"), "{");
    signal(killed, "KILL");
    let one = until("the killed loop to be fenced", || {
        let list: serde_json::Value = serde_json::from_str(&place.ok(&["loops", "list", "--json"])).unwrap();
        let one = list.as_array().unwrap().iter().find(|one| one["name"] == "watch").unwrap().clone();
        (one["state"] == "fenced").then_some(one)
    });
    assert!(one["reason"].as_str().unwrap().contains("lease.json is damaged"), "{one}");
    assert!(lives(pid));
}

#[test]
fn damaged_lines_of_the_logs_cost_no_other_line() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    place.end_supervisor();
    let events = fs::read(place.state("events.jsonl")).unwrap();
    fs::write(place.state("events.jsonl"), [&events[..], b"\xff\xfe{\"at\": torn"].concat()).unwrap();
    let reboot = r#"{"number":1,"booted_at":"2020-01-01T00:01:00Z","last_alive":"2020-01-01T00:00:00Z","downtime_ms":60000,"clean":true,"boot_id":"one"}"#;
    fs::write(place.state("reboots.jsonl"), [reboot.as_bytes(), b"\n\xff\xff torn"].concat()).unwrap();
    assert!(place.ok(&["loops", "logs", "watch"]).contains("loop-started"));
    insta::assert_snapshot!(place.env.ccorch(&["reboots"]), @r"
    $ ccorch reboots
    --- stdout
    NO  BOOTED                LAST ALIVE            AWAY  SHUTDOWN
    1   2020-01-01 00:01:00Z  2020-01-01 00:00:00Z  1m    clean
    --- stderr
    warning: 1 line of the reboot log $TEST/root/var/lib/ccorch/reboots.jsonl is damaged and passed over; the supervisor puts such a log aside when it starts
    --- status 0
    ");
    place.supervise();
    assert_eq!(place.status()["reboots"], 1);
    assert!(place.ok(&["loops", "logs", "watch"]).contains("loop-adopted"), "the next line is whole again");
}

#[test]
fn logs_that_cannot_be_read_are_an_error_and_not_an_empty_log() {
    let place = Place::new().active();
    for (file, verb) in [("reboots.jsonl", &["reboots"][..]), ("events.jsonl", &["loops", "logs", "watch"])] {
        // What a test that runs as root can do to a file so that nobody can read it.
        let _ = fs::remove_file(place.state(file));
        fs::create_dir(place.state(file)).unwrap();
        let ran = place.run(verb);
        assert_eq!(ran.status, Some(7), "{}", ran.snapshot());
        let said = format!("error: $TEST/root/var/lib/ccorch/{file} is damaged: it is no plain file\nhint: ");
        assert!(ran.stderr.starts_with(&said), "{}", ran.stderr);
    }
}

#[test]
fn a_phase_file_without_an_index_is_said_and_stops_nothing() {
    let place = Place::new().active();
    place.env.write(place.workspace().join("phase"), "two\n");
    let place = place.supervised();
    let status = place.at_work();
    assert_eq!(status["phase"], serde_json::Value::Null);
    let degraded = status["degraded"].as_array().unwrap();
    assert_eq!(degraded.len(), 1, "{degraded:?}");
    let said = degraded[0].as_str().unwrap();
    assert!(
        said.starts_with("the phase file ")
            && said.ends_with("/srv/w/phase holds no index; write one with `ccorch phase set`"),
        "{said}"
    );
    // Past the last phase all work is done, which is no fault.
    place.env.write(place.workspace().join("phase"), "2\n");
    assert_eq!(place.status()["degraded"], serde_json::json!([]));
}

#[test]
fn a_control_socket_that_a_killed_supervisor_left_is_replaced() {
    let mut place = Place::new().active().supervised();
    place.kill_supervisor();
    assert!(place.control().exists());
    assert_eq!(place.run(&["loops", "list"]).status, Some(1));
    place.supervise();
    place.ok(&["loops", "list"]);
    assert_eq!(fs::metadata(place.control()).unwrap().permissions().mode() & 0o777, 0o600);
}
