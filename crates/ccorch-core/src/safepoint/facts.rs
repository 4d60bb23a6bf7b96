//! What the script of facts says of a host's repositories, read into data.
//!
//! Its output is fields ended by NUL; the first byte of a field says what it is. A field before its repository or work
//! tree, an unknown one, or a missing end is an error: half an answer must not look like "all is saved".

use std::collections::BTreeMap;

/// The facts of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Absolute path of the clone.
    pub dir: String,
    /// Whether there is a clone at all.
    pub exists: bool,
    /// Whether it was begun by staging and has not been whole yet.
    pub incomplete: bool,
    /// Whether it has submodules.
    pub submodules: bool,
    /// Local branches and their commits.
    pub heads: BTreeMap<String, String>,
    /// Remote-tracking branches (below `refs/remotes/`) and their commits.
    pub remotes: BTreeMap<String, String>,
    /// Locks, relative to the git folder.
    pub locks: Vec<String>,
    /// What git LFS keeps of files outside of git, relative to the clone.
    pub lfs: Vec<Vec<u8>>,
    /// `git config --local --list -z`.
    pub config: Vec<u8>,
    /// The main work tree first, then linked ones and submodules.
    pub trees: Vec<Tree>,
}

/// How a work tree belongs to its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeKind {
    /// The clone's own.
    Main,
    /// Made by `git worktree add`; branches and stash are the clone's.
    Linked,
    /// A submodule, with branches and a stash of its own.
    Submodule,
}

/// One work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// How it belongs to the repository.
    pub kind: TreeKind,
    /// Absolute path.
    pub dir: String,
    /// The commit that is checked out; none before the first one. While a branch is rebased, the branch's: what the rebase
    /// has made of it so far is nobody's yet.
    pub head: Option<String>,
    /// The branch that is checked out, or that is rebased; none when a commit is.
    pub branch: Option<String>,
    /// Operations that were begun and not ended.
    pub in_progress: Vec<&'static str>,
    /// Files that differ from the commit, or are in none.
    pub entries: Vec<Entry>,
    /// Commits of the stash, newest first; of the main work tree and of submodules. What a merge or rebase that is in
    /// progress has put aside is one more, in any work tree.
    pub stash: Vec<String>,
    /// Rescues (below `refs/ccorch/rescue/`) and their commits; of the main work tree and of submodules.
    pub rescues: BTreeMap<String, String>,
    /// Branches with commits that no remote has, and their commits; of the main work tree and of submodules.
    pub unpushed: Vec<(String, String)>,
    /// Tags by which alone commits are known that no remote has, and their commits; of the main work tree and of submodules.
    pub tagged: Vec<(String, String)>,
    /// The commit that is checked out without a branch, when no remote and no branch has it.
    pub detached_unpushed: Option<String>,
}

/// One file of `git status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the work tree. A nested clone ends with `/`.
    pub path: Vec<u8>,
    /// Whether git holds (or is to hold) the file.
    pub tracked: bool,
    /// Whether the file is gone from the work tree.
    pub gone: bool,
    /// Whether it is a repository that was added, and that no commit of this one has yet: a submodule, or a nested clone.
    pub added_module: bool,
}

impl Facts {
    /// The main work tree.
    pub fn main(&self) -> Option<&Tree> {
        self.trees.first()
    }

    /// The work trees of its submodules.
    pub fn modules(&self) -> impl Iterator<Item = &Tree> {
        self.trees.iter().filter(|tree| tree.kind == TreeKind::Submodule)
    }

    /// Work trees with rescues: their folders, and what they hold.
    pub fn rescues(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
        self.trees
            .iter()
            .filter(|tree| !tree.rescues.is_empty())
            .map(|tree| (tree.dir.as_str(), &tree.rescues))
    }

    /// The branch that is checked out in the main work tree.
    pub fn branch(&self) -> Option<&str> {
        self.main()?.branch.as_deref()
    }

