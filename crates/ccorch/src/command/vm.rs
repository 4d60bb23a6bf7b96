//! `ccorch vm`: power of a local virtual machine (`provider: qemu`).

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_core::qemu::Started;
use ccorch_core::seconds::Seconds;
use serde::Serialize;

use super::provision::progress::Progress;
use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::vm::Machine;

/// Start and stop a local virtual machine that `ccorch provision` made
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ccorch vm stop vm && ccorch vm start vm\n\nFor hosts with `provider: qemu`."
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Start(Start),
    Stop(Stop),
    Status(Status),
}

/// Start the machine and wait until its ssh answers; one that runs is left alone
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch vm start vm")]
struct Start {
    /// The host's name in the rig file
    host: HostName,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Seconds,
    /// Start it as a process of its own even where there is systemd; its unit does
    #[arg(long)]
    direct: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Stop the machine as its power button would, and wait until it is off
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch vm stop vm --timeout 1m --force")]
struct Stop {
    /// The host's name in the rig file
    host: HostName,
    /// How long the guest may take
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    timeout: Seconds,
    /// Cut the power when the time is over
    #[arg(long)]
    force: bool,
    /// Do not ask for the lock of verbs that change hosts; its unit does
    #[arg(long)]
    direct: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Say whether the machine runs; exit 1 when it does not
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch vm status vm --json")]
struct Status {
    /// The host's name in the rig file
    host: HostName,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `status --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    host: HostName,
    made: bool,
    /// QEMU's run state; `null` when it does not run.
    state: Option<String>,
    #[serde(flatten)]
    started: Option<Started>,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Start(args) => start(context, args),
        What::Stop(args) => stop(context, args),
        What::Status(args) => status(context, args),
    }
}

fn start(context: &Context, args: &Start) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let _lock = if args.direct { None } else { Some(loaded.lock("vm start")?) };
    let machine = Machine::of(&loaded, &args.host)?;
    made(&machine)?;
    if machine.running()?.is_some() && !args.direct {
        println!("{}: runs already", args.host);
        return Ok(ExitCode::SUCCESS);
    }
    if args.dry_run {
        println!("{}: would be started; ssh would answer on 127.0.0.1:{}", args.host, machine.ssh_port());
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::new(args.timeout);
    if args.direct {
        machine.start_directly(&progress)?
    } else {
        machine.start(&progress)?
    }
    println!("{}: started, ssh answers on 127.0.0.1:{}", args.host, machine.ssh_port());
    Ok(ExitCode::SUCCESS)
}

fn stop(context: &Context, args: &Stop) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let _lock = if args.direct { None } else { Some(loaded.lock("vm stop")?) };
    let machine = Machine::of(&loaded, &args.host)?;
    made(&machine)?;
    if args.dry_run {
        let what = if machine.running()?.is_some() { "would be stopped" } else { "is off already" };
        println!("{}: {what}", args.host);
        return Ok(ExitCode::SUCCESS);
    }
    let stopped = machine.stop_directly(args.force, &Progress::new(args.timeout))?;
    println!("{}: {}", args.host, if stopped { "stopped" } else { "was off already" });
    Ok(ExitCode::SUCCESS)
}

fn status(context: &Context, args: &Status) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let machine = Machine::of(&loaded, &args.host)?;
    let (state, started) = machine.status()?.unzip();
    let report = Report { host: args.host.clone(), made: machine.made()?.is_some(), state, started };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}: {}", report.host, sentence(&report));
    }
    Ok(if report.state.as_deref() == Some("running") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sentence(report: &Report) -> String {
    match (&report.state, &report.started) {
        (Some(state), Some(started)) => format!(
            "{state}, {:?}, cpus {}, memory {} MiB, ssh on 127.0.0.1:{}",
            started.accelerator, started.shape.cpus, started.shape.memory_mib, started.shape.ssh_port
        ),
        _ if report.made => "off".into(),
        _ => "not made yet".into(),
    }
}

fn made(machine: &Machine) -> Result<()> {
    if machine.made()?.is_some() {
        return Ok(());
    }
    let name = machine.name();
    Err(Problem::new(Kind::Unfit, format!("host `{name}` is not made yet"))
        .hint(format!("run `ccorch provision {name}`"))
        .into())
}
