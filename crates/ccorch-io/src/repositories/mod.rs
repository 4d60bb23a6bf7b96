//! Many repositories of a host in one call: their facts, their packs, rescues of what is not saved.
//!
//! A call over ssh costs more than most of git's answers, so a script asks everything at once, several repositories at a
//! time. It needs sh, git and GNU's findutils, sed and tar over there, nothing of ccorch: a legacy host has none.

use std::time::Duration;

use crate::command::{Command, CommandError};
use crate::git::{ENVIRONMENT, FIXED};
use crate::host::Host;

const FACTS: &str = include_str!("facts.sh");
const PACK: &str = include_str!("pack.sh");
const TAKE: &str = include_str!("take.sh");
const RESCUE: &str = include_str!("rescue.sh");
const QUIT: &str = include_str!("quit.sh");
/// How many repositories are worked on at a time on one host.
pub const AT_ONCE: &str = "4";
/// A first transfer over a slow line may take this long.
const SLOW: Duration = Duration::from_secs(3600);
/// The frame of every script: a folder of its own, the work split by xargs, the answers in one piece.
/// $1: environment and `git`; $2: the script; $3: arguments of each call; $4: what to print at the end.
const FRAME: &str = r#"set -eu; umask 077; t=$(mktemp -d); trap 'rm -rf -- "$t"' EXIT; export t
xargs -0 -r -n "$3" -P "$4" sh -c "$1
$2" ccorch >&2
case $5 in
    answers) find "$t" -type f -exec cat -- {} + ;;
    archive) tar -C "$t" -cf - . ;;
esac"#;

type Result<T> = std::result::Result<T, CommandError>;

/// The repositories of one user on one host.
#[derive(Debug, Clone, Copy)]
pub struct Repositories<'a> {
    /// Where they are.
    pub host: &'a Host,
    /// Who owns them; all runs as this user.
    pub user: &'a str,
}

/// Commits that another host needs of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The clone's folder.
    pub dir: String,
    /// These, with all that they need.
    pub commits: Vec<String>,
    /// Beyond these, which the other has.
    pub known: Vec<String>,
    /// These have to be known here: they are the other's branches, and what is not known here is its own work.
    pub must_know: Vec<String>,
}

/// How a branch moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The whole ref.
    pub name: String,
    /// Its commit now; empty when it does not exist.
    pub old: String,
    /// Its commit to be.
    pub new: String,
}

/// A work tree with something to rescue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// The work tree's folder.
    pub dir: String,
    /// Files to commit, relative to it: changed, new and gone ones.
    pub files: Vec<Vec<u8>>,
    /// Commits that no remote has: what to add to the rescue's name, and the commit.
    pub commits: Vec<(String, String)>,
}

/// What a rescue made in one work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// Branches, without `refs/heads/`, and their commits.
    pub branches: Vec<(String, String)>,
    /// Every change in it that no remote has, as `git log --patch` prints it.
    pub patch: Vec<u8>,
}

