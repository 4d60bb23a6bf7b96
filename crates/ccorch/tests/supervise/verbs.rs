//! The verbs that a person uses beside the supervisor, whole outputs; what differs from run to run (pids, times) is
//! first read from where it comes from, and then shown by its name.

use std::fs;

use serde_json::Value;

use crate::place::{Place, lives, signal, until};

/// An output with each pid and time shown by what it is; column widths, which follow from those, are left out.
fn shown(place: &Place, text: &str) -> String {
    let status = place.status();
    let mut text = text.to_owned();
    for one in status["loops"].as_array().unwrap() {
        let name = one["name"].as_str().unwrap();
        let since: jiff::Timestamp = one["since"].as_str().unwrap().parse().unwrap();
        text = text.replace(&since.strftime("%Y-%m-%d %H:%M:%SZ").to_string(), "SINCE");
        if let Some(pid) = one["pid"].as_u64() {
            text = text.replace(&format!(" {pid} "), &format!(" PID-OF-{name} "));
        }
    }
    text = text.replace(status["boot_id"].as_str().unwrap(), "BOOT-ID");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.map(|line| line + "\n").collect()
}

#[test]
fn status_and_list_say_the_same_to_people_and_to_scripts() {
    let place = Place::new().active().supervised();
    let status = place.at_work();
    insta::assert_snapshot!(shown(&place, &place.env.ccorch(&["status"])), @r"
    $ ccorch status
    --- stdout
    rig demo on here
    lease active, epoch 2
    phase b (index 1 of 2)
    supervisor answers
    proxy none
    reboots 0

    LOOP STATE PID RESTARTS SINCE WHY
    boss starting PID-OF-boss 0 SINCE started
    builder starting PID-OF-builder 0 SINCE started
    watch working PID-OF-watch 0 SINCE started

    all is well
    --- status 0
    ");
    insta::assert_snapshot!(shown(&place, &place.env.ccorch(&["loops", "list"])), @r"
    $ ccorch loops list
    --- stdout
    LOOP STATE PID RESTARTS SINCE WHY
    boss starting PID-OF-boss 0 SINCE started
    builder starting PID-OF-builder 0 SINCE started
    watch working PID-OF-watch 0 SINCE started
    --- status 0
    ");
    let list: Value = serde_json::from_str(&place.ok(&["loops", "list", "--json"])).unwrap();
    assert_eq!(list, status["loops"]);
    let keys: std::collections::BTreeSet<&str> =
        status.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["at", "boot_id", "degraded", "host", "lease", "loops", "phase", "reboots", "rig", "supervisor"]
            .into();
    assert_eq!(keys, expected, "what scripts read");
    assert_eq!(status["lease"], serde_json::json!({ "state": "active", "epoch": 2, "may_start": true }));
    let mut watch = status["loops"][2].clone();
    for key in ["since", "pid"] {
        watch[key].take();
    }
    let expected = serde_json::json!({
        "name": "watch", "role": "worker", "state": "running", "since": null, "pid": null, "restarts": 0,
        "reason": "started", "life": "working",
    });
    assert_eq!(watch, expected);
}

#[test]
fn a_stopped_loop_is_held_until_it_is_started() {
    let mut place = Place::new().active().supervised();
    place.at_work();
    let pid = place.pid("watch");
    insta::assert_snapshot!(shown(&place, &place.env.ccorch(&["loops", "stop", "watch"])), @r"
    $ ccorch loops stop watch
    --- stdout
    LOOP STATE PID RESTARTS SINCE WHY
    watch held - 0 SINCE held by `ccorch loops stop`
    --- status 0
    ");
    assert!(!lives(pid));
    place.ok(&["status"]);
    // A hold is a person's word: it outlives the supervisor.
    place.kill_supervisor();
    place.supervise();
    assert_eq!(place.one("watch")["state"], "held");
    insta::assert_snapshot!(shown(&place, &place.env.ccorch(&["loops", "start", "watch"])), @r"
    $ ccorch loops start watch
    --- stdout
    LOOP STATE PID RESTARTS SINCE WHY
    watch working PID-OF-watch 0 SINCE started
    --- status 0
    ");
    let second = place.pid("watch");
    place.ok(&["loops", "start", "watch"]);
    assert_eq!(place.pid("watch"), second, "a second start changes nothing");
}

#[test]
fn restarts_by_hand_are_prompt_and_start_exactly_one_agent_each() {
    let place = Place::new().active().supervised();
    place.at_work();
    let mut pid = place.pid("watch");
    for _ in 0..12 {
        place.ok(&["loops", "restart", "watch"]);
        let new = place.pid("watch");
        assert!(new != pid && !lives(pid));
        pid = new;
    }
    assert_eq!(place.one("watch")["restarts"], 0, "a restart by hand is no crash");
    let text = fs::read_to_string(place.state("events.jsonl")).unwrap();
    let of = |what: &str| {
        let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        parsed.filter(|event| event["loop"] == "watch" && event["what"] == what).count()
    };
    assert_eq!((of("loop-started"), of("loop-stopped"), of("loop-ended")), (13, 12, 0));
}

#[test]
fn logs_tell_what_happened_to_one_loop() {
    let place = Place::new().active().supervised();
    place.at_work();
    let pid = place.pid("watch");
    signal(pid, "KILL");
    place.new_agent("watch", pid);
    place.ok(&["loops", "stop", "watch"]);
    let logs = place.ok(&["loops", "logs", "watch"]);
    let lines: Vec<Vec<&str>> = logs.lines().map(|line| line.split_whitespace().collect()).collect();
    let what: Vec<String> = lines.iter().map(|words| words[1..].join(" ")).collect();
    let expected = [
        "loop-started it runs",
        "loop-ended ended by signal 9; starts again at once",
        "loop-started it runs",
        "loop-held held by `ccorch loops stop`",
        "loop-stopped as asked",
    ];
    let what: Vec<&str> =
        what.iter().map(|line| line.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end()).collect();
    assert_eq!(
        what.iter().copied().filter(|line| !line.starts_with('|') && !line.is_empty()).collect::<Vec<_>>(),
        expected,
        "{logs}"
    );
    assert_eq!(place.ok(&["loops", "logs", "watch", "-n", "1"]).lines().count(), 1);
}

#[test]
fn an_unknown_loop_is_refused_with_those_there_are() {
    let place = Place::new().active().supervised();
    insta::assert_snapshot!(place.env.ccorch(&["loops", "stop", "bilder"]), @r"
    $ ccorch loops stop bilder
    --- stderr
    error: no loop `bilder`; the loops are: boss, builder, watch
    --- status 1
    ");
    insta::assert_snapshot!(place.env.ccorch(&["loops", "logs", "bilder"]), @r"
    $ ccorch loops logs bilder
    --- stderr
    error: no loop `bilder`
    hint: the loops are: boss, builder, watch
    --- status 1
    ");
}

#[test]
fn without_a_supervisor_the_verbs_say_so_and_status_looks_for_itself() {
    let place = Place::new().active();
    insta::assert_snapshot!(place.env.ccorch(&["loops", "restart", "watch"]), @r"
    $ ccorch loops restart watch
    --- stderr
    error: the supervisor does not answer at $TEST/root/run/ccorch/control.sock: No such file or directory (os error 2)
    hint: see `systemctl status ccorch-supervisor`, and whether you are root
    --- status 1
    ");
    let status = place.run(&["status"]);
    assert_eq!(status.status, Some(1));
    assert!(status.stdout.ends_with(
        "\ndegraded:\n  - the supervisor does not answer\n  - loop boss is stopped: seen without the supervisor\n  \
         - loop builder is stopped: seen without the supervisor\n  - loop watch is stopped: seen without the supervisor\n"
    ), "{}", status.stdout);
}

#[test]
fn resume_waits_for_everything_and_prints_the_receipt_that_it_wrote() {
    let place = Place::new().active().supervised();
    let printed: Value = serde_json::from_str(&place.ok(&["resume", "--json", "--timeout", "1m"])).unwrap();
    let path = place.state("receipts").join(format!("{}.json", printed["boot_id"].as_str().unwrap()));
    let written: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(printed, written);
    assert_eq!(printed["complete"], true);
    assert_eq!(printed["reboot"], Value::Null, "the first boot is a baseline");
    let states = printed["loops"].as_array().unwrap().iter().map(|one| &one["state"]);
    assert!(states.clone().all(|state| state == "running"), "{states:?}");
    place.at_work();
    let text = shown(&place, &place.env.ccorch(&["resume"]));
    assert!(
        text.ends_with(
            "\nall is well\nreceipt: $TEST/root/var/lib/ccorch/receipts/BOOT-ID.json\n--- status 0\n"
        ),
        "{text}"
    );
}

#[test]
fn resume_without_a_supervisor_ends_at_its_deadline_and_names_what_is_missing() {
    let place = Place::new().active();
    let ran = place.run(&["resume", "--timeout", "1s"]);
    assert_eq!(ran.status, Some(10), "{}", ran.snapshot());
    assert_eq!(
        ran.stderr,
        "error: not everything came back on here within 1s\nhint: the list above says what is missing\n"
    );
    assert!(ran.stdout.contains("  - the supervisor does not answer\n"), "{}", ran.stdout);
    let entry = fs::read_dir(place.state("receipts")).unwrap().flatten().next().unwrap();
    let receipt: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
    assert_eq!(receipt["complete"], false);
}

#[test]
fn a_fenced_host_starts_nothing_until_the_lease_comes() {
    let place = Place::new().supervised();
    let status = place.status();
    let states: Vec<&Value> = status["loops"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["fenced", "fenced", "fenced"]);
    insta::assert_snapshot!(shown(&place, &place.env.ccorch(&["loops", "start", "watch"])), @r"
    $ ccorch loops start watch
    --- stderr
    error: loop watch does not run: no loop may start here: this host has never held the lease
    hint: `ccorch loops logs watch` tells more
    --- status 1
    ");
    insta::assert_snapshot!(place.env.ccorch(&["resume"]), @r"
    $ ccorch resume
    --- stdout
    standby: the loops of rig `demo` run on another host; nothing to resume here
    --- status 0
    ");
    assert!(!place.socket("watch").exists());
    // A standby that starts nothing is well.
    place.ok(&["status"]);
    let place = place.active();
    place.at_work();
    // A cutover takes them down; whatever a person starts by hand stays down too.
    let pids = ["boss", "builder", "watch"].map(|name| place.pid(name));
    place.ok(&["quiesce", "--journal", "j", "--turn", "1"]);
    assert!(!pids.iter().any(|pid| lives(*pid)));
    let ran = place.run(&["loops", "start", "builder"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
    assert!(ran.stderr.contains("cutover j keeps the loops down"), "{}", ran.stderr);
    until("every loop to be fenced", || {
        let status = place.status();
        status["loops"].as_array().unwrap().iter().all(|one| one["state"] == "fenced").then_some(())
    });
}
