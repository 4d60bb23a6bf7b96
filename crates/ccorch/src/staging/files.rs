//! Files: what git does not hold (content that git LFS keeps outside of it too), what the rig file names, and the folders beside the workspace.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ccorch_core::rig::Copy;
use ccorch_core::stage;

use super::cache::each;
use super::pair::Pair;
use super::{Carried, Facts, How, Mode, Pass, safe, worktrees};
use crate::error::{Kind, Problem};

/// Carries the folders beside the workspace.
pub fn sync_copies(pair: &Pair, mode: Mode) -> Result<Carried> {
    let copies: Vec<_> = pair.rig.workspace.copies.iter().collect();
    let mut all = Carried::default();
    let one = |(name, copy): &(&String, &Copy)| {
        eprintln!("{}: copy {name}", pair.target.name);
        let mut carried = Carried::default();
        copy_folder(pair, &copy.from, mode, &mut carried).with_context(|| format!("copy `{name}`"))?;
        Ok(carried)
    };
    each(&copies, one)?.into_iter().for_each(|part| all.join(part));
    Ok(all)
}

/// Carries files of the workspace.
pub fn sync(pair: &Pair, how: How<'_>, (source, target): &(Vec<Facts>, Vec<Facts>)) -> Result<Carried> {
    eprintln!("{}: files that git does not hold", pair.target.name);
    let along = how.pass == Pass::Last && how.rescue.is_some();
    let mut names = names(pair, source)?;
    let mut gone = Vec::new();
    if along {
        let (changed, removed) = uncommitted(pair, source);
        names.extend(changed);
        gone = removed;
        if let (Some(stamp), Mode::Carry) = (how.rescue, how.mode) {
            park_leftovers(pair, source, target, stamp)?;
        }
    }
    let mut carried = Carried::default();
    let trees: BTreeSet<Vec<u8>> =
        [source, target].into_iter().flat_map(|facts| worktrees::folders(pair, facts)).collect();
    let mut stale = stale(pair, &names, target);
    stale.retain(|name| !trees.contains(name));
    carried.removed += stale.len() as u64;
    refuse_ways_out(pair, &names.iter().chain(&gone).cloned().collect())?;
    if how.mode == Mode::Carry {
        set_aside(pair, pair.root, &[stale, gone].concat())?;
    }
    let list: Vec<Vec<u8>> = names.into_iter().collect();
    carried.add(pair.transfer(pair.root, pair.root, Some(&list), how.mode)?);
    Ok(carried)
}

/// Changes that an earlier cutover carried to the target as files and that the source has no more are out of the way then,
/// kept as a rescue there.
fn park_leftovers(pair: &Pair, source: &[Facts], target: &[Facts], stamp: &str) -> Result<()> {
    for (((path, _), ours), theirs) in pair.repositories.iter().zip(source).zip(target) {
        let own = pair.own_files_of(path);
        let left = theirs.dirty().filter(|entry| !ours.dirty().any(|other| other.path == entry.path));
        let left = left.map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
        let left: Vec<String> = left.filter(|name| !own.contains(name)).collect();
        if !left.is_empty() {
            safe::park(&pair.clones(path).target, &left, &format!("{stamp}-left-on-{}", pair.target.name))?;
        }
    }
    Ok(())
}

/// Everything of the workspace that is carried as a file, relative to its root.
pub fn names(pair: &Pair, source: &[Facts]) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for ((path, _), facts) in pair.repositories.iter().zip(source) {
        names.extend(untracked(pair, path, facts));
        names.extend(facts.lfs.iter().map(|name| in_workspace(path, name)));
    }
    // Its clone has a work tree that git makes.
    let trees = worktrees::folders(pair, source);
    names.retain(|name| !trees.contains(name));
    let carry = stage::carry(pair.rig).map_err(|e| Problem::new(Kind::Rig, e.to_string()))?;
    names.extend(carry.iter().chain(&pair.own_files).map(|path| path.clone().into_bytes()));
    Ok(names)
}

/// What git does not hold in one clone, relative to the workspace; the rig's own nested clones are no files.
fn untracked(pair: &Pair, path: &str, facts: &Facts) -> BTreeSet<Vec<u8>> {
    let entries = facts.untracked().map(|entry| in_workspace(path, &entry.path));
    entries.filter(|name| !pair.is_repository(name)).collect()
}

/// Changes of files that git holds, relative to the workspace: those that are there, and those that are gone.
pub fn uncommitted(pair: &Pair, source: &[Facts]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for ((path, _), facts) in pair.repositories.iter().zip(source) {
        for entry in facts.dirty() {
            if entry.gone { &mut gone } else { &mut changed }.push(in_workspace(path, &entry.path));
        }
    }
    (changed, gone)
}

