//! Nudges on a real terminal: whole, once, never into a dialog, with a receipt.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::place::{Place, lives, signal, until};

pub const LOOPS: &str = "  builder: { agent: claude, workdir: build, prompt: builder.md }\n";

/// One agent that has read its first words.
pub fn place() -> Place {
    let place = Place::new().with_stub(LOOPS).active().supervised();
    // Behind its first words, whose hooks would else be among those of a test: a session that has just begun is idle too.
    place.until("builder", |one| {
        one["life"] == "idle" && one["reason"].as_str().is_some_and(|why| why.contains("the turn ended"))
    });
    place
}

#[test]
fn eight_kilobytes_arrive_byte_for_byte_and_once_for_their_id() {
    let place = place();
    let mut text = String::from("First line: ä ∙ 日本語 \"quoted\" $HOME `x` \\n {}\n\n\tindented\n");
    while text.len() < 8 << 10 {
        text += &format!("line {} of a long note; nothing in it is to be lost\n", text.len());
    }
    text += "the end";
    place.env.write("note.md", &text);
    let nudge = ["loops", "nudge", "builder", "--file", "note.md", "--id", "note-1", "--json"];
    let said: Value = serde_json::from_str(&place.ok(&nudge)).unwrap();
    assert_eq!((&said["received"], &said["id"]), (&true.into(), &"note-1".into()));
    assert_eq!(said["how"], "its hook told");
    let again: Value = serde_json::from_str(&place.ok(&nudge)).unwrap();
    assert_eq!(again["how"], "it had it already");
    // By another way in, and again once the agent has had something else.
    place.env.run_with(&["loops", "nudge", "builder", "--id", "note-2"], "short words\n");
    assert!(
        place
            .env
            .run_with(&["loops", "nudge", "builder", "--id", "note-1"], &text)
            .stdout
            .contains("already")
    );
    let told = place.told("builder", "build");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("Build it.") && told[1] == text && told[2].trim() == "short words");
    let other = place.run(&["loops", "nudge", "builder", "other", "--id", "note-1"]);
    assert_eq!(other.status, Some(1), "{}", other.snapshot());
    assert!(other.stderr.contains("stands for another text"), "{}", other.stderr);
}

#[test]
fn what_a_dead_supervisor_had_delivered_is_not_typed_again() {
    let mut place = place();
    place.ok(&["loops", "nudge", "builder", "only once", "--id", "x"]);
    place.kill_supervisor();
    // As if it had died between the agent's receipt and its own note of it.
    let path = place.state("loops/builder.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(state["memory"]["told"].as_array_mut().unwrap().pop().unwrap()["id"], "x");
    state["memory"]["nudges"] = serde_json::json!([
        { "id": "x", "purpose": "asked", "text": "only once", "tries": 0, "after": 0, "under_way": 1 }
    ]);
    place.env.write(&path, state.to_string());
    place.supervise();
    until("the receipt", || place.events("nudge-received").get(1).map(drop));
    assert_eq!(place.one("builder")["waiting"], Value::Null);
    let told = place.told("builder", "build");
    assert_eq!(told.iter().filter(|text| *text == "only once").count(), 1, "{told:?}");
}

#[test]
fn an_agent_that_dies_with_the_draft_hears_it_from_the_next() {
    let place = place();
    let settle = |ms: u64| {
        let config = format!("{{ \"paste_settle_ms\": {ms} }}");
        place.env.write(place.env.home().join(".claude/stub.json"), config);
    };
    // No Enter takes the draft away from this one.
    settle(600_000);
    let pid = place.pid("builder");
    signal(pid, "KILL");
    let pid = place.new_agent("builder", pid);
    place.until("builder", |one| one["life"] == "idle");
    settle(150);
    let out = place.env.root().join("nudge.out");
    let mut asker =
        place.env.spawn(&["loops", "nudge", "builder", "told by the next", "--id", "x"], &out, &out);
    until("the draft", || place.screen("builder").contains("> told by the next").then_some(()));
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    assert!(asker.wait().unwrap().success(), "{}", place.env.text(&out));
    place.until("builder", |one| one["life"] == "idle" && one["waiting"].is_null());
    let told = place.told("builder", "build");
    assert_eq!(told.iter().filter(|text| *text == "told by the next").count(), 1, "{told:?}");
}

/// Somebody's terminal with a loop's in it.
pub struct Attached(std::path::PathBuf);

impl Attached {
    /// Attaches to the loop, with more words for tmux.
    pub fn to(place: &Place, name: &str, how: &[&str]) -> Self {
        let own = place.env.root().with_file_name(format!("terminal{}", how.concat()));
        let socket = place.socket(name).display().to_string();
        let attach = [&["env", "-u", "TMUX", "tmux", "-S", &socket, "attach"][..], how].concat();
        let mut start = Command::new("tmux");
        start.args(["-f", "/dev/null", "-S"]).arg(&own).args(["new-session", "-d", "-x", "190", "-y", "50"]);
        assert!(start.args(attach).status().unwrap().success());
        let attached = Self(own);
        until("somebody to be attached", || {
            let clients = Command::new("tmux").arg("-S").arg(place.socket(name)).arg("list-clients").output();
            (!clients.unwrap().stdout.is_empty()).then_some(())
        });
        attached
    }

    /// Presses keys there.
    pub fn types(&self, keys: &[&str]) {
        let done = Command::new("tmux").arg("-S").arg(&self.0).arg("send-keys").args(keys).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.0).arg("kill-server").status();
    }
}

