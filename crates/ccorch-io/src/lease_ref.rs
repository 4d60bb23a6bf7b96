//! The arbiter's half of the lease: a ref in a git remote, a chain of commits that each hold the lease as JSON.
//!
//! `git push --force-with-lease=REF:OLD` is a compare-and-set on the remote; a change counts when the ref, read again,
//! is ours. Source: git-push(1), "--force-with-lease=<refname>:<expect>".

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ccorch_core::lease::Lease;

use crate::command::{Command, CommandError};
use crate::durable;
use crate::ssh::Ssh;

/// A remote that is slower than this counts as away.
const REMOTE_DEADLINE: Duration = Duration::from_secs(20);
const FILE: &str = "lease.json";

/// A commit of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit(String);

impl Commit {
    /// Its id, in hexadecimal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the remote says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It could not be asked; why.
    Away(String),
    /// The ref does not exist.
    Absent,
    /// The ref's newest commit and the lease in it.
    Holds(Commit, Box<Lease>),
}

/// How a push went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The ref is ours.
    Done(Commit),
    /// Somebody else was faster; the ref is not what was expected.
    Lost,
    /// Not known whether it arrived; why. Read again before anything else.
    Unknown(String),
}

/// The ref, spoken to through a cache repository of our own.
#[derive(Debug, Clone)]
pub struct LeaseRef {
    /// The cache: a bare repository, created when absent.
    pub cache: PathBuf,
    /// Where there is room when the cache's disk has none: what a remote says is read all the same.
    pub spare: Option<PathBuf>,
    /// The remote's URL.
    pub remote: String,
    /// The full ref name.
    pub name: String,
    /// How ssh remotes are reached (only its options are used).
    pub ssh: Ssh,
}

impl LeaseRef {
    /// Reads the ref from the remote.
    pub fn read(&self) -> Result<Seen> {
        self.prepare()?;
        let listed = match self.git(&["ls-remote", "--exit-code", &self.remote, &self.name]).output() {
            Ok(output) if output.status.code() == Some(2) => return Ok(Seen::Absent),
            Ok(output) if output.status.success() => output.text(),
            Ok(output) => return Ok(Seen::Away(last_line(&output.error_text()))),
            Err(error) => return Ok(Seen::Away(error.failure.to_string())),
        };
        let Some(id) = listed.split_whitespace().next() else { return Ok(Seen::Absent) };
        let commit = Commit(id.to_owned());
        let known = self.show(&commit);
        let text = if let Ok(text) = known {
            text
        } else {
            let fetch = self.git(&[
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                &self.remote,
                &self.name,
            ]);
            match (fetch.run(), &self.spare) {
                (Ok(_), _) => self.show(&commit)?,
                (Err(error), Some(spare)) if durable::disk_refuses(&error.tail) => {
                    match self.read_beside(&fetch, &commit, spare) {
                        Ok(text) => text,
                        Err(again) => {
                            let (first, again) = (why(&error.tail), format!("{again:#}"));
                            return Ok(Seen::Away(format!("{first}; and in {}: {again}", spare.display())));
                        }
                    }
                }
                (Err(error), _) => return Ok(Seen::Away(why(&error.tail))),
            }
        };
        let lease = serde_json::from_str(&text)
            .with_context(|| format!("{} at {} does not hold a lease", self.name, self.remote))?;
        Ok(Seen::Holds(commit, Box::new(lease)))
    }

