//! An agent program's own state: which files of a user's home go along, and which never do.
//!
//! A login never goes: its refresh token works once, so that a copy logs one of the two out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::names::LoopName;
use crate::rig::{Agent, Rig};

use super::join;

/// Where a path of [`AgentState`] starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// The home of the workspace's user, which may differ between hosts.
    Home,
    /// An absolute folder, the same on both.
    Dir(String),
}

/// What is carried for the agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// Files and whole trees, relative to their base; ones that do not exist are passed over.
    pub paths: BTreeMap<Base, BTreeSet<String>>,
    /// Claude Code's state file for each base, relative to it; carried by [`merge_claude_json`].
    pub claude_json: BTreeMap<Base, String>,
    /// Absolute working directories of the loops that run Claude Code.
    pub workdirs: BTreeSet<String>,
}

/// Settings, commands and memory of Claude Code beside the transcripts. Its login is `.credentials.json`: not here.
const CLAUDE: [&str; 4] = ["CLAUDE.md", "settings.json", "commands", "agents"];

/// Names another folder than the home's for Claude Code's state.
const CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";

/// What the adapters of the rig's loops want carried.
pub fn agent_state(rig: &Rig) -> AgentState {
    let mut state = AgentState::default();
    for one in rig.loops.values().filter(|l| l.agent == Agent::Claude) {
        let workdir = join(rig.workspace.root.trim_end_matches('/'), one.workdir.trim_end_matches('/'));
        let (base, dir, json) = match one.env.get(CONFIG_DIR) {
            Some(dir) => (Base::Dir(dir.trim_end_matches('/').into()), ".", ".claude.json"),
            None => (Base::Home, ".claude", ".claude.json"),
        };
        let paths = state.paths.entry(base.clone()).or_default();
        paths.extend(CLAUDE.iter().map(|name| join(dir, name)));
        paths.extend(project_dirs(&workdir).map(|name| join(dir, &format!("projects/{name}"))));
        state.claude_json.insert(base, json.into());
        state.workdirs.insert(workdir);
    }
    state
}

/// Claude loops with a user of their own, and that user: their conversations and settings lie in another home and do not go
/// along.
pub fn apart(rig: &Rig) -> impl Iterator<Item = (&LoopName, &str)> {
    let known = rig.loops.iter().filter(|(_, l)| l.agent == Agent::Claude && !l.env.contains_key(CONFIG_DIR));
    known
        .filter_map(|(name, l)| Some((name, l.user.as_deref()?)))
        .filter(|(_, user)| *user != rig.workspace.user)
}

/// The names under which a working directory's transcripts may lie: `/` becomes `-`, in some versions every character
/// that is no letter or digit does.
fn project_dirs(workdir: &str) -> impl Iterator<Item = String> {
    let other = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    BTreeSet::from([workdir.replace('/', "-"), workdir.chars().map(other).collect()]).into_iter()
}

/// Top-level keys of Claude Code's state file that are a person's answers, not a login and not a machine's counters.
const ANSWERS: [&str; 7] = [
    "hasCompletedOnboarding",
    "lastOnboardingVersion",
    "bypassPermissionsModeAccepted",
    "hasAcknowledgedCostThreshold",
    "theme",
    "editorMode",
    "autoUpdates",
];
/// The same of one project.
const PROJECT_ANSWERS: [&str; 5] = [
    "hasTrustDialogAccepted",
    "hasCompletedProjectOnboarding",
    "allowedTools",
    "hasClaudeMdExternalIncludesApproved",
    "hasClaudeMdExternalIncludesWarningShown",
];

/// The target's state file with the source's answers for these working directories put in; `None` when it has them.
///
/// Only known answers are taken: the file also holds the login's account, keys, and tokens of MCP servers.
pub fn merge_claude_json(source: &Value, target: &Value, workdirs: &BTreeSet<String>) -> Option<Value> {
    let mut merged = target.as_object().cloned().unwrap_or_default();
    copy(source, &mut merged, &ANSWERS);
    for workdir in workdirs {
        let Some(project) = source.get("projects").and_then(|p| p.get(workdir)) else { continue };
        let projects = merged.entry("projects").or_insert_with(|| Value::Object(Map::new()));
        let Some(projects) = projects.as_object_mut() else { continue };
        let own = projects.entry(workdir).or_insert_with(|| Value::Object(Map::new()));
        if let Some(own) = own.as_object_mut() {
            copy(project, own, &PROJECT_ANSWERS);
        }
    }
    let merged = Value::Object(merged);
    (merged != *target).then_some(merged)
}

