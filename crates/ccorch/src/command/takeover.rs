//! `ccorch takeover`: another host takes the lease from one that is dead.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::lease::Lease;
use ccorch_core::names::HostName;
use ccorch_io::host::{Host, Reach};
use ccorch_io::ssh::{SshFailure, classify};

use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};
use crate::{person, reach, remote};

/// Start the rig on another host when the one that ran it is gone for good
///
/// Work that the dead host had not pushed or carried is lost, and a cutover that was under way is ended. Refused while the
/// host answers; asks for its name, because a host that only cannot be reached from here may still be at work.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch takeover --source-is-dead pi --to vm")]
pub struct Args {
    /// The host that is gone
    #[arg(long, value_name = "HOST")]
    source_is_dead: HostName,
    /// The host to take over [default: cutover.to of the rig file]
    #[arg(long, value_name = "HOST")]
    to: Option<HostName>,
    /// In place of typing the dead host's name
    #[arg(long, value_name = "NAME")]
    yes_host: Option<HostName>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the new lease as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let dead = &args.source_is_dead;
    let to = args
        .to
        .clone()
        .or_else(|| loaded.rig.cutover.as_ref().map(|c| c.to.clone()))
        .ok_or_else(|| Problem::new(Kind::Rig, "no host to take over").hint("name it: `--to HOST`"))?;
    if to == *dead {
        return Err(Problem::new(Kind::Rig, format!("{dead} cannot take over from itself")).into());
    }
    let _lock = loaded.lock("takeover")?;
    must_not_answer(&loaded, dead)?;
    if args.dry_run {
        println!("{dead} does not answer; would give the lease to {to} and start the rig there");
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!("{dead} is gone: it runs nothing of the rig and will not come back by itself");
    person::confirm(&question, dead, args.yes_host.as_ref())?;
    let host = reach::connect(&loaded, &to)?;
    let argv = [remote::INSTALLED, "lease", "take", "--source", dead.as_str()];
    let text = host.command(&argv).deadline(std::time::Duration::from_secs(180)).read()?;
    let lease: Lease = serde_json::from_str(&text).context("read the lease as the host printed it")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&lease)?);
    } else {
        println!(
            "{to} holds the lease at epoch {} and starts the rig: `ccorch status --host {to}`",
            lease.epoch
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Any word of its sshd is a sign of life, a refused login too.
fn must_not_answer(loaded: &LoadedRig, dead: &HostName) -> Result<()> {
    let mut ssh = reach::ssh(loaded, dead)?;
    // A connection of before, kept open, would say nothing about now.
    ssh.control_dir = None;
    let Err(error) = Host::connect(dead.as_str(), Reach::Ssh(Box::new(ssh))) else {
        return Err(alive(dead, "it answers by ssh"));
    };
    let failure = error.chain().find_map(|cause| cause.downcast_ref().and_then(classify));
    match failure {
        Some(SshFailure::Unreachable) => Ok(()),
        // A machine that hangs accepts nothing and sends nothing.
        None if matches!(crate::hints::of(&error).0, Kind::TimedOut) => Ok(()),
        _ => Err(alive(dead, &format!("{error:#}"))),
    }
}

fn alive(dead: &HostName, how: &str) -> anyhow::Error {
    Problem::new(Kind::Conflict, format!("{dead} is not dead: {how}"))
        .hint("cut over from it, or make sure that it is switched off")
        .into()
}
