//! The proof that source and target hold the same: commits, cleanliness, and a manifest of every carried file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::Result;
use ccorch_core::safepoint::Tree;
use ccorch_core::stage::agent_state;
use ccorch_io::host::Host;
use serde::Serialize;

use super::cache::{Cache, both};
use super::manifest::{Below, Record, manifests};
use super::pair::Pair;
use super::{Facts, agents, files, rescues, worktrees};
use crate::context::LoadedRig;

/// One thing in which the hosts differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The repository or folder.
    pub place: String,
    /// What differs, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What becomes of changes that are not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncommitted {
    /// Neither host may have any.
    None,
    /// They were carried as files, and have to be the same on both.
    Carried,
    /// They went as rescues, which are compared; the files stay as they are.
    Rescued,
}

/// A folder on both hosts, and what of it is compared.
struct Place {
    from: String,
    to: String,
    names: Vec<Vec<u8>>,
}

/// Compares both hosts; an empty list means that they are equal. Neither may be at work.
pub fn prove(
    loaded: &LoadedRig,
    source: &Host,
    target: &Host,
    changes: Uncommitted,
    cache: &Cache,
) -> Result<Vec<Difference>> {
    let pair = Pair::of(&loaded.rig, source, target, cache)?;
    let (ours, theirs) = pair.all_facts()?;
    let mut all = Vec::new();
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        repository(&pair, index, ours, theirs, changes, &mut all);
    }
    let places = places(&pair, &ours, changes == Uncommitted::Carried)?;
    let (from, to) = sides(&places);
    let (ours, theirs) = both(|| manifests(source, &from, cache), || manifests(target, &to, cache))?;
    for (place, (ours, theirs)) in places.iter().zip(ours.iter().zip(&theirs)) {
        compare(&pair, &place.from, ours, theirs, &mut all);
    }
    all.sort();
    Ok(all)
}

