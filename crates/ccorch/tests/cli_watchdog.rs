//! `ccorch watchdog explain` on saved evidence.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Env;

const LIMIT: &str = "\
● Going on with the importer.
  ⎿  5-hour limit reached ∙ resets 5pm
     /upgrade to increase your usage limit.

╭──────────────────────────────────────╮
│ >                                    │
╰──────────────────────────────────────╯
";

fn explain(env: &Env, more: &[&str]) -> common::Ran {
    let mut args = vec!["watchdog", "explain", "--agent", "claude", "--screen", "screen"];
    args.extend(more);
    env.run(&args)
}

#[test]
fn one_object_with_the_moment_of_the_reset() {
    let env = Env::new();
    env.write("screen", LIMIT);
    let ran = explain(&env, &["--now", "2026-06-01T10:00:00Z", "--tz", "Europe/Warsaw", "--json"]);
    insta::assert_snapshot!(ran.stdout, @r#"
    {
      "verdict": "limited",
      "until": "2026-06-01T15:00:00Z",
      "account_wide": true,
      "reason": "limit: 5-hour limit reached ∙ resets 5pm /upgrade to increase your usage limit.; it resets at 2026-06-01T15:00:00Z",
      "evidence": "5-hour limit reached ∙ resets 5pm\n/upgrade to increase your usage limit."
    }
    "#);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_screen_adopted_after_the_reset_is_probed() {
    let env = Env::new();
    env.write("screen", LIMIT);
    let late = ["--now", "2026-06-01T17:02:00Z", "--tz", "UTC"];
    let adopted = explain(&env, &[&late[..], &["--seen-at", "2026-06-01T13:00:00Z"]].concat());
    insta::assert_snapshot!(adopted.stdout, @r"
    verdict:   limited
    until:     2026-06-01T17:00:00Z (past: probe now)
    account:   every loop on the same account
    reason:    limit: 5-hour limit reached ∙ resets 5pm /upgrade to increase your usage limit.; its reset at 2026-06-01T17:00:00Z is past: probe now
    evidence:  5-hour limit reached ∙ resets 5pm
               /upgrade to increase your usage limit.
    ");
    let fresh = explain(&env, &late).stdout;
    assert!(fresh.contains("2026-06-02T17:00:00Z (in 23h 58m)"), "{fresh}");
}

#[test]
fn hooks_come_before_the_screen_and_times_may_be_seconds() {
    let env = Env::new();
    env.write("screen", LIMIT);
    env.write("hooks", "{\"hook_event_name\":\"Stop\",\"at\":\"2026-06-01T09:59:00Z\"}\n");
    let ran = explain(&env, &["--hooks", "hooks", "--now", "1780308000", "--json"]);
    assert!(ran.stdout.contains("\"verdict\": \"idle\""), "{}", ran.stdout);
}

#[test]
fn wrong_words_are_named() {
    let env = Env::new();
    env.write("screen", [0xff, 0xfe, 0x00]);
    assert_eq!(explain(&env, &["--now", "1780308000"]).status, Some(0));
    let ran = explain(&env, &["--now", "noon"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.contains("2026-06-01T10:00:00Z"), "{}", ran.stderr);
    let ran = explain(&env, &["--hooks", "none.jsonl"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("cannot read none.jsonl") && ran.stderr.contains("hint:"), "{}", ran.stderr);
}
