//! `ccorch quiesce`: a cutover's way to keep this host's loops down. Hidden: people use `ccorch cutover`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::plumbing;
use crate::context::Context;
use crate::here::runtime::Runtime;
use crate::here::{Here, confirm, driver, events};

/// Stop every loop at its safe point and keep it down for a cutover
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    by: plumbing::ByDriver,
    /// Let the loops start again
    #[arg(long)]
    undo: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    here.create_folders()?;
    let _act = driver::admit(&here, &args.by.driver(), "an unknown driver")?;
    if args.undo {
        here.set_quiesced(None)?;
        events::record(&here, "unquiesced", None, format!("by cutover {}", args.by.journal));
        return Ok(ExitCode::SUCCESS);
    }
    // Before anything stops: what is taken back must not confirm itself meanwhile.
    confirm::withdraw(&here, &args.by.journal)?;
    // The mark first: whatever ends from here on is not started again, by whatever hand.
    here.set_quiesced(Some(&args.by.journal))?;
    let runtime = Runtime::of(&here);
    runtime.stop_all(&here)?;
    let left = runtime.running(&here)?;
    if !left.is_empty() {
        bail!("these loops still run: {}", left.keys().map(|n| n.as_str()).collect::<Vec<_>>().join(", "));
    }
    events::record(&here, "quiesced", None, format!("by cutover {}", args.by.journal));
    Ok(ExitCode::SUCCESS)
}
