//! How long nobody worked: the last sign of work on the source, the first one on the target, by the driver's clock.
//!
//! A host's clock is read in the same call as its signs, so that two clocks that differ do not become a downtime.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::work::{Gap, signs};
use ccorch_core::cutover::{Entry, Step};
use ccorch_core::launch::project_key;
use ccorch_io::{clock, durable};
use jiff::{SignedDuration, Timestamp};

use super::side::Side;
use super::steps::Steps;
use crate::context::LoadedRig;

/// Prints the host's time, then the ends of the newest transcripts of the folders named first, then, after `--`, the ends
/// of the reflogs of pushes of the clones named: the agents' own, not our rescues.
const SIGNS: &str = r#"
date +%s.%N
home=$(getent passwd "$1" | cut -d: -f6); shift
while [ "$1" != -- ]; do
  ls -t -- "$home/.claude/projects/$1/"*.jsonl 2>/dev/null | head -n 3 | while IFS= read -r file; do
    tail -c 262144 -- "$file"; echo
  done
  shift
done
shift
for clone; do
  find "$clone/.git/logs/refs/remotes" -path "*/ccorch/rescue" -prune -o -type f -exec tail -q -n 50 {} + 2>/dev/null
done
exit 0
"#;

/// Measures and keeps it, beside the journal. What cannot be measured is no reason to fail a cutover that succeeded: the
/// report says that it is not known.
pub fn measure(steps: &Steps<'_>, target_first: Option<Timestamp>) {
    if let Err(error) = try_measure(steps, target_first) {
        super::live::end(&format!("warning: how long nobody worked is not known: {error:#}"));
    }
}

fn try_measure(steps: &Steps<'_>, target_first: Option<Timestamp>) -> Result<()> {
    let source = look(steps, steps.from()?)?;
    let target = look(steps, steps.to()?)?;
    let mut before = source.signs.iter().copied().rev();
    let source_last = match steps.plan().in_place() {
        // What came after the start is the other rig's work.
        true => activated(steps).map(|at| source.of_host(at)).map(|at| before.find(|sign| *sign < at))?,
        false => before.next(),
    };
    let source_last = source_last.context("the source has left no sign of work")?;
    let first = match target_first {
        Some(at) => at,
        // Nobody noted it there: the first one since the target was started, by the driver's word.
        None => {
            let started = target.of_host(activated(steps)?);
            let later = target.signs.iter().find(|at| **at >= started);
            later.copied().context("the target has left no sign of work")?
        }
    };
    let gap = Gap { source_last: source.of_driver(source_last), target_first: target.of_driver(first) };
    durable::replace_json(&file(steps.loaded(), steps.journal())?, &gap, 0o600)
}

/// What was measured for a cutover.
pub fn read(loaded: &LoadedRig, journal: &str) -> Result<Option<Gap>> {
    durable::read_json(&file(loaded, journal)?)
}

fn file(loaded: &LoadedRig, journal: &str) -> Result<PathBuf> {
    Ok(loaded.operator()?.journals().join(format!("{journal}.gap.json")))
}

fn activated(steps: &Steps<'_>) -> Result<Timestamp> {
    let all = super::log::all(steps.loaded())?;
    let journal = all.iter().find(|log| log.journal.id == steps.journal()).context("the journal is gone")?;
    let started = |entry: &Entry| matches!(entry, Entry::Started { step: Step::Activate });
    let line = journal.journal.lines.iter().rfind(|line| started(&line.entry));
    Ok(line.context("the target was never started")?.at)
}

/// A host's signs, and how far its clock is ahead of the driver's.
struct Seen {
    signs: Vec<Timestamp>,
    ahead: SignedDuration,
}

impl Seen {
    fn of_driver(&self, host: Timestamp) -> Timestamp {
        host.checked_sub(self.ahead).unwrap_or(host)
    }

    fn of_host(&self, driver: Timestamp) -> Timestamp {
        driver.checked_add(self.ahead).unwrap_or(driver)
    }
}

fn look(steps: &Steps<'_>, side: &Side) -> Result<Seen> {
    let (workspace, rig) = (&side.workspace, steps.rig());
    let keys = rig.loops.values().map(|spec| project_key(&rig.place(&spec.workdir)));
    let clones = workspace.repositories.keys().map(|repository| rig.place(repository));
    let words = [workspace.user.clone()].into_iter().chain(keys).chain(["--".into()]).chain(clones);
    let words: Vec<String> = words.collect();
    let before = clock::now();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = side.script("look for signs of work", SIGNS, &words).read()?;
    let (time, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let seconds: f64 = time.trim().parse().with_context(|| format!("{}: `date` says {time:?}", side.name))?;
    let here = before.as_duration().as_secs_f64();
    // The clock is read at once; its connection is open already.
    Ok(Seen { signs: signs(rest), ahead: SignedDuration::try_from_secs_f64(seconds - here)? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn git(dir: &Path, at: u32, args: &[&str]) {
        let date = format!("@{at} +0000");
        let mut git = Command::new("git");
        git.arg("-C").arg(dir).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args);
        git.env("GIT_COMMITTER_DATE", &date).env("GIT_AUTHOR_DATE", &date);
        assert!(git.status().unwrap().success(), "git {args:?}");
    }

    #[test]
    fn what_ccorch_itself_rescues_is_no_sign_of_work() {
        let dir = tempfile::tempdir().unwrap();
        let clone = dir.path().join("clone");
        git(dir.path(), 0, &["init", "-q", "--bare", "remote.git"]);
        git(dir.path(), 0, &["clone", "-q", "remote.git", "clone"]);
        git(&clone, 1000, &["commit", "-q", "--allow-empty", "-m", "work"]);
        git(&clone, 1000, &["push", "-q", "origin", "HEAD:refs/heads/topic/main"]);
        git(&clone, 2000, &["push", "-q", "origin", "HEAD:refs/heads/ccorch/rescue/pi/20261121T154804Z"]);
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let output = Command::new("sh").args(["-c", SIGNS, "signs", user.trim(), "--"]).arg(&clone).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(signs(text.split_once('\n').unwrap().1), [Timestamp::from_second(1000).unwrap()]);
    }
}
