//! A supervisor that has not enough of what the kernel gives.

use serde_json::Value;

use crate::place::{Place, lives, signal, until};

/// Plain programs, more of them than the supervisor below has files to spare.
const LOOPS: usize = 24;

/// A host with all of them.
fn place() -> Place {
    let place = Place::new().rig(|rig| {
        let (head, rest) = rig.split_once("\nloops:\n").unwrap();
        let (_, hosts) = rest.split_once("hosts:\n").unwrap();
        let one = |n| format!("  l{n}: {{ agent: command, workdir: ., command: [sleep, \"100000\"] }}\n");
        let loops: String = (0..LOOPS).map(one).collect();
        format!("{}\nloops:\n{loops}hosts:\n{hosts}", head.replace("done_when: [builder]", ""))
    });
    place.env.link("prlimit");
    place.active()
}

#[test]
fn a_start_without_free_descriptors_is_no_crash() {
    let mut place = place();
    place.supervise_by(&["prlimit", "--nofile=28:28"]);
    until("it to be said", || place.said().contains("Too many open files").then_some(()));
    let started = || place.said().matches("loop-started: ").count();
    until("some to be up all the same", || (started() > 2).then_some(()));
    assert_eq!(place.said().matches("loop-ended: ").count(), 0, "{}", place.said());
    place.kill_supervisor();
    place.supervise();
    let status = place.at_work();
    assert!(status["loops"].as_array().unwrap().iter().all(|one| one["restarts"] == 0), "{status}");
    assert_eq!(place.events("loop-ended").len(), 0);
}

#[test]
fn without_free_descriptors_no_agent_counts_as_ended() {
    let mut place = place().supervised();
    let pids = |place: &Place| -> Vec<Value> {
        place.at_work()["loops"].as_array().unwrap().iter().map(|one| one["pid"].clone()).collect()
    };
    let before = pids(&place);
    assert_eq!(before.len(), LOOPS);
    place.kill_supervisor();
    let events = |place: &Place, what: &str| place.said().matches(what).count();
    place.supervise_by(&["prlimit", "--nofile=28:28"]);
    until("it to be said", || (events(&place, "loop-not-watched: ") > 3).then_some(()));
    assert_eq!(events(&place, "loop-ended: "), 0, "{}", place.said());
    // With room again every one of them is there.
    place.kill_supervisor();
    place.supervise();
    assert_eq!(pids(&place), before);
    assert_eq!(place.events("loop-ended").len(), 0);
    signal(before[0].as_u64().unwrap(), "KILL");
    until("its end to be seen", || place.events("loop-ended").first().map(drop));
}

#[test]
fn without_threads_no_start_no_stop_and_no_end_is_lost() {
    let mut place = Place::new();
    place.preload("threads");
    let most = place.env.root().with_file_name("threads");
    place.env.put("THREADS_MOST", most.display().to_string());
    // How often the main loop looks around.
    place.env.put("WATCHDOG_USEC", "2000000");
    let mut place = place.active().supervised();
    place.at_work();
    place.env.write(&most, "0");
    let (builder, pid) = (place.pid("builder"), place.pid("watch"));
    signal(pid, "KILL");
    let failed = until("the start to fail", || place.events("loop-start-failed").first().cloned());
    assert!(failed["detail"].as_str().unwrap().contains("no thread could be made"), "{failed}");
    let ran = place.run(&["loops", "stop", "builder"]);
    assert!(ran.status == Some(1) && ran.stderr.contains("no thread could be made"), "{}", ran.snapshot());
    std::fs::remove_file(&most).unwrap();
    place.new_agent("watch", pid);
    until("the one that was to be stopped to end", || (!lives(builder)).then_some(()));
    assert_eq!(place.one("builder")["state"], "held");
    // One that is adopted: hooks, phase index and what runs are asked for by threads of their own.
    place.kill_supervisor();
    place.env.write(&most, "3");
    place.supervise();
    until("it to be said", || (place.events("loop-not-watched").len() == 2).then_some(()));
    std::fs::remove_file(&most).unwrap();
    let pid = place.pid("watch");
    signal(pid, "KILL");
    place.new_agent("watch", pid);
    assert_eq!(place.events("loop-not-watched").len(), 2, "said once");
}

/// Not even for a request or for the output of a program: whoever asks is told, and nothing of it outlasts the want.
#[test]
fn a_supervisor_that_gets_no_thread_at_all_goes_on_when_it_does_again() {
    let mut place = Place::new();
    place.preload("threads");
    let none = place.env.root().with_file_name("none");
    place.env.put("THREADS_NONE", none.display().to_string());
    place.env.put("WATCHDOG_USEC", "2000000");
    let place = place.active().supervised();
    place.at_work();
    let (supervisor, pid) = (place.supervisor(), place.pid("watch"));
    place.env.write(&none, "");
    signal(pid, "KILL");
    let ran = place.run(&["loops", "list"]);
    assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    until("the start to fail", || place.events("loop-start-failed").first().cloned());
    std::fs::remove_file(&none).unwrap();
    place.new_agent("watch", pid);
    assert_eq!(place.supervisor(), supervisor);
    assert!(!place.said().contains("panicked"), "{}", place.said());
}

#[test]
fn a_start_that_takes_long_is_said_once_and_keeps_nobody_waiting() {
    let mut place = Place::new().active();
    // How often the main loop looks around.
    place.env.put("WATCHDOG_USEC", "2000000");
    let slow = r#"#!/bin/sh
case "$*" in *"loop-exec builder"*) sleep 35 ;; esac
exec TMUX "$@"
"#;
    let path = std::env::var_os("PATH").unwrap();
    let tmux = std::env::split_paths(&path).map(|dir| dir.join("tmux")).find(|path| path.is_file()).unwrap();
    place.env.without("tmux").script("tmux", &slow.replace("TMUX", &tmux.display().to_string()));
    place.supervise();
    place.until("watch", |one| one["state"] == "running");
    until("it to be said", || place.events("loop-start-slow").first().map(drop));
    assert_eq!(place.one("builder")["state"], "starting");
    place.until("builder", |one| one["state"] == "running");
    let said = place.events("loop-start-slow");
    assert_eq!((said.len(), &said[0]["loop"]), (1, &"builder".into()), "{said:?}");
}
