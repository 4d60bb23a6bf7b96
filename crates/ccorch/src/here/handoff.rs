//! The handoff note on the host that has just got the rig: kept for people, and told to the orchestrator sessions first.

use anyhow::Result;
use ccorch_core::cutover::handoff::Handoff;
use ccorch_io::durable;

use super::runtime::command_as;
use super::{Here, lease};

/// Writes the note, and leaves it for the supervisor to tell.
pub fn write(here: &Here, journal: &str, message: &str, back: &str) -> Result<()> {
    let rescued = rescued(here);
    let phase = here.phase().map(|(index, phase)| (index, phase, here.rig.phases.len()));
    let epoch = lease::file(here)?.map(|file| file.lease.epoch);
    let note = Handoff { message, host: &here.name, journal, epoch, phase, back, rescued: &rescued }.text();
    durable::replace(&here.paths.state().join("HANDOFF.md"), note.as_bytes(), 0o644)?;
    durable::replace(&here.paths.handoff(), note.as_bytes(), 0o644)
}

/// The rig is not here after all: the note says what is no longer so, to people and to a session that has not heard it yet.
pub fn forget(here: &Here) -> Result<()> {
    durable::remove(&here.paths.state().join("HANDOFF.md"))?;
    durable::remove(&here.paths.handoff())
}

/// Branches of rescued work, local or of a remote. A repository that cannot be asked has none to tell of.
fn rescued(here: &Here) -> Vec<String> {
    let mut all = Vec::new();
    for repository in here.rig.workspace.repositories.keys() {
        let dir = here.in_workspace(repository).display().to_string();
        let format = "--format=%(refname:short) at %(objectname:short)";
        let refs = ["refs/heads/ccorch/rescue", "refs/remotes/*/ccorch/rescue", "refs/ccorch/rescue"];
        let argv = [&["git", "-C", &dir, "for-each-ref", format], &refs[..]].concat();
        let text = command_as(&here.rig.workspace.user, &argv).read().unwrap_or_default();
        all.extend(text.lines().map(|line| format!("{repository}: {line}")));
    }
    all
}