    /// Files of the main work tree that git neither holds nor ignores.
    pub fn untracked(&self) -> impl Iterator<Item = &Entry> {
        self.main().into_iter().flat_map(|tree| &tree.entries).filter(|entry| !entry.tracked)
    }

    /// Files of the main work tree that git holds and that differ from the commit.
    pub fn dirty(&self) -> impl Iterator<Item = &Entry> {
        self.main().into_iter().flat_map(|tree| &tree.entries).filter(|entry| entry.tracked)
    }

    /// Where `origin` is.
    pub fn origin(&self) -> Option<String> {
        let entries = self.config.split(|b| *b == 0);
        let url = entries.filter_map(|entry| entry.strip_prefix(b"remote.origin.url\n")).next_back()?;
        Some(String::from_utf8_lossy(url).into_owned())
    }
}

/// An answer that cannot be read; the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the facts of the repositories cannot be read at `{0}`")]
pub struct BadFacts(pub String);

/// Reads the script's output: the facts of the repositories in the order they were asked for.
pub fn parse(output: &[u8], dirs: &[String]) -> Result<Vec<Facts>, BadFacts> {
    let mut all: Vec<Option<Facts>> = vec![None; dirs.len()];
    let mut ended = vec![false; dirs.len()];
    let mut at = None;
    for field in output.split(|b| *b == 0) {
        // `for-each-ref` ends every line with a newline after our NUL.
        let field = field.strip_prefix(b"\n").unwrap_or(field);
        if field.is_empty() {
            continue;
        }
        let bad = || BadFacts(String::from_utf8_lossy(field).into_owned());
        let (key, rest) = (field[0], field.get(2..).unwrap_or_default());
        let text = || String::from_utf8_lossy(rest).into_owned();
        if key == b'R' {
            let index: usize = text().parse().map_err(|_| bad())?;
            let dir = dirs.get(index).ok_or_else(bad)?.clone();
            all[index] = Some(Facts { dir, ..Facts::default() });
            at = Some(index);
            continue;
        }
        let index = at.ok_or_else(bad)?;
        if key == b'Z' {
            ended[index] = true;
            continue;
        }
        let facts = all[index].as_mut().ok_or_else(bad)?;
        read(facts, key, rest, &text()).ok_or_else(bad)?;
    }
    all.iter_mut().flatten().for_each(stand_on_branches);
    let whole = all.into_iter().zip(ended).zip(dirs);
    whole.map(|((facts, ended), dir)| facts.filter(|_| ended).ok_or_else(|| BadFacts(dir.clone()))).collect()
}

/// A branch that is rebased moves at the very end; until then its own work tree has a commit without a branch.
fn stand_on_branches(facts: &mut Facts) {
    for tree in facts.trees.iter_mut().filter(|tree| tree.kind != TreeKind::Submodule) {
        let rebased = tree.branch.as_ref().and_then(|branch| facts.heads.get(branch));
        if tree.in_progress.contains(&"rebase") {
            match rebased {
                Some(id) => tree.head = Some(id.clone()),
                None => tree.branch = None,
            }
        }
    }
}

fn read(facts: &mut Facts, key: u8, rest: &[u8], text: &str) -> Option<()> {
    let pair = || text.split_once(' ').map(|(id, name)| (name.to_owned(), id.to_owned()));
    match key {
        b'G' => facts.exists = true,
        b'I' => facts.incomplete = true,
        b'M' => facts.submodules = true,
        b'L' => facts.locks.push(text.into()),
        b'o' => {
            let below = rest.strip_prefix(facts.dir.as_bytes())?.strip_prefix(b"/")?;
            facts.lfs.push(below.to_vec());
        }
        b'f' => {
            let (name, id) = pair()?;
            let below = |prefix: &str| name.strip_prefix(prefix).map(ToOwned::to_owned);
            match (below("refs/heads/"), below("refs/remotes/")) {
                (Some(name), _) => facts.heads.insert(name, id),
                (None, name) => facts.remotes.insert(name?, id),
            };
        }
        b'c' => facts.config.extend([rest, b"\0"].concat()),
        b'W' => {
            let (kind, dir) = text.split_once(' ')?;
            let kind = match kind {
                "main" => TreeKind::Main,
                "linked" => TreeKind::Linked,
                "submodule" => TreeKind::Submodule,
                _ => return None,
            };
            facts.trees.push(Tree {
                kind,
                dir: dir.into(),
                head: None,
                branch: None,
                in_progress: Vec::new(),
                entries: Vec::new(),
                stash: Vec::new(),
                rescues: BTreeMap::new(),
                unpushed: Vec::new(),
                tagged: Vec::new(),
                detached_unpushed: None,
            });
        }
        _ => return of_tree(facts.trees.last_mut()?, key, rest, text),
    }
    Some(())
}

