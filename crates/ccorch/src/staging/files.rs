//! Files: what git does not hold, what the rig file names, and the folders beside the workspace.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ccorch_core::stage;
use ccorch_io::git::Clone;

use super::pair::Pair;
use super::{Carried, Mode};
use crate::error::{Kind, Problem};

/// Carries the folders beside the workspace.
pub fn sync_copies(pair: &Pair, mode: Mode, carried: &mut Carried) -> Result<()> {
    for (name, copy) in &pair.rig.workspace.copies {
        eprintln!("{}: copy {name}", pair.target.name);
        copy_folder(pair, &copy.from, mode, carried).with_context(|| format!("copy `{name}`"))?;
    }
    Ok(())
}

/// Carries files of the workspace.
pub fn sync(pair: &Pair, mode: Mode, carried: &mut Carried) -> Result<()> {
    eprintln!("{}: files that git does not hold", pair.target.name);
    let names = names(pair)?;
    refuse_ways_out(pair, &names)?;
    carried.removed += set_stale_aside(pair, &names, mode)?;
    let list: Vec<Vec<u8>> = names.into_iter().collect();
    carried.add(pair.transfer(pair.root, pair.root, Some(&list), mode)?);
    Ok(())
}

/// Everything of the workspace that is carried as a file, relative to its root.
pub fn names(pair: &Pair) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for (path, _) in &pair.repositories {
        names.extend(untracked(pair, path, &pair.clones(path).source)?);
    }
    let carry = stage::carry(pair.rig).map_err(|e| Problem::new(Kind::Rig, e.to_string()))?;
    names.extend(carry.iter().chain(&pair.own_files).map(|path| path.clone().into_bytes()));
    Ok(names)
}

/// What git does not hold in one clone, relative to the workspace; the rig's own nested clones are no files.
fn untracked(pair: &Pair, path: &str, clone: &Clone) -> Result<BTreeSet<Vec<u8>>> {
    let prefix = if path == "." { Vec::new() } else { format!("{path}/").into_bytes() };
    let name = |entry: Vec<u8>| {
        let name = [prefix.as_slice(), entry.strip_suffix(b"/").unwrap_or(&entry)].concat();
        (!pair.is_repository(&name)).then_some(name)
    };
    Ok(clone.untracked()?.into_iter().filter_map(name).collect())
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
fn set_stale_aside(pair: &Pair, names: &BTreeSet<Vec<u8>>, mode: Mode) -> Result<u64> {
    let mut stale = Vec::new();
    for (path, _) in &pair.repositories {
        let target = pair.clones(path).target;
        if target.exists()? && !target.is_incomplete()? {
            let there = untracked(pair, path, &target)?;
            stale.extend(there.into_iter().filter(|name| !covered(names, name)));
        }
    }
    if mode == Mode::Carry {
        set_aside(pair, pair.root, &stale)?;
    }
    Ok(stale.len() as u64)
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
export to; xargs -0 -r sh -c 'for f do d=$to/$f; mkdir -p -- "${d%/*}"; mv -f -T -- "./$f" "$d"; done' move"#;
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
