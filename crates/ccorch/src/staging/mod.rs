//! Carrying a rig's workspace and its agents' state from one host to another, and proving that both are equal.
//!
//! Nothing is started and nothing on the source is changed. Every part looks first and carries only what differs, so an
//! interrupted run is repaired by the next. What would be overwritten on the target without being the source's own is
//! set aside in `~/.local/state/ccorch/replaced/` there, or kept as a rescue in its clone, never deleted.
//!
//! Hosts are asked in few calls, both at once: see `crates/ccorch-io/src/repositories/mod.rs`.

mod agents;
mod begun;
mod cache;
mod delta;
mod files;
mod locks;
mod manifest;
mod pair;
mod prove;
mod repositories;
mod rescues;
pub mod routine;
mod safe;
mod way_back;
mod worktrees;

use std::fmt;

use anyhow::Result;
use ccorch_core::safepoint::Facts;
use ccorch_io::host::Host;
use serde::Serialize;

use crate::context::LoadedRig;

pub use agents::stays_apart;
pub use cache::{Cache, both};
use pair::Pair;
pub use prove::{Uncommitted, learn, prove};
pub use rescues::lacking;
pub use safe::{STAYS, look, rescue_all, rescue_name, safe_point, stamp};
pub use way_back::rescue_left;

/// Whether to do it or to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    Carry,
    /// Only look.
    DryRun,
}

/// Whether somebody still works on the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The source works: what git holds comes from its remotes.
    Early,
    /// The source is still and nobody works anywhere: only what differs moves, straight from the source. Work that is
    /// not committed goes along as the files it is, when the policy is to rescue it.
    Last,
}

/// What was carried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Repositories that were cloned or moved forward.
    pub repositories: u64,
    /// Work trees with rescues of earlier cutovers that the target did not have.
    pub rescues: u64,
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
        self.repositories == 0 && self.rescues == 0 && self.files == 0 && self.removed == 0
    }

    fn add(&mut self, stats: ccorch_io::rsync::Stats) {
        self.files += stats.files;
        self.removed += stats.deleted;
        self.bytes += stats.bytes;
    }

    fn join(&mut self, other: Self) {
        self.repositories += other.repositories;
        self.rescues += other.rescues;
        self.files += other.files;
        self.removed += other.removed;
        self.bytes += other.bytes;
        self.notes.extend(other.notes);
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repositories, rescues, files, removed, bytes, .. } = self;
        write!(f, "{repositories} repositories, {files} files ({bytes} bytes), {removed} removed")?;
        if *rescues > 0 { write!(f, ", rescues of {rescues} work trees") } else { Ok(()) }
    }
}

/// What a sync may do beyond carrying.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// Do it, or say it.
    pub mode: Mode,
    /// When.
    pub pass: Pass,
    /// Work that is not committed: on the target it is kept as a rescue of this name when it is in the way, and from a
    /// source that is still it goes along as files. Without a name it is in the way.
    pub rescue: Option<&'a str>,
}

/// Looks at the repositories of a host on which nobody works, for the sync that follows.
pub fn look_ahead(loaded: &LoadedRig, host: &Host, cache: &Cache) -> Result<()> {
    cache.keep_facts(host, pair::facts(&loaded.rig, host)?);
    Ok(())
}

/// Carries everything. Early, the copies come first (a key that git needs may be one), then repositories, then what git
/// does not hold, then the agents' own state; last, all that does not wait for another at the same time.
pub fn sync(
    loaded: &LoadedRig,
    source: &Host,
    target: &Host,
    how: How<'_>,
    cache: &Cache,
) -> Result<Carried> {
    let pair = Pair::of(&loaded.rig, source, target, cache)?;
    let mut carried = Carried::default();
    if how.pass == Pass::Early {
        carried.join(files::sync_copies(&pair, how.mode)?);
        let before = pair.all_facts()?;
        worktrees::check(&pair, &before.0)?;
        carried.join(repositories::sync(&pair, how, &before)?);
        // Repositories have just moved.
        let facts = pair.all_facts()?;
        carried.rescues += rescues::sync(&pair, 0..pair.repositories.len(), &facts, how.mode)?;
        let (files, agents) = both(|| files::sync(&pair, how, &facts), || agents::sync(&pair, how.mode))?;
        carried.join(files);
        carried.join(agents);
        return Ok(carried);
    }
    let work = || {
        let facts = pair.still_facts(cache)?;
        worktrees::check(&pair, &facts.0)?;
        let mut carried = repositories::sync_last(&pair, how, &facts)?;
        carried.join(files::sync(&pair, how, &facts)?);
        Ok(carried)
    };
    let beside = || both(|| files::sync_copies(&pair, how.mode), || agents::sync(&pair, how.mode));
    let (work, (copies, agents)) = both(work, beside)?;
    for part in [work, copies, agents] {
        carried.join(part);
    }
    Ok(carried)
}
