//! Would Claude Code start without a question? Told from its own files: onboarding, trust, permissions, login.
//!
//! Which key means what was seen on version 2.1.197; a key of another version that is not known here only costs a warning.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::rig::{Agent, Loop};

/// Skips every permission question; it asks once itself.
const SKIP: &str = "--dangerously-skip-permissions";
/// Variables that log an agent in, or have another service do it.
const LOGINS: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
];

/// A file of the agent's, as found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<T> {
    /// It is not there.
    Absent,
    /// It is there and cannot be used; why.
    Bad(String),
    /// What it says.
    Says(T),
}

/// Of the login no more than this is ever looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Login {
    /// Until when it holds without being renewed, in milliseconds since the epoch.
    pub expires_at: Option<i64>,
    /// Whether the agent can renew it by itself.
    pub renewable: bool,
}

impl Login {
    /// Reads that much of `.credentials.json`; `None` when there is no login in it. No error repeats the content.
    pub fn read(text: &[u8]) -> Result<Option<Self>, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct File {
            claude_ai_oauth: Option<Oauth>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Oauth {
            expires_at: Option<i64>,
            refresh_token: Option<IgnoredAny>,
        }
        let file: File = serde_json::from_slice(text)
            .map_err(|error| format!("line {} is not as expected", error.line()))?;
        Ok(file
            .claude_ai_oauth
            .map(|o| Self { expires_at: o.expires_at, renewable: o.refresh_token.is_some() }))
    }
}

/// The agent's files, as its user has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// `.claude.json`.
    pub state: Found<Value>,
    /// `settings.json`.
    pub settings: Found<Value>,
    /// `.credentials.json`.
    pub login: Found<Option<Login>>,
}

/// Where this is, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The loop's user.
    pub user: &'a str,
    /// Its working directory, absolute.
    pub workdir: &'a str,
    /// The folder of settings and login.
    pub folder: &'a str,
    /// The state file.
    pub state: &'a str,
    /// Now, in milliseconds since the epoch.
    pub now: i64,
}

/// What would hold the start up, each with its fix.
pub fn obstacles(spec: &Loop, files: &Files, place: &Place<'_>) -> Vec<String> {
    if spec.agent != Agent::Claude {
        return Vec::new();
    }
    let Place { user, workdir, folder, state, .. } = place;
    let mut found = Vec::new();
    let by_hand = format!("`claude` once in {workdir} as {user}");
    match &files.state {
        Found::Absent => found.push(format!(
            "{user} has no {state}: the agent begins with its first-run screens and the trust dialog; run {by_hand}, and answer them"
        )),
        Found::Bad(why) => found.push(format!("{state} cannot be used: {why}; mend or remove it, then run {by_hand}")),
        Found::Says(says) => {
            if says["hasCompletedOnboarding"] != true {
                found.push(format!("{state} knows no `hasCompletedOnboarding`: the first-run screens come; run {by_hand} and go through them"));
            }
            if says["projects"][workdir]["hasTrustDialogAccepted"] != true {
                found.push(format!("{user} has not accepted the trust dialog for {workdir}; run {by_hand} and accept it"));
            }
        }
    }
    if let Found::Bad(why) = &files.settings {
        found.push(format!("{folder}/settings.json cannot be used: {why}; mend it"));
    }
    found.extend(permissions(spec, files, place));
    found.extend(login(spec, files, place));
    found
}

fn permissions(spec: &Loop, files: &Files, place: &Place<'_>) -> Option<String> {
    let Place { user, workdir, folder, .. } = place;
    let says = |file: &Found<Value>, key: &str| matches!(file, Found::Says(says) if says[key] == true);
    let mode = match &files.settings {
        Found::Says(says) => says["permissions"]["defaultMode"].as_str().unwrap_or_default(),
        _ => "",
    };
    let given = spec.command.iter().position(|word| word == "--permission-mode");
    let given = given.and_then(|at| spec.command.get(at + 1)).map(String::as_str);
    let mode = spec
        .command
        .iter()
        .find_map(|word| word.strip_prefix("--permission-mode="))
        .or(given)
        .unwrap_or(mode);
    let skips = mode == "bypassPermissions" || spec.command.iter().any(|word| word == SKIP);
    if skips && *user == "root" {
        return Some(format!("the agent refuses `{SKIP}` as root; give the loop another `user`"));
    }
    let accepted = says(&files.state, "bypassPermissionsModeAccepted")
        || says(&files.settings, "skipDangerousModePermissionPrompt");
    if skips && !accepted {
        return Some(format!(
            "{user} has not accepted the warning about skipped permissions; run `claude {SKIP}` once in {workdir} as {user} and accept it, or set `\"skipDangerousModePermissionPrompt\": true` in {folder}/settings.json"
        ));
    }
    // Rules may allow all that this loop needs; which those are nobody but its owner knows.
    let rules = matches!(&files.settings, Found::Says(says) if says["permissions"]["allow"].as_array().is_some_and(|a| !a.is_empty()));
    let asks = !skips && !rules && !["acceptEdits", "dontAsk", "auto", "plan"].contains(&mode);
    asks.then(|| format!(
        "the agent will ask before it does anything, and nobody answers; add `{SKIP}` to the loop's `command`, or rules to `permissions.allow` in {folder}/settings.json"
    ))
}

