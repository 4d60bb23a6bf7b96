//! The proof that a still host has everything saved in git, and the rescue of what it has not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::safepoint::{Exempt, Facts, Tree, TreeKind, Unsaved, UnsavedPolicy, What};
use ccorch_core::safepoint::{audit, uncommitted, unsaved};
use ccorch_core::stage::{self, join};
use ccorch_io::command::CommandError;
use ccorch_io::git::Clone;
use ccorch_io::host::Host;
use ccorch_io::repositories::{Repositories, Rescue, Rescued};
use serde::Serialize;

use super::cache::{Cache, each};
use super::locks;
use super::pair::facts;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};

/// A forge that does not take a small push in this time is away; a bundle goes another way.
const PUSH: Duration = Duration::from_secs(30);
/// How many things a message lists.
pub const SHOWN: usize = 20;

/// A rescue that was made, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Absolute path of the work tree.
    pub place: String,
    /// Branches and their commits.
    pub branches: Vec<(String, String)>,
    /// Why no remote has it, but a host alone, as refs below `refs/ccorch/rescue/`; where nothing is said it was pushed.
    pub not_pushed: Option<String>,
    /// The host that got it in place of the remote; without one it is where it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried_to: Option<String>,
}

/// How a part of a safe point's words begins that was not carried.
pub const STAYS: &str = "stays behind: ";

/// What the proof came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SafePoint {
    /// Rescues; none when all was saved.
    pub kept: Vec<Kept>,
    /// What a rescue does not hold and nobody carries: a merge or rebase that was begun, a lock, a submodule that was added.
    pub left: Vec<Unsaved>,
    /// Locks that nobody held, moved out of git's way.
    pub set_aside: Vec<Unsaved>,
}

impl fmt::Display for SafePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.kept.iter().map(ToString::to_string).collect();
        parts.extend(self.left.iter().map(|left| format!("{STAYS}{left}")));
        parts.extend(self.set_aside.iter().map(|lock| format!("set aside, as nobody held it: {lock}")));
        match parts.as_slice() {
            [] => write!(f, "every commit is pushed and every work tree is clean"),
            parts => write!(f, "{}", parts.join("; ")),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |commit: &str| commit.get(..12).unwrap_or(commit).to_owned();
        let names: Vec<String> =
            self.branches.iter().map(|(name, commit)| format!("{name} ({})", short(commit))).collect();
        write!(f, "rescued from {}: {}", self.place, names.join(", "))?;
        match (&self.not_pushed, &self.carried_to) {
            (Some(why), Some(host)) => write!(f, ", carried to {host} and not pushed: {why}"),
            (Some(why), None) => write!(f, ", not pushed: {why}"),
            (None, _) => write!(f, ", pushed"),
        }
    }
}

/// One repository with what is not saved in it.
pub struct Found {
    pub facts: Facts,
    exempt: Exempt,
    pub unsaved: Vec<Unsaved>,
}

/// Everything on the host that git has not saved.
pub fn look(loaded: &LoadedRig, host: &Host) -> Result<Vec<Unsaved>> {
    Ok(find(loaded, host)?.into_iter().flat_map(|found| found.unsaved).collect())
}

