//! A begun cutover that is gone on with, over real ssh: what it finds on the source, and what it does about that.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use ccorch_core::cutover::{Said, Step};
use ccorch_core::safepoint::UnsavedPolicy;
use machines::Bed;
use machines::begun::{
    ID, arbiter, by_hand, claimed, claimed_as, claimed_with, of_its_owner, place, stopped_by,
};

/// Everything up to the activation is done: the vm holds the lease.
fn on_trial(bed: &Bed) {
    let all = Step::ALL.into_iter().take_while(|step| *step != Step::Verify);
    claimed(bed, &all.collect::<Vec<_>>());
    for active in [&[][..], &["--active"]] {
        let about = if active.is_empty() { "pi" } else { "vm" };
        let write = ["lease", "write", "--about", about, "--journal", ID, "--turn", "1", "--host", "vm"];
        bed.ok(&[&write, active].concat());
    }
}

/// The fence holds units; who starts the rig by hand while it moves is seen before the target works.
#[test]
fn a_rig_that_was_started_by_hand_while_it_moved_is_not_started_elsewhere() {
    let bed = place();
    of_its_owner(&bed);
    let done = [Step::Preflight, Step::Presync, Step::Quiesce, Step::Fence, Step::FinalSync, Step::Prove];
    claimed(&bed, &done);
    bed.ok(&["lease", "write", "--about", "pi", "--journal", ID, "--turn", "1", "--host", "vm"]);
    by_hand(&bed, "cd /srv/w; setsid sleep 3600 < /dev/null > /dev/null 2>&1 &");
    let error = bed.fails(&["cutover", "--resume"], 8);
    let found = "on pi: the rig was started again while it moved";
    assert!(error.contains(found) && error.contains("sleep 3600"), "{error}");
    assert_eq!(arbiter(&bed).0, "pi");
    bed.fails(&["lease", "check", "--host", "vm"], 6);
}

