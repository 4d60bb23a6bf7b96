//! The stub in a real tmux: prompt, pastes, dialog, messages, and the terminal as it was before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests, helpers too

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Bed, STUB, wait_until};
use serde_json::json;

/// A tmux server of its own with one window, in which a shell runs the stub and then says so.
struct Tmux<'a> {
    bed: &'a Bed,
    socket: PathBuf,
}

impl Tmux<'_> {
    fn start<'a>(bed: &'a Bed, args: &str) -> Tmux<'a> {
        let tmux = Tmux { bed, socket: bed.path("tmux.sock") };
        let script =
            format!("stty -a > before; {STUB} {args}; echo ended with $?; stty -a > after; exec cat");
        let cwd = bed.path("builder");
        tmux.run(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "30",
            "-c",
            cwd.to_str().unwrap(),
            &script,
        ]);
        tmux
    }

    fn run(&self, args: &[&str]) -> String {
        let done = self.command().args(args).output().unwrap();
        assert!(done.status.success(), "tmux {args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(&self.socket)
            .env("HOME", self.bed.home())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .env_remove("CLAUDE_CONFIG_DIR")
            .env_remove("AGENT_STUB_CONFIG");
        command
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p", "-S", "-"])
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} on the screen"), || self.screen().contains(text));
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn type_line(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    /// A bracketed paste as tmux makes it.
    fn paste(&self, text: &str, options: &[&str]) {
        let mut child = self.command().args(["load-buffer", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        self.run(&[&["paste-buffer", "-p"], options].concat());
    }

    /// The rows from the last top of the input box on.
    fn live_part(&self) -> String {
        let screen = self.screen();
        let top = screen.rfind('╭').unwrap_or_default();
        screen[top..].to_owned()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        // A new server on the socket of one that is still ending would end with it.
        let pid = self.command().args(["display-message", "-p", "#{pid}"]).output().unwrap();
        let pid = String::from_utf8_lossy(&pid.stdout).trim().to_owned();
        let _ = self.command().arg("kill-server").output();
        let process = format!("/proc/{pid}/stat");
        wait_until("the end of the tmux server", || {
            pid.is_empty() || fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "))
        });
    }
}

fn idle() -> Bed {
    let bed = Bed::new();
    bed.configure(json!({"work": false}));
    bed
}

#[test]
fn typed_lines_are_answered_and_the_terminal_is_left_as_it_was() {
    let bed = idle();
    let tmux = Tmux::start(&bed, "-n nestor");
    tmux.wait_for("│ >");
    tmux.wait_for("nestor · session");
    tmux.type_line("hé · quoted: 5-hour limit reached ∙ resets 5am");
    tmux.wait_for("● Understood (");
    assert_eq!(bed.user_messages("builder"), ["hé · quoted: 5-hour limit reached ∙ resets 5am"]);
    tmux.type_line("/exit");
    tmux.wait_for("ended with 0");
    wait_until("the mode after", || {
        fs::read(bed.path("builder/after")).is_ok_and(|mode| mode.ends_with(b"\n"))
    });
    let mode = |name: &str| fs::read_to_string(bed.path("builder").join(name)).unwrap();
    assert_eq!(mode("before"), mode("after"));
    assert!(!tmux.screen().contains("│ >"), "{}", tmux.screen());
}

#[test]
fn a_paste_is_submitted_by_a_following_enter_and_only_by_that() {
    let bed = idle();
    let tmux = Tmux::start(&bed, "");
    tmux.wait_for("│ >");
    let text = "first line\n\n  third · ∙ \"quoted\" \\ $HOME `x`\tend\n/exit\n!stub crash\nlast";
    tmux.paste(text, &[]);
    tmux.wait_for("[Pasted text #1 +5 lines]");
    assert!(bed.user_messages("builder").is_empty());
    tmux.keys(&["Enter"]);
    wait_until("the message", || !bed.user_messages("builder").is_empty());
    // Line breaks as they are (-r) give the same message.
    tmux.paste(text, &["-r"]);
    tmux.wait_for("[Pasted text #2 +5 lines]");
    tmux.keys(&["Enter"]);
    wait_until("the second message", || bed.user_messages("builder").len() == 2);
    assert_eq!(bed.user_messages("builder"), [text, text]);
    wait_until("an empty box", || !tmux.live_part().contains("Pasted"));
}

#[test]
fn a_very_long_paste_comes_through_whole() {
    let bed = idle();
    let tmux = Tmux::start(&bed, "");
    tmux.wait_for("│ >");
    let text: String = (0..3000).map(|n| format!("line {n} of a long prompt ∙\n")).collect();
    tmux.paste(&text, &[]);
    tmux.wait_for("[Pasted text #1 +3000 lines]");
    tmux.keys(&["Enter"]);
    wait_until("the message", || bed.user_messages("builder") == [text.as_str()]);
}

#[test]
fn an_enter_too_soon_after_a_paste_stays_in_the_draft() {
    let bed = idle();
    bed.configure(json!({"work": false, "paste_settle_ms": 600_000}));
    let tmux = Tmux::start(&bed, "");
    tmux.wait_for("│ >");
    tmux.paste("a nudge", &[]);
    tmux.keys(&["Enter"]);
    wait_until("a draft of two rows", || {
        tmux.live_part().lines().count() >= 4 && tmux.live_part().contains("> a nudge")
    });
    assert!(bed.user_messages("builder").is_empty());
    tmux.keys(&["Enter"]);
    wait_until("the message", || bed.user_messages("builder") == ["a nudge\n"]);
}

#[test]
fn it_works_while_its_spinner_turns_and_stops_at_a_limit() {
    let bed = Bed::new();
    bed.configure(json!({"interval_ms": 50}));
    let tmux = Tmux::start(&bed, "");
    bed.wait_for_done("builder", 3);
    tmux.wait_for("● builder: work 3");
    let spinner = |tmux: &Tmux| {
        let screen = tmux.screen();
        let row = screen.lines().rev().find(|row| row.contains("Working…")).map(|row| row.chars().next());
        row.flatten()
    };
    let first = spinner(&tmux);
    wait_until("another spinner", || spinner(&tmux).is_some_and(|now| Some(now) != first));
    tmux.type_line("!stub limit You've hit your session limit · resets 4:20pm (Asia/Tbilisi)");
    tmux.wait_for("  ⎿  You've hit your session limit · resets 4:20pm (Asia/Tbilisi)");
    wait_until("rest", || !tmux.screen().contains("Working…"));
    let stopped_at = bed.done("builder");
    tmux.type_line("go on");
    bed.wait_for_done("builder", stopped_at + 2);
    tmux.keys(&["C-c"]);
    tmux.wait_for("Press Ctrl-C again to exit");
    tmux.keys(&["C-c"]);
    tmux.wait_for("ended with 130");
    bed.assert_whole("builder", "builder");
}

#[test]
fn a_closed_terminal_is_a_hangup_and_the_session_goes_on_after_it() {
    let bed = Bed::new();
    let settings = format!(
        r#"{{"hooks":{{"SessionEnd":[{{"hooks":[{{"type":"command","command":"touch {}"}}]}}]}}}}"#,
        bed.path("ended").display()
    );
    fs::write(bed.path("settings.json"), settings).unwrap();
    let args = format!("--settings {}", bed.path("settings.json").display());
    let tmux = Tmux::start(&bed, &args);
    bed.wait_for_done("builder", 2);
    drop(tmux);
    wait_until("SessionEnd", || bed.path("ended").exists());
    let before = bed.done("builder");
    let _tmux = Tmux::start(&bed, "--continue");
    bed.wait_for_done("builder", before + 2);
    assert_eq!(bed.transcripts("builder").len(), 1);
}

#[test]
fn the_trust_dialog_holds_the_keyboard_and_comes_once() {
    let bed = Bed::new();
    let state = bed.home().join(".claude.json");
    fs::write(&state, r#"{"hasCompletedOnboarding":true,"projects":{}}"#).unwrap();
    let tmux = Tmux::start(&bed, "'the prompt' --dangerously-skip-permissions");
    tmux.wait_for("Do you trust the files in this folder?");
    tmux.wait_for("❯ 1. Yes, proceed");
    tmux.keys(&["-l", "hello"]);
    tmux.paste("1\n", &[]);
    tmux.keys(&["Down"]);
    tmux.wait_for("❯ 2. No, exit");
    assert!(bed.transcripts("builder").is_empty(), "no work, no message before the answer");
    tmux.keys(&["Up"]);
    tmux.wait_for("❯ 1. Yes, proceed");
    tmux.keys(&["Enter"]);
    bed.wait_for_done("builder", 1);
    assert_eq!(bed.user_messages("builder"), ["the prompt"]);
    tmux.type_line("/exit");
    tmux.wait_for("ended with 0");
    drop(tmux);
    let tmux = Tmux::start(&bed, "--continue");
    tmux.wait_for("│ >");
    assert!(!tmux.screen().contains("trust"));
}

#[test]
fn a_no_ends_it() {
    let bed = Bed::new();
    fs::write(bed.home().join(".claude.json"), "{}").unwrap();
    let tmux = Tmux::start(&bed, "");
    tmux.wait_for("2. No, exit");
    tmux.keys(&["Escape"]);
    tmux.wait_for("ended with 1");
    assert!(bed.transcripts("builder").is_empty());
}

#[test]
fn an_expired_login_ends_with_a_new_one() {
    let bed = idle();
    let credentials = bed.home().join(".claude/.credentials.json");
    fs::write(&credentials, "{}").unwrap();
    let tmux = Tmux::start(&bed, "");
    tmux.wait_for("│ >");
    tmux.type_line("!stub login");
    tmux.wait_for("⎿  Login expired · Please run /login");
    tmux.type_line("one");
    wait_until("the same again", || tmux.screen().matches("⎿  Login expired").count() == 2);
    fs::write(&credentials, "{\"new\":1}").unwrap();
    tmux.type_line("two");
    tmux.wait_for("● Understood (3 bytes).");
}

#[test]
fn an_idle_agent_sleeps() {
    let bed = idle();
    let tmux = Tmux::start(&bed, "'!stub pause'");
    tmux.wait_for("● Paused.");
    let shell = tmux.run(&["display-message", "-p", "#{pane_pid}"]);
    let children = format!("/proc/{0}/task/{0}/children", shell.trim());
    let children = fs::read_to_string(children).unwrap();
    let stub = children.trim();
    let wakes = || {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{stub}/task")).unwrap().flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sum += line.unwrap().trim().parse::<u64>().unwrap();
        }
        sum
    };
    // Stable over two seconds: nothing wakes it by the clock.
    let mut seen = (wakes(), std::time::Instant::now());
    wait_until("two seconds of sleep", || {
        let now = wakes();
        if now != seen.0 {
            seen = (now, std::time::Instant::now());
        }
        seen.1.elapsed() > std::time::Duration::from_secs(2)
    });
    let status = fs::read_to_string(format!("/proc/{stub}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 20_000, "{kib} KiB");
    println!("resident: {kib} KiB");
}
