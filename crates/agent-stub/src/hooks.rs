//! Runs the hooks of `--settings`: one `sh -c` a hook, the event as JSON on its standard input.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use signal_hook::consts::SIGHUP;

use crate::process;

/// A hook that takes longer is killed; so the agent is slowed, never stopped.
const LIMIT: Duration = Duration::from_secs(60);

/// The part of a settings file that is understood; other keys are the real agent's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    hooks: BTreeMap<String, Vec<Group>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    matcher: String,
    hooks: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    command: String,
    /// Seconds.
    timeout: Option<u64>,
}

/// The hooks of a session.
pub(crate) struct Hooks {
    settings: Settings,
    cwd: PathBuf,
    common: Map<String, Value>,
}

impl Hooks {
    /// Reads settings given as a file or as JSON.
    ///
    /// # Errors
    /// When the file cannot be read or is not settings.
    pub fn new(settings: Option<&str>, session: &str, transcript: &Path, cwd: &Path) -> Result<Hooks> {
        let mut common = Map::new();
        common.insert("session_id".into(), json!(session));
        common.insert("transcript_path".into(), json!(transcript));
        common.insert("cwd".into(), json!(cwd));
        Ok(Hooks {
            settings: settings.map(read).transpose()?.unwrap_or_default(),
            cwd: cwd.to_owned(),
            common,
        })
    }

    /// Runs the hooks of an event with one more field, and returns what went wrong.
    pub fn run(&self, event: &str, field: Option<(&str, &str)>) -> Vec<String> {
        let mut payload = self.common.clone();
        payload.insert("hook_event_name".into(), json!(event));
        if let Some((name, value)) = field {
            payload.insert(name.into(), json!(value));
        }
        let payload = Value::Object(payload).to_string();
        let value = field.map_or("", |(_, value)| value);
        let groups = self.settings.hooks.get(event).into_iter().flatten();
        groups
            .filter(|group| matches(&group.matcher, event, value))
            .flat_map(|group| &group.hooks)
            .filter(|hook| hook.kind == "command")
            .filter_map(|hook| self.call(event, hook, &payload))
            .collect()
    }

    fn call(&self, event: &str, hook: &Hook, payload: &str) -> Option<String> {
        let limit = hook.timeout.map_or(LIMIT, |seconds| LIMIT.min(Duration::from_secs(seconds)));
        let mut command = Command::new("sh");
        command.args(["-c", &hook.command]).current_dir(&self.cwd).env("CLAUDE_PROJECT_DIR", &self.cwd);
        let mut run = || process::run(&mut command, payload.as_bytes(), limit);
        // A terminal that closes hangs up its processes twice, and the second time can hit
        // the hook of the first before it is in a group of its own (about one in 200).
        let done = match run() {
            Ok(done) if done.signal() == Some(SIGHUP) => run(),
            done => done,
        };
        match done {
            Ok(done) if done.ok() => None,
            Ok(done) => Some(format!("{event} hook [{}] failed, {}", hook.command, done.why())),
            Err(error) => Some(format!("{event} hook [{}] cannot run: {error}", hook.command)),
        }
    }
}

fn read(settings: &str) -> Result<Settings> {
    if settings.trim_start().starts_with('{') {
        return serde_json::from_str(settings).context("--settings is not settings JSON");
    }
    let text =
        fs::read_to_string(settings).with_context(|| format!("Settings file not found: {settings}"))?;
    serde_json::from_str(&text).with_context(|| format!("{settings} is not settings JSON"))
}

/// A matcher is names with `|` between; only events with a kind (`source`, `reason`) have one.
fn matches(matcher: &str, event: &str, value: &str) -> bool {
    let has_kind = matches!(event, "SessionStart" | "SessionEnd" | "StopFailure");
    matcher.is_empty() || matcher == "*" || !has_kind || matcher.split('|').any(|name| name == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_gets_the_event_as_json() {
        let dir = tempfile::tempdir().unwrap();
        let settings = json!({"hooks": {"SessionStart": [
            {"matcher": "startup", "hooks": [{"type": "command", "command": "cat > got.json"}]},
            {"matcher": "resume", "hooks": [{"type": "command", "command": "touch wrong"}]},
        ]}, "model": "x"});
        let file = dir.path().join("settings.json");
        fs::write(&file, settings.to_string()).unwrap();
        let hooks = Hooks::new(file.to_str(), "sid", Path::new("/t.jsonl"), dir.path()).unwrap();
        assert!(hooks.run("SessionStart", Some(("source", "startup"))).is_empty());
        let got: Value = serde_json::from_slice(&fs::read(dir.path().join("got.json")).unwrap()).unwrap();
        assert_eq!(
            got,
            json!({"session_id": "sid", "transcript_path": "/t.jsonl", "cwd": dir.path(),
                   "hook_event_name": "SessionStart", "source": "startup"})
        );
        assert!(!dir.path().join("wrong").exists());
    }

    #[test]
    fn a_hook_that_is_hung_up_runs_again_and_no_more_than_once() {
        let dir = tempfile::tempdir().unwrap();
        let settings = |command: &str| {
            json!({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}}).to_string()
        };
        let run = |command: &str| {
            let hooks = Hooks::new(Some(&settings(command)), "s", Path::new("/t"), dir.path());
            hooks.unwrap().run("Stop", None)
        };
        // Whoever runs the tests may have them ignore hangups, which a shell passes on and cannot take back.
        let hang_up = "exec env --default-signal=HUP sh -c 'kill -HUP $$'";
        assert!(run(&format!("[ -e once ] || {{ touch once; {hang_up}; }}")).is_empty());
        assert_eq!(run(&format!("echo x >> twice; {hang_up}")).len(), 1);
        assert_eq!(fs::read_to_string(dir.path().join("twice")).unwrap(), "x\nx\n");
    }

    #[test]
    fn a_failing_and_a_slow_hook_are_reported() {
        let settings = r#"{"hooks":{"Stop":[{"hooks":[
            {"type":"command","command":"echo no room >&2; exit 4"},
            {"type":"command","command":"sleep 60","timeout":1}]}]}}"#;
        let dir = tempfile::tempdir().unwrap();
        let hooks = Hooks::new(Some(settings), "s", Path::new("/t"), dir.path()).unwrap();
        let problems = hooks.run("Stop", None);
        assert!(problems[0].contains("no room"), "{problems:?}");
        assert!(problems[1].contains("deadline"), "{problems:?}");
    }
}
