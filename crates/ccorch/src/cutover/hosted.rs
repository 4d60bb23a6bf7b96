//! The acts of a cutover on a host that runs ccorch: each is one repeatable verb over there.

use std::time::Duration;

use anyhow::Result;
use ccorch_core::lease::{Lease, Standing};
use ccorch_core::names::HostName;
use serde::Deserialize;

use super::side::Side;
use super::verify::Trial;

/// Stopping waits for safe points; a start for the agents.
const LONG: Duration = Duration::from_secs(180);

/// What `ccorch lease show --json` says.
#[derive(Debug, Deserialize)]
pub struct LeaseView {
    /// The arbiter's value.
    pub arbiter: Option<Lease>,
    /// Why there is none.
    pub arbiter_note: Option<String>,
    /// The host's own value.
    pub file: Option<Lease>,
}

impl LeaseView {
    /// The value that counts: the arbiter's; without an arbiter the host's own.
    pub fn counts(&self) -> Option<&Lease> {
        self.arbiter.as_ref().or(self.file.as_ref())
    }
}

/// Stops every loop and keeps it down.
pub fn quiesce(side: &Side, journal: &str) -> Result<()> {
    side.ccorch(&["quiesce", "--journal", journal]).deadline(LONG).run()?;
    Ok(())
}

/// Lets the loops start again.
pub fn unquiesce(side: &Side, journal: &str) -> Result<()> {
    side.ccorch(&["quiesce", "--undo", "--journal", journal]).run()?;
    Ok(())
}

/// Has the lease written by this host, about itself or on behalf of one that cannot.
pub fn write_lease(writer: &Side, about: &HostName, state: Standing, journal: &str) -> Result<Lease> {
    let mut args = vec!["lease", "write", "--about", about.as_str(), "--journal", journal];
    if state == Standing::Active {
        args.push("--active");
    }
    let text = writer.ccorch(&args).deadline(LONG).read()?;
    Ok(serde_json::from_str(&text)?)
}

/// Starts the rig there; on trial, where the host has to confirm itself.
pub fn activate(side: &Side, journal: &str, trial: Option<Trial>, adopt: bool, message: &str) -> Result<()> {
    let mut args = vec!["activate", "--journal", journal, "--message", message];
    let within = trial.map(|trial| trial.timeout.to_string());
    let settle = trial.and_then(|trial| trial.settle).map(|settle| settle.to_string());
    if let Some(within) = &within {
        args.extend(["--confirm-within", within]);
    }
    if let Some(settle) = &settle {
        args.extend(["--settle", settle]);
    }
    if trial.is_some_and(|trial| trial.prove_reboot) {
        args.push("--prove-reboot");
    }
    if adopt {
        args.push("--adopt-sessions");
    }
    side.ccorch(&args).deadline(LONG).run()?;
    Ok(())
}

/// Who holds the lease.
pub fn lease(side: &Side) -> Result<LeaseView> {
    side.ccorch_json(&["lease", "show", "--json"])
}
