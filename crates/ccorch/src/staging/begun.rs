//! A merge or rebase that the target was ended in, when it was at work before: over, before anything moves there.
//!
//! Its branch goes on elsewhere. Taken up again on the moved branch, `git rebase --abort` would put the branch back to where
//! it was, and the agent there would do again what is done.

use anyhow::Result;
use ccorch_io::repositories::{Repositories, Rescue};

use super::pair::{Clones, Pair};
use super::{Facts, How, safe};
use crate::error::{Kind, Problem};

/// Ends what was begun in the target's work trees; what it put aside, and a commit that nothing else holds, are rescued there.
pub fn end(pair: &Pair, clones: &Clones, target: &Facts, how: How<'_>) -> Result<bool> {
    let host = clones.target.host;
    let all = Repositories { host, user: pair.user };
    let mut ended = false;
    for (index, tree) in target.trees.iter().enumerate() {
        let Some(what) = tree.in_progress.first() else { continue };
        let Some(name) = how.rescue else {
            let text = format!("{}: a {what} is in progress in {}", host.name, tree.dir);
            let hint =
                "end or abort it there, or keep what is in the way as a rescue: run this with `--rescue`";
            return Err(Problem::new(Kind::Conflict, text).hint(hint).into());
        };
        let commits: Vec<_> = safe::stash(tree).chain(safe::detached(tree)).collect();
        if !commits.is_empty() {
            let rescue = Rescue { dir: tree.dir.clone(), files: Vec::new(), commits };
            all.rescue(&rescue, &parked(name, &host.name, index))?;
        }
        all.quit(&tree.dir)?;
        ended = true;
    }
    Ok(ended)
}

/// The name of a rescue that a target keeps of its own, in the work tree of this number.
pub fn parked(name: &str, host: &str, tree: usize) -> String {
    safe::of_tree(&format!("{name}-on-{host}"), tree)
}
