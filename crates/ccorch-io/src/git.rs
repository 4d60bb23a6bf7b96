//! A git clone on a host, used as the user who owns it: root would execute what an agent's configuration names.
//!
//! git never asks, never trusts a host key on first use, and runs no hook.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::command::{Command, CommandError};
use crate::host::Host;

/// A first clone over a slow line may take this long.
const SLOW: Duration = Duration::from_secs(3600);
/// The environment of every call. Pointers of git LFS are left as they are. A forge that lost its power in the middle of an
/// answer says nothing any more, which by itself would be waited for as long as for a slow one.
pub(crate) const ENVIRONMENT: [&str; 5] = [
    "LC_ALL=C",
    "GIT_TERMINAL_PROMPT=0",
    "GIT_LFS_SKIP_SMUDGE=1",
    "GIT_OPTIONAL_LOCKS=0",
    "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=15 -o ServerAliveInterval=5 -o ServerAliveCountMax=6 -o LogLevel=ERROR -o 'UserKnownHostsFile=~/.ssh/known_hosts /etc/ccorch/known_hosts'",
];

/// Options of every call.
pub(crate) const FIXED: [&str; 6] =
    ["-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", "-c", "gc.auto=0"];

/// One clone.
#[derive(Debug, Clone)]
pub struct Clone<'a> {
    /// Where it is.
    pub host: &'a Host,
    /// Who owns it.
    pub user: &'a str,
    /// Its folder.
    pub dir: String,
}

type Result<T> = std::result::Result<T, CommandError>;