fn in_workspace(repository: &str, entry: &[u8]) -> Vec<u8> {
    let prefix = if repository == "." { Vec::new() } else { format!("{repository}/").into_bytes() };
    [prefix.as_slice(), entry.strip_suffix(b"/").unwrap_or(entry)].concat()
}

/// A folder on the target that is a symbolic link could lead out of the workspace.
fn refuse_ways_out(pair: &Pair, names: &BTreeSet<Vec<u8>>) -> Result<()> {
    let parent = |name: &Vec<u8>| name.iter().rposition(|b| *b == b'/').map(|at| name[..at].to_vec());
    let parents: BTreeSet<Vec<u8>> = names.iter().filter_map(parent).collect();
    if parents.is_empty() {
        return Ok(());
    }
    let input: Vec<u8> =
        parents.iter().flat_map(|p| [pair.root.as_bytes(), b"/", p, b"\0"].concat()).collect();
    let command = pair.target.command(&["xargs", "-0", "-r", "realpath", "-m", "-z", "--"]).input(input);
    let real = command.shown_as("resolve the folders to write to").run()?.stdout;
    let inside =
        |path: &[u8]| path == pair.root.as_bytes() || path.starts_with(format!("{}/", pair.root).as_bytes());
    for (parent, real) in parents.iter().zip(real.split(|b| *b == 0)) {
        if !inside(real) {
            let (parent, real) = (String::from_utf8_lossy(parent), String::from_utf8_lossy(real));
            let text =
                format!("{}: {}/{parent} leads out of the workspace, to {real}", pair.target.name, pair.root);
            return Err(Problem::new(Kind::Conflict, text)
                .hint("a symbolic link is in the way: remove it there, then run this again")
                .into());
        }
    }
    Ok(())
}

/// Files in the target's clones that neither git nor the source knows: carried earlier, and gone on the source since.
fn stale(pair: &Pair, names: &BTreeSet<Vec<u8>>, target: &[Facts]) -> Vec<Vec<u8>> {
    let whole = |facts: &Facts| facts.exists && !facts.incomplete;
    let clones = pair.repositories.iter().zip(target).filter(|(_, facts)| whole(facts));
    let there = clones.flat_map(|((path, _), facts)| untracked(pair, path, facts));
    there.filter(|name| !covered(names, name)).collect()
}

/// Whether a name, or a folder above it, is carried.
fn covered(names: &BTreeSet<Vec<u8>>, name: &[u8]) -> bool {
    let above = name.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &name[..at]);
    above.chain([name]).any(|path| names.contains(path))
}

/// Moves files of the target out of the way, to a dated folder in the user's home.
pub fn set_aside(pair: &Pair, dir: &str, names: &[Vec<u8>]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let script = r#"set -eu; to=$1/.local/state/ccorch/replaced/$(date -u +%Y%m%dT%H%M%SZ)$2; umask 077
export to; xargs -0 -r sh -c 'for f do if ! [ -e "./$f" ] && ! [ -L "./$f" ]; then continue; fi; d=$to/$f; mkdir -p -- "${d%/*}"; mv -f -T -- "./$f" "$d"; done' move"#;
    let input: Vec<u8> = names.iter().flat_map(|name| [name, &b"\0"[..]].concat()).collect();
    let argv = ["sh", "-c", script, "set-aside", &pair.target_home, dir];
    let command = pair.target.command_as(pair.user, dir, &argv).input(input);
    Ok(command.shown_as(format!("set {} files of {dir} aside", names.len())).run().map(drop)?)
}

fn copy_folder(pair: &Pair, dir: &str, mode: Mode, carried: &mut Carried) -> Result<()> {
    if !dir.starts_with('/') || dir.split('/').any(|part| part == "..") || dir.trim_matches('/').is_empty() {
        return Err(Problem::new(Kind::Rig, format!("`{dir}` is not an absolute path of a folder")).into());
    }
    if !pair.target.exists(dir)? {
        if mode == Mode::DryRun {
            carried.notes.push(format!("{dir} would be created on {} and filled", pair.target.name));
            return Ok(());
        }
        // Only the last folder is the user's; those above are the machine's.
        let script = r#"set -eu; mkdir -p -- "${2%/*}/"; install -d -o "$1" -g "$(id -gn -- "$1")" -- "$2""#;
        let dir = dir.trim_end_matches('/');
        pair.target.command(&["sh", "-c", script, "create", pair.user, dir]).run()?;
    }
    carried.add(pair.transfer(dir, dir, None, mode)?);
    Ok(())
}
