//! The acts of a cutover on a host that runs ccorch: each is one repeatable verb over there.

use std::time::Duration;

use anyhow::Result;
use ccorch_core::cutover::{Asked, SideKind};
use ccorch_core::lease::{Lease, Owner, Standing, Turn};
use ccorch_core::seconds::Seconds;
use ccorch_io::command::Command;
use serde::Deserialize;

use super::itself::Able;
use super::side::Side;
use crate::error::{Kind, Problem};

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
    /// The newest driver that the host has heard of.
    pub driver: Option<Owner>,
}

impl LeaseView {
    /// The value that counts: the arbiter's; without an arbiter the host's own.
    pub fn counts(&self) -> Option<&Lease> {
        self.arbiter.as_ref().or(self.file.as_ref())
    }

    /// That the lease's remote does not tell this.
    pub fn unanswered(self, whether: &str) -> Problem {
        let why = self.arbiter_note.unwrap_or_else(|| "it does not say".into());
        let message = format!("the lease's remote cannot be asked whether {whether}: {why}");
        Problem::new(Kind::Unreachable, message)
    }

    /// Who drives: by the arbiter; without an arbiter by the host's own record.
    pub fn owner(&self) -> Option<&Owner> {
        match &self.arbiter {
            Some(lease) => lease.cutover.as_ref(),
            None => self.driver.as_ref(),
        }
    }
}

/// A verb over there on behalf of the driver.
fn act(side: &Side, journal: &str, args: &[&str]) -> Command {
    let turn = side.turn().to_string();
    let driver = ["--journal", journal, "--turn", &turn];
    let args: Vec<&str> = args.iter().copied().chain(driver).collect();
    side.ccorch(&args).deadline(LONG)
}

/// Stops every loop and keeps it down; first, loops that are at work may come to a safe point. What became of that.
pub fn quiesce(side: &Side, journal: &str, safe_point: Option<Seconds>) -> Result<Option<String>> {
    let within = safe_point.map(|within| within.to_string());
    let mut args = vec!["quiesce"];
    args.extend(within.iter().flat_map(|within| ["--safe-point", within]));
    let patience = LONG + safe_point.map_or(Duration::ZERO, Seconds::duration);
    let said = act(side, journal, &args).deadline(patience).read()?;
    Ok(Some(said.trim().to_owned()).filter(|said| !said.is_empty()))
}

/// Ends what works in the workspace although every loop is down; what it was.
pub fn end_strays(side: &Side, journal: &str) -> Result<Vec<String>> {
    Ok(serde_json::from_str(&act(side, journal, &["quiesce", "--strays"]).read()?)?)
}

/// Lets the loops start again.
pub fn unquiesce(side: &Side, journal: &str) -> Result<()> {
    act(side, journal, &["quiesce", "--undo"]).run()?;
    Ok(())
}

/// Has the lease written by this host, about itself or on behalf of one that cannot.
pub fn write_lease(writer: &Side, about: &Side, state: Standing, journal: &str) -> Result<Lease> {
    let mut args = vec!["lease", "write", "--about", about.name.as_str()];
    if state == Standing::Active {
        args.push("--active");
        if about.kind == SideKind::Legacy {
            args.push("--for-its-owner");
        }
    }
    let text = act(writer, journal, &args).read()?;
    Ok(serde_json::from_str(&text)?)
}

/// What a host is told that is to start the rig.
#[derive(Debug, Default)]
pub struct Start<'a> {
    /// On trial, where the host has to confirm itself.
    pub trial: Option<Asked>,
    /// Whether the rig was its owner's, who kept no list of conversations.
    pub adopt: bool,
    /// What the orchestrator sessions are told.
    pub message: String,
    /// What a person runs to go back later, where it is not a rollback.
    pub back: Option<&'a str>,
    /// Who drives there once the host has judged itself.
    pub drives_on: Option<&'a Able>,
}

/// Starts the rig there.
pub fn activate(side: &Side, journal: &str, start: &Start<'_>) -> Result<()> {
    let (trial, mut args) = (start.trial, vec!["activate", "--message", &start.message]);
    args.extend(start.back.iter().flat_map(|back| ["--back-by", back]));
    args.extend(start.drives_on.iter().flat_map(|able| ["--drive-as", &able.user, "--drive-by", &able.rig]));
    let within = trial.map(|trial| trial.timeout.to_string());
    let settle = trial.map(|trial| trial.settle.to_string());
    if let Some(within) = &within {
        args.extend(["--confirm-within", within]);
    }
    if let Some(settle) = &settle {
        args.extend(["--settle", settle]);
    }
    if trial.is_some_and(|trial| trial.prove_reboot) {
        args.push("--prove-reboot");
    }
    if start.adopt {
        args.push("--adopt-sessions");
    }
    act(side, journal, &args).run()?;
    Ok(())
}

/// Takes the cutover in hand at the arbiter, in the name of this machine. The host has a copy of the journal before, so
/// that what is claimed can be gone on with even when this machine dies now.
pub fn claim(side: &Side, journal: &str, by: &str, held: Option<Turn>, text: &str) -> Result<Owner> {
    let held = held.map(|turn| turn.to_string());
    let mut args = vec!["lease", "claim", "--journal", journal, "--by", by];
    args.extend(held.iter().flat_map(|held| ["--held", held]));
    let owner = side.ccorch(&args).deadline(LONG).input(text).read()?;
    Ok(serde_json::from_str(&owner)?)
}

/// Lets go of the cutover at the arbiter.
pub fn close(side: &Side, journal: &str) -> Result<()> {
    act(side, journal, &["lease", "close"]).run()?;
    Ok(())
}

/// Keeps a copy of the journal there, which has the host listen to this driver alone.
pub fn keep(side: &Side, journal: &str, text: &str) -> Result<()> {
    act(side, journal, &["journal", "keep"]).input(text).run()?;
    Ok(())
}

/// Has the host listen to this driver alone from here on; its copy of the journal, which nobody else changes any more.
pub fn fence(side: &Side, journal: &str, by: &str) -> Result<String> {
    let turn = side.turn().to_string();
    let args = ["journal", "print", journal, "--turn", &turn, "--by", by];
    Ok(side.ccorch(&args).deadline(LONG).run()?.text())
}

/// The host's copy of a journal, empty where it has none.
pub fn copy(side: &Side, journal: &str) -> Result<String> {
    Ok(side.ccorch(&["journal", "print", journal]).run()?.text())
}

/// Proves that the host can move the lease.
pub fn probe(side: &Side) -> Result<()> {
    side.ccorch(&["lease", "probe"]).deadline(LONG).run()?;
    Ok(())
}

/// Who holds the lease.
pub fn lease(side: &Side) -> Result<LeaseView> {
    side.ccorch_json(&["lease", "show", "--json"])
}
