//! Keys that would not reach the agent: a pane that somebody scrolled back, and an input line that is not for the agent.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::nudges::{Attached, LOOPS, place};
use crate::place::{Place, until};

/// Whether a loop's pane is in a mode of tmux's, where keys are tmux's.
fn is_scrolled(place: &Place) -> bool {
    let asked = ["display-message", "-p", "-t", "=builder:", "#{pane_in_mode}"];
    let said = Command::new("tmux").arg("-S").arg(place.socket("builder")).args(asked).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim() != "0"
}

/// Opens a mode of tmux's in a loop's pane.
fn open(place: &Place, mode: &str) {
    let mut opens = Command::new("tmux");
    opens.arg("-S").arg(place.socket("builder")).args([mode, "-t", "=builder:"]);
    assert!(opens.status().unwrap().success());
    until("the mode", || is_scrolled(place).then_some(()));
}

/// Waits until a try was none for that reason.
fn until_in_the_way(place: &Place, what: &str) {
    let said = |event: &Value| event["detail"].as_str().is_some_and(|detail| detail.contains(what));
    until(what, || place.events("nudge-retried").iter().any(said).then_some(()));
}

#[test]
fn who_reads_back_is_waited_for_and_a_pane_left_scrolled_back_is_typed_into() {
    let place = place();
    let terminal = Attached::to(&place, "builder", &[]);
    terminal.types(&["C-b", "["]);
    until("copy mode", || is_scrolled(&place).then_some(()));
    let nudge = ["loops", "nudge", "builder", "words", "--id", "a", "--timeout"];
    let ran = place.run(&[&nudge[..], &["4s"]].concat());
    assert_eq!(ran.status, Some(10), "{}", ran.snapshot());
    until_in_the_way(&place, "copy mode");
    assert!(is_scrolled(&place) && !place.screen("builder").contains("> words"));
    // It detaches and leaves the pane as it is.
    drop(terminal);
    let ran = place.run(&[&nudge[..], &["1m"]].concat());
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    // Another mode has other keys.
    open(&place, "choose-tree");
    place.ok(&["loops", "nudge", "builder", "more words", "--id", "b"]);
    assert_eq!(place.told("builder", "build")[1..], ["words", "more words"]);
    place.until("builder", |one| one["life"] == "idle");
    // Nor does it keep an agent from its own exit.
    open(&place, "copy-mode");
    place.ok(&["loops", "stop", "builder"]);
    let exit = place.env.root().join("var/lib/ccorch-loops/builder/last-exit.json");
    let exit: Value = serde_json::from_str(&fs::read_to_string(exit).unwrap()).unwrap();
    assert_eq!((&exit["asked"], &exit["code"]), (&true.into(), &0.into()), "{exit}");
}

/// An agent at rest whose line goes to a shell when these keys are pressed.
fn shell(frozen: bool) -> Place {
    let place = Place::new().with_stub(LOOPS);
    let config = format!(r#"{{ "paste_settle_ms": 150, "shell_mode": true, "frozen": {frozen} }}"#);
    place.env.write(place.env.home().join(".claude/stub.json"), config);
    let place = place.active().supervised();
    place.until("builder", |one| one["life"] == "idle");
    place
}

fn opens(place: &Place, keys: &[&str]) {
    for key in keys {
        place.press("builder", key);
    }
    let shown = format!("│ ! {}", keys[1..].concat());
    let shown = shown.trim_end();
    until("the shell's prompt", || place.screen("builder").contains(shown).then_some(()));
}

#[test]
fn nothing_is_typed_into_a_line_that_goes_to_a_shell() {
    let place = shell(false);
    // Somebody left it, once empty and once with half a line.
    for (id, keys) in [("a", &["!"][..]), ("b", &["!", "l", "s"])] {
        opens(&place, keys);
        place.ok(&["loops", "nudge", "builder", &format!("words of {id}"), "--id", id]);
        place.until("builder", |one| one["life"] == "idle");
    }
    assert_eq!(place.told("builder", "build")[1..], ["words of a", "words of b"]);
    assert!(!place.screen("builder").contains("! words"), "{}", place.screen("builder"));
    // Out of this one it cannot be brought.
    let place = shell(true);
    opens(&place, &["!"]);
    let ran = place.run(&["loops", "nudge", "builder", "words", "--id", "c", "--timeout", "8s"]);
    assert_eq!(ran.status, Some(10), "{}", ran.snapshot());
    until_in_the_way(&place, "`!`");
    assert!(!place.screen("builder").contains("words"), "{}", place.screen("builder"));
}
