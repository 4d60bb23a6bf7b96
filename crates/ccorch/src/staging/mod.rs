//! Carrying a rig's workspace and its agents' state from one host to another, and proving that both are equal.
//!
//! Nothing is started and nothing on the source is changed. Every part looks first and carries only what differs, so an
//! interrupted run is repaired by the next. What would be overwritten on the target without being the source's own is
//! set aside in `~/.local/state/ccorch/replaced/` there, never deleted.

mod agents;
mod files;
mod pair;
mod prove;
mod repositories;

use std::fmt;

use anyhow::Result;
use ccorch_io::host::Host;
use serde::Serialize;

use crate::context::LoadedRig;

use pair::Pair;
pub use prove::prove;

/// Whether to do it or to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    Carry,
    /// Only look.
    DryRun,
}

/// What was carried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Repositories that were cloned or moved forward.
    pub repositories: u64,
    /// Files sent.
    pub files: u64,
    /// Files removed or set aside on the target because the source does not have them.
    pub removed: u64,
    /// Size of the files sent, in bytes.
    pub bytes: u64,
    /// What a person should know: settings left out, names passed over.
    pub notes: Vec<String>,
}

impl Carried {
    /// Whether the target was as the source already.
    pub fn is_nothing(&self) -> bool {
        self.repositories == 0 && self.files == 0 && self.removed == 0
    }

    fn add(&mut self, stats: ccorch_io::rsync::Stats) {
        self.files += stats.files;
        self.removed += stats.deleted;
        self.bytes += stats.bytes;
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repositories, files, removed, bytes, .. } = self;
        write!(f, "{repositories} repositories, {files} files ({bytes} bytes), {removed} removed")
    }
}

/// Carries everything: the copies first (a key that git needs may be one), then repositories, then what git does not
/// hold, then the agents' own state.
pub fn sync(loaded: &LoadedRig, source: &Host, target: &Host, mode: Mode) -> Result<Carried> {
    let pair = Pair::of(&loaded.rig, source, target)?;
    let mut carried = Carried::default();
    files::sync_copies(&pair, mode, &mut carried)?;
    repositories::sync(&pair, mode, &mut carried)?;
    files::sync(&pair, mode, &mut carried)?;
    agents::sync(&pair, mode, &mut carried)?;
    Ok(carried)
}
