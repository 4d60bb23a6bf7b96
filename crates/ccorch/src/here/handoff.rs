//! The handoff note on the host that has just got the rig: kept for people, and told to the orchestrator sessions first.

use std::fs;

use anyhow::Result;
use ccorch_core::cutover::handoff::Handoff;
use ccorch_core::cutover::{Entry, Journal, Step};
use ccorch_io::durable;

use super::runtime::command_as;
use super::{Here, journals, lease};
use crate::staging::{self, STAYS};

/// Writes the note, and leaves it for the supervisor to tell.
pub fn write(here: &Here, journal: &str, message: &str, back: &str) -> Result<()> {
    let (rescued, left) = (rescued(here), left_behind(here, journal));
    let phase = here.phase().map(|(index, phase)| (index, phase, here.rig.phases.len()));
    let epoch = lease::file(here)?.map(|file| file.lease.epoch);
    let note =
        Handoff { message, host: &here.name, journal, epoch, phase, back, rescued: &rescued, left: &left }
            .text();
    durable::replace(&here.paths.state().join("HANDOFF.md"), note.as_bytes(), 0o644)?;
    durable::replace(&here.paths.handoff(), note.as_bytes(), 0o644)
}

/// The rig is not here after all: the note says what is no longer so, to people and to a session that has not heard it yet.
pub fn forget(here: &Here) -> Result<()> {
    durable::remove(&here.paths.state().join("HANDOFF.md"))?;
    durable::remove(&here.paths.handoff())
}

/// The rig is here and does not run: people read why in place of the note, and no session is told it anything.
pub fn instead(here: &Here, words: &str) -> Result<()> {
    durable::replace(&here.paths.state().join("HANDOFF.md"), format!("{words}\n").as_bytes(), 0o644)?;
    durable::remove(&here.paths.handoff())
}

/// Adds to what the orchestrator sessions will hear what other hosts have rescued in the cutover that ended here, as far as
/// this host's clones know of it. Nothing where they will hear nothing.
pub fn add_rescued(here: &Here) -> Result<()> {
    let file = here.paths.handoff();
    let (Ok(news), Some(lease)) = (fs::read_to_string(&file), lease::file(here)?) else { return Ok(()) };
    let Some(journal) = lease.lease.journal else { return Ok(()) };
    let own = staging::rescue_name(here.name.as_str(), &journal);
    let time = own.rsplit('/').next().unwrap_or_default();
    let elsewhere = |line: &String| line.contains(&format!("/{time}")) && !line.contains(&own);
    let all: Vec<String> = rescued(here).into_iter().filter(elsewhere).collect();
    if all.is_empty() {
        return Ok(());
    }
    let news =
        format!("{} Rescued elsewhere, as it was not saved there: {}.\n", news.trim_end(), all.join("; "));
    durable::replace(&file, news.as_bytes(), 0o644)
}

/// What the safe point says that it left on the source, by this host's copy of the journal.
fn left_behind(here: &Here, journal: &str) -> Vec<String> {
    let text = journals::read(here, journal).ok().flatten().unwrap_or_default();
    let Ok(journal) = Journal::read(&text) else { return Vec::new() };
    let quiesced = journal.lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Done { step: Step::Quiesce, note } => Some(note.as_str()),
        _ => None,
    });
    let parts = quiesced.into_iter().flat_map(|note| note.split("; "));
    parts.filter_map(|part| part.strip_prefix(STAYS)).map(Into::into).collect()
}

/// Branches of rescued work, local or of a remote. A repository that cannot be asked has none to tell of.
fn rescued(here: &Here) -> Vec<String> {
    let mut all = Vec::new();
    for repository in here.rig.workspace.repositories.keys() {
        let dir = here.in_workspace(repository).display().to_string();
        let format = "--format=%(refname:short) at %(objectname:short)";
        let refs = ["refs/heads/ccorch/rescue", "refs/remotes/*/ccorch/rescue/**", "refs/ccorch/rescue"];
        let argv = [&["git", "-C", &dir, "for-each-ref", format], &refs[..]].concat();
        let text = command_as(&here.rig.workspace.user, &argv).read().unwrap_or_default();
        let mut seen = std::collections::BTreeSet::new();
        // The same one may have a name on the remote and one of its own here.
        let one =
            |line: &&str| seen.insert(line.find("ccorch/rescue/").map_or(*line, |at| &line[at..]).to_owned());
        all.extend(text.lines().filter(one).map(|line| format!("{repository}: {line}")));
    }
    all
}