#[test]
fn a_hint_and_who_only_looks_on_are_in_no_ones_way_and_who_types_is_waited_for() {
    let place = Place::new().with_stub(LOOPS);
    let config = r#"{ "paste_settle_ms": 150, "hint": "Try \"edit the README\"" }"#;
    place.env.write(place.env.home().join(".claude/stub.json"), config);
    let place = place.active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    let nudge = |id: &str, within: &str| {
        place.run(&["loops", "nudge", "builder", &format!("words of {id}"), "--id", id, "--timeout", within])
    };
    until("the hint", || place.screen("builder").contains("> Try \"edit the README\"").then_some(()));
    let terminal = Attached::to(&place, "builder", &[]);
    let ran = nudge("a", "1m");
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    terminal.types(&["half a thought"]);
    until("the draft", || place.screen("builder").contains("> half a thought").then_some(()));
    let ran = nudge("b", "4s");
    assert!(ran.status == Some(10), "{}", ran.snapshot());
    assert!(place.screen("builder").contains("> half a thought"), "{}", place.screen("builder"));
    assert_eq!(place.events("nudge-retried").len(), 1, "{:?}", place.events("nudge-retried"));
    drop(terminal);
    let looks_on = Attached::to(&place, "builder", &["-r"]);
    let ran = nudge("b", "1m");
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    let told = place.told("builder", "build");
    assert_eq!(told[1..], ["words of a", "words of b"]);
    drop(looks_on);
}

