//! Files that agents leave for each other: seen when they change, whatever way that happens, each content once.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::place::{Place, signal, until};

fn place() -> (Place, PathBuf) {
    let place = Place::new()
        .rig(|rig| rig.replace("prompt: builder.md", "prompt: builder.md, inbox: machine-docs/INBOX.md"))
        .active();
    let inbox = place.workspace().join("build/machine-docs/INBOX.md");
    (place, inbox)
}

/// How many contents were announced so far.
fn announced(place: &Place) -> usize {
    let state = fs::read_to_string(place.state("loops/builder.json")).unwrap_or_default();
    let state: Value = serde_json::from_str(&state).unwrap_or_default();
    state["memory"]["inbox"].as_array().map_or(0, Vec::len)
}

fn until_announced(place: &Place, count: usize) {
    until(&format!("{count} announcements"), || (announced(place) >= count).then_some(()));
    assert_eq!(announced(place), count);
}

#[test]
fn each_content_is_announced_once_whatever_way_it_came() {
    let (mut place, inbox) = place();
    place.supervise();
    place.at_work();
    // Its folder is not even there yet; an empty file is no message.
    fs::create_dir(inbox.parent().unwrap()).unwrap();
    fs::write(&inbox, "\n").unwrap();
    fs::write(&inbox, "one\n").unwrap();
    until_announced(&place, 1);
    let state = fs::read_to_string(place.state("loops/builder.json")).unwrap();
    assert!(state.contains("There is new content in your inbox machine-docs/INBOX.md."), "{state}");
    fs::OpenOptions::new().write(true).open(&inbox).unwrap().set_len(0).unwrap();
    fs::write(inbox.with_extension("new"), "two\n").unwrap();
    fs::rename(inbox.with_extension("new"), &inbox).unwrap();
    until_announced(&place, 2);
    // As git does it: the old file away, the new one written under its name, its folder gone and back.
    let git = |args: &[&str]| {
        let status = Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false", "-C"])
            .arg(place.workspace().join("build"))
            .args(args)
            .status()
            .unwrap();
        assert!(status.success(), "git {args:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "two"]);
    git(&["checkout", "-q", "-b", "other"]);
    fs::write(&inbox, "three\n").unwrap();
    until_announced(&place, 3);
    git(&["commit", "-q", "-a", "-m", "three"]);
    git(&["rm", "-q", "-r", "machine-docs"]);
    git(&["commit", "-q", "-m", "none"]);
    assert!(!inbox.exists());
    git(&["checkout", "-q", "main"]);
    fs::write(&inbox, "four\n").unwrap();
    until_announced(&place, 4);
    // What was announced is remembered over a restart, and what came meanwhile is seen.
    place.kill_supervisor();
    place.supervise();
    fs::write(&inbox, "five\n").unwrap();
    until_announced(&place, 5);
    place.kill_supervisor();
    fs::write(&inbox, "six\n").unwrap();
    place.supervise();
    until_announced(&place, 6);
}

/// What is remembered is noted before anything is typed; this is what the agent got.
#[test]
fn an_agent_hears_of_each_content_once() {
    let loops =
        "  builder: { agent: claude, workdir: build, prompt: builder.md, inbox: machine-docs/INBOX.md }\n";
    let mut place = Place::new().with_stub(loops).active().supervised();
    let at_rest = |place: &Place| {
        place.until("builder", |one| {
            one["life"] == "idle" && one["reason"].as_str().is_some_and(|why| why.contains("the turn ended"))
        });
    };
    at_rest(&place);
    let inbox = place.workspace().join("build/machine-docs/INBOX.md");
    fs::create_dir_all(inbox.parent().unwrap()).unwrap();
    let heard = |place: &Place| {
        let told = place.told("builder", "build");
        told.iter().filter(|text| text.contains("new content in your inbox")).count()
    };
    for (nth, content) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
        fs::write(&inbox, content).unwrap();
        until("the announcement", || (heard(&place) > nth).then_some(()));
        at_rest(&place);
        // Only what was told last is looked for where it is typed.
        place.ok(&["loops", "nudge", "builder", "go on", "--id", &format!("words-{nth}")]);
        // The same again, for this supervisor and the next.
        fs::write(&inbox, content).unwrap();
        place.kill_supervisor();
        place.supervise();
    }
    // Behind whatever else was to be said.
    place.ok(&["loops", "nudge", "builder", "the last", "--id", "last"]);
    assert_eq!(heard(&place), 3, "{:?}", place.told("builder", "build"));
}

#[test]
fn a_flood_of_changes_is_little_work_and_one_announcement() {
    let (place, inbox) = place();
    let place = place.supervised();
    place.at_work();
    fs::create_dir(inbox.parent().unwrap()).unwrap();
    let ticks = |place: &Place| -> u64 {
        // Time spent in the process and in the kernel for it. Source: proc_pid_stat(5), fields 14 and 15.
        let stat = fs::read_to_string(format!("/proc/{}/stat", place.supervisor())).unwrap();
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        fields[11] + fields[12]
    };
    let (before, began) = (ticks(&place), Instant::now());
    for n in 0..1000 {
        let mut file = OpenOptions::new().create(true).append(true).open(&inbox).unwrap();
        writeln!(file, "message {n}").unwrap();
    }
    let took = began.elapsed();
    until("the last content to be announced", || (announced(&place) > 0).then_some(()));
    // Only a machine that stood still in the middle lets a content settle that is not the last.
    assert!(announced(&place) <= 1 + usize::try_from(took.as_millis() / 200).unwrap(), "{took:?}");
    let spent = ticks(&place) - before;
    assert!(spent < 100, "{spent} ticks for 1000 changes");
    let pid = place.pid("watch");
    signal(pid, "KILL");
    place.new_agent("watch", pid);
}

#[test]
fn an_inbox_that_cannot_be_read_is_said_once_and_stops_nothing() {
    let (place, inbox) = place();
    fs::create_dir(inbox.parent().unwrap()).unwrap();
    // What a test that runs as root can do to a file so that nobody can read it.
    std::os::unix::fs::symlink(&inbox, &inbox).unwrap();
    let place = place.supervised();
    place.at_work();
    until("it to be said", || (!place.events("inbox-unreadable").is_empty()).then_some(()));
    for n in 0..20 {
        fs::write(inbox.with_extension(format!("{n}")), "x").unwrap();
    }
    fs::remove_file(&inbox).unwrap();
    // A folder or a pipe in its place is no message either.
    fs::create_dir(&inbox).unwrap();
    until("it to be said", || (!place.events("inbox-readable-again").is_empty()).then_some(()));
    fs::remove_dir(&inbox).unwrap();
    fs::write(&inbox, "readable\n").unwrap();
    until_announced(&place, 1);
    assert_eq!(place.events("inbox-unreadable").len(), 1);
}

#[test]
fn the_phase_moves_when_the_files_say_so() {
    let (place, _) = place();
    let place =
        place.rig(|rig| rig.replace("done_when: [builder]", "done_when: [builder, watch]")).supervised();
    place.at_work();
    fs::write(place.workspace().join("STATUS-b.md"), "## DONE\n").unwrap();
    until("one loop's word", || (place.events("loop-says-done").len() == 1).then_some(()));
    fs::create_dir(place.workspace().join("build/machine-docs")).unwrap();
    fs::write(place.workspace().join("build/machine-docs/STATUS-b.md"), "all is well\n## DONE\n").unwrap();
    until("the index", || {
        (fs::read_to_string(place.workspace().join("phase")).unwrap() == "2\n").then_some(())
    });
    // A person's own hand in the file counts as well.
    fs::write(place.workspace().join("phase"), "0\n").unwrap();
    until("the change to be seen", || {
        let back = |event: &Value| event["detail"].as_str().unwrap().starts_with("phase a (index 0)");
        place.events("phase").iter().any(back).then_some(())
    });
}
