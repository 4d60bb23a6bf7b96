//! Every state that a crash can leave in the clone, made by hand, and what a resume makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests, helpers too

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{Bed, Running, git, wait_until};
use serde_json::json;

const ID: &str = "0c8b9d7e-1111-4222-8333-444455556666";

/// A bed whose builder did some work and ended; its last number.
fn worked() -> (Bed, u64) {
    let bed = Bed::new();
    let mut command = bed.stub("builder");
    command.args(["--session-id", ID]);
    let mut stub = Running::start(command);
    bed.wait_for_done("builder", 3);
    stub.stop();
    let last = bed.assert_whole("builder", "builder");
    (bed, last)
}

/// Resumes, lets it do two units more, and asserts that nothing was lost or done twice.
fn resume_is_whole(bed: &Bed, last: u64) {
    let mut command = bed.stub("builder");
    command.args(["--resume", ID]);
    let mut stub = Running::start(command);
    bed.wait_for_done("builder", last + 2);
    stub.stop();
    assert!(bed.assert_whole("builder", "builder") >= last + 2);
}

fn transcript(bed: &Bed) -> PathBuf {
    bed.transcripts("builder").pop().unwrap()
}

/// The intent of a unit, as a crash right after it leaves it.
fn intend(bed: &Bed, n: u64) {
    let base = git(&bed.path("builder"), &["rev-parse", "HEAD"]);
    let record = json!({"type": "work", "state": "intent", "n": n, "label": "builder", "branch": "main", "unit": "U", "base": base});
    let mut file = OpenOptions::new().append(true).open(transcript(bed)).unwrap();
    writeln!(file, "{record}").unwrap();
}

fn write_line(clone: &Path, n: u64) {
    let mut file = OpenOptions::new().append(true).open(clone.join("work/builder.txt")).unwrap();
    writeln!(file, "{n}").unwrap();
}

fn commit(bed: &Bed, n: u64) {
    let clone = bed.path("builder");
    write_line(&clone, n);
    let (subject, trailer) = (format!("builder: work {n}"), "Unit: U");
    git(&clone, &["commit", "-q", "-am", &subject, "-m", trailer]);
}

/// Somebody else's commit on the branch.
fn push_from_elsewhere(bed: &Bed) {
    let other = bed.clone_to("elsewhere");
    fs::create_dir_all(other.join("work")).unwrap();
    fs::write(other.join("work/elsewhere.txt"), "theirs\n").unwrap();
    git(&other, &["add", "."]);
    git(&other, &["commit", "-q", "-m", "Elsewhere"]);
    git(&other, &["push", "-q"]);
}

#[test]
fn nothing_done_yet() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    resume_is_whole(&bed, last);
}

#[test]
fn the_line_is_written_and_git_died_holding_its_locks() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    let clone = bed.path("builder");
    write_line(&clone, last + 1);
    git(&clone, &["add", "work"]);
    fs::write(clone.join(".git/index.lock"), "").unwrap();
    fs::write(clone.join(".git/refs/heads/main.lock"), "").unwrap();
    resume_is_whole(&bed, last);
}

#[test]
fn committed_and_not_pushed_while_others_pushed() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    commit(&bed, last + 1);
    push_from_elsewhere(&bed);
    resume_is_whole(&bed, last);
}

#[test]
fn pushed_and_not_noted() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    commit(&bed, last + 1);
    git(&bed.path("builder"), &["push", "-q"]);
    resume_is_whole(&bed, last);
}

#[test]
fn pushed_and_the_clone_is_older() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    commit(&bed, last + 1);
    git(&bed.path("builder"), &["push", "-q"]);
    git(&bed.path("builder"), &["reset", "-q", "--hard", "HEAD~1"]);
    resume_is_whole(&bed, last);
}

#[test]
fn a_fresh_clone_takes_the_place_of_the_old() {
    let (bed, last) = worked();
    fs::remove_dir_all(bed.path("builder")).unwrap();
    bed.clone_to("builder");
    resume_is_whole(&bed, last);
}

#[test]
fn a_rebase_stopped_half_way() {
    let (bed, last) = worked();
    let clone = bed.path("builder");
    intend(&bed, last + 1);
    commit(&bed, last + 1);
    push_from_elsewhere(&bed);
    git(&clone, &["fetch", "-q"]);
    git(&clone, &["-c", "sequence.editor=sed -i 1ibreak", "rebase", "-q", "-i", "origin/main"]);
    assert!(clone.join(".git/rebase-merge").exists());
    resume_is_whole(&bed, last);
}

#[test]
fn a_new_session_works_in_what_another_left_half_way() {
    let (bed, last) = worked();
    let clone = bed.path("builder");
    commit(&bed, last + 1);
    push_from_elsewhere(&bed);
    git(&clone, &["fetch", "-q"]);
    let edit = "sequence.editor=sed -i 1ibreak";
    git(&clone, &["-c", edit, "rebase", "-q", "-i", "origin/main"]);
    fs::write(clone.join(".git/index.lock"), "").unwrap();
    fs::remove_file(transcript(&bed)).unwrap();
    let mut command = bed.stub("builder");
    command.args(["-n", "other"]);
    let mut stub = Running::start(command);
    bed.wait_for_done("builder", 2);
    stub.stop();
    bed.assert_whole("builder", "other");
    assert!(bed.assert_whole("builder", "builder") > last, "the unpushed commit went along");
}