impl Repositories<'_> {
    /// The facts of these clones, for [`ccorch_core::safepoint::parse`].
    pub fn facts(&self, dirs: &[String]) -> Result<Vec<u8>> {
        let input: Vec<u8> = dirs
            .iter()
            .enumerate()
            .flat_map(|(index, dir)| format!("{index}\0{dir}\0").into_bytes())
            .collect();
        let command = self.many(FACTS, 2, AT_ONCE, "answers").input(input);
        Ok(command.shown_as("look at every repository").deadline(SLOW).run()?.stdout)
    }

    /// Packs of what the other host needs, as an archive for [`Repositories::take`]: one file `INDEX.pack` each.
    pub fn pack(&self, wanted: &[Wanted]) -> Result<Vec<u8>> {
        let field = |(index, one): (usize, &Wanted)| {
            let lines = |ids: &[String], mark: &str| -> String {
                ids.iter().map(|id| format!("{mark}{id}\n")).collect()
            };
            let (commits, known) = (lines(&one.commits, ""), lines(&one.known, ""));
            let must_know = lines(&one.must_know, "");
            format!("{index}\0{}\0{commits}\0{known}\0{must_know}\0", one.dir).into_bytes()
        };
        let input: Vec<u8> = wanted.iter().enumerate().flat_map(field).collect();
        let command = self.many(PACK, 5, AT_ONCE, "archive").input(input);
        Ok(command.shown_as("pack what the other host lacks").deadline(SLOW).most(usize::MAX).run()?.stdout)
    }

    /// Takes packs in, and moves branches; the branch that is checked out moves with its work tree, and only when no
    /// file that git holds was changed. Nothing moves whose commit did not arrive whole.
    pub fn take(&self, archive: &[u8], moves: &[(String, Vec<Move>)]) -> Result<()> {
        let field = |(index, (dir, moves)): (usize, &(String, Vec<Move>))| {
            let lines: String =
                moves.iter().map(|one| format!("{} {} {}\n", one.new, one.old_or_zero(), one.name)).collect();
            format!("{index}\0{dir}\0{lines}\0").into_bytes()
        };
        let list: Vec<u8> = moves.iter().enumerate().flat_map(field).collect();
        let head = format!("{}\n", list.len()).into_bytes();
        // The user's own umask: files are checked out under it. The folder is nobody else's by itself.
        let script = r#"set -eu; t=$(mktemp -d); trap 'rm -rf -- "$t"' EXIT; export t
IFS= read -r n; head -c "$n" >"$t/list"; tar -C "$t" -xf -
xargs -0 -r -a "$t/list" -n 3 -P "$3" sh -c "$1
$2" ccorch >&2"#;
        let argv = ["sh", "-c", script, "take", &git_function(), TAKE, AT_ONCE];
        let command = self.host.command_as(self.user, "/", &argv).input([&head, &list[..], archive].concat());
        command.shown_as("take commits in and move branches").deadline(SLOW).run().map(drop)
    }

    /// Has every clone hear of its `origin`'s news.
    pub fn fetch(&self, dirs: &[String]) -> Result<()> {
        let script = "git -C \"$1\" fetch -q --no-recurse-submodules origin";
        let input: Vec<u8> = dirs.iter().flat_map(|dir| format!("{dir}\0").into_bytes()).collect();
        let command = self.many(script, 1, AT_ONCE, "").input(input);
        command.shown_as("fetch what the remotes have").deadline(SLOW).run().map(drop)
    }

    /// Commits what is not committed, without touching work tree, index or branch, and names every commit to keep:
    /// `refs/ccorch/rescue/...`, which keeps git from forgetting them. `stamp` is what their names begin with.
    /// The same content under the same stamp is the same commit, so a repetition changes nothing.
    pub fn rescue(&self, one: &Rescue, stamp: &str) -> Result<Rescued> {
        let commits: String = one.commits.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
        let files: Vec<u8> = one.files.iter().flat_map(|file| [file, &b"\0"[..]].concat()).collect();
        let identity = format!("ccorch@{}", self.host.name);
        let argv = ["sh", "-c", RESCUE, "rescue", &git_function(), &one.dir, stamp, &commits, &identity];
        let command = self.host.command_as(self.user, "/", &argv).input(files);
        let output = command.shown_as(format!("rescue what {} holds", one.dir)).deadline(SLOW);
        let output = output.private().most(usize::MAX).run()?.stdout;
        // First the names, a line each, then an empty line, then the patch.
        let end = output.windows(2).position(|two| two == b"\n\n").unwrap_or(output.len());
        let names = String::from_utf8_lossy(&output[..end]).into_owned();
        let branch = |line: &str| line.split_once(' ').map(|(id, name)| (name.to_owned(), id.to_owned()));
        let patch = output.get(end + 2..).unwrap_or_default().to_vec();
        Ok(Rescued { branches: names.lines().filter_map(branch).collect(), patch })
    }

    /// Ends a merge, rebase or the like that was begun in a work tree: it stays at its commit, with its files. What that had
    /// put aside is gone unless a rescue keeps it.
    pub fn quit(&self, dir: &str) -> Result<()> {
        let argv = ["sh", "-c", QUIT, "quit", &git_function(), dir];
        let command = self.host.command_as(self.user, "/", &argv);
        command.shown_as(format!("end what was begun in {dir}")).deadline(SLOW).run().map(drop)
    }

    /// Refs of a clone as a git bundle; a thin one leaves out what its remotes have.
    pub fn bundle(&self, dir: &str, refs: &[String], thin: bool) -> Result<Vec<u8>> {
        let script = r#"set -eu; eval "$1"; cd -- "$2"; shift 2; git bundle create -q - "$@""#;
        let git = git_function();
        let mut argv = vec!["sh", "-c", script, "bundle", &git, dir];
        argv.extend(refs.iter().map(String::as_str));
        if thin {
            argv.extend(["--not", "--remotes"]);
        }
        let command = self.host.command_as(self.user, "/", &argv);
        Ok(command.shown_as(format!("bundle the rescue of {dir}")).deadline(SLOW).run()?.stdout)
    }

    /// Takes the rescues of a bundle into a clone, below `refs/ccorch/rescue/`.
    pub fn unbundle(&self, dir: &str, bundle: &[u8]) -> Result<()> {
        let script = r#"set -eu; eval "$1"; cd -- "$2"; t=$(mktemp -d); trap 'rm -rf -- "$t"' EXIT
cat >"$t/bundle"; git fetch -q "$t/bundle" '+refs/ccorch/rescue/*:refs/ccorch/rescue/*'"#;
        let argv = ["sh", "-c", script, "unbundle", &git_function(), dir];
        let command = self.host.command_as(self.user, "/", &argv).input(bundle);
        command.shown_as(format!("take the rescue into {dir}")).deadline(SLOW).run().map(drop)
    }

    fn many(&self, script: &str, words: usize, at_once: &str, print: &str) -> Command {
        let words = words.to_string();
        let argv = ["sh", "-c", FRAME, "many", &git_function(), script, &words, at_once, print];
        self.host.command_as(self.user, "/", &argv)
    }
}

