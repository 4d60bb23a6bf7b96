//! What the supervisor keeps about each loop, and where its agent's conversations lie.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use ccorch_core::fleet::Memory;
use ccorch_core::launch::{Transcript, adopt, project_key};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::rig::{Agent, Loop};
use ccorch_core::stop::StopReason;
use ccorch_io::durable;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Here;

/// What is kept about one loop. Readable by the loop's user: it is how its start knows the conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopState {
    /// What a person wants of it.
    #[serde(default)]
    pub desired: Desired,
    /// Its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// What the supervisor's decisions rest on: state, pauses, what it is to be told.
    #[serde(default)]
    pub memory: Memory,
    /// What the supervisor stops it for at the moment, for the record of the stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<StopReason>,
    /// What to tell the agent at its next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Reads the state of a loop; a loop never seen has the default one.
pub fn read(here: &Here, name: &LoopName) -> Result<LoopState> {
    Ok(durable::read_json(&here.paths.loop_state(name))?.unwrap_or_default())
}

/// Writes the state of a loop.
pub fn write(here: &Here, name: &LoopName, state: &LoopState) -> Result<()> {
    durable::replace_json(&here.paths.loop_state(name), state, 0o644)
}

/// Gives every loop that needs one a conversation: the stored one, else the newest of its working directory that no
/// other loop owns, else a new one.
pub fn choose_sessions(here: &Here) -> Result<()> {
    let mut owned = BTreeSet::new();
    for name in here.rig.loops.keys() {
        owned.extend(read(here, name)?.session);
    }
    for (name, spec) in here.rig.loops.iter().filter(|(_, spec)| spec.agent == Agent::Claude) {
        let mut state = read(here, name)?;
        if state.session.is_none() {
            let session = adopt(&transcripts(here, spec), &owned).unwrap_or_else(Uuid::new_v4);
            owned.insert(session);
            state.session = Some(session);
            write(here, name, &state)?;
        }
    }
    Ok(())
}

/// Whether a conversation has a transcript.
pub fn has_transcript(here: &Here, spec: &Loop, session: Uuid) -> bool {
    transcript(here, spec, session).exists()
}

/// Where a conversation's transcript lies.
pub fn transcript(here: &Here, spec: &Loop, session: Uuid) -> PathBuf {
    transcript_dir(here, spec).join(format!("{session}.jsonl"))
}

/// The process that holds a conversation, if one does: nothing locks a conversation, and two processes on one would
/// both write it. Found by its argv, where every agent that was told its conversation has it.
pub fn holder(session: Uuid) -> Option<u32> {
    let id = session.to_string();
    let holds = |argv: &[u8]| {
        argv.split(|byte| *byte == 0).any(|word| {
            let word = word.rsplit(|byte| *byte == b'=').next().unwrap_or_default();
            word == id.as_bytes()
        })
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let argv = fs::read(entry.path().join("cmdline")).ok()?;
        // A process that ended and is not buried yet has an empty one.
        (pid != std::process::id() && holds(&argv)).then_some(pid)
    })
}

fn transcripts(here: &Here, spec: &Loop) -> Vec<Transcript> {
    let entries = fs::read_dir(transcript_dir(here, spec)).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let path = entry.path();
        let session = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
        let age = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Transcript { session, modified: i64::try_from(age.as_secs()).ok()? })
    });
    found.collect()
}

/// The folder in which a loop's agent keeps its transcripts.
pub fn transcript_dir(here: &Here, spec: &Loop) -> PathBuf {
    let folder = super::unattended::claude_folder(here, spec);
    folder.join("projects").join(project_key(&here.rig.place(&spec.workdir)))
}
