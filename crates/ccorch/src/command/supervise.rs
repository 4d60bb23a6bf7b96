//! `ccorch supervise`: the daemon.

use std::process::ExitCode;

use anyhow::Result;

use crate::context::Context;
use crate::here::Here;
use crate::supervisor;

/// Have this host's loops started, watched and restarted
///
/// What ccorch-supervisor.service runs.
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Example: ccorch supervise\n\nWithout systemd as pid 1 the loops' tmux servers are started directly."
)]
pub struct Args {}

/// Runs the verb.
pub fn run(context: &Context, _args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    here.create_folders()?;
    supervisor::run(&here)?;
    Ok(ExitCode::SUCCESS)
}
