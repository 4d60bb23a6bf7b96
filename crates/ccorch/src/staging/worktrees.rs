//! Work trees that `git worktree add` made: on the target there is one of the same place at the same commit and branch.
//!
//! Their branches are the clone's and move with it. What is not committed in them goes along as a rescue alone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ccorch_core::safepoint::{Tree, TreeKind};
use ccorch_io::git::Clone;

use super::begun::parked;
use super::files::set_aside;
use super::pair::{Clones, Pair};
use super::{Facts, How, safe};
use crate::error::{Kind, Problem};

/// Those of one clone.
pub fn of(facts: &Facts) -> impl Iterator<Item = &Tree> {
    facts.trees.iter().filter(|tree| tree.kind == TreeKind::Linked)
}

/// Their folders in the workspace, relative to it.
pub fn folders(pair: &Pair, all: &[Facts]) -> BTreeSet<Vec<u8>> {
    let names = all.iter().flat_map(of).filter_map(|tree| inside(pair, tree));
    names.map(|name| name.as_bytes().to_vec()).collect()
}

fn inside<'a>(pair: &Pair, tree: &'a Tree) -> Option<&'a str> {
    tree.dir.strip_prefix(pair.root)?.strip_prefix('/')
}

/// Refuses what cannot be carried: before anything stops, as the early pass asks.
pub fn check(pair: &Pair, source: &[Facts]) -> Result<()> {
    for facts in source {
        for tree in of(facts) {
            let what = match (inside(pair, tree), &tree.head) {
                (None, _) => format!("lies outside of the workspace {}", pair.root),
                (_, None) => "has no commit yet".into(),
                _ => continue,
            };
            let text = format!("{}: the work tree {} of {} {what}", pair.source.name, tree.dir, facts.dir);
            let hint = "commit in it, or move it with `git worktree move`, or take it away with `git worktree remove`";
            return Err(Problem::new(Kind::Unfit, text).hint(hint).into());
        }
    }
    Ok(())
}

/// Lets go of the branches that the target's have checked out, so that they can move. No file changes.
pub fn release(clones: &Clones, target: &Facts) -> Result<()> {
    for tree in of(target).filter(|tree| tree.branch.is_some() && tree.head.is_some()) {
        at(&clones.target, tree).git(&["checkout", "-q", "--detach"]).run()?;
    }
    Ok(())
}

/// Makes those of the target the source's; whether anything changed.
pub fn sync(pair: &Pair, clones: &Clones, source: &Facts, target: &Facts, how: How<'_>) -> Result<bool> {
    let mut changed = false;
    for ours in of(source) {
        let Some(head) = &ours.head else { continue };
        let number =
            target.trees.iter().position(|tree| tree.kind == TreeKind::Linked && tree.dir == ours.dir);
        let theirs = number.and_then(|number| target.trees.get(number));
        let one = at(&clones.target, ours);
        // The source may have gone on since it was looked at; its branch is where it was put by now.
        let head = match &ours.branch {
            Some(branch) => {
                clones.target.git(&["rev-parse", "--verify", &format!("refs/heads/{branch}")]).read()?
            }
            None => head.clone(),
        };
        if theirs.is_none() {
            // What lies there came as plain files, or is nobody's.
            let name = inside(pair, ours).unwrap_or_default().as_bytes().to_vec();
            set_aside(pair, pair.root, &[name])?;
            clones.target.git(&["worktree", "prune"]).run()?;
            let add = ["worktree", "add", "-q", "--detach", &ours.dir, &head];
            clones.target.git(&add).run().with_context(|| format!("work tree {}", ours.dir))?;
            changed = true;
        } else if one.head()? != head {
            let left: Vec<String> =
                one.dirty()?.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            if let (Some(name), false) = (how.rescue, left.is_empty()) {
                safe::park(&one, &left, &parked(name, &pair.target.name, number.unwrap_or_default()))?;
            }
            one.git(&["update-index", "-q", "--refresh"]).output()?;
            one.git(&["reset", "-q", "--keep", &head]).run()?;
            changed = true;
        }
        changed |= theirs.is_some_and(|tree| tree.branch != ours.branch);
        if has_modules(source, ours) {
            super::repositories::submodules(&one)?;
        }
        if let Some(branch) = &ours.branch {
            one.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]).run()?;
        }
    }
    Ok(changed)
}

/// Whether submodules are there in a linked work tree, which has clones of its own of them.
fn has_modules(facts: &Facts, tree: &Tree) -> bool {
    let below = format!("{}/", tree.dir);
    facts.modules().any(|module| module.dir.starts_with(&below))
}

fn at<'a>(clone: &Clone<'a>, tree: &Tree) -> Clone<'a> {
    Clone { host: clone.host, user: clone.user, dir: tree.dir.clone() }
}