fn login(spec: &Loop, files: &Files, place: &Place<'_>) -> Option<String> {
    let Place { user, folder, now, .. } = place;
    let helper = matches!(&files.settings, Found::Says(says) if says["apiKeyHelper"].is_string());
    let by_settings =
        |name: &&str| matches!(&files.settings, Found::Says(says) if says["env"][*name].is_string());
    let other = helper || LOGINS.iter().any(|name| spec.env.contains_key(*name) || by_settings(name));
    // Remote control needs the full login whatever else there is.
    if other && spec.remote_control.is_none() {
        return None;
    }
    let fix = format!(
        "run `claude auth login` as {user} on this host (a login copied from elsewhere logs one of the two out)"
    );
    let file = format!("{folder}/.credentials.json");
    match &files.login {
        Found::Absent => Some(format!("{user} is not logged in: no {file}; {fix}")),
        Found::Says(None) => Some(format!("{user} is not logged in: there is no login in {file}; {fix}")),
        Found::Bad(why) => Some(format!("{user}'s login cannot be used: {file}: {why}; {fix}")),
        Found::Says(Some(login)) => {
            let over = login.expires_at.is_some_and(|at| at <= *now) && !login.renewable;
            over.then(|| format!("{user}'s login has expired and cannot be renewed; {fix}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLACE: Place<'static> = Place {
        user: "loops",
        workdir: "/srv/w/a",
        folder: "/home/loops/.claude",
        state: "/home/loops/.claude.json",
        now: 1000,
    };

    fn spec(more: &str) -> Loop {
        serde_yaml::from_str(&format!("{{ agent: claude, workdir: a, command: [{SKIP}]{more} }}")).unwrap()
    }

    fn good() -> Files {
        Files {
            state: Found::Says(json!({
                "hasCompletedOnboarding": true,
                "bypassPermissionsModeAccepted": true,
                "projects": { "/srv/w/a": { "hasTrustDialogAccepted": true } },
            })),
            settings: Found::Absent,
            login: Found::Says(Some(Login { expires_at: Some(10), renewable: true })),
        }
    }

    fn say(spec: &Loop, files: &Files) -> String {
        obstacles(spec, files, &PLACE).join("\n")
    }

    #[test]
    fn an_agent_that_was_prepared_starts_without_a_question() {
        assert_eq!(say(&spec(""), &good()), "");
        let command: Loop = serde_yaml::from_str("{ agent: command, workdir: a, command: [x] }").unwrap();
        let nothing = Files { state: Found::Absent, settings: Found::Absent, login: Found::Absent };
        assert_eq!(say(&command, &nothing), "");
    }

    #[test]
    fn each_dialog_is_found_with_its_fix() {
        let mut files = good();
        files.state = Found::Says(json!({ "projects": { "/srv/w": { "hasTrustDialogAccepted": true } } }));
        let said = say(&spec(""), &files);
        for part in
            ["hasCompletedOnboarding", "trust dialog for /srv/w/a", "skipDangerousModePermissionPrompt"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(said.lines().count(), 3);
        files.settings = Found::Says(json!({ "skipDangerousModePermissionPrompt": true }));
        assert_eq!(say(&spec(""), &files).lines().count(), 2);
        let plain: Loop = serde_yaml::from_str("{ agent: claude, workdir: a }").unwrap();
        assert!(say(&plain, &good()).contains("ask before it does anything"));
        let rules =
            Files { settings: Found::Says(json!({ "permissions": { "allow": ["Bash(git:*)"] } })), ..good() };
        assert_eq!(say(&plain, &rules), "");
        let bad = Files {
            state: Found::Bad("line 1 is not JSON".into()),
            settings: Found::Bad("x".into()),
            ..good()
        };
        assert!(say(&spec(""), &bad).contains("settings.json cannot be used"));
    }

    #[test]
    fn a_login_is_missing_expired_or_good() {
        let with = |login| Files { login, ..good() };
        assert!(say(&spec(""), &with(Found::Absent)).contains("claude auth login"));
        assert!(say(&spec(""), &with(Found::Says(None))).contains("no login in"));
        let login = |expires_at, renewable| Found::Says(Some(Login { expires_at, renewable }));
        assert_eq!(say(&spec(""), &with(login(Some(999), true))), "");
        assert!(say(&spec(""), &with(login(Some(999), false))).contains("expired"));
        assert_eq!(say(&spec(""), &with(login(Some(1001), false))), "");
        let key = spec(", env: { ANTHROPIC_API_KEY: /run/x }");
        assert_eq!(say(&key, &with(Found::Absent)), "");
        let remote = spec(", remote_control: hq, env: { ANTHROPIC_API_KEY: /run/x }");
        assert!(say(&remote, &with(Found::Absent)).contains("not logged in"));
    }

    #[test]
    fn of_a_login_only_its_time_is_read() {
        let text =
            br#"{"claudeAiOauth":{"accessToken":"sk-very-secret","refreshToken":"rt-secret","expiresAt":5}}"#;
        let login = Login::read(text).unwrap().unwrap();
        assert_eq!(login, Login { expires_at: Some(5), renewable: true });
        assert_eq!(Login::read(b"{}"), Ok(None));
        let error = Login::read(br#"{"claudeAiOauth":{"expiresAt":"sk-very-secret"}}"#).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }
}
