//! Rescues of this and earlier cutovers: refs that may be the only name of somebody's work, so they go where the rig goes.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use ccorch_io::git::Clone;
use ccorch_io::host::Host;
use ccorch_io::repositories::{Move, Repositories, Wanted};

use super::cache::both;
use super::pair::{Pair, facts};
use super::{Facts, Mode};
use crate::context::LoadedRig;

const BELOW: &str = "refs/ccorch/rescue/";

/// How rescues of one work tree move, until the target has all of the source's. One of the target's that has the same
/// name and another commit is kept, under a name of its own.
pub fn moves(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> Vec<Move> {
    let mut all = Vec::new();
    for (name, id) in ours {
        let old = theirs.get(name);
        if old == Some(id) {
            continue;
        }
        if let Some(old) = old {
            let kept = format!("{name}-was-{}", short(old));
            if !theirs.contains_key(&kept) {
                all.push(Move { name: format!("{BELOW}{kept}"), old: String::new(), new: old.clone() });
            }
        }
        let old = old.cloned().unwrap_or_default();
        all.push(Move { name: format!("{BELOW}{name}"), old, new: id.clone() });
    }
    all
}

/// Carries the rescues of these repositories (numbers in the pair's list) and of their submodules; in how many work
/// trees the target lacked some.
pub fn sync(
    pair: &Pair,
    which: impl Iterator<Item = usize>,
    (source, target): &(Vec<Facts>, Vec<Facts>),
    mode: Mode,
) -> Result<u64> {
    let none = BTreeMap::new();
    let (mut wanted, mut all) = (Vec::new(), Vec::new());
    for index in which {
        for (dir, ours) in source[index].rescues() {
            let theirs = of(&target[index], dir).unwrap_or(&none);
            let moves = moves(ours, theirs);
            if moves.is_empty() {
                continue;
            }
            let known = target[index].heads.values().chain(target[index].remotes.values()).cloned().collect();
            let commits =
                ours.values().filter(|id| moves.iter().any(|one| one.new == **id)).cloned().collect();
            wanted.push(Wanted { dir: dir.into(), commits, known, must_know: Vec::new() });
            all.push((dir.to_owned(), moves));
        }
    }
    if !all.is_empty() && mode == Mode::Carry {
        let archive = Repositories { host: pair.source, user: pair.user }.pack(&wanted)?;
        Repositories { host: pair.target, user: pair.user }.take(&archive, &all)?;
    }
    Ok(all.len() as u64)
}

/// A rescue that one host has and another has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Absolute path of the work tree.
    pub place: String,
    /// Its name below `refs/ccorch/rescue/`.
    pub name: String,
    /// Its commit.
    pub commit: String,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rescue {} ({}) of {}", self.name, short(&self.commit), self.place)
    }
}

/// Rescues of the source by whose commit the target has no ref at all, neither this nor another.
pub fn lacking(loaded: &LoadedRig, source: &Host, target: &Host) -> Result<Vec<Lacking>> {
    let rig = &loaded.rig;
    let (ours, theirs) = both(|| facts(rig, source), || facts(rig, target))?;
    let mut all = Vec::new();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for (place, rescues) in ours.rescues() {
            for (name, commit) in rescues {
                let clone = Clone { host: target, user: &rig.workspace.user, dir: place.into() };
                let same = of(theirs, place).and_then(|there| there.get(name)) == Some(commit);
                if !same && !clone.names(commit)? {
                    all.push(Lacking { place: place.into(), name: name.clone(), commit: commit.clone() });
                }
            }
        }
    }
    Ok(all)
}

/// The rescues of one work tree of a clone.
pub fn of<'a>(facts: &'a Facts, dir: &str) -> Option<&'a BTreeMap<String, String>> {
    facts.trees.iter().find(|tree| tree.dir == dir).map(|tree| &tree.rescues)
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
