//! `ccorch unsaved`: what a host has not saved in git, and a rescue of it.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_io::clock;
use serde_json::json;

use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};
use crate::reach;
use crate::staging;

/// Show what a host has not saved in git; commit it to a branch of its own
///
/// A cutover proves this after its stop. While loops work, something is always open. The exit status is 1 when something
/// is not saved.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch unsaved --host pi")]
pub struct Args {
    /// The host [default: `cutover.from` of the rig file]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Commit it, untracked files too, to branches `ccorch/rescue/HOST/TIME`: pushed, or sent to `--to` alone when they may
    /// hold secrets. Work trees, index and branches stay as they are; so do locks and a merge or rebase in progress, which
    /// are named, with exit status 1
    #[arg(long)]
    rescue: bool,
    /// The host that gets what cannot be pushed [default: `cutover.to` of the rig file]
    #[arg(long, value_name = "HOST", requires = "rescue")]
    to: Option<HostName>,
    /// Only show it
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let direction = loaded.rig.cutover.as_ref();
    let name = named(&loaded, args.host.as_ref().or(direction.map(|c| &c.from)), "--host")?;
    let host = reach::connect(&loaded, name)?;
    if args.rescue && !args.dry_run {
        let to = named(&loaded, args.to.as_ref().or(direction.map(|c| &c.to)), "--to")?;
        let _lock = loaded.lock("unsaved")?;
        let target = reach::connect(&loaded, to)?;
        let stamp = format!("{name}/{}", clock::now().strftime("%Y%m%dT%H%M%SZ"));
        let done = staging::rescue_all(&loaded, &host, &target, &stamp)?;
        if args.json {
            println!("{}", json!({ "host": name, "rescued": done.kept, "left": done.left }));
        } else {
            println!("{name}: {done}");
        }
        return Ok(status(done.left.is_empty()));
    }
    let all = staging::look(&loaded, &host)?;
    if args.json {
        println!("{}", json!({ "host": name, "unsaved": all }));
    } else if all.is_empty() {
        println!("{name} has saved everything in git");
    } else {
        all.iter().for_each(|one| println!("{one}"));
    }
    Ok(status(all.is_empty()))
}

fn status(saved: bool) -> ExitCode {
    if saved { ExitCode::SUCCESS } else { ExitCode::from(Kind::General as u8) }
}

fn named<'a>(loaded: &LoadedRig, name: Option<&'a HostName>, option: &str) -> Result<&'a HostName> {
    let name = name.ok_or_else(|| {
        Problem::new(Kind::Rig, "which host?")
            .hint(format!("name it with `{option} HOST`, or as `cutover` in the rig file"))
    })?;
    reach::entry(loaded, name)?;
    Ok(name)
}
