//! The source after its cutover: its units off (of ccorch also the proxy), workspace read-only, with a note; and how that is
//! taken back before anything writes there.
//!
//! Read-only is a bind mount of the workspace over itself, by an enabled mount unit: modes would not hold root, and what
//! is not a unit would not hold over a reboot. Where the workspace is a mount of its own, whose unit has that name, a service lays
//! the bind over it. Nothing in it can be executed either: the rig's own start command, typed there by hand, would start agents
//! that can read. A script that is handed to its interpreter is not held by that; `standby-status` names what it started.

use anyhow::Result;
use ccorch_core::cutover::SideKind;
use ccorch_core::cutover::standby::Standby;
use ccorch_core::lease::Standing;
use ccorch_io::clock;

use super::side::Side;
use super::steps::Steps;
use super::{hosted, legacy};
use crate::error::{Kind, Problem};
use crate::here::standby::{NOTE as WORKSPACE_NOTE, WRITABLE};

/// What is known of a standby.
pub const RECORD: &str = "/var/lib/ccorch/standby.json";
/// The same for people.
const NOTE: &str = "/var/lib/ccorch/STANDBY.txt";

/// Switches off what ccorch would start. Argument: `watch` where the heartbeat of the lease goes on over boots, because the
/// rig has a term after which this host takes over; `alone` where it ends at once, because the host has its rig back from ccorch;
/// else it ends with this boot.
const OFF: &str = include_str!("decommission/off.sh");

/// Makes a folder read-only over reboots. Arguments: the folder, the same as unit files write it.
const READ_ONLY: &str = include_str!("decommission/read-only.sh");

/// Leaves the source as a tidy standby. Repeatable.
pub fn perform(steps: &Steps<'_>, source: &Side, target: &Side) -> Result<String> {
    still_ours(steps, target)?;
    match source.kind {
        SideKind::Legacy => legacy::disable(source)?,
        SideKind::Ccorch => {
            // From a rig that its owner's scripts run nobody takes over by time.
            let term = target.kind == SideKind::Ccorch
                && steps.rig().lease.as_ref().is_some_and(|lease| lease.term.is_some());
            let heartbeat: &[&str] = match (steps.plan().in_place(), term) {
                (true, _) => &["alone"],
                (false, true) => &["watch"],
                (false, false) => &[],
            };
            source.act("switch ccorch off", OFF, heartbeat).run()?;
        }
    }
    if steps.plan().in_place() {
        return Ok(format!("{} has one way to run the rig left", source.name));
    }
    let record = Standby {
        rig: steps.rig().rig.clone(),
        journal: steps.journal().into(),
        kind: source.kind,
        to: target.name.clone(),
        since: clock::now(),
        target_reboots: reboots(target)?.map(|all| all.last().map_or(0, |last| last.number)),
        workspace: source.workspace.root.clone(),
    };
    let note = record.note();
    source.acting().write_file(RECORD, &serde_json::to_vec_pretty(&record)?, "0644")?;
    source.acting().write_file(NOTE, note.as_bytes(), "0644")?;
    // By its own stop command, which cannot be run any more once the workspace is read-only.
    let legacy = source.kind == SideKind::Legacy;
    let stopped = if legacy { legacy::started_since(source, steps.journal())? } else { Vec::new() };
    let read_only = close(source, &note)?;
    forget(target)?;
    let stopped = match stopped.as_slice() {
        [] => String::new(),
        found => format!("; what was started there meanwhile is stopped: {}", found.join("; ")),
    };
    Ok(format!("{} is standby, its workspace is {read_only}; the note is {NOTE}{stopped}", source.name))
}

/// Takes it back, whether it was done, half done or not done. What starts the rig again is another step's undo.
pub fn undo(source: &Side) -> Result<()> {
    reopen(source)?;
    forget(source)
}

/// Lets a host's workspace be written to again; first of all that a rollback does there.
pub fn reopen(side: &Side) -> Result<()> {
    let root = &side.workspace.root;
    side.act("make the workspace writable", WRITABLE, &[root]).run()?;
    let note = format!("{root}/{WORKSPACE_NOTE}");
    if side.host.exists(RECORD)? && side.host.exists(&note)? {
        side.acting().command_as(&side.workspace.user, "/", &["rm", "-f", "--", &note]).run()?;
    }
    Ok(())
}

/// The note in the workspace first: nothing can be put there afterwards. By its user, whose folder it is: a link in there
/// must not lead root astray.
fn close(source: &Side, note: &str) -> Result<String> {
    let (root, user) = (&source.workspace.root, &source.workspace.user);
    // A second run finds it read-only already, with the note of the first.
    if source.host.command_as(user, "/", &["test", "-w", root]).output()?.status.success() {
        let path = format!("{root}/{WORKSPACE_NOTE}");
        source.acting().command_as(user, "/", &["tee", "--", &path]).input(note).run()?;
    }
    let in_unit = root.replace('%', "%%");
    Ok(source.act("make the workspace read-only", READ_ONLY, &[root, &in_unit]).read()?)
}

/// A driver that slept while the rig went on elsewhere must not switch anything off.
fn still_ours(steps: &Steps<'_>, target: &Side) -> Result<()> {
    let view = hosted::lease(steps.writer()?)?;
    let ours = view.counts().is_some_and(|lease| {
        lease.holder == target.name
            && lease.state == Standing::Active
            && lease.journal.as_deref() == Some(steps.journal())
    });
    if ours {
        return Ok(());
    }
    if steps.rig().lease.is_some() && view.arbiter.is_none() {
        return Err(view
            .unanswered(&format!("{} still has the rig", target.name))
            .hint("nothing was switched off; see why it does not answer")
            .into());
    }
    let message = format!("{} does not hold the lease by this cutover any more", target.name);
    Err(Problem::new(Kind::Conflict, message)
        .hint("`ccorch lease show` tells who does; nothing was switched off")
        .into())
}

/// A host that runs the rig is no standby.
pub fn forget(side: &Side) -> Result<()> {
    side.acting().command(&["rm", "-f", "--", NOTE, RECORD]).run()?;
    Ok(())
}

/// The reboots a host has recorded; a legacy host records none.
pub fn reboots(side: &Side) -> Result<Option<Vec<ccorch_core::boot::Reboot>>> {
    match side.kind {
        SideKind::Legacy => Ok(None),
        SideKind::Ccorch => side.ccorch_json(&["reboots", "--json"]).map(Some),
    }
}
