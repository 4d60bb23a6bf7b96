//! `ccorch can-drive`: whether this machine could go on with a cutover. Hidden: a driver that is about to hand over asks.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::cutover::{plan, plan_hash};
use ccorch_core::names::HostName;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::reach;

/// Say whether a cutover could be driven from this machine, by this user
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its source
    #[arg(long)]
    from: HostName,
    /// Its target
    #[arg(long)]
    to: HostName,
    /// What it rests on
    #[arg(long)]
    plan_hash: String,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let plan =
        plan(&loaded.rig, &args.from, &args.to).map_err(|no| Problem::new(Kind::Rig, no.to_string()))?;
    if plan_hash(&loaded.rig, &plan) != args.plan_hash {
        let message = format!("{} is another one than the driver's", loaded.file.display());
        return Err(Problem::new(Kind::Conflict, message).hint("carry the driver's rig file along").into());
    }
    for host in [&args.from, &args.to] {
        reach::connect(&loaded, host)?;
    }
    Ok(ExitCode::SUCCESS)
}
