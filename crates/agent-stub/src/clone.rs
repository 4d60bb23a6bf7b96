//! Puts a clone right after a crash: stale locks, an unfinished rebase, a detached HEAD.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::git::Git;

/// A git that outlived its agent (kill -9 takes only the agent) gets this long to end.
const QUIET_WITHIN: Duration = Duration::from_secs(10);

/// Brings the clone to a state in which git can work on `branch` again. Nothing that a
/// person may have left in the working tree is dropped.
///
/// # Errors
/// When another git is at work there for long, or git refuses.
pub(crate) fn settle(git: &Git, branch: &str) -> Result<()> {
    let top = PathBuf::from(git.out(&["rev-parse", "--show-toplevel"])?);
    let git_dir = PathBuf::from(git.out(&["rev-parse", "--absolute-git-dir"])?);
    wait_until_quiet(&top)?;
    remove_stale_locks(&git_dir, &top)?;
    let states = [git_dir.join("rebase-merge"), git_dir.join("rebase-apply")];
    if states.iter().any(|state| state.exists()) && !git.ok(&["rebase", "--abort"])? {
        force_out_of_rebase(git, &states, branch)?;
    }
    if !git.ok(&["symbolic-ref", "-q", "HEAD"])? {
        git.out(&["checkout", "-q", branch])?;
    }
    Ok(())
}

/// The branch the clone is on, also when a crash left it in the middle of a rebase.
///
/// # Errors
/// When HEAD is detached for another reason, which is nothing to guess about.
pub(crate) fn branch(git: &Git) -> Result<String> {
    let head = git.run(&["symbolic-ref", "--short", "HEAD"])?;
    if head.ok() {
        return Ok(head.stdout.trim().to_owned());
    }
    let git_dir = PathBuf::from(git.out(&["rev-parse", "--absolute-git-dir"])?);
    let name = fs::read_to_string(git_dir.join("rebase-merge/head-name"))
        .with_context(|| format!("no branch in {}, {}", git_dir.display(), head.why()))?;
    let name = name.trim();
    let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
    settle(git, branch)?;
    Ok(branch.to_owned())
}

/// A rebase killed while it set itself up cannot be aborted. The branch ref moves only at
/// the very end of a rebase, so it still says where the work is.
fn force_out_of_rebase(git: &Git, states: &[PathBuf], branch: &str) -> Result<()> {
    git.run(&["rebase", "--quit"])?; // keeps an autostash as a stash; may fail as abort did
    for state in states.iter().filter(|state| state.exists()) {
        fs::remove_dir_all(state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    git.out(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
    git.run(&["stash", "push", "-q", "-m", "left by an unfinished rebase"])?;
    git.out(&["reset", "-q", "--hard"])?;
    Ok(())
}

/// A checkout killed half-way leaves files that git does not know and then refuses to
/// overwrite. Those that are empty or equal to `upstream`'s hold nothing of anybody's.
pub(crate) fn drop_half_checked_out(git: &Git, top: &Path, upstream: &str) -> Result<()> {
    let untracked = git.out(&["ls-files", "-z", "--others", "--exclude-standard", "--full-name", ":/"])?;
    for path in untracked.split('\0').filter(|path| !path.is_empty()) {
        let theirs = git.run(&["rev-parse", "--verify", "-q", &format!("{upstream}:{path}")])?;
        let file = top.join(path);
        if !theirs.ok() || !file.is_file() {
            continue;
        }
        let ours = git.out(&["hash-object", "--", &file.to_string_lossy()])?;
        if ours == theirs.stdout.trim() || fs::metadata(&file).is_ok_and(|meta| meta.len() == 0) {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(())
}

fn wait_until_quiet(top: &Path) -> Result<()> {
    let deadline = Instant::now() + QUIET_WITHIN;
    while let Some(pid) = living_git(top)? {
        if Instant::now() > deadline {
            bail!("git process {pid} has been at work in {} for long", top.display());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A lock is stale when it was there before no git was.
fn remove_stale_locks(git_dir: &Path, top: &Path) -> Result<()> {
    for lock in locks(git_dir) {
        let Ok(before) = fs::metadata(&lock) else {
            continue;
        };
        if let Some(pid) = living_git(top)? {
            bail!("{} is held, git process {pid} is at work", lock.display());
        }
        let same = fs::metadata(&lock)
            .is_ok_and(|now| (now.ino(), now.mtime_nsec()) == (before.ino(), before.mtime_nsec()));
        if same {
            fs::remove_file(&lock).with_context(|| format!("cannot remove stale {}", lock.display()))?;
        }
    }
    Ok(())
}

fn locks(git_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![git_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ext| ext == "lock") {
                found.push(path);
            } else if path.starts_with(git_dir.join("refs")) && path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// A git process whose clone is `top`; a nested clone's git is not.
fn living_git(top: &Path) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if is_living_git(&entry.path(), top) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn is_living_git(process: &Path, top: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(process.join("stat")) else {
        return false;
    };
    // proc(5): pid (comm) state ...; comm may hold spaces and brackets.
    let Some((head, tail)) = stat.rsplit_once(") ") else {
        return false;
    };
    let is_git = head.split_once('(').is_some_and(|(_, comm)| comm.starts_with("git"));
    if !is_git || tail.starts_with(['Z', 'X']) {
        return false;
    }
    match fs::read_link(process.join("cwd")) {
        Ok(cwd) => clone_of(&cwd) == Some(top),
        // Another user's. Only root could be writing in our clone.
        Err(_) => fs::metadata(process).is_ok_and(|meta| meta.uid() == 0),
    }
}

fn clone_of(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|folder| folder.join(".git").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn repository() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let done = Command::new("git").args(["init", "-q", "-b", "main"]).current_dir(&top).status().unwrap();
        assert!(done.success());
        (dir, top)
    }

    #[test]
    fn a_living_git_keeps_its_lock_and_a_dead_one_s_is_removed() {
        let (_dir, top) = repository();
        let lock = top.join(".git/index.lock");
        fs::write(&lock, "").unwrap();
        // cat-file --batch waits for its input: a real git process, alive in the clone.
        let mut holder = Command::new("git")
            .args(["cat-file", "--batch"])
            .current_dir(&top)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while living_git(&top).unwrap().is_none() {
            assert!(Instant::now() < deadline, "git was not seen");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(remove_stale_locks(&top.join(".git"), &top).is_err());
        assert!(lock.exists());
        drop(holder.stdin.take());
        holder.wait().unwrap();
        remove_stale_locks(&top.join(".git"), &top).unwrap();
        assert!(!lock.exists());
    }

    #[test]
    fn locks_of_refs_are_found_and_objects_are_left_alone() {
        let (_dir, top) = repository();
        for path in ["refs/heads/main.lock", "HEAD.lock", "objects/a.lock"] {
            fs::write(top.join(".git").join(path), "").unwrap();
        }
        let mut found = locks(&top.join(".git"));
        found.sort();
        assert_eq!(found, [top.join(".git/HEAD.lock"), top.join(".git/refs/heads/main.lock")]);
    }

    #[test]
    fn a_nested_clone_is_another_clone() {
        let (_dir, top) = repository();
        fs::create_dir_all(top.join("nested/.git")).unwrap();
        fs::create_dir_all(top.join("nested/deep")).unwrap();
        assert_eq!(clone_of(&top.join("nested/deep")), Some(top.join("nested").as_path()));
        assert_eq!(clone_of(&top.join("other")), Some(top.as_path()));
    }
}