    /// The newest changes of the chain that the cache knows, newest first: time and what each says. Renewals of one epoch
    /// are one line.
    pub fn chain(&self, most: usize) -> Result<Vec<String>> {
        let Seen::Holds(commit, _) = self.read()? else { return Ok(Vec::new()) };
        let format = "--format=%cI %s %b";
        let text = self.git(&["log", "--max-count=500", format, commit.as_str()]).read()?;
        let mut changes: Vec<String> = Vec::new();
        let mut last = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let what = line.split_once(' ').map_or(line, |(_, what)| what);
            if what != last {
                changes.push(line.to_owned());
            }
            last = what;
        }
        changes.truncate(most);
        Ok(changes)
    }

    /// Moves the ref from `old` (or from not being there) to a new commit with this lease.
    pub fn swap(&self, old: Option<&Commit>, lease: &Lease) -> Result<Swap> {
        self.prepare()?;
        let new = self.commit(old, lease)?;
        let expected = format!("--force-with-lease={}:{}", self.name, old.map_or("", |c| c.0.as_str()));
        let target = format!("{}:{}", new.0, self.name);
        let pushed = self.git(&["push", "--quiet", "--porcelain", &expected, &self.remote, &target]).output();
        match (self.read()?, pushed) {
            (Seen::Holds(seen, _), _) if seen == new => Ok(Swap::Done(new)),
            (Seen::Away(_), Err(error)) => Ok(Swap::Unknown(error.to_string())),
            (Seen::Away(why), _) => Ok(Swap::Unknown(why)),
            (_, Ok(output)) if output.text().contains("[rejected]") || output.status.success() => {
                Ok(Swap::Lost)
            }
            (now, _) if !unchanged(&now, old) => Ok(Swap::Lost),
            (_, Ok(output)) => Ok(Swap::Unknown(refusal(&output.text(), &output.error_text()))),
            (_, Err(error)) => Ok(Swap::Unknown(error.to_string())),
        }
    }

    /// Proves that the forge lets such a ref be created, moved and deleted, on a probe beside it.
    pub fn probe(&self, lease: &Lease) -> Result<()> {
        let probe = Self { name: format!("{}-probe-{}", self.name, lease.nonce), ..self.clone() };
        let first = probe.demand("create", probe.swap(None, lease)?)?;
        probe.demand("move", probe.swap(Some(&first), lease)?)?;
        probe.git(&["push", "--quiet", &probe.remote, &format!(":{}", probe.name)]).run()?;
        Ok(())
    }

    fn demand(&self, what: &str, swap: Swap) -> Result<Commit> {
        match swap {
            Swap::Done(commit) => Ok(commit),
            Swap::Lost => bail!("{}: {} was changed by somebody else", self.remote, self.name),
            Swap::Unknown(why) => bail!("{} does not let {} be {what}d: {why}", self.remote, self.name),
        }
    }

    fn commit(&self, parent: Option<&Commit>, lease: &Lease) -> Result<Commit> {
        let json = serde_json::to_vec_pretty(lease).context("serialise the lease")?;
        let blob = self.git(&["hash-object", "-w", "--stdin"]).input(json).read()?;
        let tree = self.git(&["mktree"]).input(format!("100644 blob {blob}\t{FILE}\n")).read()?;
        let cutover = lease.cutover.as_ref().map(|owner| {
            let state = if owner.open { "driven" } else { "ended" };
            format!("\n\ncutover {}, turn {}, {state} by {}", owner.journal, owner.turn, owner.by)
        });
        let cutover = cutover.unwrap_or_default();
        let message = format!("epoch {}: {} {:?}{cutover}", lease.epoch, lease.holder, lease.state);
        let mut args = vec!["commit-tree", &tree, "-m", &message];
        if let Some(parent) = parent {
            args.extend(["-p", &parent.0]);
        }
        Ok(Commit(self.git(&args).read()?))
    }

    fn show(&self, commit: &Commit) -> Result<String, CommandError> {
        self.git(&["cat-file", "blob", &format!("{}:{FILE}", commit.0)]).read()
    }

    /// Has git fetch into a folder of its own, which is gone afterwards, and reads the commit there.
    fn read_beside(&self, fetch: &Command, commit: &Commit, spare: &Path) -> Result<String> {
        let beside = tempfile::Builder::new().prefix(".lease-").tempdir_in(spare)?;
        let there = |command: Command| {
            let known = self.cache.join("objects");
            command.env("GIT_OBJECT_DIRECTORY", beside.path()).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", known)
        };
        there(fetch.clone()).run()?;
        Ok(there(self.git(&["cat-file", "blob", &format!("{}:{FILE}", commit.0)])).read()?)
    }

    fn prepare(&self) -> Result<()> {
        if !self.cache.join("HEAD").exists() {
            durable::create_dir(&self.cache, 0o700)?;
            Command::new("git").args(["init", "--quiet", "--bare"]).arg(&self.cache).run()?;
        }
        if let Some(dir) = &self.ssh.control_dir {
            durable::create_dir(dir, 0o700)?;
        }
        Ok(())
    }

    fn git(&self, args: &[&str]) -> Command {
        let who = [("GIT_AUTHOR_NAME", "ccorch"), ("GIT_AUTHOR_EMAIL", "ccorch@localhost")];
        let committer = [("GIT_COMMITTER_NAME", "ccorch"), ("GIT_COMMITTER_EMAIL", "ccorch@localhost")];
        let quiet = [("GIT_TERMINAL_PROMPT", "0"), ("LC_ALL", "C")];
        let command = Command::new("git").arg("-C").arg(&self.cache).args(args).deadline(REMOTE_DEADLINE);
        let pairs = who.into_iter().chain(committer).chain(quiet);
        pairs
            .fold(command, |command, (key, value)| command.env(key, value))
            .env("GIT_SSH_COMMAND", self.ssh.shell_command())
    }
}

fn unchanged(now: &Seen, old: Option<&Commit>) -> bool {
    match (now, old) {
        (Seen::Absent, None) => true,
        (Seen::Holds(commit, _), Some(old)) => commit == old,
        _ => false,
    }
}

