//! The command line without a terminal: sessions, login, messages, hooks, signals, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests, helpers too

mod common;

use std::fs;
use std::process::Output;
use std::time::{Duration, SystemTime};

use common::{Bed, Running, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

const ID: &str = "0c8b9d7e-1111-4222-8333-444455556666";

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Settings whose hooks append their input to a file, one JSON object a line.
fn recording_settings(bed: &Bed) -> String {
    let log = bed.path("hooks.jsonl");
    let command = format!("cat >> {0}; echo >> {0}", log.display());
    let group = json!([{"matcher": "", "hooks": [{"type": "command", "command": command}]}]);
    let events = ["SessionStart", "UserPromptSubmit", "Stop", "StopFailure", "Notification", "SessionEnd"];
    let hooks: serde_json::Map<String, Value> =
        events.iter().map(|event| ((*event).to_owned(), group.clone())).collect();
    json!({"hooks": hooks}).to_string()
}

fn hook_calls(bed: &Bed) -> Vec<Value> {
    let text = fs::read_to_string(bed.path("hooks.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn hook_names(bed: &Bed) -> Vec<String> {
    let calls = hook_calls(bed);
    calls.iter().map(|call| call["hook_event_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_session_id_is_used_once_and_resumed_after_that() {
    let bed = Bed::new();
    bed.configure(json!({"work": false}));
    let first = bed.run("builder", &["--session-id", ID], "hello\n");
    assert_eq!(code(&first), 0, "{}", errors(&first));
    let again = bed.run("builder", &["--session-id", ID], "hello\n");
    assert_eq!(code(&again), 1);
    assert!(errors(&again).contains(&format!("Session ID {ID} is already in use.")));
    assert_eq!(code(&bed.run("builder", &["--resume", ID], "two\n")), 0);
    assert_eq!(code(&bed.run("builder", &["--continue", "a prompt"], "three\n")), 0);
    assert_eq!(bed.user_messages("builder"), ["hello", "two", "a prompt", "three"]);
    let file = &bed.transcripts("builder")[0];
    assert_eq!(file.file_name().unwrap().to_str().unwrap(), format!("{ID}.jsonl"));
}

#[test]
fn nothing_to_go_on_with_is_an_error() {
    let bed = Bed::new();
    let none = bed.run("builder", &["--continue"], "");
    assert_eq!((code(&none), errors(&none).trim()), (1, "error: No conversation found to continue"));
    let unknown = bed.run("builder", &["--resume", ID], "");
    assert_eq!(code(&unknown), 1);
    assert!(errors(&unknown).contains(ID));
    let invalid = bed.run("builder", &["--session-id", "x"], "");
    assert!(errors(&invalid).contains("Must be a valid UUID"));
    assert!(bed.transcripts("builder").is_empty());
}

#[test]
fn continue_takes_the_newest() {
    let bed = Bed::new();
    bed.configure(json!({"work": false}));
    bed.run("builder", &["old"], "");
    let old = bed.transcripts("builder").pop().unwrap();
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().append(true).open(&old).unwrap().set_modified(an_hour_ago).unwrap();
    bed.run("builder", &["new"], "");
    bed.run("builder", &["-c"], "go on\n");
    let files = bed.transcripts("builder");
    let new = files.iter().find(|file| **file != old).unwrap();
    let text = fs::read_to_string(new).unwrap();
    assert!(text.contains("\"new\"") && text.contains("\"go on\""), "{text}");
}

#[test]
fn login_and_version_are_told() {
    let bed = Bed::new();
    let out = bed.run("builder", &["auth", "status"], "");
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((code(&out), &answer["loggedIn"]), (1, &json!(false)));
    fs::write(bed.home().join(".claude/.credentials.json"), "{}").unwrap();
    let out = bed.run("builder", &["auth", "status"], "");
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((code(&out), &answer["loggedIn"]), (0, &json!(true)));
    let out = bed.run("builder", &["--version"], "");
    assert!(String::from_utf8_lossy(&out.stdout).contains("2.1.197"), "{out:?}");
}

#[test]
fn hooks_tell_a_conversation_from_start_to_end() {
    let bed = Bed::new();
    bed.configure(json!({"work": false}));
    let settings = recording_settings(&bed);
    let file = bed.path("settings.json");
    fs::write(&file, &settings).unwrap();
    let args = ["--session-id", ID, "--settings", file.to_str().unwrap(), "begin"];
    bed.run("builder", &args, "!stub limit 5-hour limit reached ∙ resets 5am\n/exit\n");
    let calls = hook_calls(&bed);
    assert_eq!(calls[0]["source"], "startup");
    assert_eq!(calls[0]["session_id"], ID);
    assert_eq!(calls[0]["cwd"], json!(bed.path("builder")));
    assert_eq!(calls[0]["transcript_path"], json!(bed.transcripts("builder")[0]));
    fs::remove_file(bed.path("hooks.jsonl")).unwrap();
    bed.run("builder", &["--resume", ID, "--settings", &settings], "one  \n!stub login\n");
    let all = [
        "SessionStart",
        "UserPromptSubmit",
        "Stop",
        "UserPromptSubmit",
        "StopFailure",
        "Notification",
        "SessionEnd",
    ];
    assert_eq!(hook_names(&bed), all);
    let calls = hook_calls(&bed);
    assert_eq!(calls[0]["source"], "resume");
    assert_eq!(calls[1]["prompt"], "one  ");
    assert_eq!(calls[4]["error"], "authentication_failed");
    assert_eq!(calls[6]["reason"], "prompt_input_exit");
}

#[test]
fn it_ends_as_it_is_told() {
    let bed = Bed::new();
    bed.configure(json!({"work": false}));
    for (line, expected) in [("!stub exit 7", 7), ("!stub crash code 3", 3), ("/exit", 0)] {
        assert_eq!(code(&bed.run("builder", &[line], "")), expected, "{line}");
    }
    use std::os::unix::process::ExitStatusExt;
    for (line, signal) in [("!stub crash", 9), ("!stub crash SEGV", 11), ("!stub crash TERM", 15)] {
        let output = bed.run("builder", &[line], "");
        assert_eq!(output.status.signal(), Some(signal), "{line}");
    }
}

#[test]
fn a_signal_ends_it_at_a_safe_point() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let bed = Bed::new();
        let mut command = bed.stub("builder");
        command.args(["--settings", &recording_settings(&bed)]);
        let mut stub = Running::start(command);
        bed.wait_for_done("builder", 2);
        stub.signal(signal);
        assert_eq!(stub.code(), Some(expected));
        let records = bed.records("builder");
        assert_eq!(records.last().unwrap()["state"], "done", "no unit is left half done");
        assert_eq!(hook_names(&bed).last().unwrap(), "SessionEnd");
        bed.assert_whole("builder", "builder");
    }
}

#[test]
fn an_interrupt_pauses_a_message_wakes_and_two_interrupts_end() {
    use std::io::Write;
    let bed = Bed::new();
    let output = bed.path("output");
    let mut stub = Running::start_into(bed.stub("builder"), &output);
    bed.wait_for_done("builder", 2);
    stub.signal(Signal::INT);
    // A signal and a line on the input come by ways of their own: the line waits until the signal was heard.
    let said = || std::fs::read_to_string(&output).unwrap();
    wait_until("the interrupt", || said().contains("Interrupted by user"));
    let mut input = stub.0.stdin.take().unwrap();
    writeln!(input, "!stub say still here").unwrap();
    let spoke = || bed.records("builder").iter().any(|record| record.to_string().contains("still here\"}"));
    wait_until("the answer", spoke);
    let paused_at = bed.done("builder");
    writeln!(input, "go on").unwrap();
    bed.wait_for_done("builder", paused_at + 3);
    stub.signal(Signal::INT);
    stub.signal(Signal::INT);
    // Signals of one kind may be merged into one: then the first has been handled by now.
    wait_until("its end", || {
        stub.0.try_wait().unwrap().is_some_and(|status| {
            assert_eq!(status.code(), Some(130));
            true
        }) || {
            let pid = rustix::process::Pid::from_child(&stub.0);
            let _ = rustix::process::kill_process(pid, Signal::INT);
            false
        }
    });
}

#[test]
fn a_hung_agent_does_nothing_and_only_kill_ends_it() {
    use std::io::Write;
    let bed = Bed::new();
    let mut stub = Running::start(bed.stub("builder"));
    bed.wait_for_done("builder", 1);
    let mut input = stub.0.stdin.take().unwrap();
    writeln!(input, "!stub hang").unwrap();
    wait_until("the hang", || bed.user_messages("builder").len() == 1);
    stub.signal(Signal::TERM);
    writeln!(input, "are you there?").unwrap();
    // Far longer than anything of it takes when it is well.
    let window = std::time::Instant::now() + std::time::Duration::from_secs(3);
    let settled = std::cell::Cell::new(None);
    wait_until("three seconds of silence", || {
        assert!(stub.0.try_wait().unwrap().is_none(), "SIGTERM ended it");
        assert_eq!(bed.user_messages("builder"), ["!stub hang"]);
        let now = std::time::Instant::now();
        if now + std::time::Duration::from_secs(1) > window {
            // The unit that was on its way may have ended; nothing came after it.
            let done = bed.done("builder");
            assert_eq!(settled.replace(Some(done)).unwrap_or(done), done);
        }
        now > window
    });
    stub.kill();
}

#[test]
fn work_stops_and_goes_on_with_its_configuration() {
    let bed = Bed::new();
    let _stub = Running::start(bed.stub("builder"));
    bed.wait_for_done("builder", 2);
    bed.configure(json!({"work": false, "interval_ms": 10}));
    let head = || common::git(&bed.path("remote.git"), &["rev-parse", "main"]);
    let mut last = String::new();
    let mut same = 0;
    wait_until("standstill", || {
        let now = head();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same > 50
    });
    let stopped_at = bed.done("builder");
    bed.configure(json!({"work": true, "interval_ms": 10, "label": "other"}));
    bed.wait_for_done("builder", stopped_at + 2);
    let (_, report) = bed.verify("remote.git", "other");
    assert_eq!(report["first"], stopped_at + 1, "the number is the session's, not the label's");
}
