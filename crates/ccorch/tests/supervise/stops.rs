//! Why a loop was stopped: kept when it happens, told to people, and to the agent when it comes back.

use std::fs;

use serde_json::Value;

use crate::place::{Place, signal, until};

/// Gives a loop's conversation a transcript, so that it is resumed from now on.
fn with_transcript(place: &Place, name: &str, workdir: &str) {
    let session = place.one(name)["session"].as_str().unwrap().to_owned();
    let workdir = place.workspace().join(workdir).components().collect::<std::path::PathBuf>();
    let key: String =
        workdir.to_str().unwrap().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    place.env.write(place.env.home().join(format!(".claude/projects/{key}/{session}.jsonl")), "{}\n");
}

/// The last of the words an agent was started with.
fn told(place: &Place, name: &str) -> String {
    let words = place.words(name);
    assert!(words.contains(&"--resume".to_owned()), "{words:?}");
    words[words.iter().position(|word| word == name).unwrap() + 1..].join("\n")
}

#[test]
fn a_resumed_agent_hears_why_it_was_stopped() {
    let place = Place::new().active().supervised();
    place.at_work();
    for (name, workdir) in [("builder", "build"), ("boss", ".")] {
        place.words(name);
        with_transcript(&place, name, workdir);
        place.ok(&["loops", "stop", name]);
        let shown = place.ok(&["loops", "show", name]);
        assert!(shown.contains(": a person held it down; it was not in a turn\n"), "{shown}");
        place.ok(&["loops", "start", name]);
        let words = told(&place, name);
        assert!(
            words.contains("You were stopped at ")
                && words.contains("Z (a person held it down) and are started again."),
            "{name}: {words}\n{}",
            place.ok(&["loops", "logs", name])
        );
    }
    place.ok(&["loops", "restart", "builder"]);
    let words = told(&place, "builder");
    assert!(
        words.contains("(a person restarted it)") && words.contains("Continue where you were."),
        "{words}"
    );
    // The orchestrator is told the same once, in its own words.
    place.ok(&["loops", "restart", "boss"]);
    let words = told(&place, "boss");
    assert!(
        words.contains("You were restarted by hand at ") && !words.contains("You were stopped"),
        "{words}\n{}",
        place.said()
    );
    let json: Value = serde_json::from_str(&place.ok(&["loops", "show", "boss", "--json"])).unwrap();
    assert_eq!(json["last_stop"]["why"], "restart");
}

#[test]
fn one_that_went_without_a_word_hears_that() {
    let place = Place::new().active().supervised();
    place.at_work();
    place.words("builder");
    with_transcript(&place, "builder", "build");
    let pid = place.pid("builder");
    let running = place.env.root().join("run/ccorch-loops/builder/agent.json");
    let running: Value = serde_json::from_str(&fs::read_to_string(running).unwrap()).unwrap();
    // As the kernel does it when memory runs out: whoever would record the end goes first.
    signal(running["parent"].as_u64().unwrap(), "KILL");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    let words = told(&place, "builder");
    assert!(words.contains("You were killed without a chance to stop"), "{words}");
    // An end that was recorded is in the events, and needs no words to the agent.
    let pid = place.pid("builder");
    signal(pid, "KILL");
    place.new_agent("builder", pid);
    let words = told(&place, "builder");
    assert!(!words.contains("You were"), "{words}");
}

#[test]
fn a_stop_that_comes_before_there_is_an_agent_starts_none() {
    let place = Place::new().active().supervised();
    place.at_work();
    place.words("builder");
    // The agent's parent waits for somebody to write it.
    let prompt = place.workspace().join("builder.md");
    let _ = fs::remove_file(&prompt);
    assert!(std::process::Command::new("mkfifo").arg(&prompt).status().unwrap().success());
    signal(place.pid("builder"), "KILL");
    let writes = fs::File::options().write(true).open(&prompt).unwrap();
    let mut parent = std::process::Command::new("tmux");
    parent.arg("-S").arg(place.socket("builder")).args(["display-message", "-p", "#{pane_pid}"]);
    let parent = String::from_utf8(parent.output().unwrap().stdout).unwrap().trim().parse().unwrap();
    let ended = || -> Value {
        let exit = place.env.root().join("var/lib/ccorch-loops/builder/last-exit.json");
        serde_json::from_str(&fs::read_to_string(exit).unwrap()).unwrap()
    };
    let before = ended();
    signal(parent, "TERM");
    drop(writes);
    let exit = until("its end", || Some(ended()).filter(|exit| exit["started"] != before["started"]));
    assert_eq!(exit["asked"], true, "{exit}");
    assert!(exit["error"].as_str().unwrap().contains("before its agent"), "{exit}");
    assert!(!place.env.home().join("argv.builder").exists(), "an agent was started");
}
