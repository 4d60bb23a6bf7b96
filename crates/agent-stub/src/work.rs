//! Numbered work: one line, one commit, one push a unit, noted in the transcript before and after.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use uuid::Uuid;

use crate::clone;
use crate::git::Git;
use crate::memory::{Intent, Memory};
use crate::numbering::subject;
use crate::recovery::{Completion, Remote, completion};
use crate::transcript::Transcript;

/// Other clones push to the same branch all the time; more losses in a row than this
/// are a remote in trouble, and the next try starts from the facts again.
const PUSHES: u32 = 20;

/// A session's work in the clone it stands in.
pub(crate) struct Work {
    cwd: PathBuf,
    transcript: Arc<Transcript>,
    memory: Memory,
}

impl Work {
    pub fn new(cwd: &Path, transcript: Arc<Transcript>, memory: Memory) -> Work {
        Work { cwd: cwd.to_owned(), transcript, memory }
    }

    /// Does one unit: the pending one if there is one, else the next. Returns its number.
    ///
    /// # Errors
    /// Leaves the unit pending; the next call takes it up from what git shows.
    pub fn step(&mut self, label: &str, push: bool) -> Result<u64> {
        let n = match self.memory.pending.clone() {
            Some(intent) => self.complete(&intent, push).map(|()| intent.n),
            None => self.begin(label).and_then(|intent| {
                let unit = Unit::new(&self.cwd, &intent);
                unit.write_and_commit()?;
                if push { unit.push().map(|()| intent.n) } else { Ok(intent.n) }
            }),
        }?;
        self.transcript.append_synced(&json!({"type": "work", "n": n, "state": "done"}))?;
        self.memory.finish(n);
        Ok(n)
    }

    fn begin(&mut self, label: &str) -> Result<Intent> {
        let git = Git::new(&self.cwd);
        let branch = clone::branch(&git)?;
        let base = git.run(&["rev-parse", "-q", "--verify", "HEAD"])?;
        let intent = Intent {
            n: self.memory.next(),
            label: label.to_owned(),
            unit: Uuid::new_v4().to_string(),
            branch,
            base: if base.ok() { base.stdout.trim().to_owned() } else { String::new() },
        };
        let mut record = serde_json::to_value(&intent)?;
        record["type"] = json!("work");
        record["state"] = json!("intent");
        self.transcript.append_synced(&record)?;
        self.memory.pending = Some(intent.clone());
        Ok(intent)
    }

    fn complete(&self, intent: &Intent, push: bool) -> Result<()> {
        let unit = Unit::new(&self.cwd, intent);
        clone::settle(&unit.git, &intent.branch)?;
        let remote = if push { unit.remote_state()? } else { Remote::NotUsed };
        match completion(unit.is_in("HEAD")?, remote) {
            Completion::DoIt => {
                unit.forget_half_written()?;
                unit.write_and_commit()?;
                if push { unit.push() } else { Ok(()) }
            }
            Completion::Push => unit.push(),
            Completion::TakeFromRemote => unit.rebase(),
            Completion::MarkDone => Ok(()),
            Completion::WaitForRemote => {
                bail!("work {} waits: the remote does not say whether it has it", intent.n)
            }
        }
    }
}

/// One unit's effects in git.
struct Unit<'a> {
    git: Git,
    cwd: &'a Path,
    intent: &'a Intent,
    file: String,
    remote: String,
    trailer: String,
}

