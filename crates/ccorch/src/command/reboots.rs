//! `ccorch reboots`: the reboot log.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::boot::Reboot;
use ccorch_core::names::HostName;
use jiff::SignedDuration;

use crate::context::Context;
use crate::here::{Here, boot};
use crate::{remote, table};

/// List the reboots of a host: when, for how long, and whether in order
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch reboots --host vm")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Of this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let here = Here::load(context)?;
    let log = boot::log(&here)?;
    if let Some(trouble) = log.trouble(&here) {
        eprintln!("warning: {trouble}");
    }
    let reboots = log.reboots;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reboots)?);
    } else if reboots.is_empty() {
        println!("no reboot since ccorch came to this host");
    } else {
        print!("{}", render(&reboots));
    }
    Ok(ExitCode::SUCCESS)
}

fn render(reboots: &[Reboot]) -> String {
    let row = |reboot: &Reboot| {
        let time = |t: jiff::Timestamp| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let down = SignedDuration::from_millis(i64::try_from(reboot.downtime_ms).unwrap_or(i64::MAX));
        let manner = if reboot.clean { "clean" } else { "not clean" };
        [
            reboot.number.to_string(),
            time(reboot.booted_at),
            time(reboot.last_alive),
            format!("{down:#}"),
            manner.into(),
        ]
    };
    let rows: Vec<_> = reboots.iter().map(row).collect();
    table::render(["NO", "BOOTED", "LAST ALIVE", "AWAY", "SHUTDOWN"], &rows)
}
