//! A quiesce ends what works in the workspace beside the loops, or refuses by name what is not the rig's to end.

use std::process::{Child, Command, Stdio};

use crate::place::Place;

/// No account of the rig's.
const OTHER: &str = "64124";
const QUIESCE: [&str; 5] = ["quiesce", "--journal", "j1", "--turn", "1"];

/// A process in the workspace, in a session of its own: no unit and no loop knows it.
fn works(place: &Place, argv: &[&str]) -> Child {
    let mut command = Command::new("setsid");
    command.args(argv).current_dir(place.workspace());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn what_an_agent_left_is_ended_and_named() {
    let place = Place::new().active();
    let mut left = works(&place, &["sleep", "100001"]);
    let ran = place.run(&QUIESCE);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    let named = format!("pid {} ", left.id());
    assert!(ran.stderr.contains(&named) && ran.stderr.contains("sleep 100001"), "{}", ran.snapshot());
    assert!(!left.wait().unwrap().success(), "it was to be ended");
    let events = place.env.text(&place.state("events.jsonl"));
    assert!(events.contains("stray-ended") && events.contains(&named), "{events}");
}

#[test]
fn another_user_s_process_is_refused_by_name_and_its_shell_stays() {
    let place = Place::new().active();
    let as_other = ["setpriv", "--reuid", OTHER, "--clear-groups", "--"];
    let mut shell = works(&place, &[&as_other[..], &["sh", "-c", "read line"]].concat());
    let mut worker = works(&place, &[&as_other[..], &["sleep", "100003"]].concat());
    let refused = place.run(&QUIESCE);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(refused.status, Some(6), "{}", refused.snapshot());
    let named = format!("pid {} (user {OTHER}) sleep 100003", worker.id());
    assert!(refused.stderr.contains(&named), "{}", refused.snapshot());
    let ran = place.run(&QUIESCE);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    assert!(shell.try_wait().unwrap().is_none(), "a shell that only stands there is no work");
    shell.kill().unwrap();
    shell.wait().unwrap();
}