#[test]
fn a_rebase_died_while_it_set_itself_up() {
    let (bed, last) = worked();
    let clone = bed.path("builder");
    intend(&bed, last + 1);
    commit(&bed, last + 1);
    push_from_elsewhere(&bed);
    git(&clone, &["fetch", "-q"]);
    // HEAD detached, files of the other side in part checked out, and nothing to abort with.
    git(&clone, &["checkout", "-q", "--detach", "origin/main"]);
    fs::create_dir(clone.join(".git/rebase-merge")).unwrap();
    resume_is_whole(&bed, last);
}

#[test]
fn a_checkout_died_and_left_files_that_git_does_not_know() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    push_from_elsewhere(&bed);
    fs::write(bed.path("builder/work/elsewhere.txt"), "theirs\n").unwrap();
    resume_is_whole(&bed, last);
}

#[test]
fn what_a_person_left_uncommitted_stays() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    commit(&bed, last + 1);
    push_from_elsewhere(&bed);
    fs::write(bed.path("builder/README"), "in the middle of a change\n").unwrap();
    fs::write(bed.path("builder/notes"), "not in git\n").unwrap();
    resume_is_whole(&bed, last);
    let readme = fs::read_to_string(bed.path("builder/README")).unwrap();
    assert_eq!(readme, "in the middle of a change\n");
    assert!(bed.path("builder/notes").exists());
}

#[test]
fn work_waits_for_a_remote_that_is_away() {
    let (bed, last) = worked();
    intend(&bed, last + 1);
    fs::rename(bed.path("remote.git"), bed.path("away.git")).unwrap();
    let head = git(&bed.path("builder"), &["rev-parse", "HEAD"]);
    let log = fs::File::create(bed.path("log")).unwrap();
    let mut command = bed.stub("builder");
    let mut stub = Running(command.args(["--resume", ID]).stdout(log).spawn().unwrap());
    wait_until("the wait", || fs::read_to_string(bed.path("log")).unwrap().contains("waits: the remote"));
    assert_eq!(git(&bed.path("builder"), &["rev-parse", "HEAD"]), head);
    fs::rename(bed.path("away.git"), bed.path("remote.git")).unwrap();
    bed.wait_for_done("builder", last + 2);
    stub.stop();
    bed.assert_whole("builder", "builder");
}

#[test]
fn a_lost_transcript_shows_as_a_repeat() {
    let (bed, _) = worked();
    fs::remove_file(transcript(&bed)).unwrap();
    let mut stub = Running::start(bed.stub("builder"));
    bed.wait_for_done("builder", 2);
    stub.stop();
    let (code, report) = bed.verify("remote.git", "builder");
    assert_eq!(code, 1);
    assert_eq!((&report["repeats"][0], &report["repeats"][1]), (&json!(1), &json!(2)), "{report}");
    assert_eq!(report["order_ok"], false);
}

#[test]
fn an_older_transcript_shows_as_a_repeat() {
    let (bed, last) = worked();
    let text = fs::read_to_string(transcript(&bed)).unwrap();
    let old: Vec<&str> = text.lines().filter(|line| !line.contains(&format!("\"n\":{last},"))).collect();
    fs::write(transcript(&bed), old.join("\n")).unwrap();
    let mut stub = Running::start({
        let mut command = bed.stub("builder");
        command.args(["--resume", ID]);
        command
    });
    bed.wait_for_done("builder", last + 1);
    stub.stop();
    let (code, report) = bed.verify("remote.git", "builder");
    assert_eq!((code, &report["repeats"]), (1, &json!([last])), "{report}");
}

#[test]
fn lost_work_shows_as_a_gap() {
    let (bed, last) = worked();
    let clone = bed.path("builder");
    git(&clone, &["reset", "-q", "--hard", "HEAD~1"]);
    git(&clone, &["push", "-q", "--force"]);
    let mut stub = Running::start({
        let mut command = bed.stub("builder");
        command.args(["--resume", ID]);
        command
    });
    bed.wait_for_done("builder", last + 1);
    stub.stop();
    let (code, report) = bed.verify("remote.git", "builder");
    assert_eq!((code, &report["gaps"]), (1, &json!([last])), "{report}");
}

#[test]
fn a_rig_that_runs_twice_shows_as_repeats() {
    let (bed, last) = worked();
    // The copied host: the same session and workspace once more, under another home.
    let second = Bed::new();
    let slug = |bed: &Bed| bed.path("builder").to_str().unwrap().replace('/', "-");
    let folder = second.home().join(".claude/projects").join(slug(&second));
    fs::create_dir_all(&folder).unwrap();
    fs::copy(transcript(&bed), folder.join(format!("{ID}.jsonl"))).unwrap();
    let url = bed.path("remote.git");
    git(&second.path("builder"), &["remote", "set-url", "origin", url.to_str().unwrap()]);
    git(&second.path("builder"), &["fetch", "-q"]);
    git(&second.path("builder"), &["reset", "-q", "--hard", "origin/main"]);
    let mut stubs = [&bed, &second].map(|bed| {
        bed.configure(json!({"interval_ms": 150}));
        let mut command = bed.stub("builder");
        command.args(["--resume", ID]);
        Running::start(command)
    });
    for bed in [&bed, &second] {
        bed.wait_for_done("builder", last + 3);
    }
    stubs.iter_mut().for_each(Running::stop);
    let (code, report) = bed.verify("remote.git", "builder");
    assert_eq!(code, 1);
    let expected = [last + 1, last + 2, last + 3].map(|n| json!(n));
    for n in expected {
        assert!(report["repeats"].as_array().unwrap().contains(&n), "{report}");
    }
}
