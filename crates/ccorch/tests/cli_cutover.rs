//! `ccorch cutover --dry-run`: what would be done, and how long it would take by the last one's figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::PathBuf;

use ccorch_core::cutover::work::Gap;
use ccorch_core::cutover::{Entry, Journal, Origin, Outcome, Said, Step, plan, plan_hash};
use ccorch_core::safepoint::UnsavedPolicy;
use common::Env;
use jiff::{SignedDuration, Timestamp};

const RIG: &str = r#"
rig: demo
workspace: { root: /srv/demo, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops:
  builder: { agent: claude, workdir: ., prompt: builder.md }
hosts:
  pi: { ssh: pi, runs: { stop: [./launch.sh, "stop all"], start: [./launch.sh, start], units: [demo.service] } }
  vm: { ssh: vm }
cutover: { from: pi, to: vm }
"#;

#[test]
fn a_dry_run_shows_commands_undo_and_an_unknown_downtime() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    let ran = env.run(&["cutover", "--dry-run"]);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    insta::assert_snapshot!(ran.stdout);
}

/// Typed in the rig's own workspace on its host: the session is left before anything, which is a step of its own.
#[test]
fn a_dry_run_in_the_rigs_own_session_says_that_it_is_left() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG.replace("/srv/demo", &env.work().display().to_string()));
    env.write(env.root().join("etc/ccorch/host"), "pi\n");
    let user = rustix::process::geteuid().as_raw();
    let (program, uid) = (env!("CARGO_BIN_EXE_ccorch"), format!("--uid={user}"));
    let plain = |text: &str| {
        let text = text.replace(program, "/usr/local/bin/ccorch").replace(&uid, "--uid=1000");
        let there = format!("if {user} there");
        let (head, rest) = text.split_once("process ").unwrap_or((&text, ""));
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{head}process PID{rest}").replace(&there, "if 1000 there")
    };
    let ran = env.run(&["cutover", "--dry-run"]);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    let (leaves, steps) = ran.stdout.split_once("preflight ").unwrap();
    insta::assert_snapshot!(plain(leaves));
    assert!(steps.contains("decommission "), "{steps}");
    let ran = env.run(&["rollback", "--dry-run", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&value["steps"][0]["step"], &value["steps"][1]["step"]),
        (&"leave".into(), &"preflight".into())
    );
    // The same place on another machine is no rig.
    env.write(env.root().join("etc/ccorch/host"), "vm\n");
    let ran = env.run(&["cutover", "--dry-run"]);
    assert!(ran.stdout.starts_with("preflight "), "{}", ran.snapshot());
}

#[test]
fn a_dry_run_back_names_the_other_commands() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    let ran = env.run(&["rollback", "--dry-run"]);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    for said in [
        "vm: ccorch quiesce --safe-point 1m --journal ID --turn N",
        "pi: systemctl start -- demo.service",
        "vm: ccorch lease write --about pi --active --for-its-owner --journal ID --turn N",
        "vm: systemctl disable ccorch.target",
        "expected downtime: unknown; no cutover from vm to pi has been measured",
    ] {
        assert!(ran.stdout.contains(said), "{said}\n{}", ran.stdout);
    }
}

