//! A host that is gone for good, over real ssh: `ccorch takeover`, and a cutover that is taken back without its target.
//! Refused while the host gives any sign of life, and only by its name typed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ccorch_core::cutover::Step;
use machines::begun::{ID, RIG, arbiter, claimed, of_its_owner, place, place_of, stopped_by};
use serde_json::Value;

#[test]
fn an_old_source_takes_over_by_a_persons_word_and_never_from_a_machine_that_answers() {
    let mut bed = place();
    let verb = ["takeover", "--source-is-dead", "pi"];
    let by = |name: &'static str| [&verb[..], &["--yes-host", name]].concat();
    let error = bed.fails(&by("pi"), 6);
    assert!(error.contains("it answers by ssh"), "{error}");
    bed.pi.stop();
    let error = bed.fails(&by("pi"), 6);
    assert!(error.contains("the machine answers, its sshd does not"), "{error}");

    // An address that no machine has (RFC 5737).
    let text = bed.text("ccorch.yaml").replacen("root@127.0.0.1", "root@192.0.2.7", 1);
    fs::write(bed.path("ccorch.yaml"), text).unwrap();
    let error = bed.fails(&[&verb[..], &["--to", "pi"]].concat(), 3);
    assert!(error.contains("cannot take over from itself"), "{error}");
    let dry = bed.ok(&[&verb[..], &["--dry-run"]].concat());
    assert_eq!(dry, "pi does not answer; would give the lease to vm and start the rig there\n");
    for argv in [verb.to_vec(), by("vm")] {
        let error = bed.fails(&argv, 6);
        assert!(error.contains("needs a person's word") && error.contains("--yes-host pi"), "{error}");
    }
    assert_eq!(arbiter(&bed), ("pi".into(), 1));
    bed.fails(&["lease", "check", "--host", "vm"], 6);
    assert!(bed.vm.path("/srv/w/STANDBY.txt").exists());

    let said = bed.ok(&by("pi"));
    assert!(said.starts_with("vm holds the lease at epoch 2"), "{said}");
    bed.ok(&["lease", "check", "--host", "vm"]);
    assert_eq!(arbiter(&bed).0, "vm");
    for gone in ["/var/lib/ccorch/standby.json", "/var/lib/ccorch/STANDBY.txt", "/srv/w/STANDBY.txt"] {
        assert!(!bed.vm.path(gone).exists(), "{gone} is still there");
    }
    assert_eq!(bed.vm.read("/srv/w/since"), "pushed\n", "what the dead host had pushed is not here");
    // The answer may have been lost: the same again changes nothing.
    bed.ok(&by("pi"));
    bed.ok(&["lease", "check", "--host", "vm"]);
}

/// The operator's journal knows nothing of the takeover that ended its cutover: it is told, once, and a new one can begin.
#[test]
fn a_cutover_that_a_takeover_ended_has_its_end_and_is_in_nobodys_way() {
    let mut bed = place();
    claimed(&bed, &[]);
    bed.pi.stop();
    let there = bed.text("ccorch.yaml").replacen("root@127.0.0.1", "root@192.0.2.7", 1);
    fs::write(bed.path("ccorch.yaml"), there).unwrap();
    bed.ok(&["takeover", "--source-is-dead", "pi", "--yes-host", "pi"]);
    let error = bed.fails(&["cutover"], 6);
    let ended = format!("cutover {ID} was ended by a takeover by a person's word");
    assert!(error.contains(&ended) && error.contains("begins a new cutover"), "{error}");
    assert!(bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl")).contains("superseded"));
    for wish in ["--resume", "--abort"] {
        let error = bed.fails(&["cutover", wish], 6);
        assert!(error.contains("no cutover is unfinished"), "{error}");
    }
    // A new one begins, and finds that the pi is gone.
    bed.fails(&["rollback"], 4);
    let count = fs::read_dir(bed.path("s/ccorch/demo/journal")).unwrap().filter(|file| {
        file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|ending| ending == "jsonl"))
    });
    assert_eq!(count.count(), 2);
}

