//! How an agent is started: which conversation, with which words, as which argv.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::names::LoopName;
use crate::rig::{Agent, Loop, Phase, Role};

/// Which conversation a start is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conversation {
    /// A new one with this id.
    New(Uuid),
    /// Exactly this one, which has a transcript.
    Resume(Uuid),
}

impl Conversation {
    /// A stored id is resumed when it has a transcript; without one, `--resume` would fail for ever.
    pub fn of(session: Uuid, has_transcript: bool) -> Self {
        if has_transcript { Self::Resume(session) } else { Self::New(session) }
    }
}

/// A transcript found in an agent's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcript {
    /// Its conversation.
    pub session: Uuid,
    /// When it was last written, in seconds since the epoch.
    pub modified: i64,
}

/// The conversation of a loop that has none stored yet: the newest of its working directory that no other loop owns
/// (how a legacy rig's agents are taken over), else none.
pub fn adopt(transcripts: &[Transcript], owned: &BTreeSet<Uuid>) -> Option<Uuid> {
    transcripts.iter().filter(|t| !owned.contains(&t.session)).max_by_key(|t| t.modified).map(|t| t.session)
}

/// The folder under `projects/` in which Claude Code keeps a working directory's transcripts.
/// Source: seen on version 2.1.197: every character but letters and digits becomes `-`.
pub fn project_key(workdir: &str) -> String {
    workdir.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// What is known when a loop is about to start.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// The loop.
    pub name: &'a LoopName,
    /// Its entry in the rig.
    pub spec: &'a Loop,
    /// Its conversation; absent for agents without one.
    pub conversation: Option<Conversation>,
    /// The phase the rig is in and its index; absent when the phases are over.
    pub phase: Option<(usize, &'a Phase)>,
    /// The text of the prompt file.
    pub prompt: Option<&'a str>,
    /// Something to tell the agent now, such as a reboot.
    pub message: Option<&'a str>,
    /// What its hooks call, a line for a shell.
    pub hook: Option<&'a str>,
}

/// The argv of the agent. Never holds a secret.
pub fn argv(start: &Start<'_>) -> Vec<String> {
    match start.spec.agent {
        Agent::Command => start.spec.command.clone(),
        Agent::Claude => claude(start),
    }
}

fn claude(start: &Start<'_>) -> Vec<String> {
    let mut argv: Vec<String> = vec!["claude".into()];
    match start.conversation {
        Some(Conversation::New(id)) => argv.extend(["--session-id".into(), id.to_string()]),
        Some(Conversation::Resume(id)) => argv.extend(["--resume".into(), id.to_string()]),
        None => {}
    }
    argv.extend(["--name".into(), start.name.to_string()]);
    if let Some(name) = &start.spec.remote_control {
        // With `=`, because the name is optional and the prompt comes right behind.
        argv.push(format!("--remote-control={name}"));
    }
    // Settings of the rig's own stand in the place of ours: the agent takes one of them.
    let own = start.spec.command.iter().any(|word| word == "--settings" || word.starts_with("--settings="));
    if let Some(hook) = start.hook.filter(|_| !own) {
        argv.extend(["--settings".into(), crate::hook::settings(hook)]);
    }
    argv.extend(start.spec.command.iter().cloned());
    if let Some(words) = words(start) {
        argv.push(words);
    }
    argv
}

/// What the agent reads first: the prompt in a new conversation, what happened and where the rig is in a resumed one.
fn words(start: &Start<'_>) -> Option<String> {
    let phase =
        start.phase.map(|(index, phase)| format!("Phase {} (index {index}): {}.", phase.id, phase.plan));
    let opening = match start.conversation {
        Some(Conversation::Resume(_)) if start.spec.role == Role::Worker => {
            Some("Continue where you were.".into())
        }
        Some(Conversation::Resume(_)) => None,
        _ => start.prompt.map(|text| text.trim_end().to_owned()),
    };
    let parts: Vec<String> = start.message.map(Into::into).into_iter().chain(opening).chain(phase).collect();
    // An orchestrator that nobody has anything to tell waits for its person.
    let quiet = start.spec.role == Role::Orchestrator && start.message.is_none() && start.prompt.is_none();
    if parts.is_empty() || quiet { None } else { Some(parts.join("\n\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> Loop {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn a_new_conversation_gets_the_prompt_and_a_resumed_one_the_news() {
        let name = LoopName::new("builder").unwrap();
        let spec = spec("{ agent: claude, workdir: a, command: [--dangerously-skip-permissions] }");
        let phase = Phase { id: "2".into(), plan: "plans/2.md".into() };
        let mut start = Start {
            name: &name,
            spec: &spec,
            conversation: Some(Conversation::New(id(1))),
            phase: Some((1, &phase)),
            prompt: Some("Build it.\n"),
            message: None,
            hook: None,
        };
        let uuid = id(1).to_string();
        let flags = ["--name", "builder", "--dangerously-skip-permissions"];
        let expect = |mode: &str, words: &str| -> Vec<String> {
            ["claude", mode, &uuid].into_iter().chain(flags).chain([words]).map(Into::into).collect()
        };
        assert_eq!(argv(&start), expect("--session-id", "Build it.\n\nPhase 2 (index 1): plans/2.md."));
        start.conversation = Some(Conversation::Resume(id(1)));
        start.message = Some("The host rebooted.");
        let words = "The host rebooted.\n\nContinue where you were.\n\nPhase 2 (index 1): plans/2.md.";
        assert_eq!(argv(&start), expect("--resume", words));
    }

    #[test]
    fn an_orchestrator_with_no_news_waits_for_its_person() {
        let name = LoopName::new("boss").unwrap();
        let spec = spec("{ agent: claude, workdir: ., role: orchestrator, remote_control: hq }");
        let conversation = Some(Conversation::Resume(id(2)));
        let phase = Phase { id: "2".into(), plan: "p".into() };
        let start = Start {
            name: &name,
            spec: &spec,
            conversation,
            phase: Some((0, &phase)),
            prompt: None,
            message: None,
            hook: None,
        };
        assert_eq!(argv(&start).last().unwrap(), "--remote-control=hq");
        let told = Start { message: Some("Rebooted."), ..start };
        assert_eq!(argv(&told).last().unwrap(), "Rebooted.\n\nPhase 2 (index 0): p.");
    }

    #[test]
    fn a_command_is_run_as_it_is() {
        let name = LoopName::new("x").unwrap();
        let spec = spec("{ agent: command, workdir: ., command: [make, watch] }");
        assert_eq!(argv(&plain(&name, &spec)), ["make", "watch"]);
    }

    fn plain<'a>(name: &'a LoopName, spec: &'a Loop) -> Start<'a> {
        let (conversation, phase) = (None, None);
        Start { name, spec, conversation, phase, prompt: None, message: None, hook: Some("ccorch hook x") }
    }

    #[test]
    fn hooks_are_asked_for_unless_the_rig_has_settings_of_its_own() {
        let name = LoopName::new("x").unwrap();
        let ours = spec("{ agent: claude, workdir: . }");
        let argv = argv(&plain(&name, &ours));
        assert_eq!(argv[1..], ["--name", "x", "--settings", &crate::hook::settings("ccorch hook x")]);
        let theirs = spec("{ agent: claude, workdir: ., command: [--settings, s.json] }");
        assert_eq!(super::argv(&plain(&name, &theirs))[1..], ["--name", "x", "--settings", "s.json"]);
    }

    #[test]
    fn the_newest_conversation_nobody_owns_is_adopted() {
        let found = [(1, 10), (2, 30), (3, 20)].map(|(n, modified)| Transcript { session: id(n), modified });
        assert_eq!(adopt(&found, &BTreeSet::new()), Some(id(2)));
        assert_eq!(adopt(&found, &BTreeSet::from([id(2)])), Some(id(3)));
        assert_eq!(adopt(&[], &BTreeSet::new()), None);
    }

    #[test]
    fn transcripts_are_keyed_by_path() {
        assert_eq!(project_key("/srv/cc-ci/cc-ci.adv"), "-srv-cc-ci-cc-ci-adv");
    }
}