impl<'a> Unit<'a> {
    fn new(cwd: &'a Path, intent: &'a Intent) -> Unit<'a> {
        let label = &intent.label;
        // Two sessions that both append must show as a repeat, not stop in a conflict.
        let git = Git::new(cwd).with(&["-c", "merge.default=union"]).with(&[
            "-c",
            &format!("user.name={label}"),
            "-c",
            &format!("user.email={label}@example.org"),
        ]);
        let remote = git
            .out(&["config", &format!("branch.{}.remote", intent.branch)])
            .unwrap_or_else(|_| "origin".to_owned());
        Unit {
            git,
            cwd,
            intent,
            file: format!("work/{label}.txt"),
            remote,
            trailer: format!("Unit: {}", intent.unit),
        }
    }

    fn upstream(&self) -> String {
        format!("refs/remotes/{}/{}", self.remote, self.intent.branch)
    }

    fn subject(&self) -> String {
        subject(&self.intent.label, self.intent.n)
    }

    fn write_and_commit(&self) -> Result<()> {
        let path = self.cwd.join(&self.file);
        let folder = self.cwd.join("work");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        writeln!(file, "{}", self.intent.n).with_context(|| format!("cannot write {}", path.display()))?;
        self.git.out(&["add", "--", &self.file])?;
        // Only its own file: what else is staged belongs to somebody.
        self.git.out(&["commit", "-q", "-m", &self.subject(), "-m", &self.trailer, "--", &self.file])?;
        Ok(())
    }

    /// The file as the last commit has it: a line may be written, staged, or neither.
    fn forget_half_written(&self) -> Result<()> {
        if self.git.ok(&["cat-file", "-e", &format!("HEAD:./{}", self.file)])? {
            self.git.out(&["checkout", "-q", "HEAD", "--", &self.file])?;
            return Ok(());
        }
        self.git.out(&["rm", "-q", "--cached", "--ignore-unmatch", "--", &self.file])?;
        let path = self.cwd.join(&self.file);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Whether the commit of this very unit is in `rev`. Another commit of the same number
    /// does not count: it is a repeat, and has to show.
    fn is_in(&self, rev: &str) -> Result<bool> {
        if !self.git.ok(&["rev-parse", "-q", "--verify", rev])? {
            return Ok(false);
        }
        let base = &self.intent.base;
        let base_is_here =
            !base.is_empty() && self.git.ok(&["cat-file", "-e", &format!("{base}^{{commit}}")])?;
        let range = if base_is_here { format!("{base}..{rev}") } else { rev.to_owned() };
        let log = self.git.out(&["log", "--format=%s%n%b%x00", &range, "--"])?;
        let subject = self.subject();
        Ok(log.split('\0').any(|commit| {
            let mut lines = commit.trim_start().lines();
            lines.next() == Some(&subject) && lines.any(|line| line == self.trailer)
        }))
    }

    fn remote_state(&self) -> Result<Remote> {
        let done = self.fetch()?;
        if done.ok() {
            let has = self.is_in(&self.upstream())?;
            return Ok(if has { Remote::Has } else { Remote::Lacks });
        }
        // The branch is not there yet: ours will be its first push.
        let absent = done.stderr.contains("couldn't find remote ref");
        Ok(if absent { Remote::Lacks } else { Remote::Unknown })
    }

    fn fetch(&self) -> Result<crate::process::Finished> {
        let refspec = format!("+refs/heads/{}:{}", self.intent.branch, self.upstream());
        self.git.run(&["fetch", "-q", "--no-tags", &self.remote, &refspec])
    }

    fn push(&self) -> Result<()> {
        let refspec = format!("HEAD:refs/heads/{}", self.intent.branch);
        let mut last = String::new();
        for attempt in 1..=PUSHES {
            let done = self.git.run(&["push", "-q", &self.remote, &refspec])?;
            if done.ok() {
                return Ok(());
            }
            last = done.why();
            if !["rejected", "cannot lock ref", "failed to update ref"]
                .iter()
                .any(|word| done.stderr.contains(word))
            {
                break;
            }
            // Clones that lose together must not come back together.
            let jitter = u64::from(std::process::id() % 40 * attempt.min(5));
            thread::sleep(Duration::from_millis(jitter));
            self.rebase()?;
        }
        bail!("git push of {} from {} failed, {last}", self.subject(), self.cwd.display())
    }

    /// `git pull --rebase`, in two steps for two options that pull does not take: a commit
    /// that changes nothing any more, because another session did the same, is kept.
    fn rebase(&self) -> Result<()> {
        let fetched = self.fetch()?;
        if !fetched.ok() {
            bail!("git fetch in {} failed, {}", self.cwd.display(), fetched.why());
        }
        let upstream = self.upstream();
        let rebase = ["rebase", "-q", "--autostash", "--reapply-cherry-picks", "--empty=keep", &upstream];
        let mut done = self.git.run(&rebase)?;
        if done.stderr.contains("untracked working tree files") {
            clone::settle(&self.git, &self.intent.branch)?;
            let top = PathBuf::from(self.git.out(&["rev-parse", "--show-toplevel"])?);
            clone::drop_half_checked_out(&self.git, &top, &upstream)?;
            done = self.git.run(&rebase)?;
        }
        if !done.ok() {
            bail!("git rebase in {} failed, {}", self.cwd.display(), done.why());
        }
        Ok(())
    }
}
