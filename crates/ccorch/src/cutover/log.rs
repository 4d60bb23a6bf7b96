//! The driver's journal on disk: every entry is durable before the driver goes on.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Entry, Journal, Plan};
use ccorch_io::{clock, durable};

use crate::context::LoadedRig;

/// A journal and its file.
#[derive(Debug)]
pub struct Log {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub journal: Journal,
}

impl Log {
    /// Begins a new one.
    pub fn begin(loaded: &LoadedRig, plan: Plan) -> Result<Self> {
        let dir = loaded.operator()?.journals();
        durable::create_dir(&dir, 0o700)?;
        let id = super::new_id();
        let (journal, line) = Journal::begin(id.clone(), loaded.rig.rig.clone(), plan, clock::now());
        let path = dir.join(format!("{id}.jsonl"));
        durable::append_line(&path, &line, 0o600)?;
        Ok(Self { path, journal })
    }

    /// Takes an entry and makes it durable.
    pub fn append(&mut self, entry: Entry) -> Result<()> {
        let line = self.journal.append(clock::now(), entry).context("the journal does not allow this")?;
        durable::append_line(&self.path, &line, 0o600)
    }
}

/// Every journal of the rig, oldest first.
pub fn all(loaded: &LoadedRig) -> Result<Vec<Log>> {
    let dir = loaded.operator()?.journals();
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        trim_torn(&path, &text)?;
        Ok(Log { journal: super::read(&text, &path)?, path })
    };
    paths.into_iter().map(read).collect()
}

/// A torn last line is cut off, so that the next entry does not turn it into damage.
fn trim_torn(path: &std::path::Path, text: &str) -> Result<()> {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole > 0 && whole < text.len() {
        durable::replace(path, &text.as_bytes()[..whole], 0o600)?;
    }
    Ok(())
}

/// The journal that an earlier run left unfinished.
pub fn unfinished(loaded: &LoadedRig) -> Result<Option<Log>> {
    Ok(all(loaded)?.into_iter().rfind(|log| log.journal.outcome().is_none()))
}