/// A host without ccorch is nothing that a lease could start.
#[test]
fn a_host_that_its_owners_scripts_run_does_not_take_over() {
    let bed = place();
    let text = bed.text("ccorch.yaml").replacen("root@127.0.0.1", "root@192.0.2.7", 1);
    fs::write(bed.path("ccorch.yaml"), &text).unwrap();
    fs::remove_file(bed.vm.path("/usr/local/bin/ccorch")).unwrap();
    let argv = ["takeover", "--source-is-dead", "pi", "--to", "vm", "--yes-host", "pi"];
    let error = bed.fails(&argv, 3);
    assert!(error.contains("vm cannot take over: it has no /usr/local/bin/ccorch"), "{error}");
    assert!(error.contains("`ccorch adopt vm`"), "{error}");
}

/// The new machine dies in the dark, and the old one cannot write a lease: it works again by a person's word, with the lease
/// at the arbiter as if the target had given it back.
#[test]
fn a_cutover_is_taken_back_without_a_target_that_is_gone_for_good() {
    let bed = place();
    let fenced = of_its_owner(&bed);
    let text = bed.text("ccorch.yaml");
    claimed(&bed, &[Step::Preflight, Step::Presync, Step::Quiesce, Step::Fence, Step::FinalSync]);
    bed.ok(&["lease", "write", "--about", "pi", "--journal", ID, "--turn", "1", "--host", "vm"]);
    let lease = || {
        let argv = ["show", "refs/ccorch/lease/demo:lease.json"];
        let said = Command::new("git").arg("-C").arg(bed.path("lease.git")).args(argv).output().unwrap();
        serde_json::from_slice::<Value>(&said.stdout).unwrap()
    };
    let journal = || bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl"));
    assert_eq!((&lease()["holder"], &lease()["state"]), (&"pi".into(), &"standby".into()));

    let abort = ["cutover", "--abort", "--target-is-dead", "vm"];
    let by_name = [&abort[..], &["--yes-host", "vm"]].concat();
    let error = bed.fails(&by_name, 6);
    assert!(error.contains("vm is not dead: it answers by ssh"), "{error}");
    let gone = text.replace("vm: { ssh: root@127.0.0.1", "vm: { ssh: root@192.0.2.7");
    assert_ne!(gone, text);
    fs::write(bed.path("ccorch.yaml"), gone).unwrap();
    let error = bed.fails(&["cutover", "--abort"], 4);
    assert!(error.contains("was not turned back") && error.contains("--target-is-dead vm"), "{error}");
    let error = bed.fails(&abort, 6);
    assert!(error.contains("needs a person's word"), "{error}");
    bed.fails(&["cutover", "--abort", "--target-is-dead", "pi", "--yes-host", "pi"], 6);
    assert!(!journal().contains("turn-back") && fenced.exists(), "{}", journal());

    let error = bed.fails(&by_name, 8);
    assert!(error.contains("the cutover was taken back; pi runs the rig"), "{error}");
    assert!(!fenced.exists() && bed.pi.path("/srv/w/started").exists());
    let lease = lease();
    assert_eq!((&lease["holder"], &lease["state"]), (&"pi".into(), &"active".into()), "{lease}");
    assert_eq!((&lease["cutover"]["journal"], &lease["cutover"]["open"]), (&ID.into(), &false.into()));
    assert!(journal().contains("rolled-back"));
}

