//! `ccorch activate`: a cutover's way to start the rig on this host. Hidden: people use `ccorch cutover`.

use std::process::ExitCode;

use anyhow::Result;

use super::plumbing;
use crate::context::Context;
use crate::here::{Here, driver, events, lease, loop_state, start};

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
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    here.create_folders()?;
    let _act = driver::admit(&here, &args.by.driver(), "an unknown driver")?;
    if lease::check(&here).is_ok() {
        // Already at work: a repeated call must not start anything twice.
        return Ok(ExitCode::SUCCESS);
    }
    if args.adopt_sessions {
        for name in here.rig.loops.keys() {
            let mut state = loop_state::read(&here, name)?;
            state.session = None;
            loop_state::write(&here, name, &state)?;
        }
    }
    events::record(&here, "activated", None, format!("by cutover {}", args.by.journal));
    here.set_quiesced(None)?;
    start::rig(&here, &args.message)?;
    Ok(ExitCode::SUCCESS)
}
