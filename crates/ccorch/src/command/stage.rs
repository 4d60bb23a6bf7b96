//! `ccorch stage`: the workspace and the agents' state on a host, while the old one keeps working.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_io::host::Host;
use serde_json::json;

use crate::context::{Context, LoadedRig};
use crate::cutover;
use crate::error::{Kind, Problem};
use crate::reach;
use crate::staging::{self, Cache, Carried, How, Mode, Pass, Uncommitted};

/// Carry the workspace and the agents' state to a host; nothing is started
///
/// What git does not hold goes along as the rig file says; an agent's login never does. Repositories are cloned from their own remotes, on the host and as the workspace's user. A second run carries only
/// what differs. The orchestrator session finds a routine in its `AGENTS.md` there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ccorch stage vm\n  ccorch stage vm --from pi --prove")]
pub struct Args {
    /// The host to fill, as the rig file calls it
    host: HostName,
    /// The host that has the workspace now [default: `cutover.from` of the rig file]
    #[arg(long, value_name = "HOST")]
    from: Option<HostName>,
    /// Show what would be carried and carry nothing
    #[arg(long)]
    dry_run: bool,
    /// Carry nothing and compare both hosts: commits, cleanliness, content; exit status 1 when they differ
    #[arg(long, conflicts_with = "dry_run")]
    prove: bool,
    /// Keep what is in the way on HOST (uncommitted changes, a rebase that was begun) as `ccorch/rescue/...` there
    #[arg(long, conflicts_with = "prove")]
    rescue: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let from = from(&loaded, args)?;
    reach::entry(&loaded, &args.host)?;
    let _lock = (!args.dry_run && !args.prove).then(|| loaded.lock("stage")).transpose()?;
    let source = reach::connect(&loaded, &from)?;
    let target = reach::connect(&loaded, &args.host)?;
    if args.prove {
        return prove(&loaded, &source, &target, args);
    }
    let started = Instant::now();
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Carry };
    let rescue = args.rescue.then(|| staging::rescue_name(from.as_str(), &cutover::new_id()));
    let how = How { mode, pass: Pass::Early, rescue: rescue.as_deref() };
    let mut carried = staging::sync(&loaded, &source, &target, how, &Cache::default())?;
    carried.notes.extend(staging::routine::write(&loaded.rig, &target, &args.host, mode)?);
    print(&from, args, &carried, started.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn from(loaded: &LoadedRig, args: &Args) -> Result<HostName> {
    let default = loaded.rig.cutover.as_ref().map(|c| c.from.clone());
    let from = args.from.clone().or(default).ok_or_else(|| {
        Problem::new(Kind::Rig, "which host has the workspace now?")
            .hint("name it with `--from HOST`, or as `cutover.from` in the rig file")
    })?;
    reach::entry(loaded, &from)?;
    if from == args.host {
        let text = format!("`{from}` is both where the workspace is and where it should go");
        return Err(Problem::new(Kind::Rig, text).hint("name another host with `--from HOST`").into());
    }
    Ok(from)
}

fn prove(loaded: &LoadedRig, source: &Host, target: &Host, args: &Args) -> Result<ExitCode> {
    let differences = staging::prove(loaded, source, target, Uncommitted::None, &Cache::default())?;
    let equal = differences.is_empty();
    if args.json {
        println!(
            "{}",
            json!({ "from": source.name, "to": target.name, "equal": equal, "differences": differences })
        );
    } else if equal {
        println!("{} and {} hold the same", source.name, target.name);
    } else {
        differences.iter().for_each(|difference| println!("{difference}"));
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(Kind::General as u8) })
}

fn print(from: &HostName, args: &Args, carried: &Carried, seconds: f64) {
    let host = &args.host;
    if args.json {
        let result = json!({ "from": from, "to": host, "dry_run": args.dry_run, "carried": carried, "seconds": seconds });
        println!("{result}");
        return;
    }
    for note in &carried.notes {
        println!("note: {note}");
    }
    let verb = if args.dry_run { "would carry" } else { "carried" };
    println!("{from} -> {host}: {verb} {carried}, in {seconds:.1} s");
    if carried.is_nothing() {
        println!("{host} has everything that {from} has");
    }
}
