//! Starting the rig on a host that was given the lease.

use std::path::Path;

use anyhow::Result;
use ccorch_io::{durable, systemd};

use super::lease::Tick;
use super::runtime::Runtime;
use super::{Here, lease, standby};
use crate::supervisor::control;

/// Starts the rig; what the orchestrator sessions hear is told before. The mark that keeps loops down is lifted only when a
/// supervisor that knows of it all is there: the old one would start them at once.
pub fn rig(here: &Here) -> Result<()> {
    standby::leave(here)?;
    // A supervisor that idled through the standby has old conversations in mind.
    if Runtime::of(here) == Runtime::Direct {
        if let Err(error) = control::again(&here.paths) {
            eprintln!(
                "warning: no supervisor runs here yet; one that starts later has everything: {error:#}"
            );
        }
        here.set_quiesced(None)?;
        return if lease::check(here).is_ok() { Ok(()) } else { lease::tick(here).map(drop) };
    }
    enable()?;
    // A supervisor that idled through the standby has old conversations in mind.
    systemd::systemctl(&["restart", "ccorch-supervisor.service"])?;
    here.set_quiesced(None)?;
    units(here)
}

/// What a call of [`rig`] that died half way did not get to; nothing that runs is touched.
pub fn rest(here: &Here) -> Result<()> {
    if Runtime::of(here) == Runtime::Direct {
        return Ok(());
    }
    enable()?;
    units(here)
}

fn units(here: &Here) -> Result<()> {
    // A cutover's write of the lease has acquired it for that boot. In a later one: here the connection to the remote is open
    // already; otherwise the lease's own unit has the patience.
    if lease::check(here).is_err() && !matches!(lease::tick(here), Ok(Tick::Held(_))) {
        systemd::systemctl(&["start", "ccorch-lease.service"])?;
    }
    systemd::systemctl(&["start", "--no-block", "ccorch.target"])?;
    Ok(())
}

/// Has the target started at boot. A NixOS host's units belong to its generation, which starts it at every boot. Enabling
/// has systemd read all its units again, which takes longer than the rest of a start: only where it is not.
fn enable() -> Result<()> {
    if Path::new("/etc/NIXOS").exists() || systemd::is_enabled("ccorch.target") {
        return Ok(());
    }
    Ok(systemd::systemctl(&["enable", "--quiet", "ccorch.target"])?)
}

/// The same from within the lease's own unit, which cannot wait for itself; its next look acquires the lease.
pub fn rig_from_lease_unit(here: &Here) -> Result<()> {
    standby::leave_from_lease_unit(here);
    if Runtime::of(here) == Runtime::Systemd {
        enable()?;
        systemd::systemctl(&["restart", "--no-block", "ccorch-supervisor.service"])?;
        systemd::systemctl(&["start", "--no-block", "ccorch.target"])?;
    }
    Ok(())
}

/// Leaves word for the orchestrator sessions, which hear it when they start.
pub fn tell(here: &Here, message: &str) -> Result<()> {
    durable::replace(&here.paths.handoff(), format!("{message}\n").as_bytes(), 0o644)
}
