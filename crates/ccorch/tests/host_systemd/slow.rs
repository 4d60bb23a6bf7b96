//! A systemd that does not answer: agents end, the supervisor is asked and begins anew meanwhile.

use std::time::{Duration, Instant};

use crate::container::Container;

/// Far less than a call of systemd may take, and far more than an answer does on a loaded machine.
const PROMPT: Duration = Duration::from_secs(20);
const EVENTS: &str = "/var/lib/ccorch/events.jsonl";
/// Has the supervisor begin anew, as after a cutover.
const AGAIN: &str = r#"python3 -c '
import socket
control = socket.socket(socket.AF_UNIX)
control.connect("/run/ccorch/control.sock")
control.sendall(b"{\"ask\":\"again\"}\n")
control.recv(1)
'"#;

/// A login asks systemd too, so nothing is done by ssh while it does not answer.
pub fn no_answer(vm: &Container) {
    vm.until_well();
    let before = vm.agents(["one", "two", "three"]);
    let pid = || vm.tells("systemctl show --value -p MainPID ccorch-supervisor.service");
    let supervisor = pid();
    let ended = r#""what":"loop-ended","loop":"two""#;
    let ends = vm.tells(&format!("grep -c '{ended}' {EVENTS}")).parse::<usize>().unwrap();
    let frozen = vm.frozen();
    let began = Instant::now();
    vm.exec(&format!("kill -9 {}", before[1]));
    vm.first(&format!("test $(grep -c '{ended}' {EVENTS}) -gt {ends} && echo so"));
    said(vm, "loop-start-failed", "systemd does not answer");
    answers(vm);

    vm.exec(AGAIN);
    said(vm, "systemd-does-not-answer", "which loops run is not known");
    answers(vm);
    vm.first(&format!("grep -z supervise /proc/{supervisor}/cmdline"));
    // Nobody sees this one.
    vm.exec(&format!("kill -9 {}", before[0]));
    eprintln!("systemd did not answer for {:.1} s", began.elapsed().as_secs_f64());
    drop(frozen);

    vm.until_well();
    said(vm, "systemd-answers", "which loops run is known");
    assert_eq!(pid(), supervisor, "the supervisor is another process");
    let after = vm.agents(["one", "two", "three"]);
    assert_eq!(after[2], before[2], "the agent that nothing happened to is another process");
    assert!(after[0] != before[0] && after[1] != before[1]);
}

/// The supervisor says how the loops are, and soon.
fn answers(vm: &Container) {
    let began = Instant::now();
    vm.first("timeout 60 ccorch loops list");
    assert!(began.elapsed() < PROMPT, "an answer took {:?}", began.elapsed());
}

/// Waits until there is an event of a kind with these words.
fn said(vm: &Container, what: &str, words: &str) {
    vm.first(&format!("grep '\"what\":\"{what}\"' {EVENTS} | grep -F '{words}'"));
}