impl Move {
    fn old_or_zero(&self) -> &str {
        if self.old.is_empty() { "0000000000000000000000000000000000000000" } else { &self.old }
    }
}

/// The environment of every git, and git itself with the options that every call gets.
fn git_function() -> String {
    let exports: Vec<String> = ENVIRONMENT
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| format!("export {name}={}", crate::quote::word(value)))
        .collect();
    format!("{}\ngit() {{ command git {} \"$@\"; }}", exports.join("\n"), crate::quote::argv(&FIXED))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::host::Reach;

    /// An agent may rebase while it is looked at: its folders come and go under the look.
    #[test]
    fn folders_that_vanish_meanwhile_are_no_error() {
        let scratch = tempfile::tempdir().unwrap();
        let clone = scratch.path().join("clone");
        let dir = clone.display().to_string();
        Command::new("git").args(["init", "-q", &dir]).run().unwrap();
        let over = AtomicBool::new(false);
        let churn = &|name: &str| {
            let (folder, marks) = (clone.join(".git").join(name), 6);
            while !over.load(Ordering::Relaxed) {
                fs::create_dir_all(folder.join("deeper")).unwrap();
                (0..marks).for_each(|mark| fs::write(folder.join(format!("{mark}")), "").unwrap());
                fs::remove_dir_all(&folder).unwrap();
            }
        };
        let host = Host::connect("here", Reach::Local).unwrap();
        let user = Command::new("id").arg("-un").read().unwrap();
        let all = Repositories { host: &host, user: &user };
        let answers = thread::scope(|scope| {
            for name in ["rebase-merge", "rebase-apply", "another"] {
                scope.spawn(move || churn(name));
            }
            let answers: Vec<_> = (0..2).map(|_| all.facts(&vec![dir.clone(); 50])).collect();
            over.store(true, Ordering::Relaxed);
            answers
        });
        for answer in answers {
            assert_eq!(
                answer.unwrap().split(|b| *b == 0).filter(|field| field.starts_with(b"Z")).count(),
                50
            );
        }
    }
}
