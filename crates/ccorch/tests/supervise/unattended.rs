//! What would hold an agent up is found before its start, on the host whose files tell it, and named with its fix.

use std::fs;

use serde_json::{Value, json};

use crate::place::Place;

const LOOPS: &str = "  builder: { agent: claude, workdir: build, prompt: builder.md, command: [--dangerously-skip-permissions] }
  watch: { agent: command, workdir: ., command: [sleep, \"100000\"] }\n";

#[test]
fn a_check_names_each_question_that_an_agent_would_begin_with_and_its_fix() {
    let place = Place::new().with_stub(LOOPS);
    let home = place.env.home();
    let build = place.workspace().join("build").display().to_string();
    // As outputs show it here.
    let shown = "$TEST/root/srv/w/build";
    let by_hand = format!("run `claude` once in {shown} as agents");
    let warns = |parts: &[&str]| {
        let checked: Value = serde_json::from_str(&place.ok(&["check", "--json"])).unwrap();
        let found = checked["findings"].as_array().unwrap();
        let found: Vec<&Value> = found.iter().filter(|one| one["key"] == "loops.builder").collect();
        assert_eq!(found.len(), parts.len(), "{parts:?}: {found:#?}");
        for part in parts {
            let said = |one: &&Value| one["message"].as_str().unwrap().contains(part);
            assert!(found.iter().any(|one| said(one) && one["severity"] == "warning"), "{part}: {found:#?}");
        }
    };
    let state = |what: &Value| place.env.write(home.join(".claude.json"), what.to_string());
    let login = |until: i64, renew: &Value| {
        let what =
            json!({ "claudeAiOauth": { "accessToken": "hush", "expiresAt": until, "refreshToken": renew } });
        place.env.write(home.join(".claude/.credentials.json"), what.to_string());
    };
    let _ = fs::remove_file(home.join(".claude.json"));
    let (skipped, logged_in) =
        ("--dangerously-skip-permissions` once in", "run `claude auth login` as agents");
    warns(&[&format!("first-run screens and the trust dialog; {by_hand}"), skipped, logged_in]);
    state(&json!({}));
    let first = format!("the first-run screens come; {by_hand} and go through them");
    let trust = format!("has not accepted the trust dialog for {shown}; {by_hand} and accept it");
    warns(&[&first, &trust, skipped, logged_in]);
    let mut seen = json!({ "hasCompletedOnboarding": true });
    state(&seen);
    warns(&[&trust, skipped, logged_in]);
    seen["projects"] = json!({ build: { "hasTrustDialogAccepted": true } });
    state(&seen);
    warns(&[skipped, logged_in]);
    seen["bypassPermissionsModeAccepted"] = json!(true);
    state(&seen);
    warns(&["is not logged in: no "]);
    login(1, &Value::Null);
    warns(&["login has expired and cannot be renewed; run `claude auth login` as agents"]);
    login(1, &json!("hush"));
    warns(&[]);
    let text = place.ok(&["check"]);
    assert!(
        text.contains("is good: 0 errors") && !text.contains("builder") && !text.contains("hush"),
        "{text}"
    );
    // For people too, and before anything was started.
    fs::remove_file(home.join(".claude.json")).unwrap();
    let text = place.ok(&["check"]);
    assert!(text.contains("first-run screens and the trust dialog") && text.contains(&by_hand), "{text}");
    assert!(!place.env.root().join("run/ccorch-loops/builder").exists());
}
