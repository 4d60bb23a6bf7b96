//! The pi: a legacy rig as somebody built it by hand, at work.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indoc::formatdoc;
use serde_json::json;

use super::Place;
use super::rig::{REFERENCES, WORKSPACE};
use crate::bed::Instance;
use crate::wait;

const UNIT: &str = include_str!("../../legacy/cc-ci-loops.service");

/// The loops of the legacy rig: the name its commits carry, and their repository.
pub const LOOPS: [(&str, &str); 3] =
    [("builder", "cc-ci"), ("adversary", "cc-ci"), ("orchestrator", "orchestrator")];

/// Installs the rig, and starts it as a reboot would: through its unit.
pub fn set_up(pi: &Instance, git: &Instance, agent: &Path, place: &Place) -> Result<String> {
    let program =
        std::fs::read(agent).with_context(|| format!("cannot read the agent program {}", agent.display()))?;
    pi.push_file(&program, "/usr/local/bin/claude", "0755", "root:root")?;
    login(pi, git, place)?;
    agent_state(pi)?;
    workspace(pi, place)?;
    pi.push_file(UNIT.as_bytes(), "/etc/systemd/system/cc-ci-loops.service", "0644", "root:root")?;
    pi.script("systemctl daemon-reload; systemctl enable --quiet --now cc-ci-loops.service")?;
    Ok(format!("legacy rig in {WORKSPACE}, started by its unit"))
}

/// The loops' git key with the git host's key pinned, so that nothing is trusted on first use.
fn login(pi: &Instance, git: &Instance, place: &Place) -> Result<()> {
    let known = format!("{} {}\n", place.git_address, git.host_key()?);
    let key = &place.keys.loops.private;
    let private = std::fs::read(key).with_context(|| format!("cannot read {}", key.display()))?;
    pi.script("install -d -m 700 -o loops -g loops /home/loops/.ssh")?;
    pi.push_file(&private, "/home/loops/.ssh/id_ed25519", "0600", "loops:loops")?;
    pi.push_file(known.as_bytes(), "/home/loops/.ssh/known_hosts", "0644", "loops:loops")
}

/// What the agent program keeps for its user: login, trusted folders, rate of work.
fn agent_state(pi: &Instance) -> Result<()> {
    let trusted = json!({ "hasTrustDialogAccepted": true });
    let folders = json!({
        WORKSPACE: trusted,
        format!("{WORKSPACE}/cc-ci"): trusted,
        format!("{WORKSPACE}/cc-ci-adv"): trusted,
    });
    let known =
        json!({ "hasCompletedOnboarding": true, "bypassPermissionsModeAccepted": true, "projects": folders });
    let login = json!({ "note": "test bed: no account stands behind this" });
    pi.script("install -d -m 700 -o loops -g loops /home/loops/.claude")?;
    for (path, value) in [(".claude.json", known), (".claude/.credentials.json", login)] {
        pi.push_file(value.to_string().as_bytes(), &format!("/home/loops/{path}"), "0600", "loops:loops")?;
    }
    // Each push costs a connection's handshake, at both ends of it on one machine.
    pace(pi, Duration::from_secs(2))
}

/// How long its loops pause between two units of work, from the next one on.
pub fn pace(pi: &Instance, pause: Duration) -> Result<()> {
    let work = json!({ "interval_ms": u64::try_from(pause.as_millis())?, "work": true });
    pi.push_file(work.to_string().as_bytes(), "/home/loops/.claude/stub.json", "0600", "loops:loops")
}

/// The workspace with its nested clones, and what git does not hold.
fn workspace(pi: &Instance, place: &Place) -> Result<()> {
    let (outer, inner) = (place.repository("orchestrator"), place.repository("cc-ci"));
    pi.script(&formatdoc! {"
        install -d -o loops -g loops {WORKSPACE}
        runuser -u loops -- sh -eu <<'AS_LOOPS'
        cd {WORKSPACE}
        export GIT_SSH_COMMAND='ssh -o BatchMode=yes -o StrictHostKeyChecking=yes'
        git config --global user.name 'cc-ci loops'
        git config --global user.email loops@example.org
        git clone --quiet --branch main {outer} .
        git clone --quiet --branch main {inner} cc-ci
        git clone --quiet --branch main {inner} cc-ci-adv
        mkdir .cc-ci-logs
        echo 2 > .cc-ci-logs/.phase-idx
        umask 077
        echo 'TEST_TOKEN=of-the-test-bed' > .testenv
        AS_LOOPS
        install -d {REFERENCES}/recipes
        echo 'How a recipe is kept.' > {REFERENCES}/README.md
        printf 'name: example\\nversion: 1\\n' > {REFERENCES}/recipes/example.yml
    "})?;
    Ok(())
}

/// Waits until every loop has pushed work.
pub fn wait_for_work(git: &Instance) -> Result<String> {
    for (name, repository) in LOOPS {
        wait::until(&format!("work of {name} in {repository}"), Duration::from_secs(120), || {
            let at_work = work_of(git, name, repository)? > 0;
            Ok(at_work.then_some(()))
        })?;
    }
    Ok("every loop has pushed".to_owned())
}

/// How many commits of a loop's work its repository has.
pub fn work_of(git: &Instance, name: &str, repository: &str) -> Result<usize> {
    let folder = format!("--git-dir=/srv/git/ci/{repository}.git");
    let subjects = git.read(&["runuser", "-u", "git", "--", "git", &folder, "log", "--format=%s", "main"])?;
    Ok(subjects.lines().filter(|subject| subject.starts_with(&format!("{name}: work "))).count())
}
