//! `ccorch activate`: a cutover's way to start the rig on this host. Hidden: people use `ccorch cutover`.

use std::process::ExitCode;

use anyhow::Result;

use crate::context::Context;
use crate::here::runtime::Runtime;
use crate::here::{Here, confirm, events, handoff, lease, loop_state};
use ccorch_core::cutover::confirm::Terms;
use ccorch_core::seconds::Seconds;
use ccorch_io::{durable, systemd};

/// Start the rig on this host, which a cutover has given the lease
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cutover
    #[arg(long)]
    journal: String,
    /// Take each loop's newest conversation: the rig comes from a host that kept no list of them
    #[arg(long)]
    adopt_sessions: bool,
    /// What the orchestrator sessions are told
    #[arg(long)]
    message: String,
    /// The rig is here on trial: this host has so long to confirm itself
    #[arg(long, value_name = "DURATION")]
    confirm_within: Option<Seconds>,
    /// How long no loop may end meanwhile [default: `cutover.confirm.settle` of the rig]
    #[arg(long, requires = "confirm_within", value_name = "DURATION")]
    settle: Option<Seconds>,
    /// Go through a reboot before it is confirmed
    #[arg(long, requires = "confirm_within")]
    prove_reboot: bool,
}

impl Args {
    fn terms(&self, here: &Here) -> Option<Terms> {
        let confirm = here.rig.cutover.as_ref().and_then(|c| c.confirm.clone()).unwrap_or_default();
        Some(Terms {
            timeout: self.confirm_within?,
            settle: self.settle.unwrap_or(confirm.settle),
            crashes: confirm.crashes,
            prove_reboot: self.prove_reboot,
        })
    }
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    here.create_folders()?;
    if lease::check(&here).is_ok() {
        // Already at work: a repeated call must not start anything twice.
        confirm::start_watching(&here)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.adopt_sessions {
        for name in here.rig.loops.keys() {
            let mut state = loop_state::read(&here, name)?;
            state.session = None;
            loop_state::write(&here, name, &state)?;
        }
    }
    if args.confirm_within.is_some() {
        handoff::write(&here, &args.journal, &args.message)?;
    } else {
        durable::replace(&here.paths.handoff(), format!("{}\n", args.message).as_bytes(), 0o644)?;
    }
    events::record(&here, "activated", None, format!("by cutover {}", args.journal));
    if let Some(terms) = args.terms(&here) {
        confirm::open(&here, &args.journal, terms)?;
    }
    here.set_quiesced(None)?;
    if Runtime::of(&here) == Runtime::Systemd {
        systemd::systemctl(&["enable", "--quiet", "ccorch.target"])?;
        // A supervisor that idled through the standby has old conversations in mind.
        systemd::systemctl(&["restart", "ccorch-supervisor.service"])?;
        systemd::systemctl(&["start", "ccorch-lease.service"])?;
        systemd::systemctl(&["start", "--no-block", "ccorch.target"])?;
        confirm::start_watching(&here)?;
    } else {
        lease::tick(&here)?;
    }
    Ok(ExitCode::SUCCESS)
}