/// The fence holds units; what is started by hand while the target is on trial is ended before that has a verdict.
#[test]
fn a_rig_that_was_started_by_hand_while_the_target_is_on_trial_is_ended_and_told() {
    let bed = place();
    stopped_by(&bed, r#"[sh, -c, "xargs -r kill < by-hand; rm -f by-hand"]"#);
    bed.pi.put("/srv/w/by-hand", "");
    on_trial(&bed);
    // The target watches itself, and has no verdict yet.
    let state = bed.vm.path("/var/lib/ccorch");
    let window = |verdict: &str| {
        let terms = r#"{"timeout":"10m","settle":"1m","crashes":3,"prove_reboot":false}"#;
        let text = format!(
            r#"{{"journal":"{ID}","opened":"2026-01-01T00:00:00Z","terms":{terms},"stage":"watching","verdict":"{verdict}"}}"#
        );
        fs::write(state.join("confirm.json.new"), text).unwrap();
        fs::rename(state.join("confirm.json.new"), state.join("confirm.json")).unwrap();
    };
    window("open");
    let watches = ccorch_io::lock::acquire(&state.join("confirm-watch.lock"), "the test").unwrap();
    by_hand(&bed, "cd /srv/w; setsid sleep 3600 < /dev/null > /dev/null 2>&1 & echo $! > /srv/w/by-hand");
    let mut driver = bed.begins(&["cutover", "--resume"]);
    let (file, until) = (bed.pi.path("/srv/w/by-hand"), Instant::now() + Duration::from_secs(120));
    while file.exists() {
        assert!(Instant::now() < until && driver.try_wait().unwrap().is_none(), "nobody ends it");
        thread::sleep(Duration::from_millis(50));
    }
    window("confirmed");
    let journal = || bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl"));
    while !journal().contains(r#""entry":"done","step":"verify""#) {
        assert!(Instant::now() < until, "the target's verdict is not heard: {}", journal());
        thread::sleep(Duration::from_millis(50));
    }
    let _ = driver.kill();
    let said = String::from_utf8(driver.wait_with_output().unwrap().stderr).unwrap();
    assert!(journal().contains("; started by hand on pi meanwhile, and ended: "), "{}", journal());
    assert!(
        said.contains("warning: on pi: started by hand, and ended: ") && said.contains("sleep 3600"),
        "{said}"
    );
    drop(watches);
}

/// A target that goes away between two steps leaves nobody at work, unless the source is started again: nobody may be there to
/// type a command.
#[test]
fn a_source_of_its_owner_works_again_when_the_target_is_gone_before_the_fence() {
    let mut bed = place();
    let rig = bed.text("ccorch.yaml").replace("to: vm }", "to: vm, patience: 2s }");
    fs::write(bed.path("ccorch.yaml"), rig).unwrap();
    let fenced = of_its_owner(&bed);
    claimed(&bed, &[Step::Preflight, Step::Presync, Step::Quiesce]);
    bed.vm.stop();
    let error = bed.fails(&["cutover", "--resume"], 4);
    assert!(error.contains("undo of step fence is not finished"), "{error}");
    assert!(!fenced.exists() && bed.pi.path("/srv/w/started").exists(), "the source does not work: {error}");
    // It answers again, and the same command ends what was begun.
    bed.vm.start(machines::begun::OWN_ETC);
    bed.fails(&["cutover", "--resume"], 8);
    assert_eq!(arbiter(&bed).0, "pi");
}

/// What a rescue cannot take along is refused before the source is fenced: the submodule's repository is no file of the workspace.
#[test]
fn a_submodule_that_is_not_committed_is_no_matter_of_a_rescue() {
    let bed = place();
    let fenced = of_its_owner(&bed);
    fs::remove_file(&fenced).unwrap();
    let (url, part) = (bed.path("x.git").display().to_string(), bed.remote("part.git"));
    let git = "git -c user.name=a -c user.email=a@b -c protocol.file.allow=always";
    bed.pi.sh("/srv/w", &format!("git clone -q {url} .; {git} submodule --quiet add {part} part"));
    bed.pi.sh("/srv/w/part", &format!("{git} commit -q --allow-empty -m alone"));
    let said = Said { unsaved: Some(UnsavedPolicy::Rescue), ..Said::default() };
    claimed_with(&bed, &[Step::Preflight, Step::Presync], said);
    let error = bed.fails(&["cutover", "--resume"], 8);
    let said = "/srv/w: the submodule `part` was added and is not committed, which no rescue takes along";
    assert!(error.contains("pi has work that cannot go along:") && error.contains(said), "{error}");
    assert!(error.contains("hint: have it committed (`git -C /srv/w commit`)"), "{error}");
    assert!(!fenced.exists() && bed.pi.path("/srv/w/started").exists(), "the source does not work again");
    assert_eq!(bed.pi.sh("/srv/w", "git for-each-ref refs/ccorch"), "", "half of it was put away");
    let unsaved = String::from_utf8(bed.ccorch(&["unsaved", "--host", "pi"]).stdout).unwrap();
    assert!(unsaved.contains(said) && unsaved.contains("/srv/w/part: branch `main` at "), "{unsaved}");
}

/// A driver that died in the quiesce had pushed it and named it nowhere; what is pushed is saved, and is named all the same.
#[test]
fn what_a_driver_had_rescued_before_it_died_is_named_by_the_next_one() {
    let bed = place();
    let fenced = of_its_owner(&bed);
    fs::remove_file(&fenced).unwrap();
    let url = bed.path("x.git").display().to_string();
    let name = "ccorch/rescue/pi/20260101T000000Z";
    let rescue = format!(
        "git update-ref refs/{name}-branch-main HEAD && git push -q origin HEAD:refs/heads/{name}-branch-main"
    );
    let commit = "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m alone";
    bed.pi.sh("/srv/w", &format!("git clone -q {url} . && {commit} && {rescue}"));
    bed.pi.sh("/srv/w", &format!("git update-ref refs/{name}-stash-0 HEAD~0"));
    let said = Said { unsaved: Some(UnsavedPolicy::Rescue), ..Said::default() };
    claimed_with(&bed, &[Step::Preflight, Step::Presync], said);
    let mut driver = bed.begins(&["cutover", "--resume"]);
    let until = Instant::now() + Duration::from_secs(120);
    let line = loop {
        let journal = journal(&bed);
        let done = |line: &&str| line.contains(r#""entry":"done","step":"quiesce""#);
        if let Some(line) = journal.lines().find(done) {
            break line.to_owned();
        }
        assert!(Instant::now() < until && driver.try_wait().unwrap().is_none(), "{journal}");
        thread::sleep(Duration::from_millis(50));
    };
    let _ = driver.kill();
    let _ = driver.wait();
    let pushed = line.find(&format!("rescued from /srv/w: {name}-branch-main (")).unwrap();
    assert!(line[pushed..].contains("), pushed; rescued from /srv/w"), "{line}");
    assert!(
        line.contains(&format!("{name}-stash-0 (")) && line.contains("carried to vm and not pushed"),
        "{line}"
    );
}

/// The way back to an owner's rig, which has worked already: whether it had the lease is the arbiter's word alone, and while that is
/// away nothing is taken for undone.
#[test]
fn a_way_back_that_is_taken_back_waits_for_the_arbiter_and_loses_nothing() {
    let bed = place();
    let fenced = of_its_owner(&bed);
    let url = bed.path("x.git").display().to_string();
    for machine in [&bed.pi, &bed.vm] {
        machine.sh("/srv/w", &format!("rm -rf .git * && git clone -q {url} ."));
    }
    on_trial(&bed);
    bed.ok(&["lease", "close", "--journal", ID, "--turn", "1", "--host", "vm"]);
    fs::remove_file(bed.path(&format!("s/ccorch/demo/journal/{ID}.jsonl"))).unwrap();
    let back = "20260102T000000Z-fedcba";
    let all = Step::ALL.into_iter().take_while(|step| *step != Step::Verify);
    let turn = claimed_as(&bed, back, ["vm", "pi"], &all.collect::<Vec<_>>(), Said::default()).to_string();
    for (about, active) in [("vm", &[][..]), ("pi", &["--active", "--for-its-owner"])] {
        let write = ["lease", "write", "--about", about, "--journal", back, "--turn", &turn, "--host", "vm"];
        bed.ok(&[&write, active].concat());
    }
    fs::remove_file(&fenced).unwrap();
    bed.pi.put("/srv/w/draft", "by an agent on pi\n");

    let (remote, away) = (bed.path("lease.git"), bed.path("lease.away"));
    fs::rename(&remote, &away).unwrap();
    let error = bed.fails(&["cutover", "--abort"], 4);
    assert!(error.contains("the lease's remote cannot be asked whether pi was given the rig"), "{error}");
    fs::rename(&away, &remote).unwrap();
    bed.fails(&["cutover", "--abort"], 8);
    assert_eq!(arbiter(&bed).0, "vm");
    assert!(fenced.exists(), "the pi's rig may start");
    assert_eq!(bed.vm.read("/srv/w/draft"), "by an agent on pi\n");
}

/// The vm worked for a while; its clone has a change, a new file, something put aside and a commit that nobody else has.
fn worked_on_vm() -> Bed {
    let bed = place();
    of_its_owner(&bed);
    let url = bed.path("x.git").display().to_string();
    for machine in [&bed.pi, &bed.vm] {
        machine.sh("/srv/w", &format!("rm -rf .git * && git clone -q {url} ."));
    }
    on_trial(&bed);
    bed.vm.sh("/srv/w", "git config user.name a; git config user.email a@b");
    bed.vm.sh("/srv/w", "echo aside > since; git stash -q; git commit -q --allow-empty -m alone");
    bed.vm.put("/srv/w/since", "by an agent on vm\n");
    bed.vm.put("/srv/w/draft", "new\n");
    bed
}

fn journal(bed: &Bed) -> String {
    bed.text(&format!("s/ccorch/demo/journal/{ID}.jsonl"))
}

/// Nothing that was done on the target is thrown away, and nobody has to search it for what was not committed.
#[test]
fn what_the_target_has_not_saved_is_rescued_on_the_way_back_and_named() {
    let bed = worked_on_vm();
    let said = bed.fails(&["cutover", "--abort"], 8);
    assert_eq!(arbiter(&bed).0, "pi");
    assert!(bed.pi.path("/srv/w/started").exists(), "the source does not work again");
    let name = "ccorch/rescue/vm/20260101T000000Z";
    let show = |what: &str| bed.pi.sh("/srv/w", &format!("git show refs/{name}{what}"));
    assert_eq!((show(":since"), show(":draft")), ("by an agent on vm".to_owned(), "new".to_owned()));
    assert_eq!(show("-stash-0:since"), "aside");
    assert_eq!(bed.pi.sh("/srv/w", "git log -1 --format=%s"), "alone");
    assert_eq!(bed.pi.read("/srv/w/draft"), "new\n");
    let words = format!("rescued from /srv/w: {name} (");
    let journal = journal(&bed);
    let line =
        journal.lines().find(|line| line.contains(r#""entry":"undo-done","step":"activate""#)).unwrap();
    assert!(line.contains(&words) && line.contains(&format!("{name}-stash-0 (")), "{line}");
    assert!(said.contains(&words), "{said}");
    assert!(!line.contains("not as it was"), "{line}");
    // On the target it is as it was.
    assert_eq!(bed.vm.read("/srv/w/since"), "by an agent on vm\n");
    let page = bed.text(&format!("s/ccorch/demo/journal/{ID}.html"));
    assert!(page.contains(&words), "{page}");
}

/// What is carried back is proven too, by content, and a difference is told: the rig is not kept from its way back by one.
#[test]
fn what_does_not_come_back_as_it_was_is_told() {
    let bed = worked_on_vm();
    bed.pi.put("/srv/w/draft", "old\n");
    for machine in [&bed.pi, &bed.vm] {
        // Of the same age and size: rsync takes it for the same file.
        machine.sh("/srv/w", "touch -d @1000000000 draft");
    }
    let said = bed.fails(&["cutover", "--abort"], 8);
    assert!(bed.pi.path("/srv/w/started").exists(), "the source does not work again");
    let words = "not as it was on vm: /srv/w: draft differs";
    assert!(said.contains(words) && journal(&bed).contains(words), "{said}");
}

#[test]
fn a_rescue_that_fails_keeps_no_rig_from_its_way_back() {
    let bed = worked_on_vm();
    // No room for any ref of a rescue.
    bed.vm.put("/srv/w/.git/refs/ccorch", "");
    let said = bed.fails(&["cutover", "--abort"], 8);
    assert_eq!(arbiter(&bed).0, "pi");
    assert!(bed.pi.path("/srv/w/started").exists(), "the source does not work again");
    let words = "not rescued, and still in /srv/w on vm: ";
    assert!(said.contains(words) && journal(&bed).contains(words), "{said}");
    assert!(said.contains("`since` is not committed"), "{said}");
    assert_eq!(bed.pi.sh("/srv/w", "git log -1 --format=%s"), "alone");
}
