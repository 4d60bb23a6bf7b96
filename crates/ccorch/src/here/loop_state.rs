//! What the supervisor keeps about each loop, and where its agent's conversations lie.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
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
use ccorch_io::paths::HostPaths;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Here;

/// What is kept about one loop, for the supervisor alone: it tells what others write to it and how it fares.
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
    /// The beginning of the latest run whose end is known here: what ended later did so while nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// What a loop's own start and stop need to know, which its user may read and no other loop's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// What the supervisor stops it for at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<StopReason>,
    /// What to tell the agent at its next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Share {
    /// That of a state.
    pub fn of(state: &LoopState) -> Self {
        Self { session: state.session, stopping: state.stopping, message: state.message.clone() }
    }

    /// Reads a loop's; one that was never needed is empty.
    pub fn read(paths: &HostPaths, name: &LoopName) -> Result<Self> {
        Ok(durable::read_json(&paths.loop_share(name))?.unwrap_or_default())
    }

    /// Has it lie where the loop's processes look for it, as its user's. Not waited for until it is on disk: the supervisor
    /// makes it anew from what it keeps.
    pub fn hand_out(&self, paths: &HostPaths, name: &LoopName, owner: Option<(u32, u32)>) -> Result<()> {
        let path = paths.loop_share(name);
        let found = fs::metadata(&path).ok();
        let needed = found.is_some() || *self != Self::default();
        let owned = found.map(|found| (found.uid(), found.gid())) == owner;
        if !needed || owned && Self::read(paths, name).is_ok_and(|there| there == *self) {
            return Ok(());
        }
        // A user who is not there starts nothing either.
        durable::put_json_for(&path, self, 0o600, owner)
    }
}

/// Reads the state of a loop; a loop never seen has the default one.
pub fn read(here: &Here, name: &LoopName) -> Result<LoopState> {
    Ok(durable::read_json(&here.paths.loop_state(name))?.unwrap_or_default())
}

/// Writes the state of a loop.
pub fn write(here: &Here, name: &LoopName, state: &LoopState) -> Result<()> {
    durable::replace_json(&here.paths.loop_state(name), state, 0o600)
}

/// The same, and returns before it is on disk: `durable::sync` sees to that.
pub fn put(here: &Here, name: &LoopName, state: &LoopState) -> Result<()> {
    durable::put_json(&here.paths.loop_state(name), state, 0o600)
}

/// Gives every loop that needs one a conversation: the stored one, else the newest of its working directory that no
/// other loop owns, else a new one.
pub fn choose_sessions(here: &Here) -> Result<()> {
    let mut owned = BTreeSet::new();
    for name in here.rig.loops.keys() {
        owned.extend(read(here, name).ok().and_then(|state| state.session));
    }
    for (name, spec) in here.rig.loops.iter().filter(|(_, spec)| spec.agent == Agent::Claude) {
        // One whose state cannot be read keeps no other from its conversation.
        let Ok(mut state) = read(here, name) else { continue };
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
