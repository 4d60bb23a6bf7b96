//! `ccorch activate`: a cutover's way to start the rig on this host. Hidden: people use `ccorch cutover`.

use std::process::ExitCode;

use anyhow::Result;

use super::plumbing;
use crate::context::Context;
use crate::here::{Here, confirm, driver, events, handoff, handover, lease, loop_state, start};
use ccorch_core::cutover::confirm::Terms;
use ccorch_core::seconds::Seconds;

/// Start the rig on this host, which a cutover has given the lease
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    by: plumbing::ByDriver,
    /// Take each loop's newest conversation: the rig comes from a host that kept no list of them
    #[arg(long)]
    adopt_sessions: bool,
    /// What the orchestrator sessions are told
    #[arg(long)]
    message: String,
    /// What a person runs to go back later
    #[arg(long, default_value = "ccorch rollback")]
    back_by: String,
    /// The rig is here on trial: this host has so long to confirm itself
    #[arg(long, value_name = "DURATION")]
    confirm_within: Option<Seconds>,
    /// How long no loop may end meanwhile [default: `cutover.confirm.settle` of the rig]
    #[arg(long, requires = "confirm_within", value_name = "DURATION")]
    settle: Option<Seconds>,
    /// Go through a reboot before it is confirmed
    #[arg(long, requires = "confirm_within")]
    prove_reboot: bool,
    /// Who drives the rest of the cutover here, once this host has judged itself
    #[arg(long, requires_all = ["confirm_within", "drive_by"], value_name = "USER")]
    drive_as: Option<String>,
    /// Where that user finds the operator's rig file
    #[arg(long, requires = "drive_as", value_name = "FILE")]
    drive_by: Option<String>,
}

impl Args {
    fn terms(&self, here: &Here) -> Option<Terms> {
        let confirm = here.rig.cutover.as_ref().and_then(|c| c.confirm.clone()).unwrap_or_default();
        Some(Terms {
            timeout: self.confirm_within?,
            settle: self.settle.unwrap_or(confirm.settle),
            crashes: confirm.crashes,
            prove_reboot: self.prove_reboot,
            fallback: confirm.fallback,
        })
    }
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    here.create_folders()?;
    let _act = driver::admit(&here, &args.by.driver(), "an unknown driver")?;
    if let (Some(user), Some(rig)) = (&args.drive_as, &args.drive_by) {
        handover::keep(&here, &args.by.driver(), user, rig)?;
    }
    if lease::check(&here).is_ok() {
        // Already at work: a repeated call must not start anything twice.
        start::rest(&here)?;
        confirm::start_watching(&here)?;
        return Ok(ExitCode::SUCCESS);
    }
    if confirm::has_failed(&here, &args.by.journal)? {
        // Its verdict stands, and the driver is about to ask for it.
        return Ok(ExitCode::SUCCESS);
    }
    if args.adopt_sessions {
        for name in here.rig.loops.keys() {
            let mut state = loop_state::read(&here, name)?;
            state.session = None;
            loop_state::write(&here, name, &state)?;
        }
    }
    let journal = &args.by.journal;
    if args.confirm_within.is_some() {
        handoff::write(&here, journal, &args.message, &args.back_by)?;
    } else {
        start::tell(&here, &args.message)?;
    }
    events::record(&here, "activated", None, format!("by cutover {journal}"));
    if let Some(terms) = args.terms(&here) {
        confirm::open(&here, journal, terms)?;
    }
    start::rig(&here)?;
    confirm::start_watching(&here)?;
    Ok(ExitCode::SUCCESS)
}