/// Its owner's scripts run the pi: nobody there could see that it comes back from a reboot.
#[test]
fn a_proof_that_nobody_would_make_is_refused() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    for verb in [&["rollback"][..], &["rollback", "--dry-run"], &["adopt", "pi", "--back"]] {
        let ran = env.run(&[verb, &["--prove-reboot"]].concat());
        assert_eq!(ran.status, Some(2), "{}", ran.snapshot());
        assert!(
            ran.stderr.contains("--prove-reboot: ccorch does not run the rig on pi"),
            "{}",
            ran.snapshot()
        );
    }
    env.write("ccorch.yaml", format!("{RIG}proxy: {{ listen: '127.0.0.1:1055', backend: tailscaled }}\n"));
    let ran = env.run(&["rollback", "--dry-run"]);
    assert!(
        ran.stdout.contains("not checked on pi, which ccorch does not run: the proxy\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn an_adoption_stops_fences_and_starts_on_one_host() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    let there = env.run(&["adopt", "pi", "--dry-run"]);
    assert_eq!(there.status, Some(0), "{}", there.snapshot());
    insta::assert_snapshot!(there.stdout);
    let back = env.run(&["adopt", "pi", "--back", "--dry-run"]);
    insta::assert_snapshot!(back.stdout);
    let no = env.run(&["adopt", "vm"]);
    insta::assert_snapshot!(no.snapshot());
}

#[test]
fn the_last_cutovers_figures_are_what_is_expected() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    let rig = ccorch_core::rig::parse(RIG).unwrap();
    let (from, to) = (rig.cutover.clone().unwrap().from, rig.cutover.clone().unwrap().to);
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let plan = plan(&rig, &from, &to).unwrap();
    let origin = Origin { ccorch: "1.2.3".into(), plan_hash: "0123456789abcdef".into() };
    let asked = Said::default().of(None);
    let (mut journal, mut text) =
        Journal::begin("20260101T000000Z-abcdef".into(), rig.rig, plan, origin, asked, at(0));
    text.push('\n');
    for (number, step) in (0..).zip(Step::ALL) {
        let entries = [Entry::Started { step }, Entry::Done { step, note: String::new() }];
        for (half, entry) in (0..).zip(entries) {
            text += &(journal.append(at(number * 10 + half * 4), entry).unwrap() + "\n");
        }
    }
    text += &(journal.append(at(100), Entry::End { outcome: Outcome::Completed }).unwrap() + "\n");
    let folder = env.home().join(".local/state/ccorch/demo/journal");
    env.write(folder.join("20260101T000000Z-abcdef.jsonl"), text);
    let ran = env.run(&["cutover", "--dry-run"]);
    assert!(ran.stdout.contains("(4.0 s the last time)"), "{}", ran.snapshot());
    assert!(ran.stdout.contains("expected downtime: unknown"), "{}", ran.snapshot());
    let target_first = at(20).checked_add(SignedDuration::from_millis(6500)).unwrap();
    let gap = Gap { source_last: at(20), target_first };
    env.write(folder.join("20260101T000000Z-abcdef.gap.json"), serde_json::to_vec(&gap).unwrap());
    let ran = env.run(&["cutover", "--dry-run"]);
    let expected = "expected downtime: 6.5 s, as in the last one (20260101T000000Z-abcdef)\n";
    assert!(ran.stdout.ends_with(expected), "{}", ran.snapshot());
    // The other direction has no figures.
    let ran = env.run(&["rollback", "--dry-run", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&value["from"], &value["expected_downtime_ms"]), (&"vm".into(), &serde_json::Value::Null));
}

/// A cutover by the rig file that somebody began and that is not over: its id, its first line, and its journal's place.
fn begun(said: Said) -> (Env, &'static str, String, PathBuf) {
    let id = "20260101T000000Z-abcdef";
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    let rig = ccorch_core::rig::parse(RIG).unwrap();
    let hosts = rig.cutover.clone().unwrap();
    let plan = plan(&rig, &hosts.from, &hosts.to).unwrap();
    let origin = Origin { ccorch: env!("CARGO_PKG_VERSION").into(), plan_hash: plan_hash(&rig, &plan) };
    let at = Timestamp::from_second(0).unwrap();
    let (_, line) = Journal::begin(id.into(), rig.rig, plan, origin, said.of(None), at);
    let file = env.home().join(format!(".local/state/ccorch/demo/journal/{id}.jsonl"));
    (env, id, line, file)
}

