//! Which conversation this is: a new one, a given one, or the newest of the directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Result, bail};
use uuid::Uuid;

use crate::args::Args;

/// How a session came to be; the `source` of its `SessionStart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Startup,
    Resume,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Source::Startup => "startup",
            Source::Resume => "resume",
        }
    }
}

/// A chosen session.
#[derive(Debug)]
pub(crate) struct Session {
    pub id: String,
    pub transcript: PathBuf,
    pub source: Source,
}

/// Chooses by the options, among the transcripts in `folder`.
///
/// # Errors
/// An id in use, unknown or no UUID; nothing to go on with.
pub(crate) fn choose(args: &Args, folder: &Path) -> Result<Session> {
    let file = |id: &str| folder.join(format!("{id}.jsonl"));
    let session = |id: String, source| Session { transcript: file(&id), id, source };
    if let Some(given) = &args.session_id {
        let Ok(id) = Uuid::parse_str(given) else {
            bail!("Invalid session ID. Must be a valid UUID.");
        };
        let id = id.to_string();
        if file(&id).exists() {
            bail!("Session ID {id} is already in use.");
        }
        return Ok(session(id, Source::Startup));
    }
    if let Some(given) = &args.resume {
        return match Uuid::parse_str(given).map(|id| id.to_string()) {
            Ok(id) if file(&id).exists() => Ok(session(id, Source::Resume)),
            _ => bail!("No conversation found with session ID: {given}"),
        };
    }
    if args.continue_newest {
        return match newest(folder) {
            Some(id) => Ok(session(id, Source::Resume)),
            None => bail!("No conversation found to continue"),
        };
    }
    Ok(session(Uuid::new_v4().to_string(), Source::Startup))
}

fn newest(folder: &Path) -> Option<String> {
    let found = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let path = entry.path();
        let id = path.file_stem()?.to_str()?;
        let is_transcript = path.extension()? == "jsonl" && Uuid::parse_str(id).is_ok();
        let modified: SystemTime = entry.metadata().ok()?.modified().ok()?;
        is_transcript.then(|| (modified, id.to_owned()))
    });
    found.max().map(|(_, id)| id)
}
