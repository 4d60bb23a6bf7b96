//! `ccorch quiesce`: a cutover's way to keep this host's loops down. Hidden: people use `ccorch cutover`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use ccorch_core::seconds::Seconds;

use super::{plumbing, safe_point};
use crate::context::Context;
use crate::here::runtime::Runtime;
use crate::here::{Here, confirm, driver, events, lease, strays};

/// Stop every loop at its safe point and keep it down for a cutover
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    by: plumbing::ByDriver,
    /// Tell loops that are at work to come to a safe point, and wait for that at most so long
    #[arg(long, value_name = "DURATION", conflicts_with = "undo")]
    safe_point: Option<Seconds>,
    /// Let the loops start again
    #[arg(long)]
    undo: bool,
    /// End what works in the workspace of a host whose loops are kept down, and print what it was as JSON
    #[arg(long, conflicts_with_all = ["undo", "safe_point"])]
    strays: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let here = Here::load(context)?;
    here.create_folders()?;
    let admitted = || driver::admit(&here, &args.by.driver(), "an unknown driver");
    let act = admitted()?;
    if args.strays {
        // A host whose loops may run again has none: what works there is the rig.
        let found = if lease::check(&here).is_ok() { Vec::new() } else { strays::end_present(&here)? };
        println!("{}", serde_json::to_string(&found)?);
        return Ok(ExitCode::SUCCESS);
    }
    if args.undo {
        here.set_quiesced(None)?;
        events::record(&here, "unquiesced", None, format!("by cutover {}", args.by.journal));
        return Ok(ExitCode::SUCCESS);
    }
    // Before anything stops: what is taken back must not confirm itself meanwhile.
    confirm::withdraw(&here, &args.by.journal)?;
    let _act = match args.safe_point.filter(|within| within.0 > 0) {
        None => act,
        Some(within) => {
            // Who takes the cutover in hand meanwhile does not wait for this one.
            drop(act);
            if let Some(said) = safe_point::wait(&here, &args.by.journal, within) {
                events::record(&here, "safe-point", None, &said);
                println!("{said}");
            }
            admitted()?
        }
    };
    // The mark first: whatever ends from here on is not started again, by whatever hand.
    here.set_quiesced(Some(&args.by.journal))?;
    let runtime = Runtime::of(&here);
    runtime.stop_all(&here)?;
    let left = runtime.running(&here)?.up;
    if !left.is_empty() {
        bail!("these loops still run: {}", left.keys().map(|n| n.as_str()).collect::<Vec<_>>().join(", "));
    }
    // What they put out of their units, and whoever else would write behind the proof.
    strays::end(&here)?;
    events::record(&here, "quiesced", None, format!("by cutover {}", args.by.journal));
    Ok(ExitCode::SUCCESS)
}