fn of_tree(tree: &mut Tree, key: u8, rest: &[u8], text: &str) -> Option<()> {
    match key {
        b'P' => tree.in_progress.push(operation(text)?),
        b's' => tree.stash.push(text.into()),
        b'u' => {
            let (id, name) = text.split_once(' ')?;
            tree.unpushed.push((name.into(), id.into()));
        }
        b't' => {
            let (id, name) = text.split_once(' ')?;
            tree.tagged.push((name.into(), id.into()));
        }
        b'k' => {
            let (id, name) = text.split_once(' ')?;
            tree.rescues.insert(name.into(), id.into());
        }
        b'd' => tree.detached_unpushed = Some(text.into()),
        // "detached HEAD" when it was begun without a branch; empty when it ended while it was looked at.
        b'B' => tree.branch = text.strip_prefix("refs/heads/").map(ToOwned::to_owned),
        b'S' => return status(tree, rest, text),
        _ => return None,
    }
    Some(())
}

fn operation(mark: &str) -> Option<&'static str> {
    Some(match mark {
        "MERGE_HEAD" => "merge",
        "CHERRY_PICK_HEAD" => "cherry-pick",
        "REVERT_HEAD" => "revert",
        "BISECT_LOG" => "bisect",
        "rebase-merge" | "rebase-apply" => "rebase",
        "sequencer" => "sequence of commits",
        _ => return None,
    })
}

