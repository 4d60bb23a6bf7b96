//! Repositories: cloned on the target from their own remote, moved forward, and given what the remote does not have.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use ccorch_core::rig::Repository;
use ccorch_core::stage::{config_to_carry, has_credentials};
use ccorch_io::git::Clone;
use ccorch_io::repositories::Repositories;

use super::cache::each;
use super::files::set_aside;
use super::pair::{Clones, Pair};
use super::{Carried, Facts, How, Mode, begun, delta, rescues, safe, worktrees};
use crate::error::{Kind, Problem};

/// Carries all repositories. Those that only have moved come straight from the source, and show that the target reaches their
/// remotes; others are cloned from there first, those that hold others before them.
pub fn sync(pair: &Pair, how: How<'_>, facts: &(Vec<Facts>, Vec<Facts>)) -> Result<Carried> {
    let depth = |path: &str| if path == "." { 0 } else { path.split('/').count() };
    let all = || (0..pair.repositories.len()).collect();
    let (mut carried, mut long) =
        if how.mode == Mode::Carry { moved(pair, facts) } else { (Carried::default(), all()) };
    let rest = || (0..pair.repositories.len()).filter(|index| !long.contains(index));
    let dirs: Vec<String> = rest().map(|index| pair.clones(&pair.repositories[index].0).target.dir).collect();
    let remotes = Repositories { host: pair.target, user: pair.user };
    if !dirs.is_empty() && remotes.fetch(&dirs).is_err() {
        // One at a time says which, and why.
        long = all();
    }
    let long: Vec<_> = long.iter().map(|&index| &pair.repositories[index]).collect();
    for level in long.chunk_by(|(a, _), (b, _)| depth(a) == depth(b)) {
        for part in each(level, |(path, repository)| whole(pair, path, repository, how, facts))? {
            carried.join(part);
        }
    }
    Ok(carried)
}

/// Carries what changed since, straight from the source, all repositories in one call to each host. What is not as simple
/// as that goes the long way.
pub fn sync_last(pair: &Pair, how: How<'_>, facts: &(Vec<Facts>, Vec<Facts>)) -> Result<Carried> {
    let (mut all, long) = moved(pair, facts);
    // Outer ones first, as they are listed.
    for &index in &long {
        let (path, repository) = &pair.repositories[index];
        all.join(whole(pair, path, repository, how, facts)?);
    }
    all.rescues += rescues::sync(pair, long.into_iter(), facts, how.mode)?;
    Ok(all)
}

/// Carries what is simple; the numbers of the others.
fn moved(pair: &Pair, facts: &(Vec<Facts>, Vec<Facts>)) -> (Carried, Vec<usize>) {
    let plan = delta::plan(pair, facts);
    let mut all = Carried { repositories: plan.moved, rescues: plan.rescues, ..Carried::default() };
    let mut long = plan.long_way;
    if let Err(error) = delta::carry(pair, &plan.simple) {
        eprintln!("{}: one at a time, because of this: {error:#}", pair.target.name);
        (all.repositories, all.rescues) = (0, 0);
        long.extend(plan.simple.into_iter().map(|one| one.index));
        long.sort_unstable();
    }
    (all, long)
}

fn whole(
    pair: &Pair,
    path: &str,
    repository: &Repository,
    how: How<'_>,
    (source, target): &(Vec<Facts>, Vec<Facts>),
) -> Result<Carried> {
    eprintln!("{}: repository {path}", pair.target.name);
    let mut carried = Carried::default();
    let clones = pair.clones(path);
    let index = pair.repositories.iter().position(|(known, _)| known == path).unwrap_or_default();
    let facts = (&source[index], &target[index]);
    let changed = one(pair, &clones, repository, how, facts, &mut carried);
    carried.repositories = u64::from(changed.with_context(|| format!("repository `{path}`"))?);
    Ok(carried)
}

