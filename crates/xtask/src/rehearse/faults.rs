//! Faults that are planted, so that a judge that finds nothing is known to look: each of them has to be found.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::judge;
use super::operator::Operator;
use super::sampler::Sampler;
use crate::scenario::Scenario;
use crate::wait;

/// A loaded machine gets far more than a stop, a start or a sample takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// A clone of the work with a commit too far.
const GAP: &str = r#"
install -d -m 700 -o git -g git /srv/git/ci/faulty.git
runuser -u git -- sh -eu <<'AS_GIT'
git clone --quiet --bare /srv/git/ci/cc-ci.git /srv/git/ci/faulty.git
export GIT_DIR=/srv/git/ci/faulty.git
export GIT_AUTHOR_NAME=fault GIT_AUTHOR_EMAIL=fault@example.org
export GIT_COMMITTER_NAME=fault GIT_COMMITTER_EMAIL=fault@example.org
last=$(git log --format=%s main | sed -n 's/^builder: work //p' | head -n 1)
git update-ref refs/heads/main "$(git commit-tree -m "builder: work $((last + 2))" -p main 'main^{tree}')"
AS_GIT
"#;

/// While the pi works: its agents, the same host twice in place of two, and a number left out.
pub fn on_the_pi(scenario: &Scenario) -> Result<String> {
    let (pi, git) = (&scenario.pi, &scenario.git);
    found("agents on the pi", judge::silent(pi), "agents run on pi")?;

    let sampler = Sampler::start(pi.clone(), pi.clone());
    let ended =
        wait::until("the sampler to find a violation", PATIENCE, || Ok(sampler.has_ended().then_some(())));
    let samples = sampler.stop();
    ended?;
    found("two hosts at work", samples, "at the same moment")?;

    git.script(GAP)?;
    judge::numbering_of(git, "builder", "cc-ci")?;
    let gap = judge::numbering_of(git, "builder", "faulty");
    git.does(&["rm", "-rf", "/srv/git/ci/faulty.git"])?;
    found("a number left out", gap, "the numbering of builder is broken")?;
    Ok("agents, both at work, a gap: each was found".into())
}

/// When the vm works, after so many reboots: a loop that is missing, and a reboot that never was.
pub fn on_the_vm(operator: &Operator, reboots: u64) -> Result<String> {
    let more = reboots + 1;
    wait::until("the vm to be well", PATIENCE, || Ok(judge::well(operator, reboots).ok()))?;
    let recorded = format!("{reboots} reboots are recorded, not {more}");
    found("a reboot too many", judge::well(operator, more), &recorded)?;
    let logged = format!("{reboots} reboots are logged, not {more}");
    found("a reboot that was not logged", judge::reboots(operator, usize::try_from(more)?, true), &logged)?;
    operator.runs(&["loops", "stop", "adversary", "--host", "vm"])?;
    found("a missing loop", judge::well(operator, reboots), "adversary")?;
    operator.runs(&["loops", "start", "adversary", "--host", "vm"])?;
    wait::until("the loop to be back", PATIENCE, || Ok(judge::well(operator, reboots).ok()))?;
    Ok("a loop missing, a reboot too many: each was found".into())
}

/// Demands that a judge failed, for the reason that was planted.
fn found<T>(fault: &str, judged: Result<T>, reason: &str) -> Result<()> {
    match judged {
        Ok(_) => bail!("{fault} was planted, and not found"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(reason), "{fault} was planted, and something else found: {said}");
            Ok(())
        }
    }
}
