//! Evidence of work: what was added to agents' transcripts and to the reflogs of pushes since the window was opened.
//! Counted from positions in files, not from times: what came with the workspace has the source's clock.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ccorch_core::cutover::work;
use ccorch_core::names::LoopName;
use ccorch_core::rig::{Agent, Handoff};
use ccorch_core::sha256;
use ccorch_io::durable;
use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::here::runtime::command_as;
use crate::here::{Here, loop_state};

/// So much of a file is looked at, from its position on, in bytes.
const MOST: u64 = 16 << 20;
/// So many new commits are looked through for a hand-off.
const COMMITS: &str = "500";

/// How everything was when the window was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    loops: BTreeMap<LoopName, Start>,
    /// What each hand-off's file or branch was: a hash or a commit.
    handoffs: Vec<Option<String>>,
}

/// Where one loop's files ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    restarts: u64,
    lengths: BTreeMap<PathBuf, u64>,
}

impl Baseline {
    /// Looks at everything as it is now.
    pub fn take(here: &Here) -> Result<Self> {
        let mut loops = BTreeMap::new();
        for name in here.rig.loops.keys() {
            let (transcripts, reflogs) = (transcripts(here, name), reflogs(here, name).unwrap_or_default());
            let length = |path: PathBuf| Some((path.clone(), fs::symlink_metadata(&path).ok()?.len()));
            let lengths = transcripts.into_iter().chain(reflogs).filter_map(length).collect();
            let restarts = loop_state::read(here, name)?.memory.restarts;
            loops.insert(name.clone(), Start { restarts, lengths });
        }
        let confirm = here.rig.cutover.as_ref().and_then(|c| c.confirm.as_ref());
        let handoffs = confirm.into_iter().flat_map(|c| &c.handoffs);
        Ok(Self { loops, handoffs: handoffs.map(|handoff| state(here, handoff)).collect() })
    }

    /// Counts ends from where another one did: a reboot does not forgive them. Hand-offs too have to be seen once only.
    pub fn keep_restarts_of(mut self, other: &Self) -> Self {
        for (name, start) in &mut self.loops {
            start.restarts = other.restarts(name);
        }
        self.handoffs.clone_from(&other.handoffs);
        self
    }

    /// Writes it down.
    pub fn write(&self, here: &Here) -> Result<()> {
        durable::replace_json(&file(here), self, 0o600)
    }

    /// Reads it back.
    pub fn read(here: &Here) -> Result<Self> {
        durable::read_json(&file(here))?.context("the confirm window has lost its baseline")
    }

    /// How often a loop had been restarted.
    pub fn restarts(&self, name: &LoopName) -> u64 {
        self.loops.get(name).map_or(0, |start| start.restarts)
    }

    /// When a loop first worked (not before `since`); the inner `None` when it has not yet, the outer one when nothing of
    /// it can be known: it has neither a transcript nor a clone to push from.
    pub fn sign_of(
        &self,
        here: &Here,
        name: &LoopName,
        since: Option<Timestamp>,
    ) -> Result<Option<Option<Timestamp>>> {
        let transcripts = transcripts(here, name);
        let reflogs = reflogs(here, name);
        let claude = here.rig.loops.get(name).is_some_and(|spec| spec.agent == Agent::Claude);
        if !claude && reflogs.is_none() {
            return Ok(None);
        }
        let mut first: Option<Timestamp> = None;
        let mut note = |at: Option<Timestamp>| {
            if let Some(at) = at {
                first = Some(first.map_or(at, |before| before.min(at)));
            }
        };
        for path in transcripts {
            note(after(work::turns(&self.added(name, &path)), since));
        }
        for path in reflogs.unwrap_or_default() {
            note(after(work::pushes(&self.added(name, &path)), since));
        }
        Ok(Some(first))
    }

    /// Whether a hand-off has shown.
    pub fn handed_off(&self, here: &Here, index: usize, handoff: &Handoff) -> Result<bool> {
        let before = self.handoffs.get(index).cloned().flatten();
        let now = state(here, handoff);
        if now.is_none() || now == before {
            return Ok(false);
        }
        let Some(wanted) = &handoff.matching else { return Ok(true) };
        let text = match (&handoff.file, &handoff.commits) {
            (Some(file), _) => String::from_utf8_lossy(&content(here, file)?).into_owned(),
            (None, Some(repository)) => subjects(here, repository, before.as_deref())?,
            (None, None) => String::new(),
        };
        Ok(text.contains(wanted.as_str()))
    }

