//! The safe point: what of a host's repositories is not saved in git, decided from facts that one script gathers.
//!
//! Nothing of the rig runs when it is asked, so the facts hold still. A clone inside a repository that the rig file does
//! not name is carried whole, with its stash and its index, so it is not asked.

mod audit;
mod facts;
mod patch;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use audit::{Kind, audit_line};
pub use facts::{BadFacts, Entry, Facts, Tree, TreeKind, parse};
pub use patch::{Secret, audit};

/// What a cutover does with work that is not saved in git.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum UnsavedPolicy {
    /// Say what it is, and turn back.
    #[default]
    Refuse,
    /// Commit it to a branch `ccorch/rescue/HOST/TIME`, beside the loops' own branches.
    Rescue,
}

/// One thing that is not saved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// git was at work, or was ended at work: the lock's path below the git folder.
    Lock(String),
    /// A merge, rebase or the like is in progress.
    InProgress(&'static str),
    /// A file that differs from the commit, or is in no commit; relative to its work tree.
    Uncommitted(String),
    /// A submodule that was added and that no commit has; relative to its work tree.
    AddedModule(String),
    /// An entry of the stash: its commit.
    Stash(String),
    /// A branch with commits that its remote does not have: branch and commit.
    Unpushed(String, String),
    /// A tag by which alone a commit is known that no remote has: tag and commit.
    Tagged(String, String),
    /// A commit that is checked out without a branch and that no remote has.
    Detached(String),
}

/// One thing that is not saved, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unsaved {
    /// Absolute path of the work tree or clone.
    pub place: String,
    /// What it is.
    pub what: What,
}

impl fmt::Display for Unsaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.what {
            What::Lock(path) => write!(f, "git left a lock, .git/{path}"),
            What::InProgress(what) => write!(f, "a {what} is in progress"),
            What::Uncommitted(path) => write!(f, "`{path}` is not committed"),
            What::AddedModule(path) => {
                write!(
                    f,
                    "the submodule `{path}` was added and is not committed, which no rescue takes along"
                )
            }
            What::Stash(commit) => write!(f, "the stash holds {}", short(commit)),
            What::Unpushed(branch, commit) => {
                write!(f, "branch `{branch}` at {} is not pushed", short(commit))
            }
            What::Tagged(tag, commit) => {
                write!(f, "tag `{tag}` at {} is on no branch and not pushed", short(commit))
            }
            What::Detached(commit) => {
                write!(f, "{} is checked out without a branch and not pushed", short(commit))
            }
        }
    }
}

/// The first twelve digits: enough for people.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// What is exempt in one repository: exact paths relative to it. What lies below an exempt folder is exempt too.
#[derive(Debug, Clone, Default)]
pub struct Exempt {
    /// What the rig itself writes, and what the rig file says to carry as files.
    pub paths: BTreeSet<String>,
}

impl Exempt {
    /// Whether this path is.
    pub fn holds(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|known| {
            path.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    }
}

/// Everything of one repository that is not saved. Clones of their own inside it (they end with `/`) are not its.
pub fn unsaved(facts: &Facts, exempt: &Exempt) -> Vec<Unsaved> {
    let mut all = Vec::new();
    let mut say = |place: &str, what: What| all.push(Unsaved { place: place.into(), what });
    for lock in &facts.locks {
        say(&facts.dir, What::Lock(lock.clone()));
    }
    for tree in &facts.trees {
        for name in &tree.in_progress {
            say(&tree.dir, What::InProgress(name));
        }
        for entry in uncommitted(tree, exempt) {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            // A nested clone of the main work tree that is no submodule goes along whole, as the files it is.
            let module = entry.added_module && (facts.submodules || tree.kind != TreeKind::Main);
            say(&tree.dir, if module { What::AddedModule(path) } else { What::Uncommitted(path) });
        }
        for commit in &tree.stash {
            say(&tree.dir, What::Stash(commit.clone()));
        }
        for (branch, commit) in &tree.unpushed {
            say(&tree.dir, What::Unpushed(branch.clone(), commit.clone()));
        }
        for (tag, commit) in &tree.tagged {
            say(&tree.dir, What::Tagged(tag.clone(), commit.clone()));
        }
        if let Some(commit) = &tree.detached_unpushed {
            say(&tree.dir, What::Detached(commit.clone()));
        }
    }
    all
}

/// What a rescue of one work tree has to commit. Exempt paths count in the main work tree only: they are its.
pub fn uncommitted<'a>(tree: &'a Tree, exempt: &'a Exempt) -> impl Iterator<Item = &'a Entry> {
    let own = move |entry: &&Entry| tree.kind == TreeKind::Main && exempt.holds(&entry.path);
    tree.entries.iter().filter(move |entry| !entry.path.ends_with(b"/") && !own(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rig_writes_is_exempt_by_exact_path() {
        let exempt = Exempt { paths: ["INBOX.md".to_owned(), "logs".to_owned()].into() };
        for (path, held) in
            [("INBOX.md", true), ("INBOX.md.bak", false), ("a/INBOX.md", false), ("logs/x", true)]
        {
            assert_eq!(exempt.holds(path.as_bytes()), held, "{path}");
        }
    }
}
