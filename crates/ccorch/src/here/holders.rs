//! Who holds a conversation: nothing locks one, and two processes on one would both write it.
//!
//! An agent that was told its conversation has its id among its words. One that was told to go on with whatever was last
//! said in its folder (`claude -c`), or to have its person choose, may hold any conversation of that folder, so in a loop's
//! working directory it counts as the holder. A plain `claude` there began one of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_io::process;
use uuid::Uuid;

use super::Here;
use super::runtime::account;
use super::strangers::{AGENT, OURS, works_in};
use crate::error::{Kind, Problem};

/// How long whoever held a conversation may take to leave it.
const LEAVE: Duration = Duration::from_secs(3);
/// Ancestors that are looked at.
const DEEP: usize = 64;

/// What a process has to do with a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It was told to go on with it.
    It,
    /// It was told to go on with one of its folder's.
    OneOfItsFolder,
}

/// Proves that no live process holds a loop's conversation; one that is leaving gets a moment.
pub fn alone(here: &Here, name: &LoopName, session: Uuid) -> Result<()> {
    let Some((pid, _)) = holder(here, name, session) else { return Ok(()) };
    if let Some(watched) = process::watch(pid)? {
        watched.wait(Some(LEAVE))?;
    }
    let Some((pid, how)) = holder(here, name, session) else { return Ok(()) };
    let message = match how {
        Holds::It => {
            format!("process {pid} holds the conversation {session}; two on one would both write it")
        }
        Holds::OneOfItsFolder => format!(
            "process {pid} goes on with a conversation of the folder of loop {name}, which may be its {session}; two on one would both write it"
        ),
    };
    Err(Problem::new(Kind::Conflict, message)
        .hint(format!("end it (`kill {pid}`), or leave it there by hand"))
        .into())
}

fn holder(here: &Here, name: &LoopName, session: Uuid) -> Option<(u32, Holds)> {
    let spec = here.rig.loops.get(name)?;
    let workdir = fs::canonicalize(here.in_workspace(&spec.workdir)).ok();
    // Another user's agent keeps its conversations in a home of its own.
    let mut uid = None;
    let mut is_users = |process: &Path| {
        let uid = *uid.get_or_insert_with(|| account(here.rig.user_of(spec)).map(|account| account.uid));
        fs::metadata(process).ok().map(|found| found.uid()) == uid
    };
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // A process that ended and is not buried yet has no words.
        let argv = fs::read(entry.path().join("cmdline")).ok().filter(|_| pid != std::process::id())?;
        let words: Vec<&[u8]> = argv.split(|byte| *byte == 0).collect();
        let how = holds(&words, session)?;
        let counts = how == Holds::It
            || is_agent(&entry.path(), &words)
                && workdir.is_some()
                && is_users(&entry.path())
                && !is_a_loops(pid)
                && works_in(&entry.path()) == workdir;
        counts.then_some((pid, how))
    })
}

/// By its words alone.
fn holds(words: &[&[u8]], session: Uuid) -> Option<Holds> {
    let id = session.to_string();
    let value = |word: &[u8]| word.rsplit(|byte| *byte == b'=').next().unwrap_or_default() == id.as_bytes();
    if words.iter().any(|word| value(word)) {
        return Some(Holds::It);
    }
    let is_id = |word: Option<&&[u8]>| {
        word.and_then(|word| std::str::from_utf8(word).ok()).is_some_and(|word| word.parse::<Uuid>().is_ok())
    };
    let open = words.iter().enumerate().any(|(at, word)| match *word {
        b"-c" | b"--continue" => true,
        b"-r" | b"--resume" => !is_id(words.get(at + 1)),
        _ => false,
    });
    open.then_some(Holds::OneOfItsFolder)
}

fn is_agent(process: &Path, words: &[&[u8]]) -> bool {
    let name = |word: &&[u8]| word.rsplit(|byte| *byte == b'/').next() == Some(AGENT.as_bytes());
    // A script has its interpreter for a first word.
    words.iter().take(2).any(name)
        || fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == AGENT)
}

/// Whether a loop's unit, or where there are none a loop's parent process, has it.
fn is_a_loops(pid: u32) -> bool {
    let of = |pid: u32, what: &str| Path::new("/proc").join(pid.to_string()).join(what);
    if process::about(&of(pid, "cgroup")).is_ok_and(|cgroup| cgroup.contains(OURS)) {
        return true;
    }
    let mut pid = pid;
    for _ in 0..DEEP {
        let argv = fs::read(of(pid, "cmdline")).unwrap_or_default();
        if argv.split(|byte| *byte == 0).nth(1) == Some(b"loop-exec") {
            return true;
        }
        match process::parent(pid) {
            Some(parent) if parent > 1 => pid = parent,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_told_it_or_told_to_choose_may_hold_it() {
        let session: Uuid = "11111111-2222-4333-8444-555555555555".parse().unwrap();
        let of = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            holds(&words, session)
        };
        let (mine, other) = (session.to_string(), "99999999-2222-4333-8444-555555555555");
        assert_eq!(of(&format!("claude --resume {mine} go on")), Some(Holds::It));
        assert_eq!(of(&format!("claude --session-id={mine}")), Some(Holds::It));
        assert_eq!(of(&format!("claude --resume {other}")), None);
        for line in ["claude -c", "node claude --continue -p x", "claude --resume", "claude -r plan"] {
            assert_eq!(of(line), Some(Holds::OneOfItsFolder), "{line}");
        }
        for line in ["claude", "claude go on", &format!("claude --session-id {other}")] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