/// Hashes on both hosts what is carried, while the source still works, so that the proof hashes only what changed since.
pub fn learn(loaded: &LoadedRig, source: &Host, target: &Host, cache: &Cache) -> Result<()> {
    let pair = Pair::of(&loaded.rig, source, target, cache)?;
    let facts = pair.facts(source)?;
    let places = places(&pair, &facts, true)?;
    let (from, to) = sides(&places);
    // A file may vanish under the look, by the source's work; when it always does, the proof has to hash more.
    let side = |host: &Host, places: &[Below<'_>]| Ok((0..3).any(|_| manifests(host, places, cache).is_ok()));
    both(|| side(source, &from), || side(target, &to)).map(drop)
}

fn sides(places: &[Place]) -> (Vec<Below<'_>>, Vec<Below<'_>>) {
    let from = places.iter().map(|place| Below { dir: &place.from, names: &place.names });
    (from.collect(), places.iter().map(|place| Below { dir: &place.to, names: &place.names }).collect())
}

fn places(pair: &Pair, facts: &[Facts], along: bool) -> Result<Vec<Place>> {
    let mut names: Vec<Vec<u8>> = files::names(pair, facts)?.into_iter().collect();
    if along {
        let (changed, gone) = files::uncommitted(pair, facts);
        names.extend(changed);
        names.extend(gone);
    }
    let mut all = vec![Place { from: pair.root.into(), to: pair.root.into(), names }];
    for copy in pair.rig.workspace.copies.values() {
        all.push(Place { from: copy.from.clone(), to: copy.from.clone(), names: vec![b".".to_vec()] });
    }
    for (base, paths) in &agent_state(pair.rig).paths {
        let (from, to) = agents::folders(pair, base);
        let names = paths.iter().map(|path| path.clone().into_bytes()).collect();
        all.push(Place { from, to, names });
    }
    Ok(all)
}

fn repository(
    pair: &Pair,
    index: usize,
    ours: &Facts,
    theirs: &Facts,
    changes: Uncommitted,
    all: &mut Vec<Difference>,
) {
    let path = &pair.repositories[index].0;
    let mut say = |what: String| all.push(Difference { place: format!("repository {path}"), what });
    let sides = [(pair.source, ours), (pair.target, theirs)];
    if let Some((host, _)) = sides.iter().find(|(_, facts)| !facts.exists) {
        say(format!("{} has no clone", host.name));
        return;
    }
    for (branch, commit) in &ours.heads {
        let there = theirs.heads.get(branch).map_or("nothing", String::as_str);
        if there != commit {
            say(format!(
                "branch {branch} is {commit} on {}, {there} on {}",
                pair.source.name, pair.target.name
            ));
        }
    }
    let shown = |facts: &Facts| {
        let commit = || facts.main().and_then(|tree| tree.head.clone());
        facts.branch().map(str::to_owned).or_else(commit).unwrap_or_else(|| "nothing".into())
    };
    let (at, at_there) = (shown(ours), shown(theirs));
    if at != at_there {
        let (ours, theirs) = (at, at_there);
        say(format!("{ours} is checked out on {}, {theirs} on {}", pair.source.name, pair.target.name));
    }
    for (dir, rescues) in ours.rescues() {
        let there = rescues::of(theirs, dir);
        for (name, commit) in
            rescues.iter().filter(|(name, id)| there.and_then(|t| t.get(*name)) != Some(*id))
        {
            say(format!("rescue {name} ({commit}) of {dir} is on {} only", pair.source.name));
        }
    }
    for tree in theirs.trees.iter().filter(|tree| !tree.in_progress.is_empty()) {
        say(format!("a {} is in progress in {} on {}", tree.in_progress[0], tree.dir, pair.target.name));
    }
    for tree in worktrees::of(ours) {
        let there = worktrees::of(theirs).find(|other| other.dir == tree.dir);
        if there.map(|other| (&other.head, &other.branch)) != Some((&tree.head, &tree.branch)) {
            let host = &pair.target.name;
            say(format!("the work tree {} is not there on {host}, or at another commit or branch", tree.dir));
        }
    }
    let own = pair.own_files_of(path);
    let unclean = |facts: &Facts| -> BTreeSet<String> {
        let names = facts.dirty().map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
        names.filter(|name| !own.contains(name)).collect()
    };
    let (changed, changed_there) = (unclean(ours), unclean(theirs));
    // One whose commit is a change that goes along is compared with it.
    let goes_along = |tree: &Tree| {
        let inside = Path::new(&tree.dir).strip_prefix(&pair.clones(path).source.dir);
        changes != Uncommitted::None
            && inside.is_ok_and(|inside| changed.iter().any(|name| inside.starts_with(name)))
    };
    for tree in ours.modules().filter(|tree| !goes_along(tree)) {
        if !theirs.modules().any(|other| (&other.dir, &other.head) == (&tree.dir, &tree.head)) {
            let host = &pair.target.name;
            say(format!("the submodule {} is not there on {host}, or at another commit", tree.dir));
        }
    }
    match changes {
        Uncommitted::Rescued => {}
        // Those of the source are compared as files.
        Uncommitted::Carried => changed_there
            .difference(&changed)
            .for_each(|name| say(format!("uncommitted change of {name} on {} only", pair.target.name))),
        Uncommitted::None => {
            for (host, names) in [(pair.source, &changed), (pair.target, &changed_there)] {
                names.iter().for_each(|name| say(format!("uncommitted change of {name} on {}", host.name)));
            }
        }
    }
}

fn compare(
    pair: &Pair,
    place: &str,
    ours: &BTreeSet<Record>,
    theirs: &BTreeSet<Record>,
    all: &mut Vec<Difference>,
) {
    let one_sided = |a: &BTreeSet<Record>, b: &BTreeSet<Record>| -> BTreeSet<String> {
        let shown =
            |path: &[u8]| String::from_utf8_lossy(path.strip_prefix(b"./").unwrap_or(path)).into_owned();
        a.difference(b).map(|(_, path, _)| shown(path)).collect()
    };
    let (left, right) = (one_sided(ours, theirs), one_sided(theirs, ours));
    for path in left.union(&right) {
        let what = match (left.contains(path), right.contains(path)) {
            (true, false) => format!("{path} is on {} only", pair.source.name),
            (false, true) => format!("{path} is on {} only", pair.target.name),
            _ => format!("{path} differs"),
        };
        all.push(Difference { place: place.into(), what });
    }
}
