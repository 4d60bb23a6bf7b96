//! `ccorch resume`: bring the rig back at its resume point and prove it.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::boot::Seen;
use ccorch_core::lease::Standing;
use ccorch_core::names::HostName;
use ccorch_core::seconds::Seconds;
use ccorch_io::systemd;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::runtime::Runtime;
use crate::here::status::{Status, collect, parts};
use crate::here::{Here, boot, lease, receipt};
use crate::remote;

/// How often it is looked whether everything is back.
const LOOK: Duration = Duration::from_millis(250);

/// Bring the rig on a host back and wait until it is; prints the receipt
///
/// A boot does this by itself. Starts nothing on a host that is standby, and nothing twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch resume --timeout 2m")]
pub struct Args {
    /// Go on waiting while the lease remote is away, beyond the time-out
    #[arg(long)]
    wait: bool,
    /// How long everything may take
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    timeout: Seconds,
    /// Print the receipt as JSON
    #[arg(long)]
    json: bool,
    /// Say what would be started, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// Do it on this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let here = Here::load(context)?;
    if args.dry_run {
        return dry_run(&here);
    }
    here.create_folders()?;
    let began = Instant::now();
    if let Seen::Rebooted(reboot) = boot::record(&here)? {
        eprintln!("{}", reboot.sentence());
    }
    if lease::file(&here)?.is_none_or(|file| file.lease.state == Standing::Standby) {
        println!("standby: the loops of rig `{}` run on another host; nothing to resume here", here.rig.rig);
        return Ok(ExitCode::SUCCESS);
    }
    if Runtime::of(&here) == Runtime::Systemd {
        systemd::systemctl(&["start", "--no-block", "ccorch.target"])?;
    }
    if lease::check(&here).is_err() {
        lease::nudge(&here)?;
    }
    let status = wait(&here, args, began)?;
    let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let receipt = receipt::write(&here, status, waited)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&receipt)?);
    } else {
        print!("{}", super::status::render(&receipt.status));
        println!("receipt: {}/{}.json", here.paths.receipts().display(), receipt.status.boot_id);
    }
    if receipt.complete {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("not everything came back on {} within {}", here.name, args.timeout);
    Err(Problem::new(Kind::TimedOut, message).hint("the list above says what is missing").into())
}

fn wait(here: &Here, args: &Args, began: Instant) -> Result<Status> {
    loop {
        let status = parts(here)?;
        let lost = status.lease.state == Some(Standing::Standby);
        let over = began.elapsed() >= args.timeout.duration() && (status.lease.may_start || !args.wait);
        if status.degraded.is_empty() || over || lost {
            return Ok(status);
        }
        thread::sleep(LOOK);
    }
}

fn dry_run(here: &Here) -> Result<ExitCode> {
    let status = collect(here)?;
    match lease::check(here) {
        Ok(epoch) => println!("this boot holds the lease at epoch {epoch}"),
        Err(why) => println!("{why}"),
    }
    println!("would start ccorch.target and wait for: {}", names(&status));
    Ok(ExitCode::SUCCESS)
}

fn names(status: &Status) -> String {
    status.loops.iter().map(|l| l.name.as_str()).collect::<Vec<_>>().join(", ")
}
