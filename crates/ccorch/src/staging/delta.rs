//! What changed in the repositories since the early pass, carried by one call to each host.

use std::collections::BTreeMap;

use anyhow::Result;
use ccorch_core::stage::config_to_carry;
use ccorch_io::repositories::{Move, Repositories, Wanted};

use super::pair::Pair;
use super::{Facts, rescues, worktrees};

/// Known tips that are told to the packer at most: more make a smaller pack of no use.
const MOST_KNOWN: usize = 500;

/// One repository whose branches move and nothing else.
#[derive(Debug)]
pub struct Simple {
    /// Its number in the pair's list.
    pub index: usize,
    wanted: Wanted,
    moves: Vec<Move>,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Delta {
    /// Carried in one go.
    pub simple: Vec<Simple>,
    /// How many of them have a branch that moves (others have only heard of the remote's).
    pub moved: u64,
    /// How many have rescues that the target lacks.
    pub rescues: u64,
    /// Repositories with more to do: not there, another branch, other settings, submodules, linked work trees, something in
    /// the way on the target.
    pub long_way: Vec<usize>,
}

/// Sorts the repositories.
pub fn plan(pair: &Pair, (source, target): &(Vec<Facts>, Vec<Facts>)) -> Delta {
    let mut delta = Delta::default();
    for (index, (ours, theirs)) in source.iter().zip(target).enumerate() {
        let repository = pair.repositories[index].1;
        // A key's values have an order, keys have none: each clone wrote its own.
        let settings = |facts: &Facts| {
            let mut all = config_to_carry(&facts.config).settings;
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
            all
        };
        let own = pair.own_files_of(&pair.repositories[index].0);
        let is_own = |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| own.contains(name));
        let same_shape = ours.exists
            && theirs.exists
            && !theirs.incomplete
            && !ours.submodules
            && !theirs.submodules
            && worktrees::of(ours).chain(worktrees::of(theirs)).next().is_none()
            && theirs.origin().as_deref() == Some(repository.url.as_str())
            && theirs.trees.iter().all(|tree| tree.in_progress.is_empty())
            && theirs.dirty().all(|entry| is_own(&entry.path))
            && ours.branch().is_some()
            && theirs.branch() == ours.branch()
            && ours.heads.contains_key(&repository.branch)
            && settings(ours) == settings(theirs);
        if !same_shape {
            delta.long_way.push(index);
            continue;
        }
        let heads = moves("refs/heads/", &ours.heads, &theirs.heads, |_| true);
        // What the source knows of its remote: without it the target would call pushed work unpushed.
        let followed = |name: &str| name.starts_with("origin/") && name != "origin/HEAD";
        let remotes = moves("refs/remotes/", &ours.remotes, &theirs.remotes, followed);
        let kept = |facts: &Facts| facts.main().map(|tree| tree.rescues.clone()).unwrap_or_default();
        let (rescues, theirs_kept) = (kept(ours), kept(theirs));
        let rescued = rescues::moves(&rescues, &theirs_kept);
        if heads.is_empty() && remotes.is_empty() && rescued.is_empty() {
            continue;
        }
        delta.moved += u64::from(!heads.is_empty());
        delta.rescues += u64::from(!rescued.is_empty());
        let old = heads.iter().map(|one| one.old.clone()).filter(|old| !old.is_empty()).collect();
        let tips = theirs.heads.values().chain(theirs.remotes.values()).take(MOST_KNOWN).cloned().collect();
        let moves = [heads, remotes, rescued].concat();
        // A rescue of the target's own that gets another name is not the source's to give.
        let has =
            |one: &&Move| !one.name.starts_with("refs/ccorch/") || rescues.values().any(|id| *id == one.new);
        let commits = moves.iter().filter(has).map(|one| one.new.clone()).collect();
        let wanted = Wanted { dir: ours.dir.clone(), commits, known: tips, must_know: old };
        delta.simple.push(Simple { index, wanted, moves });
    }
    delta
}

fn moves(
    below: &str,
    ours: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Move> {
    let differs = |(name, id): &(&String, &String)| wanted(name) && theirs.get(*name) != Some(*id);
    let one = |(name, id): (&String, &String)| Move {
        name: format!("{below}{name}"),
        old: theirs.get(name).cloned().unwrap_or_default(),
        new: id.clone(),
    };
    ours.iter().filter(differs).map(one).collect()
}

/// Carries them. A branch of the target with commits that the source never had stops all of it.
pub fn carry(pair: &Pair, all: &[Simple]) -> Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let wanted: Vec<Wanted> = all.iter().map(|one| one.wanted.clone()).collect();
    let archive = Repositories { host: pair.source, user: pair.user }.pack(&wanted)?;
    let moves: Vec<(String, Vec<Move>)> =
        all.iter().map(|one| (one.wanted.dir.clone(), one.moves.clone())).collect();
    Ok(Repositories { host: pair.target, user: pair.user }.take(&archive, &moves)?)
}
