//! The rig's own files about its phases: the index, the loops' state files, the deferred lists. They lie in the
//! workspace, which belongs to the agents, so they are read with bounds and written with their user's rights.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Phase;
use ccorch_io::{content, durable};

use super::Here;
use super::runtime::{command_as, is_user};

/// No state file that people read is longer.
const LONGEST: u64 = 1 << 20;
/// Where machines' documents lie, in a working directory.
const DOCS: &str = "machine-docs";

/// Writes the phase index, durably, with the rights of the workspace's user.
pub fn write_index(here: &Here, index: usize) -> Result<()> {
    let file = here.in_workspace(&here.rig.workspace.phase_file);
    let (user, text) = (&here.rig.workspace.user, format!("{index}\n"));
    let folder = file.parent().unwrap_or(&file).display().to_string();
    if is_user(user) {
        durable::create_dir(&PathBuf::from(&folder), 0o755)?;
        return durable::replace(&file, text.as_bytes(), 0o644);
    }
    let (shown, beside) = (file.display().to_string(), format!("{}.ccorch", file.display()));
    let write = || -> Result<()> {
        command_as(user, &["mkdir", "-p", "--", &folder]).run()?;
        // Whatever lies there, a pipe or a link that leads elsewhere, is not written to.
        command_as(user, &["rm", "-f", "--", &beside]).run()?;
        command_as(user, &["dd", &format!("of={beside}"), "conv=excl,fsync", "status=none"])
            .input(text.clone())
            .run()?;
        command_as(user, &["mv", "-fT", "--", &beside, &shown]).run()?;
        command_as(user, &["sync", "--", &folder]).run()?;
        Ok(())
    };
    write().with_context(|| format!("write the phase index {index} to {shown}"))
}

/// Whether a loop's state file says that the phase is done.
pub fn says_done(here: &Here, name: &LoopName, phase: &Phase) -> bool {
    let Some(spec) = here.rig.loops.get(name) else { return false };
    let file = here.rig.state_file_of(name, phase);
    let workdir = here.in_workspace(&spec.workdir);
    let text = read(&workdir.join(DOCS).join(&file)).or_else(|| read(&workdir.join(&file)));
    text.is_some_and(|text| text.lines().any(|line| line.trim_end() == "## DONE"))
}

/// Every file in which a loop may say that a phase is done.
pub fn state_files(here: &Here, name: &LoopName) -> Vec<PathBuf> {
    let Some(spec) = here.rig.loops.get(name) else { return Vec::new() };
    let workdir = here.in_workspace(&spec.workdir);
    let names: BTreeSet<String> =
        here.rig.phases.iter().map(|phase| here.rig.state_file_of(name, phase)).collect();
    names.iter().flat_map(|file| [workdir.join(DOCS).join(file), workdir.join(file)]).collect()
}

/// How many entries the deferred lists of the loops' folders hold; absent when there is no such list.
pub fn deferred(here: &Here) -> Option<usize> {
    let folders: BTreeSet<PathBuf> =
        here.rig.loops.values().map(|spec| here.in_workspace(&spec.workdir)).collect();
    let lists = folders.iter().filter_map(|folder| {
        read(&folder.join(DOCS).join("DEFERRED.md")).or_else(|| read(&folder.join("DEFERRED.md")))
    });
    // Two clones of one repository hold the same entries.
    let mut entries = BTreeSet::new();
    let mut any = false;
    for list in lists {
        any = true;
        let open = |line: &&str| {
            let entry = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
            entry.is_some_and(|entry| !entry.to_lowercase().starts_with("[x]"))
        };
        entries.extend(list.lines().filter(open).map(str::to_owned));
    }
    any.then_some(entries.len())
}

/// A file's text, cut; a folder, a pipe or what is not there is none.
fn read(path: &Path) -> Option<String> {
    content::text(path, LONGEST).ok().flatten()
}
