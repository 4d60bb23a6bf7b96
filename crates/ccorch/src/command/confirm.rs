//! `ccorch confirm`: this host's judgement on a cutover that brought the rig here. Hidden: a unit and the driver use it.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::cutover::confirm::Verdict;
use clap::Subcommand;

use crate::context::Context;
use crate::here::{Here, confirm};

/// Watch a cutover's confirm window on this host, or show it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch confirm show")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Watch the open window until this host has a verdict, and fall back from a bad one without a driver (what
    /// ccorch-confirm.service runs)
    Watch,
    /// Rescue what a target that stood down has not saved (what ccorch-confirm.service has done outside of its sandbox)
    #[command(hide = true)]
    Rescue,
    /// The window as JSON; `null` when no cutover ever came here
    Show,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    match args.what {
        What::Watch => confirm::watch_to_the_end(&here)?,
        What::Rescue => confirm::rescue(&here)?,
        What::Show => {
            let window = confirm::read(&here)?;
            // Whoever asks has it watched: a watcher that was killed is not missed. Nobody waits for a verdict here: a driver
            // has the source to look at meanwhile.
            if window.as_ref().is_some_and(|window| window.verdict == Verdict::Open) {
                confirm::start_watching(&here)?;
            }
            println!("{}", serde_json::to_string_pretty(&window)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
