//! `ccorch check`: is the rig file right?

use std::process::ExitCode;

use anyhow::Result;

use crate::context::Context;

/// Check the rig file: every problem at once, with file, line and key
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch check --rig ccorch.yaml")]
pub struct Args {}

/// Runs the verb.
pub fn run(context: &Context, _args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    println!("{}: rig `{}` is well-formed", loaded.file.display(), loaded.rig.rig);
    Ok(ExitCode::SUCCESS)
}
