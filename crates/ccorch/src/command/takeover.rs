//! `ccorch takeover`: another host takes the lease from one that is dead.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::lease::Lease;
use ccorch_core::names::HostName;
use ccorch_io::host::Host;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::{dead, person, reach, remote};

/// The host that takes over stops being a standby, has its clones follow what was pushed, and starts the rig.
const TAKE: Duration = Duration::from_secs(300);

/// Start the rig on another host when the one that ran it is gone for good
///
/// Work that the dead host had not pushed or carried is lost, and a cutover that was under way is ended. Refused while the
/// host gives any sign of life, to this machine or to the one that takes over; asks for its name, because a host that cannot
/// be reached may still be at work. The old source of a cutover takes over as any other: its workspace can be written to
/// again, and its clones follow what was pushed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch takeover --source-is-dead pi --to vm")]
pub struct Args {
    /// The host that is gone
    #[arg(long, value_name = "HOST")]
    source_is_dead: HostName,
    /// The host to take over [default: the other one of `cutover` of the rig file]
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
    let gone = &args.source_is_dead;
    let to = args
        .to
        .clone()
        .or_else(|| loaded.rig.cutover.as_ref().map(|c| if c.to == *gone { &c.from } else { &c.to }.clone()))
        .ok_or_else(|| Problem::new(Kind::Rig, "no host to take over").hint("name it: `--to HOST`"))?;
    if to == *gone {
        return Err(Problem::new(Kind::Rig, format!("{gone} cannot take over from itself")).into());
    }
    let _lock = loaded.lock("takeover")?;
    dead::must_not_answer(&loaded, gone)?;
    let host = reach::connect(&loaded, &to)?;
    must_have_ccorch(&host, &to)?;
    if args.dry_run {
        println!("{gone} does not answer; would give the lease to {to} and start the rig there");
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!("{gone} is gone: it runs nothing of the rig and will not come back by itself");
    person::confirm(&question, gone, args.yes_host.as_ref())?;
    let mut argv = vec![remote::INSTALLED, "lease", "take", "--source", gone.as_str()];
    let place = dead::place(&loaded, gone)?;
    argv.extend(place.iter().flat_map(|place| ["--silent", place.as_str()]));
    let text = host.command(&argv).deadline(TAKE).read()?;
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

/// What a host without ccorch ran it would run by its owner's scripts, which no lease starts.
fn must_have_ccorch(host: &Host, to: &HostName) -> Result<()> {
    if host.exists(remote::INSTALLED)? {
        return Ok(());
    }
    let message = format!("{to} cannot take over: it has no {}", remote::INSTALLED);
    Err(Problem::new(Kind::Rig, message)
        .hint(format!(
            "`ccorch host install {to}` makes it a host that can; where its owner's scripts run the rig, `ccorch adopt {to}` \
             comes next; in the middle of a cutover `ccorch cutover --abort` gives it back to them"
        ))
        .into())
}
