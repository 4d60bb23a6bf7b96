//! This host stops being a standby: whichever way it became active, its workspace can be written to and nothing says any
//! more that the rig runs elsewhere.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_io::command::Command;
use ccorch_io::durable;
use ccorch_io::git::Clone;
use ccorch_io::host::{Host, Reach};

use super::runtime::{Runtime, command_as};
use super::{Here, events, handoff, letters, outside};

/// Ends what keeps a standby's workspace read-only. A shell that somebody left in there does not keep it mounted.
/// Argument: the workspace.
pub const WRITABLE: &str = include_str!("standby/writable.sh");

/// What a standby keeps about itself for people; the same in its workspace.
pub const NOTE: &str = "STANDBY.txt";
/// One repository may take so long to fetch what was pushed meanwhile.
const FETCH: Duration = Duration::from_secs(30);
/// The same for all that [`leave`] does when another process has it done.
const LEAVE: Duration = Duration::from_secs(60);

/// Undoes what a cutover's decommission left here; nothing on a host that is no standby. Repeatable: the record goes last.
pub fn leave(here: &Here) -> Result<()> {
    if !here.is_decommissioned() {
        return Ok(());
    }
    let root = &here.rig.workspace.root;
    if Runtime::of(here) == Runtime::Systemd {
        Command::new("sh")
            .args(["-c", WRITABLE, "ccorch", root])
            .shown_as("make the workspace writable")
            .run()
            .context("this host was a standby, and its workspace stays read-only")?;
    }
    let note = here.in_workspace(NOTE);
    if note.exists() {
        // With its user's own rights: the folder belongs to the agents, and a link there must not lead root astray.
        command_as(&here.rig.workspace.user, &["rm", "-f", "--", &note.display().to_string()]).run()?;
    }
    for file in [here.paths.state().join(NOTE), record(here)] {
        durable::remove(&file)?;
    }
    events::record(here, "standby-left", None, format!("{root} can be written to again"));
    Ok(())
}

/// [`catch_up`] from within the lease's own unit, whose sandbox does not write to the workspace. What fails here is told and
/// keeps nothing from starting.
pub fn catch_up_from_lease_unit(here: &Here) {
    match Runtime::of(here) {
        Runtime::Direct => catch_up(here),
        Runtime::Systemd => {
            if let Err(error) = leave_outside() {
                events::record(
                    here,
                    "warning",
                    None,
                    format!("the clones may be as old as the cutover: {error:#}"),
                );
            }
        }
    }
}

/// [`leave`] from within the lease's own unit, whose sandbox neither mounts nor writes to the workspace: systemd has it done
/// outside. The lease is taken by then, so what fails here is told and keeps nothing from starting.
pub fn leave_from_lease_unit(here: &Here) {
    if !here.is_decommissioned() {
        return;
    }
    let left = match Runtime::of(here) {
        Runtime::Direct => leave(here).map(|()| catch_up(here)),
        Runtime::Systemd => leave_outside(),
    };
    if let Err(error) = left {
        let why = format!("this host takes over and is still set up as a standby: {error:#}");
        events::record(here, "warning", None, &why);
        letters::tell(here, &why);
    }
}

fn leave_outside() -> Result<()> {
    outside::run("ccorch-leave-standby", &["lease", "leave-standby"], LEAVE)
}

/// Brings the clones of a standby, which are as old as its cutover, to what was pushed since. What cannot follow (a forge
/// that is away, a branch that went another way) stays as it is and is told: the loops start all the same.
pub fn catch_up(here: &Here) {
    let host = match Host::connect(here.name.as_str(), Reach::Local) {
        Ok(host) => host,
        Err(error) => return events::record(here, "warning", None, format!("{error:#}")),
    };
    let clones: Vec<PathBuf> = here
        .rig
        .workspace
        .repositories
        .keys()
        .map(|path| here.in_workspace(path))
        .filter(|clone| clone.join(".git").exists())
        .collect();
    let pull = |clone: &PathBuf| {
        let dir = clone.display().to_string();
        let clone = Clone { host: &host, user: &here.rig.workspace.user, dir: dir.clone() };
        clone
            .git(&["pull", "--quiet", "--ff-only"])
            .deadline(FETCH)
            .run()
            .err()
            .map(|error| format!("{dir} is as old as the cutover: {:#}", anyhow::Error::from(error)))
    };
    let behind: Vec<String> = thread::scope(|scope| {
        let pulls: Vec<_> = clones.iter().map(|clone| scope.spawn(|| pull(clone))).collect();
        pulls.into_iter().filter_map(|pull| pull.join().unwrap_or_default()).collect()
    });
    let told = handoff::add_rescued(here).err().map(|error| format!("{error:#}"));
    behind.into_iter().chain(told).for_each(|why| events::record(here, "warning", None, why));
}

fn record(here: &Here) -> PathBuf {
    here.paths.state().join("standby.json")
}