/// Proves that everything on the host, which was stopped, is saved; what is not is refused or rescued. `stamp` is
/// `HOST/TIME`; the same one makes the same commits again. What was seen of a host that has everything saved is in `cache` for
/// the sync that follows.
pub fn safe_point(
    loaded: &LoadedRig,
    host: &Host,
    target: &Host,
    policy: UnsavedPolicy,
    stamp: &str,
    cache: &Cache,
) -> Result<SafePoint> {
    let mut all = find(loaded, host)?;
    let earlier: Vec<Kept> = all.iter().flat_map(|found| made_before(&found.facts, target, stamp)).collect();
    if all.iter().all(|found| found.unsaved.is_empty()) {
        cache.keep_facts(host, all.into_iter().map(|found| found.facts).collect());
        return Ok(SafePoint { kept: earlier, ..SafePoint::default() });
    }
    all.retain(|found| !found.unsaved.is_empty());
    if policy == UnsavedPolicy::Refuse {
        return Err(refusal(host, &all));
    }
    refuse_added_modules(host, &all)?;
    // A rescue that is not pushed goes to the target's clone: what was seen there before is no longer so.
    cache.take_facts(target);
    let user = loaded.rig.workspace.user.as_str();
    let set_aside = each(&all, |found| locks::set_aside(&found.facts, host, user, stamp))?.concat();
    let mut proof = rescue_of(loaded, &all, host, Some(target), stamp)?;
    proof.left.retain(|left| !set_aside.contains(left));
    proof.kept = all_of(earlier, proof.kept);
    Ok(SafePoint { set_aside, ..proof })
}

/// Rescues of the same stamp, which a driver that died then did not name: what they pushed counts as saved now.
fn made_before(facts: &Facts, target: &Host, stamp: &str) -> Vec<Kept> {
    let of_stamp =
        |name: &str| name.strip_prefix(stamp).is_some_and(|end| end.is_empty() || end.starts_with('-'));
    let kept = |(dir, rescues): (&str, &BTreeMap<String, String>)| {
        let made = rescues.iter().filter(|(name, _)| of_stamp(name));
        let (pushed, held): (Vec<_>, Vec<_>) = made
            .map(|(name, id)| (format!("ccorch/rescue/{name}"), id.clone()))
            .partition(|(name, id)| facts.remotes.get(&format!("origin/{name}")) == Some(id));
        let place = dir.to_owned();
        // The sync takes along what no remote is known to have.
        let why = "no remote is known to have it".to_owned();
        let held = Kept {
            place: place.clone(),
            branches: held,
            not_pushed: Some(why),
            carried_to: Some(target.name.clone()),
        };
        [Kept { place, branches: pushed, not_pushed: None, carried_to: None }, held]
    };
    facts.rescues().flat_map(kept).filter(|kept| !kept.branches.is_empty()).collect()
}

/// What was made before and is made now, each once.
fn all_of(mut earlier: Vec<Kept>, now: Vec<Kept>) -> Vec<Kept> {
    for kept in &mut earlier {
        kept.branches.retain(|one| !now.iter().any(|kept| kept.branches.contains(one)));
    }
    earlier.retain(|kept| !kept.branches.is_empty());
    earlier.into_iter().chain(now).collect()
}

/// Rescues what a host has not saved. It may be at work, so its locks are its own.
pub fn rescue_all(loaded: &LoadedRig, host: &Host, target: &Host, stamp: &str) -> Result<SafePoint> {
    rescue_of(loaded, &not_saved(loaded, host)?, host, Some(target), stamp)
}

/// The host's repositories that have something unsaved.
pub fn not_saved(loaded: &LoadedRig, host: &Host) -> Result<Vec<Found>> {
    Ok(find(loaded, host)?.into_iter().filter(|found| !found.unsaved.is_empty()).collect())
}

/// Rescues what was found. What cannot be pushed goes to `target`; without one it stays in refs on its own host.
pub fn rescue_of(
    loaded: &LoadedRig,
    all: &[Found],
    host: &Host,
    target: Option<&Host>,
    stamp: &str,
) -> Result<SafePoint> {
    let user = loaded.rig.workspace.user.as_str();
    let kept = each(all, |found| rescue(found, user, host, target, stamp))?.concat();
    let left = all.iter().flat_map(|found| &found.unsaved);
    let stays = |what: &What| matches!(what, What::Lock(_) | What::InProgress(_) | What::AddedModule(_));
    let left = left.filter(|one| stays(&one.what)).cloned().collect();
    Ok(SafePoint { kept, left, set_aside: Vec::new() })
}

