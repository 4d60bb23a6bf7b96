//! `ccorch provision`: makes the machine that the rig will move to.

mod cloud_init;
mod incus;
mod outcome;
pub mod progress;
mod qemu;
mod ready;

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_core::rig::Provider;
use ccorch_core::seconds::Seconds;

use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};
use crate::reach;

/// Make a host, as its `provider` in the rig file says
///
/// Creates it, starts it, and waits until ssh and cloud-init are ready. /// Running it again changes nothing, and repairs what an interrupted run left half-done. Its address and its ssh host
/// key are learnt from the provider over an authenticated connection; no key is trusted on first use.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch provision vm --dry-run && ccorch provision vm")]
pub struct Args {
    /// The host's name in the rig file
    host: HostName,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// How long all of it may take
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Seconds,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let provider = provider(&loaded, &args.host)?;
    let _lock = if args.dry_run { None } else { Some(loaded.lock("provision")?) };
    let outcome = match provider {
        Provider::Incus => incus::provision(&loaded, args)?,
        Provider::Qemu => qemu::provision(&loaded, args)?,
    };
    if args.json {
        outcome.print_json()?
    } else {
        outcome.print()
    }
    Ok(ExitCode::SUCCESS)
}

fn provider(loaded: &LoadedRig, name: &HostName) -> Result<Provider> {
    reach::entry(loaded, name)?.provider.ok_or_else(|| {
        Problem::new(Kind::Rig, format!("host `{name}` has no `provider`: ccorch cannot make it"))
            .hint("a host with `ssh` alone has to be there already; `provider: incus` and `provider: qemu` make one")
            .into()
    })
}
