//! Real programs: their output, their end, and what of them is told.

use super::*;

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

#[test]
fn who_writes_without_end_is_ended_and_told() {
    let error = Command::new("yes").most(1 << 20).output().unwrap_err();
    assert_eq!(error.to_string(), "`yes`: wrote more than 1048576 bytes");
    assert_eq!(sh("printf 1234").most(4).run().unwrap().stdout, b"1234");
}

#[test]
fn what_is_private_is_in_no_error() {
    let told = |command: Command| command.run().unwrap_err().to_string();
    assert!(told(sh("echo token; exit 3")).contains("| token"));
    let private = told(sh("echo token; exit 3").shown_as("look").private());
    assert_eq!(private, "`look`: exit status 3");
    let private = told(sh("echo token; echo why >&2; exit 3").shown_as("look").private());
    assert_eq!(private, "`look`: exit status 3\n    | why");
}

#[test]
fn output_and_input_come_through_whole() {
    let big = vec![b'x'; 1 << 20];
    let output = Command::new("cat").input(big.clone()).run().unwrap();
    assert_eq!(output.stdout, big);
}

#[test]
fn an_error_names_command_status_and_tail() {
    let error = sh("seq 100 >&2; exit 3").on_host("vm").run().unwrap_err();
    assert_eq!(error.failure, Failure::Exit(3));
    let text = error.to_string();
    assert!(text.starts_with("on vm: `sh -c 'seq 100 >&2; exit 3'`: exit status 3"), "{text}");
    assert!(text.ends_with("    | 99\n    | 100") && !text.contains("| 80\n"), "{text}");
}

#[test]
fn a_deadline_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = format!("sleep 100 & echo $! > {}; wait", pid_file.display());
    let error = sh(&script).deadline(Duration::from_secs(1)).run().unwrap_err();
    assert_eq!(error.failure, Failure::Deadline(Duration::from_secs(1)));
    let pid = std::fs::read_to_string(pid_file).unwrap();
    // A signal is sent at once and works a moment later.
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let until = Instant::now() + Duration::from_secs(10);
    while lives() {
        assert!(Instant::now() < until, "the grandchild lives");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_daemon_that_keeps_the_pipe_does_not_hold_the_caller() {
    let started = Instant::now();
    let output = sh("sleep 20 & echo done").run().unwrap();
    assert_eq!(output.text(), "done");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_missing_program_and_a_missing_directory_differ() {
    let missing = Command::new("ccorch-no-such-program").run().unwrap_err();
    assert_eq!(missing.failure, Failure::NotFound);
    let nowhere = Command::new("true").cwd("/no/such/dir").run().unwrap_err();
    assert!(nowhere.to_string().contains("working directory /no/such/dir does not exist"), "{nowhere}");
}

#[test]
fn a_secret_is_in_no_message() {
    let error = sh("echo token-123 >&2; exit 1").redact("token-123").run().unwrap_err();
    assert!(!error.to_string().contains("token-123"), "{error}");
}