fn refusal(host: &Host, all: &[Found]) -> anyhow::Error {
    let list: Vec<&Unsaved> = all.iter().flat_map(|found| &found.unsaved).collect();
    let mut text = format!("{} has work that is not saved in git:", host.name);
    list.iter().take(SHOWN).for_each(|one| text.push_str(&format!("\n  - {one}")));
    if list.len() > SHOWN {
        text.push_str(&format!("\n  - and {} more", list.len() - SHOWN));
    }
    let hint = "have it committed and pushed there, or cut over with `--rescue` (`cutover.unsaved: rescue`)";
    Problem::new(Kind::Conflict, text).hint(hint).into()
}

/// Its own repository lies in the git folder of the clone, which no file that is carried names: on the target it would be files
/// without a repository, and what no remote has of it would be lost.
fn refuse_added_modules(host: &Host, all: &[Found]) -> Result<()> {
    let unsaved = all.iter().flat_map(|found| &found.unsaved);
    let added: Vec<&Unsaved> = unsaved.filter(|one| matches!(one.what, What::AddedModule(_))).collect();
    let Some(first) = added.first() else { return Ok(()) };
    let list: String = added.iter().map(|one| format!("\n  - {one}")).collect();
    let hint = format!(
        "have it committed (`git -C {} commit`) and its own commits pushed, or taken out again; then cut over",
        first.place
    );
    Err(Problem::new(Kind::Conflict, format!("{} has work that cannot go along:{list}", host.name))
        .hint(hint)
        .into())
}

fn find(loaded: &LoadedRig, host: &Host) -> Result<Vec<Found>> {
    let rig = &loaded.rig;
    let root = rig.workspace.root.trim_end_matches('/');
    let bad = |e: stage::Outside| Problem::new(Kind::Rig, e.to_string());
    let own = stage::own_files(rig).map_err(bad)?;
    let carried = stage::carry(rig).map_err(bad)?;
    let exempt: Vec<String> = own.iter().chain(&carried).map(|path| join(root, path)).collect();
    let one = |facts: Facts| {
        let below = format!("{}/", facts.dir);
        let paths = exempt.iter().filter_map(|path| path.strip_prefix(&below)).map(ToOwned::to_owned);
        let exempt = Exempt { paths: paths.collect() };
        let unsaved = unsaved(&facts, &exempt);
        Found { facts, exempt, unsaved }
    };
    Ok(facts(rig, host)?.into_iter().map(one).collect())
}

fn rescue(found: &Found, user: &str, host: &Host, target: Option<&Host>, stamp: &str) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for (index, tree) in found.facts.trees.iter().enumerate() {
        let wanted = wanted(tree, &found.exempt);
        if wanted.files.is_empty() && wanted.commits.is_empty() {
            continue;
        }
        let name = of_tree(&format!("ccorch/rescue/{stamp}"), index);
        let made = Repositories { host, user }.rescue(&wanted, &name)?;
        let clone = Clone { host, user, dir: tree.dir.clone() };
        let not_pushed = match reason_to_hold(&made) {
            Some(why) => Some(why),
            None => push(&clone, &made).err().map(|error| format!("the push failed ({})", error.failure)),
        };
        let carried_to = target.filter(|_| not_pushed.is_some());
        if let Some(target) = carried_to {
            let dir = if tree.kind == TreeKind::Submodule { &tree.dir } else { &found.facts.dir };
            bundle(&clone, &made, target, dir).with_context(|| format!("rescue of {}", tree.dir))?;
        }
        let carried_to = carried_to.map(|host| host.name.clone());
        kept.push(Kept { place: tree.dir.clone(), branches: made.branches, not_pushed, carried_to });
    }
    Ok(kept)
}