/// Without an arbiter there is only what the hosts say, and one of them is gone.
#[test]
fn a_cutover_is_taken_back_without_a_target_and_without_a_remote() {
    let without = RIG.replace("lease: { remote: \"LEASE\" }\n", "");
    assert_ne!(without, RIG);
    let bed = place_of(&without);
    let fenced = of_its_owner(&bed);
    claimed(&bed, &[Step::Preflight, Step::Presync, Step::Quiesce, Step::Fence]);
    let text = bed.text("ccorch.yaml");
    let gone = text.replace("vm: { ssh: root@127.0.0.1", "vm: { ssh: root@192.0.2.7");
    fs::write(bed.path("ccorch.yaml"), gone).unwrap();
    let error = bed.fails(&["cutover", "--abort", "--target-is-dead", "vm", "--yes-host", "vm"], 8);
    assert!(error.contains("the cutover was taken back; pi runs the rig"), "{error}");
    assert!(!fenced.exists() && bed.pi.path("/srv/w/started").exists());
    assert!(bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl")).contains("rolled-back"));
}

/// A driver that reached the pi alone took the cutover back and died; its last words are in no copy. Whoever goes on must not
/// start the target beside it.
#[test]
fn a_source_that_an_unheard_driver_has_started_again_is_where_the_rig_stays() {
    let bed = place();
    let fenced = of_its_owner(&bed);
    claimed(&bed, &[Step::Preflight, Step::Presync, Step::Quiesce, Step::Fence, Step::FinalSync]);
    bed.ok(&["lease", "write", "--about", "pi", "--journal", ID, "--turn", "1", "--host", "vm"]);
    fs::remove_file(&fenced).unwrap();
    let error = bed.fails(&["cutover", "--resume"], 8);
    assert!(error.contains("the cutover was taken back; pi runs the rig"), "{error}");
    let journal = bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl"));
    assert!(journal.contains("the rig of pi was started again by a driver before"), "{journal}");
    assert_eq!(arbiter(&bed).0, "pi");
    bed.fails(&["lease", "check", "--host", "vm"], 6);
}

/// A machine slept over a takeover from its source, which lives after all, and does not reach the new holder: the arbiter's word
/// is what keeps it from starting a second one.
#[test]
fn a_source_that_was_taken_over_from_is_not_started_by_who_reaches_it_alone() {
    let bed = place();
    let fenced = of_its_owner(&bed);
    claimed(&bed, &[Step::Preflight, Step::Presync, Step::Quiesce]);
    let text = bed.text("ccorch.yaml");
    let away = |entry: &str| {
        let gone = text.replacen(entry, &entry.replace("127.0.0.1", "192.0.2.7"), 1);
        assert_ne!(gone, text);
        fs::write(bed.path("ccorch.yaml"), gone).unwrap();
    };
    away("[touch, started] }, ssh: root@127.0.0.1");
    bed.ok(&["takeover", "--source-is-dead", "pi", "--yes-host", "pi"]);
    away("vm: { ssh: root@127.0.0.1");
    bed.fails(&["cutover", "--abort"], 6);
    assert!(bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl")).contains("superseded"));
    assert!(fenced.exists() && !bed.pi.path("/srv/w/started").exists());
}

/// The same while its driver sleeps in the middle of a step, and wakes cut off from the new holder.
#[test]
fn a_driver_that_slept_over_a_takeover_does_not_start_the_source_again() {
    let mut bed = place();
    let waits = "touch stopping; until [ -e wake ]; do sleep 0.1; done; exit 1";
    let fenced = stopped_by(&bed, &format!("[sh, -c, \"{waits}\"]"));
    claimed(&bed, &[Step::Preflight, Step::Presync]);
    let driver = bed.begins(&["cutover", "--resume"]);
    let (stopping, until) = (bed.pi.path("/srv/w/stopping"), Instant::now() + Duration::from_secs(60));
    while !stopping.exists() {
        assert!(Instant::now() < until, "the driver does not stop the pi's rig");
        thread::sleep(Duration::from_millis(50));
    }
    bed.ok(&["lease", "take", "--source", "pi", "--host", "vm"]);
    bed.vm.stop();
    bed.pi.put("/srv/w/wake", "");
    let ended = driver.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(6), "{said}");
    assert!(said.contains("a newer driver has taken over"), "{said}");
    assert!(fenced.exists() && !bed.pi.path("/srv/w/started").exists(), "{said}");
}

/// Whoever wants it taken back and is too late has not got what they asked for.
#[test]
fn a_cutover_that_is_done_is_not_said_to_be_taken_back() {
    let bed = place();
    of_its_owner(&bed);
    claimed(&bed, &Step::ALL);
    let error = bed.fails(&["cutover", "--abort"], 6);
    assert!(error.contains("was not taken back") && error.contains("`ccorch rollback`"), "{error}");
    assert!(bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl")).contains("completed"));
    let error = bed.fails(&["cutover", "--abort"], 6);
    assert!(error.contains("no cutover is unfinished"), "{error}");
}