/// Why a push was refused: what the remote says of the ref (`! SOURCE:REF REASON` in porcelain), else git's last word.
fn refusal(porcelain: &str, errors: &str) -> String {
    let of_ref = porcelain.lines().find_map(|line| line.strip_prefix('!')?.rsplit_once('\t'));
    of_ref.map_or_else(|| last_line(errors), |(_, reason)| reason.trim().to_owned())
}

/// Why a fetch failed: what this machine's own disk says, which git follows with words about what it was doing, else its last.
fn why(errors: &str) -> String {
    let of_disk = errors.lines().map(str::trim).find(|line| durable::disk_refuses(line));
    of_disk.map_or_else(|| last_line(errors), str::to_owned)
}

fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or("no answer").to_owned()
}

#[cfg(test)]
mod tests {
    use ccorch_core::lease::{Epoch, Standing};
    use ccorch_core::names::{HostName, RigName};
    use jiff::Timestamp;

    use super::*;

    fn lease(epoch: u64) -> Lease {
        Lease {
            rig: RigName::new("r").unwrap(),
            holder: HostName::new("pi").unwrap(),
            epoch: Epoch(epoch),
            state: Standing::Active,
            boot_id: None,
            nonce: uuid::Uuid::new_v4().to_string(),
            journal: None,
            cutover: None,
            renewal: 0,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn remote(dir: &Path) -> String {
        let path = dir.join("remote.git");
        Command::new("git").args(["init", "--quiet", "--bare"]).arg(&path).run().unwrap();
        path.display().to_string()
    }

    fn lease_ref(dir: &Path, cache: &str, remote: &str) -> LeaseRef {
        let name = "refs/ccorch/lease/r".into();
        LeaseRef { cache: dir.join(cache), spare: None, remote: remote.into(), name, ssh: Ssh::default() }
    }

    #[test]
    fn the_ref_is_a_compare_and_set() {
        let dir = tempfile::tempdir().unwrap();
        let remote = remote(dir.path());
        let (a, b) = (lease_ref(dir.path(), "a", &remote), lease_ref(dir.path(), "b", &remote));
        assert_eq!(a.read().unwrap(), Seen::Absent);
        let Swap::Done(first) = a.swap(None, &lease(1)).unwrap() else { panic!("first") };
        assert_eq!(b.swap(None, &lease(1)).unwrap(), Swap::Lost);
        let second = lease(2);
        let Swap::Done(new) = b.swap(Some(&first), &second).unwrap() else { panic!("second") };
        assert_eq!(a.swap(Some(&first), &lease(2)).unwrap(), Swap::Lost);
        assert_eq!(a.read().unwrap(), Seen::Holds(new, Box::new(second)));
    }

    #[test]
    fn of_many_at_once_exactly_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let remote = remote(dir.path());
        let Swap::Done(first) = lease_ref(dir.path(), "x", &remote).swap(None, &lease(1)).unwrap() else {
            panic!()
        };
        let racers: Vec<_> = (0..8)
            .map(|n| {
                let racer = lease_ref(dir.path(), &format!("c{n}"), &remote);
                let first = first.clone();
                std::thread::spawn(move || {
                    racer.read().unwrap();
                    racer.swap(Some(&first), &lease(2)).unwrap()
                })
            })
            .collect();
        let results: Vec<Swap> = racers.into_iter().map(|r| r.join().unwrap()).collect();
        let won = results.iter().filter(|s| matches!(s, Swap::Done(_))).count();
        let unknown = results.iter().filter(|s| matches!(s, Swap::Unknown(_))).count();
        assert_eq!((won, unknown), (1, 0), "{results:?}");
    }

    #[test]
    fn a_remote_that_does_not_answer_is_away_and_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nothing.git").display().to_string();
        assert!(matches!(lease_ref(dir.path(), "a", &nowhere).read().unwrap(), Seen::Away(_)));
        let refused = lease_ref(dir.path(), "b", "ssh://git@127.0.0.1:1/x.git");
        assert!(matches!(refused.read().unwrap(), Seen::Away(_)));
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let remote = remote(dir.path());
        lease_ref(dir.path(), "a", &remote).probe(&lease(1)).unwrap();
        let refs = Command::new("git").args(["ls-remote", &remote]).read().unwrap();
        assert_eq!(refs, "");
    }

    #[test]
    fn a_disk_of_this_machine_that_takes_nothing_is_no_silence_of_the_remote() {
        let full = "error: unable to write file ./objects/aa: No space left on device\nfatal: unpack-objects failed\n";
        assert!(durable::disk_refuses(&why(full)), "{}", why(full));
        assert_eq!(
            why("fatal: a\nfatal: Could not read from remote repository.\n"),
            "fatal: Could not read from remote repository."
        );
    }
}