fn one(
    pair: &Pair,
    clones: &Clones,
    repo: &Repository,
    how: How<'_>,
    (ours, theirs): (&Facts, &Facts),
    carried: &mut Carried,
) -> Result<bool> {
    let (source, target) = (&clones.source, &clones.target);
    if !source.exists()? {
        let text = format!("{}: there is no git clone at {}", source.host.name, source.dir);
        return Err(Problem::new(Kind::Unfit, text)
            .hint("see `workspace.repositories` of the rig file")
            .into());
    }
    if has_credentials(&repo.url) {
        return Err(Problem::new(Kind::Rig, "its url holds a password or token")
            .hint("use an ssh url and a key, or a credential helper of the workspace's user")
            .into());
    }
    let heads = source.heads()?;
    if !heads.contains_key(&repo.branch) {
        let text = format!("{}: {} has no branch `{}`", source.host.name, source.dir, repo.branch);
        return Err(Problem::new(Kind::Unfit, text).hint("see `branch` in the rig file").into());
    }
    let there = target.exists()?;
    if how.mode == Mode::DryRun {
        let begun = theirs.trees.iter().any(|tree| !tree.in_progress.is_empty());
        return Ok(!there || begun || target.is_incomplete()? || target.heads()? != heads);
    }
    if !there {
        target.create(&repo.branch)?;
    }
    let mut changed = !there | target.set_origin(&repo.url)?;
    let (user, url) = (target.user, &repo.url);
    let fetched = target.fetch();
    fetched.with_context(|| format!("{} cannot fetch {url} as `{user}`", target.host.name))?;
    let at = checked_out(source, &heads, &repo.branch, ours)?;
    let linked = worktrees::of(ours).filter_map(|tree| tree.head.as_ref());
    carry_commits(source, target, heads.values().chain(at.commit()).chain(linked))?;
    changed |= begun::end(pair, clones, theirs, how)?;
    worktrees::release(clones, theirs)?;
    let begun = target.is_incomplete()?;
    changed |= move_branches(pair, clones, &heads, begun, how)?;
    if begun {
        target.complete(&repo.branch)?;
    }
    changed |= check_out(pair, clones, &at, how)?;
    changed |= worktrees::sync(pair, clones, ours, theirs, how)?;
    submodules(target)?;
    settings(clones, carried)?;
    Ok(changed)
}

/// What is checked out on the source, and shall be on the target.
enum CheckedOut {
    Branch(String),
    /// A commit without a branch.
    Commit(String),
}

impl CheckedOut {
    fn commit(&self) -> Option<&String> {
        if let Self::Commit(id) = self { Some(id) } else { None }
    }
}

/// A branch that is not born yet has nothing to check out; the rig's has. A loop that was stopped in a rebase has left a commit
/// without a branch, but is on the branch that is rebased, as the facts say.
fn checked_out(
    source: &Clone,
    heads: &BTreeMap<String, String>,
    usual: &str,
    facts: &Facts,
) -> Result<CheckedOut> {
    let rebased = || facts.branch().map(ToOwned::to_owned);
    match source.branch()?.or_else(rebased) {
        Some(branch) if heads.contains_key(&branch) => Ok(CheckedOut::Branch(branch)),
        Some(_) => Ok(CheckedOut::Branch(usual.into())),
        None => Ok(CheckedOut::Commit(source.head()?)),
    }
}

fn check_out(pair: &Pair, clones: &Clones, at: &CheckedOut, how: How<'_>) -> Result<bool> {
    let (target, now) = (&clones.target, clones.target.branch()?);
    let (commit, words) = match at {
        CheckedOut::Branch(branch) if now.as_ref() == Some(branch) => return Ok(false),
        CheckedOut::Branch(branch) => (branch, ["checkout", "-q", branch, "--"]),
        CheckedOut::Commit(id) if now.is_none() && target.head()? == *id => return Ok(false),
        CheckedOut::Commit(id) => (id, ["checkout", "-q", "--detach", id]),
    };
    make_way(pair, clones, commit, how)?;
    target.git(&words).run()?;
    Ok(true)
}

/// Commits that were never pushed go along, straight from the source.
fn carry_commits<'a>(
    source: &Clone,
    target: &Clone,
    commits: impl Iterator<Item = &'a String>,
) -> Result<()> {
    let mut missing = Vec::new();
    for commit in commits {
        if !target.has(commit)? {
            missing.push(commit.clone());
        }
    }
    if missing.is_empty() { Ok(()) } else { Ok(target.unpack(source.pack(&missing, &target.tips()?)?)?) }
}

