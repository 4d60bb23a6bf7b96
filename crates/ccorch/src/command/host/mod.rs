//! `ccorch host`: what is done to a host as a machine.

mod install;
mod known_hosts;
mod perform;
mod uninstall;
mod wanted;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;

/// Put ccorch on a host, or take it back
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ccorch host install vm\n  ccorch host uninstall vm --dry-run")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Install(install::Args),
    Uninstall(uninstall::Args),
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Install(args) => install::run(context, args),
        What::Uninstall(args) => uninstall::run(context, args),
    }
}
