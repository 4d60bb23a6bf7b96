//! The driver's journal on disk: every entry is durable here before the driver goes on, and on the hosts before it acts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Asked, Entry, Journal, Origin, Plan, plan_hash};
use ccorch_core::lease::Owner;
use ccorch_io::{clock, durable};

use super::copies;
use super::steps::Steps;
use crate::context::LoadedRig;
use crate::here::journals;

/// A journal and its file.
#[derive(Debug)]
pub struct Log {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub journal: Journal,
    /// Whether the journal's newest driver is another machine's, so that this one has to take it in hand first.
    pub foreign: bool,
    text: String,
}

impl Log {
    /// Begins a new one.
    pub fn begin(loaded: &LoadedRig, plan: Plan, asked: Asked) -> Result<Self> {
        let id = super::new_id();
        let origin = origin(loaded, &plan);
        let (journal, line) =
            Journal::begin(id.clone(), loaded.rig.rig.clone(), plan, origin, asked, clock::now());
        let path = folder(loaded)?.join(format!("{id}.jsonl"));
        durable::append_line(&path, &line, 0o600)?;
        Ok(Self { path, journal, foreign: false, text: format!("{line}\n") })
    }

    /// Takes over a copy that another machine's driver left on a host; what is here of it is kept aside.
    pub fn adopt(loaded: &LoadedRig, journal: Journal, text: String) -> Result<Self> {
        let path = folder(loaded)?.join(format!("{}.jsonl", journal.id));
        if path.exists() {
            let aside = path.with_extension("replaced");
            fs::rename(&path, &aside).with_context(|| format!("move {} aside", path.display()))?;
        }
        durable::replace(&path, text.as_bytes(), 0o600)?;
        Ok(Self { path, journal, foreign: true, text })
    }

    /// Takes an entry and makes it durable.
    pub fn append(&mut self, entry: Entry) -> Result<()> {
        let line = self.journal.append(clock::now(), entry).context("the journal does not allow this")?;
        trim_torn(&self.path, &self.text)?;
        durable::append_line(&self.path, &line, 0o600)?;
        self.text.push_str(&line);
        self.text.push('\n');
        Ok(())
    }

    /// Every line, as on disk.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// This machine drives from here on.
    pub fn taken(&mut self, owner: &Owner) -> Result<()> {
        self.foreign = false;
        self.append(Entry::Driver { turn: owner.turn, by: owner.by.clone() })
    }

    /// Has the hosts keep what is written so far, or learns that another driver was faster.
    pub fn send(&self, steps: &Steps<'_>) -> Result<()> {
        copies::send(&self.journal, &self.text, steps)
    }
}

/// What a cutover planned now would rest on.
pub fn origin(loaded: &LoadedRig, plan: &Plan) -> Origin {
    Origin { ccorch: env!("CARGO_PKG_VERSION").into(), plan_hash: plan_hash(&loaded.rig, plan) }
}

fn folder(loaded: &LoadedRig) -> Result<PathBuf> {
    let dir = loaded.operator()?.journals();
    durable::create_dir(&dir, 0o700)?;
    Ok(dir)
}

/// Every journal of the rig, oldest first.
pub fn all(loaded: &LoadedRig) -> Result<Vec<Log>> {
    let read = |path: PathBuf| {
        let text = journals::text(&path)?;
        if text.is_empty() {
            return Ok(None); // cut off in its first line: nothing had begun
        }
        Ok(Some(Log { journal: journals::parse(&text, &path)?, path, foreign: false, text }))
    };
    let paths = journals::files(&loaded.operator()?.journals());
    paths.into_iter().filter_map(|path| read(path).transpose()).collect()
}

/// A torn last line is cut off, so that the next entry does not turn it into damage. The driver's alone: to any other
/// reader a line that is just being written looks torn.
fn trim_torn(path: &Path, whole: &str) -> Result<()> {
    let length = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len();
    if length == whole.len() as u64 { Ok(()) } else { durable::replace(path, whole.as_bytes(), 0o600) }
}

/// The journal that an earlier run left unfinished.
pub fn unfinished(loaded: &LoadedRig) -> Result<Option<Log>> {
    Ok(all(loaded)?.into_iter().rfind(|log| log.journal.outcome().is_none()))
}