/// Brings every branch to the source's commit. A commit of the target that the source never had is work of its own, and
/// is never dropped; one that the source has had is the source's, and may be rewritten as the source rewrote it (loops
/// rebase what they have not pushed yet).
fn move_branches(
    pair: &Pair,
    clones: &Clones,
    heads: &BTreeMap<String, String>,
    begun: bool,
    how: How<'_>,
) -> Result<bool> {
    let target = &clones.target;
    let (now, current) = (target.heads()?, target.branch()?);
    let mut changed = false;
    for (branch, commit) in heads {
        let old = now.get(branch);
        if old == Some(commit) {
            continue;
        }
        if let Some(old) = old.filter(|_| !begun)
            && !target.is_ancestor(old, commit)?
            && !clones.source.knows(old)?
        {
            let text = format!(
                "{}: branch `{branch}` has commits that {} has not",
                target.host.name, pair.source.name
            );
            let hint =
                format!("see `git -C {} log {commit}..{branch}` there; push or merge them first", target.dir);
            return Err(Problem::new(Kind::Conflict, text).hint(hint).into());
        }
        if !begun && current.as_deref() == Some(branch) {
            make_way(pair, clones, commit, how)?;
            // Restored from a copy, its files have other inodes than the index knows, and every one would count as changed.
            target.git(&["update-index", "-q", "--refresh"]).output()?;
            target.git(&["reset", "-q", "--keep", commit]).run()?;
        } else {
            target.git(&["update-ref", &format!("refs/heads/{branch}"), commit]).run()?;
        }
        changed = true;
    }
    Ok(changed)
}

/// Before the work tree moves: the rig's own files go back to what git holds (they are carried afterwards), and files
/// that were carried while git did not hold them are set aside.
fn make_way(pair: &Pair, clones: &Clones, commit: &str, how: How<'_>) -> Result<()> {
    let target = &clones.target;
    let own = pair.own_files_of(clones.path);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for name in target.dirty()? {
        match String::from_utf8(name.clone()) {
            Ok(name) if own.contains(&name) => ours.push(name),
            _ => others.push(String::from_utf8_lossy(&name).into_owned()),
        }
    }
    if let (Some(name), false) = (how.rescue, others.is_empty()) {
        // Carried there by an earlier cutover, and worked on elsewhere since.
        safe::park(target, &others, &begun::parked(name, &target.host.name, 0))?;
    } else if !others.is_empty() {
        let text =
            format!("{}: uncommitted changes in {}: {}", target.host.name, target.dir, others.join(", "));
        return Err(Problem::new(Kind::Conflict, text)
            .hint("commit or stash them there, then run this again")
            .into());
    }
    if !ours.is_empty() {
        let held: BTreeSet<Vec<u8>> = target.names_in("HEAD")?.into_iter().collect();
        let with = |first: &[&'static str], names: &[String]| {
            first.iter().map(|w| (*w).to_owned()).chain(names.iter().cloned()).collect::<Vec<_>>()
        };
        target.git(&with(&["--literal-pathspecs", "reset", "-q", "--"], &ours)).run()?;
        ours.retain(|name| held.contains(name.as_bytes()));
        if !ours.is_empty() {
            target.git(&with(&["--literal-pathspecs", "checkout", "-q", "HEAD", "--"], &ours)).run()?;
        }
    }
    let incoming: BTreeSet<Vec<u8>> = target.names_in(commit)?.into_iter().collect();
    let in_the_way: Vec<Vec<u8>> = target.untracked()?.into_iter().filter(|f| incoming.contains(f)).collect();
    set_aside(pair, &target.dir, &in_the_way)
}

/// Brings the submodules of a work tree to the commits that it names.
pub fn submodules(target: &Clone) -> Result<()> {
    if target.host.exists(&format!("{}/.gitmodules", target.dir))? {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        let hour = std::time::Duration::from_secs(3600);
        target.git(&update).deadline(hour).run().context("submodules")?;
    }
    Ok(())
}

/// Carries the clone's own settings, a person's name first of all.
fn settings(clones: &Clones, carried: &mut Carried) -> Result<()> {
    let wanted = config_to_carry(&clones.source.config()?);
    let there = config_to_carry(&clones.target.config()?);
    for key in &wanted.withheld {
        let host = &clones.source.host.name;
        carried.notes.push(format!(
            "repository `{}`: git setting {key} of {host} may hold a credential, not carried",
            clones.path
        ));
    }
    let values = |all: &[(String, String)], key: &str| -> Vec<String> {
        all.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    };
    let keys: BTreeSet<&String> = wanted.settings.iter().map(|(key, _)| key).collect();
    for key in keys {
        let new = values(&wanted.settings, key);
        if new == values(&there.settings, key) {
            continue;
        }
        let unset = clones.target.git(&["config", "--local", "--unset-all", key]);
        let output = unset.output()?;
        // 5: it was not set.
        if !matches!(output.status.code(), Some(0 | 5)) {
            return Err(unset.failed(&output).into());
        }
        for value in new {
            clones.target.git(&["config", "--local", "--add", key, &value]).run()?;
        }
    }
    Ok(())
}