fn copy(from: &Value, to: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = from.get(*key) {
            to.insert((*key).into(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn loops_with_a_home_of_their_own_are_named() {
        let rig: Rig = serde_yaml::from_str(indoc::indoc! {r#"
            rig: demo
            workspace: { root: /srv/w, user: loops, repositories: {} }
            phases: []
            loops:
              a: { agent: claude, workdir: ., user: ann }
              b: { agent: claude, workdir: b, user: loops }
              c: { agent: claude, workdir: c, user: ann, env: { CLAUDE_CONFIG_DIR: /srv/login-c } }
              d: { agent: command, workdir: d, user: ann, command: [x] }
            hosts: {}
        "#})
        .unwrap();
        let found: Vec<(&str, &str)> = apart(&rig).map(|(name, user)| (name.as_str(), user)).collect();
        assert_eq!(found, [("a", "ann")]);
    }

    #[test]
    fn transcripts_and_settings_go_and_the_login_does_not() {
        let rig: Rig = serde_yaml::from_str(indoc::indoc! {r#"
            rig: demo
            workspace: { root: /srv/cc_ci/, user: loops, repositories: {} }
            phases: []
            loops:
              top: { agent: claude, workdir: . }
              b: { agent: claude, workdir: b }
              c: { agent: claude, workdir: c, env: { CLAUDE_CONFIG_DIR: /srv/login-c } }
              d: { agent: command, workdir: d, command: [x] }
            hosts: {}
        "#})
        .unwrap();
        let state = agent_state(&rig);
        let home: Vec<&str> = state.paths[&Base::Home].iter().map(String::as_str).collect();
        assert_eq!(
            home,
            [
                ".claude/CLAUDE.md",
                ".claude/agents",
                ".claude/commands",
                ".claude/projects/-srv-cc-ci",
                ".claude/projects/-srv-cc-ci-b",
                ".claude/projects/-srv-cc_ci",
                ".claude/projects/-srv-cc_ci-b",
                ".claude/settings.json"
            ]
        );
        let other = &state.paths[&Base::Dir("/srv/login-c".into())];
        assert!(other.contains("projects/-srv-cc_ci-c") && other.contains("settings.json"));
        assert!(state.paths.values().flatten().all(|path| !path.contains("credentials")));
        assert_eq!(state.workdirs, ["/srv/cc_ci", "/srv/cc_ci/b", "/srv/cc_ci/c"].map(Into::into).into());
    }

    #[test]
    fn answers_are_merged_and_the_targets_own_login_stays() {
        let source = json!({
            "hasCompletedOnboarding": true,
            "oauthAccount": { "emailAddress": "source" },
            "primaryApiKey": "secret",
            "projects": {
                "/srv/w": { "hasTrustDialogAccepted": true, "mcpServers": { "x": { "env": { "T": "secret" } } } },
                "/home/me": { "hasTrustDialogAccepted": true }
            }
        });
        let target = json!({ "oauthAccount": { "emailAddress": "target" }, "projects": { "/srv/w": { "history": [] } } });
        let workdirs = ["/srv/w".to_owned()].into();
        let merged = merge_claude_json(&source, &target, &workdirs).unwrap();
        assert_eq!(
            merged,
            json!({
                "oauthAccount": { "emailAddress": "target" },
                "projects": { "/srv/w": { "history": [], "hasTrustDialogAccepted": true } },
                "hasCompletedOnboarding": true
            })
        );
        assert_eq!(merge_claude_json(&source, &merged, &workdirs), None);
        assert!(!merge_claude_json(&source, &Value::Null, &workdirs).unwrap().to_string().contains("secret"));
    }
}