impl Clone<'_> {
    /// A git command in the clone.
    pub fn git<S: AsRef<str>>(&self, args: &[S]) -> Command {
        self.git_in(&self.dir, args)
    }

    fn git_in<S: AsRef<str>>(&self, dir: &str, args: &[S]) -> Command {
        let argv: Vec<&str> = ["env"]
            .into_iter()
            .chain(ENVIRONMENT)
            .chain(["git"])
            .chain(FIXED)
            .chain(args.iter().map(AsRef::as_ref))
            .collect();
        let words: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        self.host.command_as(self.user, dir, &argv).shown_as(format!(
            "git -C {} {}",
            self.dir,
            crate::quote::argv(&words)
        ))
    }

    /// Whether the folder is the top of a clone (and not merely inside another).
    pub fn exists(&self) -> Result<bool> {
        self.host.exists(&format!("{}/.git", self.dir))
    }

    /// Makes an empty clone there, whatever else lies in the folder. Its marker says that it has never been whole.
    pub fn create(&self, branch: &str) -> Result<()> {
        let script = r#"set -eu; mkdir -p -- "$1/.git"; : >"$1/.git/ccorch-incomplete""#;
        self.host.command_as(self.user, "/", &["sh", "-c", script, "create", &self.dir]).run()?;
        self.git(&["init", "-q", "--template=", "--initial-branch", branch]).run().map(drop)
    }

    /// Whether the clone was begun here and has not been whole yet.
    pub fn is_incomplete(&self) -> Result<bool> {
        self.host.exists(&format!("{}/.git/ccorch-incomplete", self.dir))
    }

    /// Checks the branch out in a clone that was begun here, over whatever an earlier attempt left.
    pub fn complete(&self, branch: &str) -> Result<()> {
        let git_dir = format!("{}/.git", self.dir);
        let rm = |name: &str| {
            let path = format!("{git_dir}/{name}");
            self.host.command_as(self.user, "/", &["rm", "-f", "--", &path]).run()
        };
        rm("index.lock")?;
        self.git(&["checkout", "-q", "-f", branch, "--"]).deadline(SLOW).run()?;
        rm("ccorch-incomplete").map(drop)
    }

    /// Sets where `origin` is, and says whether that was a change.
    pub fn set_origin(&self, url: &str) -> Result<bool> {
        let now = self.git(&["config", "--local", "--get", "remote.origin.url"]).output()?;
        if now.text() == url {
            return Ok(false);
        }
        let verb: &[&str] = if now.status.success() { &["set-url"] } else { &["add"] };
        self.git(&[&["remote"], verb, &["origin", url]].concat()).run()?;
        Ok(true)
    }

    /// Fetches from `origin`.
    pub fn fetch(&self) -> Result<()> {
        self.git(&["fetch", "-q", "--no-recurse-submodules", "origin"]).deadline(SLOW).run().map(drop)
    }

    /// Local branches and their commits.
    pub fn heads(&self) -> Result<BTreeMap<String, String>> {
        let format = "--format=%(objectname) %(refname:lstrip=2)";
        let text = self.git(&["for-each-ref", format, "refs/heads"]).read()?;
        let pair = |line: &str| line.split_once(' ').map(|(id, name)| (name.to_owned(), id.to_owned()));
        Ok(text.lines().filter_map(pair).collect())
    }

    /// The branch that is checked out; `None` when a commit is, without a branch.
    pub fn branch(&self) -> Result<Option<String>> {
        let command = self.git(&["symbolic-ref", "-q", "--short", "HEAD"]);
        let output = command.output()?;
        match output.status.code() {
            Some(0) => Ok(Some(output.text())),
            Some(1) => Ok(None),
            _ => Err(command.failed(&output)),
        }
    }

    /// The commit that is checked out.
    pub fn head(&self) -> Result<String> {
        self.git(&["rev-parse", "-q", "--verify", "HEAD"]).read()
    }

    /// Whether the clone has this commit with all that it needs. A torn transfer leaves commits without their files, so
    /// everything that no ref vouches for is walked.
    pub fn has(&self, commit: &str) -> Result<bool> {
        let walk = ["rev-list", "--quiet", "--objects", commit, "--not", "--all"];
        let command = self.git(&walk).deadline(SLOW);
        let output = command.output()?;
        match output.status.code() {
            Some(0) => Ok(true),
            // ssh's own failure, not git's answer.
            Some(255) | None => Err(command.failed(&output)),
            Some(_) => Ok(false),
        }
    }

    /// Whether a ref of the clone has this commit; a clone that is not there has none.
    pub fn names(&self, commit: &str) -> Result<bool> {
        let command = self.git(&["for-each-ref", "--count=1", "--contains", commit]);
        let output = command.output()?;
        match output.status.code() {
            Some(0) => Ok(!output.stdout.is_empty()),
            // ssh's own failure, not git's answer.
            Some(255) | None => Err(command.failed(&output)),
            Some(_) => Ok(false),
        }
    }

    /// Whether the clone holds this commit, by any ref or none.
    pub fn knows(&self, commit: &str) -> Result<bool> {
        let command = self.git(&["cat-file", "-e", &format!("{commit}^{{commit}}")]);
        let output = command.output()?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1 | 128) => Ok(false),
            _ => Err(command.failed(&output)),
        }
    }

    /// Whether `old` is reached from `new`.
    pub fn is_ancestor(&self, old: &str, new: &str) -> Result<bool> {
        let command = self.git(&["merge-base", "--is-ancestor", old, new]);
        let output = command.output()?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(command.failed(&output)),
        }
    }

    /// All commits that some ref names: what another clone need not send.
    pub fn tips(&self) -> Result<Vec<String>> {
        let text = self.git(&["for-each-ref", "--format=%(objectname)"]).read()?;
        Ok(text.lines().map(ToOwned::to_owned).collect())
    }

    /// A pack of `wanted` commits and all that they need beyond `known` ones (those that are not known here are passed over).
    pub fn pack(&self, wanted: &[String], known: &[String]) -> Result<Vec<u8>> {
        let input: String = known.iter().map(|id| format!("{id}\n")).collect();
        let check =
            self.git(&["cat-file", "--batch-check=%(objectname) %(objecttype)"]).input(input).read()?;
        let have = check.lines().filter_map(|line| line.strip_suffix(" commit"));
        let mut revs: String = wanted.iter().map(|id| format!("{id}\n")).collect();
        revs.extend(have.map(|id| format!("^{id}\n")));
        let command = self.git(&["pack-objects", "-q", "--revs", "--thin", "--stdout"]);
        Ok(command.input(revs).deadline(SLOW).most(usize::MAX).run()?.stdout)
    }

    /// Takes a pack in.
    pub fn unpack(&self, pack: Vec<u8>) -> Result<()> {
        self.git(&["unpack-objects", "-q"]).input(pack).deadline(SLOW).run().map(drop)
    }

    /// Files that git neither holds nor ignores, NUL-safe; a nested clone is one name that ends with `/`.
    pub fn untracked(&self) -> Result<Vec<Vec<u8>>> {
        let output = self.git(&["ls-files", "-z", "--others", "--exclude-standard"]).run()?;
        Ok(split(&output.stdout))
    }

    /// Files that git holds and that differ from the commit or are staged.
    pub fn dirty(&self) -> Result<Vec<Vec<u8>>> {
        let status = ["status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames"];
        let output = self.git(&[&status[..], &["--ignore-submodules=none"]].concat()).run()?;
        Ok(split(&output.stdout).into_iter().filter_map(|entry| entry.get(3..).map(<[u8]>::to_vec)).collect())
    }

    /// Names of all files that a commit holds.
    pub fn names_in(&self, commit: &str) -> Result<Vec<Vec<u8>>> {
        let output = self.git(&["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]).run()?;
        Ok(split(&output.stdout))
    }

    /// The clone's own configuration as `git config --list -z` prints it: key, newline, value, NUL.
    pub fn config(&self) -> Result<Vec<u8>> {
        Ok(self.git(&["config", "--local", "--list", "-z"]).private().run()?.stdout)
    }
}

fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}