/// What was asked at the beginning holds: another word is refused before any host is asked.
#[test]
fn what_was_asked_at_the_beginning_is_not_asked_otherwise_later() {
    let said = Said { unsaved: Some(UnsavedPolicy::Rescue), ..Said::default() };
    let (env, id, line, file) = begun(said);
    env.write(file, format!("{line}\n"));
    for wish in [&["cutover"][..], &["cutover", "--resume"], &["cutover", "--abort"]] {
        let ran = env.run(&[wish, &["--settle", "5s", "--rescue", "--prove-reboot"]].concat());
        assert_eq!(ran.status, Some(6), "{}", ran.snapshot());
        for words in ["the time to settle was 1m at its beginning, and is 5s now", "the proof by a reboot"] {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.snapshot());
        }
        assert!(!ran.stderr.contains("unsaved work"), "it is the same: {}", ran.snapshot());
    }
    // The same words, or none, go on; here there is no ssh to go on with.
    let ran = env.run(&["cutover", "--resume", "--rescue"]);
    assert!(ran.stderr.contains(&format!("going on with cutover {id}")), "{}", ran.snapshot());
}

/// Who looks before they take a cutover back is shown that cutover, whatever the command's own direction is.
#[test]
fn a_dry_run_of_an_unfinished_cutover_shows_what_is_left_of_it() {
    let env = Env::new();
    env.write("ccorch.yaml", RIG);
    let none = env.run(&["cutover", "--abort", "--dry-run"]);
    assert_ne!(none.status, Some(0), "{}", none.snapshot());
    let (env, id, line, file) = begun(Said::default());
    let mut journal = Journal::read(&format!("{line}\n")).unwrap();
    let at = Timestamp::from_second(0).unwrap();
    let mut text = format!("{line}\n");
    let done = |step| [Entry::Started { step }, Entry::Done { step, note: String::new() }];
    let entries = [Step::Preflight, Step::Presync, Step::Quiesce].into_iter().flat_map(done);
    for entry in entries.chain([Entry::Started { step: Step::Fence }]) {
        text += &(journal.append(at, entry).unwrap() + "\n");
    }
    env.write(&file, &text);
    let back = env.run(&["rollback", "--abort", "--dry-run"]);
    assert_eq!(back.status, Some(0), "{}", back.snapshot());
    insta::assert_snapshot!("what_an_abort_would_undo", back.stdout);
    let on = env.run(&["cutover", "--resume", "--dry-run", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&on.stdout).unwrap();
    let steps: Vec<&str> =
        value["steps"].as_array().unwrap().iter().filter_map(|s| s["step"].as_str()).collect();
    assert_eq!(steps, ["fence", "final-sync", "prove", "activate", "verify", "decommission"]);
    assert_eq!((&value["journal"], &value["goes_back"]), (&id.into(), &false.into()));
    assert_eq!(env.text(&file), text, "a dry run has written");
}

/// A driver that died in its first line had begun nothing; one that died in a later one is gone on with.
#[test]
fn a_journal_cut_off_in_a_letter_is_read_up_to_its_last_whole_line() {
    let (env, id, line, file) = begun(Said::default());
    env.write(&file, &line.as_bytes()[..40]);
    let ran = env.run(&["cutover", "--dry-run"]);
    assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
    env.write(&file, [line.as_bytes(), b"\n0123456789abcdef {\"note\":\"caf\xc3"].concat());
    let ran = env.run(&["cutover", "--resume"]);
    assert!(ran.stderr.contains(&format!("going on with cutover {id}")), "{}", ran.snapshot());
    let shown = env.run(&["journal", "show"]);
    assert_eq!(shown.status, Some(0), "{}", shown.snapshot());
    // A line that is damaged in the middle is no end of a crash.
    env.write(&file, [line.as_bytes(), b"\n0123456789abcdef {\"note\":\"caf\xc3\"}\n"].concat());
    let ran = env.run(&["cutover", "--resume"]);
    assert!(ran.stderr.contains("line 2 is damaged"), "{}", ran.snapshot());
}