#[test]
fn nothing_is_typed_into_a_dialog() {
    let place = Place::new().with_stub(LOOPS);
    // Its folder is not trusted yet.
    place.env.write(place.env.home().join(".claude.json"), r#"{ "hasCompletedOnboarding": true }"#);
    let place = place.active().supervised();
    until("the dialog", || place.screen("builder").contains("Do you trust").then_some(()));
    let ran = place.run(&["loops", "nudge", "builder", "2", "--id", "two", "--timeout", "3s"]);
    assert_eq!(ran.status, Some(10), "{}", ran.snapshot());
    assert!(
        ran.stderr.contains("not received it within 3s") && ran.stderr.contains("--id two"),
        "{}",
        ran.stderr
    );
    place.until("builder", |one| one["dialog"] == "trust dialog");
    let status = place.run(&["status"]);
    assert_eq!(status.status, Some(1), "{}", status.snapshot());
    let waits = "loop builder waits for an answer: trust dialog; `ccorch loops attach builder`";
    assert!(status.stdout.contains(waits), "{}", status.snapshot());
    let warned = place.events("warning");
    let warned: Vec<&str> = warned.iter().filter_map(|event| event["detail"].as_str()).collect();
    let trust: Vec<_> = warned.iter().filter(|detail| detail.contains("trust dialog")).collect();
    assert_eq!(trust.len(), 1, "said before its start: {warned:?}");
    assert!(trust[0].contains("run `claude` once in") && trust[0].contains("and accept it"), "{trust:?}");
    // A "2" that had been typed would have ended it.
    assert!(place.screen("builder").contains("Do you trust"), "{}", place.screen("builder"));
    // Said once, however often it is started.
    let pid = place.pid("builder");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    until("the dialog again", || place.screen("builder").contains("Do you trust").then_some(()));
    let again = place.events("warning");
    assert_eq!(again.iter().filter(|event| event["detail"].to_string().contains("trust dialog")).count(), 1);
    place.press("builder", "1");
    let said = place.ok(&["loops", "nudge", "builder", "2", "--id", "two", "--timeout", "1m"]);
    assert!(said.starts_with("loop builder has it ("), "{said}");
    assert_eq!(place.told("builder", "build").iter().filter(|text| *text == "2").count(), 1);
    place.until("builder", |one| one["life"] == "idle");
    assert_eq!(place.run(&["status"]).status, Some(0), "{}", place.run(&["status"]).snapshot());
}

#[test]
fn what_cannot_be_told_is_refused_in_words() {
    let place = Place::new().active().supervised();
    let cases: [(&[&str], &str); 5] = [
        (&["loops", "nudge", "watch", "hello"], "runs a plain program"),
        (&["loops", "nudge", "builder", "a\u{1b}[201~b"], "control characters"),
        (&["loops", "nudge", "builder", " \n"], "the text is empty"),
        (&["loops", "nudge", "builder", "x", "--id", "a b"], "is no id"),
        (&["loops", "nudge", "nobody", "x"], "no loop `nobody`"),
    ];
    for (args, words) in cases {
        let ran = place.run(args);
        assert_eq!(ran.status, Some(1), "{}", ran.snapshot());
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    place.env.write("long", "x".repeat(40_000));
    let ran = place.run(&["loops", "nudge", "builder", "--file", "long"]);
    assert!(ran.stderr.contains("longer than 32768 bytes"), "{}", ran.stderr);
    let ran = place.run(&["loops", "nudge", "builder", "x", "--dry-run"]);
    assert!(ran.status == Some(0) && ran.stderr.starts_with("would be told 1 bytes"), "{}", ran.snapshot());
}

#[test]
fn a_stall_is_answered_by_a_nudge_and_then_a_restart() {
    let loops = "  builder: { agent: claude, workdir: build, prompt: builder.md, stall_after: 4s }\n";
    let place = Place::new().with_stub(loops).active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    let pid = place.pid("builder");
    // It takes the words and is deaf from then on; its turn stays open.
    place.ok(&["loops", "nudge", "builder", "!stub hang"]);
    until("the nudge", || place.events("loop-stall-nudge").first().map(drop));
    let restart = until("the restart", || place.events("loop-stall-restart").first().cloned());
    assert!(restart["detail"].as_str().unwrap().contains("nudge"), "{restart}");
    place.new_agent("builder", pid);
    assert!(!lives(pid), "the deaf one is gone");
    place.until("builder", |one| one["life"] == "idle");
    let told = place.told("builder", "build");
    let last = told.last().unwrap();
    let both = ["it stood still", "Continue where you were."];
    assert!(both.iter().all(|part| last.contains(part)), "{told:?}");
}

#[test]
fn a_turn_that_only_counts_its_seconds_is_nudged_and_then_restarted() {
    let loops = "  builder: { agent: claude, workdir: build, prompt: builder.md, stall_after: 6s }\n";
    let place = Place::new().with_stub(loops).active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    let pid = place.pid("builder");
    // Its connection is dead: it draws a turn that goes on, and nothing comes of it.
    place.ok(&["loops", "nudge", "builder", "!stub turn 100000"]);
    let spins = |seconds: &str| place.screen("builder").contains(seconds);
    until("its seconds to pass", || (spins("(2s") || spins("(3s")).then_some(()));
    let nudged = until("the nudge", || place.events("loop-stall-nudge").first().cloned());
    assert!(nudged["detail"].as_str().unwrap().contains("nothing changed"), "{nudged}");
    assert!(spins("esc to interrupt"), "{}", place.screen("builder"));
    until("the restart", || place.events("loop-stall-restart").first().map(drop));
    place.new_agent("builder", pid);
    place.until("builder", |one| one["life"] == "idle");
}

#[test]
fn words_that_stay_in_the_input_line_are_no_receipt() {
    let place = Place::new().with_stub(LOOPS);
    let config = r#"{ "paste_settle_ms": 150, "frozen": true }"#;
    place.env.write(place.env.home().join(".claude/stub.json"), config);
    let place = place.active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    // Somebody left words that no key takes away again.
    for key in ["s", "o"] {
        place.press("builder", key);
    }
    until("the draft", || place.screen("builder").contains("> so").then_some(()));
    let ran = place.run(&["loops", "nudge", "builder", "hello there", "--id", "x", "--timeout", "25s"]);
    assert_eq!(ran.status, Some(10), "{}", ran.snapshot());
    assert!(place.screen("builder").contains("> sohello there"), "{}", place.screen("builder"));
    let failed = until("the try to fail", || place.events("nudge-retried").first().cloned());
    assert!(
        failed["detail"].as_str().unwrap().contains("something else stands in the input line"),
        "{failed}"
    );
    assert_eq!(place.events("nudge-received").len(), 0);
}

#[test]
fn a_screen_that_nobody_can_read_is_restarted_and_then_a_persons() {
    // Its agent shows nothing at all and tells nothing.
    let rig = |rig: String| rig.replace("prompt: builder.md", "prompt: builder.md, stall_after: 4s");
    let place = Place::new().rig(rig).active().supervised();
    let pid = place.pid("builder");
    let restart = until("the restart", || place.events("loop-stall-restart").first().cloned());
    assert!(restart["detail"].as_str().unwrap().contains("could not be told"), "{restart}");
    let pid = place.new_agent("builder", pid);
    place.until("builder", |one| one["life"] == "stalled");
    assert_eq!(place.pid("builder"), pid);
    let status = place.run(&["status"]);
    assert!(
        status.status == Some(1) && status.stdout.contains("builder is stalled"),
        "{}",
        status.snapshot()
    );
    assert_eq!(place.events("notify").len(), 1, "{:?}", place.events("notify"));
}

#[test]
fn agents_keep_their_pids_and_hooks_while_supervisors_come_and_go() {
    let mut place = place();
    let pid = place.pid("builder");
    place.kill_supervisor();
    // Nobody listens: the agent is told something by hand, and its hooks are put aside.
    for key in ["s", "o", "Enter"] {
        place.press("builder", key);
    }
    let spool = place.env.root().join("var/lib/ccorch-loops/builder/hooks");
    let whole = |dir: &std::path::Path| {
        let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
    };
    until("two hooks to be put aside", || (whole(&spool) == 2).then_some(()));
    place.supervise();
    let one = place.until("builder", |one| one["life"] == "idle");
    assert_eq!((one["pid"].as_u64(), one["restarts"].as_u64()), (Some(pid), Some(0)));
    assert_eq!(whole(&spool), 0, "they are taken once");
    place.ok(&["loops", "capture", "builder", "seen"]);
    let hooks = fs::read_to_string(place.env.work().join("seen/hooks.jsonl")).unwrap();
    let events: Vec<String> = hooks
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["hook_event_name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(events, ["UserPromptSubmit", "Stop"], "in their order, once each");
    signal(pid, "0");
}