    fn added(&self, name: &LoopName, path: &Path) -> String {
        let from = self.loops.get(name).and_then(|start| start.lengths.get(path)).copied().unwrap_or(0);
        read_from(path, from).unwrap_or_default()
    }
}

/// The first sign, but none from before this boot; then the last one counts, which is later than the boot or none is.
fn after(span: Option<(Timestamp, Timestamp)>, since: Option<Timestamp>) -> Option<Timestamp> {
    let (first, last) = span?;
    match since {
        Some(since) if first < since => (last >= since).then_some(last),
        _ => Some(first),
    }
}

/// The files are an agent's: a link or a pipe that it put there must neither lead root astray nor hold it up.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

fn read_from(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = open(path)?;
    // A file that became shorter was written anew.
    let from = if file.metadata()?.len() < from { 0 } else { from };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn transcripts(here: &Here, name: &LoopName) -> Vec<PathBuf> {
    let spec = here.rig.loops.get(name).filter(|spec| spec.agent == Agent::Claude);
    let Some(spec) = spec else { return Vec::new() };
    let dir = loop_state::transcript_dir(here, spec);
    // The loop's own conversation; another loop may stand in the same folder.
    let session = loop_state::read(here, name).ok().and_then(|state| state.session);
    match session {
        Some(session) => vec![dir.join(format!("{session}.jsonl"))],
        None => listed(&dir, "jsonl"),
    }
}

fn listed(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

/// The reflogs of the remote branches of the clone a loop stands in; none when it stands in no clone.
fn reflogs(here: &Here, name: &LoopName) -> Option<Vec<PathBuf>> {
    let spec = here.rig.loops.get(name)?;
    let workdir = here.in_workspace(&spec.workdir);
    let argv = ["git", "-C", &workdir.display().to_string(), "rev-parse", "--git-common-dir"];
    let common = command_as(&here.rig.workspace.user, &argv).read().ok()?;
    let remotes = workdir.join(common.trim()).join("logs/refs/remotes");
    let mut found = Vec::new();
    let mut open = vec![remotes];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    Some(found)
}

/// A hand-off's file as a hash, its repository as a commit.
fn state(here: &Here, handoff: &Handoff) -> Option<String> {
    match (&handoff.file, &handoff.commits) {
        (Some(file), _) => content(here, file).ok().map(|bytes| sha256(&bytes)),
        (None, Some(repository)) => git(here, repository, &["rev-parse", "--verify", "HEAD"]).ok(),
        (None, None) => None,
    }
}

fn subjects(here: &Here, repository: &str, before: Option<&str>) -> Result<String> {
    let range = before.map_or("HEAD".to_owned(), |commit| format!("{commit}..HEAD"));
    git(here, repository, &["log", "-n", COMMITS, "--format=%s", &range, "--"])
}

fn git(here: &Here, repository: &str, args: &[&str]) -> Result<String> {
    let dir = here.in_workspace(repository).display().to_string();
    let argv = [&["git", "-C", &dir], args].concat();
    Ok(command_as(&here.rig.workspace.user, &argv).read()?.trim().to_owned())
}

/// Read with its owner's rights: the folders on its way are the agents' too.
fn content(here: &Here, file: &str) -> Result<Vec<u8>> {
    let path = here.in_workspace(file).display().to_string();
    Ok(command_as(&here.rig.workspace.user, &["head", "-c", "1048576", "--", &path]).run()?.stdout)
}

fn file(here: &Here) -> PathBuf {
    here.paths.state().join("confirm-baseline.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_is_read_and_a_pipe_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, "old\nnew\n").unwrap();
        assert_eq!(read_from(&path, 4).unwrap(), "new\n");
        assert_eq!(read_from(&path, 100).unwrap(), "old\nnew\n");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_from(&link, 0).is_err());
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read_from(&pipe, 0).is_err());
    }

    #[test]
    fn work_of_an_earlier_boot_proves_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(after(Some((at(5), at(9))), None), Some(at(5)));
        assert_eq!(after(Some((at(5), at(9))), Some(at(7))), Some(at(9)));
        assert_eq!(after(Some((at(5), at(6))), Some(at(7))), None);
        assert_eq!(after(None, None), None);
    }
}