fn wanted(tree: &Tree, exempt: &Exempt) -> Rescue {
    let files = uncommitted(tree, exempt).map(|entry| entry.path.clone()).collect();
    let branches = tree.unpushed.iter().map(|(name, id)| (format!("branch-{name}"), id.clone()));
    let tags = tree.tagged.iter().map(|(name, id)| (format!("tag-{name}"), id.clone()));
    let commits = stash(tree).chain(branches).chain(tags).chain(detached(tree)).collect();
    Rescue { dir: tree.dir.clone(), files, commits }
}

/// What a work tree has put aside: what a rescue's name ends with, and the commit.
pub fn stash(tree: &Tree) -> impl Iterator<Item = (String, String)> {
    tree.stash.iter().enumerate().map(|(n, id)| (format!("stash-{n}"), id.clone()))
}

/// The commit without a branch that nothing else holds, if there is one; the same.
pub fn detached(tree: &Tree) -> impl Iterator<Item = (String, String)> {
    tree.detached_unpushed.iter().map(|id| ("detached".to_owned(), id.clone()))
}

/// A rescue's name in the work tree of this number: work trees of one clone share refs.
pub fn of_tree(name: &str, tree: usize) -> String {
    if tree == 0 { name.to_owned() } else { format!("{name}-tree-{tree}") }
}

fn reason_to_hold(made: &Rescued) -> Option<String> {
    let secrets = audit(&made.patch);
    if secrets.is_empty() {
        return None;
    }
    let shown: Vec<String> = secrets.iter().take(3).map(ToString::to_string).collect();
    let more = secrets.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("it may hold secrets: {}{more}", shown.join(", ")))
}

fn push(clone: &Clone, made: &Rescued) -> Result<(), CommandError> {
    let specs = made.branches.iter().map(|(name, id)| format!("{id}:refs/heads/{name}"));
    let words: Vec<String> =
        ["push", "-q", "origin"].map(ToOwned::to_owned).into_iter().chain(specs).collect();
    clone.git(&words).deadline(PUSH).run().map(drop)
}

fn bundle(clone: &Clone, made: &Rescued, target: &Host, dir: &str) -> Result<()> {
    let there = Repositories { host: target, user: clone.user };
    let here = Repositories { host: clone.host, user: clone.user };
    let names: Vec<String> = made.branches.iter().map(|(name, _)| format!("refs/{name}")).collect();
    // What the remote has, the target has too; where it has not, all goes along.
    let thin = here.bundle(&clone.dir, &names, true)?;
    if there.unbundle(dir, &thin).is_err() {
        there.unbundle(dir, &here.bundle(&clone.dir, &names, false)?)?;
    }
    Ok(())
}

/// Keeps changes of a target's work tree as a rescue in its own clone, and makes the tree clean: for what an earlier
/// cutover carried there as files.
pub fn park(clone: &Clone, names: &[String], stamp: &str) -> Result<()> {
    let files = names.iter().map(|name| name.clone().into_bytes()).collect();
    let rescue = Rescue { dir: clone.dir.clone(), files, commits: Vec::new() };
    Repositories { host: clone.host, user: clone.user }.rescue(&rescue, stamp)?;
    let held = clone.names_in("HEAD")?;
    let (old, new): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| held.iter().any(|h| h == name.as_bytes()));
    for (words, names) in
        [(&["checkout", "-q", "-f", "HEAD", "--"][..], old), (&["rm", "-q", "-f", "--"], new)]
    {
        if !names.is_empty() {
            let words = ["--literal-pathspecs"].iter().chain(words).map(|w| (*w).to_owned());
            clone.git(&words.chain(names).collect::<Vec<_>>()).run()?;
        }
    }
    Ok(())
}

/// The name of a rescue without `refs/heads/`; what is kept on another host than `host` adds that one's.
pub fn rescue_name(host: &str, journal: &str) -> String {
    format!("ccorch/rescue/{}", stamp(host, journal))
}

/// `HOST/TIME` of a cutover: the time at the head of its journal's id.
pub fn stamp(host: &str, journal: &str) -> String {
    format!("{host}/{}", journal.split('-').next().unwrap_or(journal))
}