/// A line of `git status --porcelain=v2 --branch -z` (git-status(1)).
fn status(tree: &mut Tree, line: &[u8], text: &str) -> Option<()> {
    if let Some(header) = text.strip_prefix("# ") {
        match header.split_once(' ') {
            Some(("branch.oid", "(initial)")) => tree.head = None,
            Some(("branch.oid", id)) => tree.head = Some(id.into()),
            // None, or the one that is rebased.
            Some(("branch.head", "(detached)")) => {}
            Some(("branch.head", name)) => tree.branch = Some(name.into()),
            _ => {}
        }
        return Some(());
    }
    // How many fields there are before the path.
    let (fields, tracked) = match line.first()? {
        b'1' => (8, true),
        b'u' => (10, true),
        b'?' => (1, false),
        _ => return None,
    };
    let path = line.splitn(fields + 1, |b| *b == b' ').nth(fields)?.to_vec();
    let gone = line[0] == b'1' && (line.get(3) == Some(&b'D') || line.starts_with(b"1 D. "));
    // A submodule at its right commit, with changes inside: those are its own, and it is a tree of its own.
    if line.starts_with(b"1 .M S.") {
        return Some(());
    }
    // `1 XY SUB MODE-IN-HEAD MODE-IN-INDEX ...`; 160000 is a commit of another repository.
    let mut words = text.split(' ').skip(3);
    let modes = (words.next(), words.next());
    let added_module = line[0] == b'1' && matches!(modes, (Some("000000"), Some("160000")));
    tree.entries.push(Entry { path, tracked, gone, added_module });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Vec<Facts>, BadFacts> {
        parse(text.replace('|', "\0").as_bytes(), &["/w".into()])
    }

    #[test]
    fn an_answer_is_read() {
        let text = "R 0|G|f aa refs/heads/main|\nf bb refs/heads/x/y|\nf cc refs/remotes/origin/main|L index.lock|o /w/.git/lfs/objects/ab/cd/abcd|c remote.origin.url\nssh://x|W main /w|\
            S # branch.oid aa|S # branch.head main|S 1 .M N... 100644 100644 100644 a b a b|S 1 .D N... 1 1 0 a b gone|\
            S ? new\nline|S u UU N... 1 1 1 1 a b c both|P rebase-merge|k ee pi/T|\ns dd|u aa main|t ff v1/x|Z|";
        let facts = one(text).unwrap().remove(0);
        assert_eq!((facts.heads["x/y"].as_str(), facts.remotes["origin/main"].as_str()), ("bb", "cc"));
        assert_eq!(facts.origin().unwrap(), "ssh://x");
        assert_eq!(facts.lfs, [b".git/lfs/objects/ab/cd/abcd"]);
        let tree = facts.main().unwrap();
        assert_eq!((tree.head.as_deref(), tree.branch.as_deref()), (Some("aa"), Some("main")));
        let entries: Vec<(&[u8], bool, bool)> =
            tree.entries.iter().map(|e| (e.path.as_slice(), e.tracked, e.gone)).collect();
        assert_eq!(
            entries,
            [
                (&b"a b"[..], true, false),
                (b"gone", true, true),
                (b"new\nline", false, false),
                (b"both", true, false)
            ]
        );
        assert_eq!((tree.in_progress[0], tree.stash[0].as_str()), ("rebase", "dd"));
        assert_eq!(tree.rescues["pi/T"], "ee");
        assert_eq!(tree.tagged, [("v1/x".to_owned(), "ff".to_owned())]);
    }

    #[test]
    fn a_submodule_that_no_commit_has_yet_is_told_from_one_that_moved() {
        let added = |line: &str| {
            let facts = one(&format!("R 0|G|M|W main /w|S {line}|Z|")).unwrap().remove(0);
            facts.main().unwrap().entries[0].added_module
        };
        assert!(added("1 A. S... 000000 160000 160000 0 b part"));
        assert!(added("1 AM SC.. 000000 160000 160000 0 b part"));
        assert!(!added("1 .M SC.. 160000 160000 160000 a a part"), "it has another commit");
        assert!(!added("1 A. N... 000000 100644 100644 0 b .gitmodules"));
        assert!(!added("? 000000 160000 160000"));
    }

    #[test]
    fn a_branch_that_is_rebased_is_what_its_work_tree_is_on() {
        for (begun, on) in [
            ("P rebase-merge|B refs/heads/main|", Some(("main", "aa"))),
            ("P rebase-apply|B refs/heads/main|", Some(("main", "aa"))),
            // Ended while it was looked at, gone meanwhile, begun without a branch.
            ("P rebase-merge|B |", None),
            ("P rebase-merge|B refs/heads/gone|", None),
            ("P rebase-merge|B detached HEAD|", None),
            ("P MERGE_HEAD|", None),
        ] {
            let text = format!(
                "R 0|G|f aa refs/heads/main|W main /w|{begun}S # branch.oid bb|S # branch.head (detached)|Z|"
            );
            let facts = one(&text).unwrap().remove(0);
            let tree = facts.main().unwrap();
            let seen = (tree.branch.as_deref(), tree.head.as_deref().unwrap());
            assert_eq!(seen, on.map_or((None, "bb"), |(branch, id)| (Some(branch), id)), "{begun}");
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        for bad in [
            "",
            "R 0|G|",
            "R 1|Z|",
            "G|",
            "R 0|S ? x|Z|",
            "R 0|y|Z|",
            "R 0|f aa refs/tags/x|Z|",
            "R 0|W main /w|S 9 x|Z|",
            "R 0|o /elsewhere/x|Z|",
        ] {
            assert!(one(bad).is_err(), "{bad}");
        }
        assert!(!one("R 0|Z|").unwrap()[0].exists);
    }
}
