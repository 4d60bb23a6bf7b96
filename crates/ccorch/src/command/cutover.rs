//! `ccorch cutover` and `ccorch rollback`: move the rig, and bring it back.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::cutover::{NoPlan, Plan, Said, SideKind, adoption, plan};
use ccorch_core::names::HostName;
use ccorch_core::safepoint::UnsavedPolicy;
use ccorch_core::seconds::Seconds;

use crate::context::{Context, LoadedRig};
use crate::cutover::{Gone, Options, Wish, drive, dry_run, dry_run_of_unfinished, leave, open};
use crate::error::{Kind, Problem};

/// Move the rig to another host; taken back if it fails
///
/// Looks at both hosts, carries what it can, stops and fences the source, carries the rest, compares both sides, starts
/// the target, and waits until every loop has worked there.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: ccorch cutover --from pi --to vm --dry-run\n\nExit status 8: it failed and was taken back. The same command goes on with a run that was interrupted."
)]
pub struct Args {
    /// The host that runs the rig [default: cutover.from of the rig file]
    #[arg(long, value_name = "HOST")]
    from: Option<HostName>,
    /// The host to run it [default: cutover.to of the rig file]
    #[arg(long, value_name = "HOST")]
    to: Option<HostName>,
    #[command(flatten)]
    common: Common,
}

/// Bring the rig back to where it came from
///
/// A cutover from `cutover.to` to `cutover.from` of the rig file, with the same steps and proofs: the work done since goes
/// along. To take back a cutover that is not finished, use `ccorch cutover --abort`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch rollback --dry-run && ccorch rollback")]
pub struct RollbackArgs {
    #[command(flatten)]
    common: Common,
}

/// Have ccorch run the rig on the host where its owner's scripts run it now
///
/// A cutover in place: the host's units (`runs` of its entry in the rig file) are stopped and fenced, the loops start under
/// ccorch with the conversations they had, and it is taken back if they do not work. `ccorch host install HOST` comes first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch adopt pi --dry-run && ccorch adopt pi")]
pub struct AdoptArgs {
    /// The host
    #[arg(value_name = "HOST")]
    host: HostName,
    /// Give it back to its owner's scripts and units, with the work done since
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Print the steps, their commands and undo and the expected downtime, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on with the cutover that an earlier run left unfinished, here or on another machine, whatever its direction
    #[arg(long, conflicts_with = "abort")]
    resume: bool,
    /// Take back the cutover that an earlier run left unfinished
    #[arg(long)]
    abort: bool,
    /// Take it back without its target, which is gone for good: refused while that gives a sign of life; asks for its name
    #[arg(long, requires = "abort", value_name = "HOST")]
    target_is_dead: Option<HostName>,
    /// In place of typing the dead target's name
    #[arg(long, requires = "target_is_dead", value_name = "NAME")]
    yes_host: Option<HostName>,
    /// How long the target's loops may take until each has worked [default: 15m]
    #[arg(long, value_name = "DURATION")]
    verify_timeout: Option<Seconds>,
    /// Commit what the source has not saved in git to a branch `ccorch/rescue/HOST/TIME`, and go on [default: turn back, or
    /// as `cutover.unsaved` of the rig file says]
    #[arg(long)]
    rescue: bool,
    /// How long no loop may end on the target before it counts [default: `cutover.confirm.settle` of the rig, 60s]
    #[arg(long, value_name = "DURATION")]
    settle: Option<Seconds>,
    /// Have the target go through a reboot before it counts
    #[arg(long)]
    prove_reboot: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `ccorch cutover`.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let defaults = loaded.rig.cutover.as_ref();
    let from = args.from.clone().or_else(|| defaults.map(|d| d.from.clone()));
    let to = args.to.clone().or_else(|| defaults.map(|d| d.to.clone()));
    cut_over(&loaded, from, to, &args.common)
}

/// Runs `ccorch rollback`.
pub fn rollback(context: &Context, args: &RollbackArgs) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let direction = loaded.rig.cutover.clone().map(|c| (c.to, c.from));
    let (from, to) = direction.map_or((None, None), |(from, to)| (Some(from), Some(to)));
    cut_over(&loaded, from, to, &args.common)
}

fn cut_over(
    loaded: &LoadedRig,
    from: Option<HostName>,
    to: Option<HostName>,
    common: &Common,
) -> Result<ExitCode> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Problem::new(Kind::Rig, format!("{}: no direction", loaded.file.display()))
            .hint("give `--from` and `--to`, or put `cutover: { from, to }` into the rig file")
            .into());
    };
    drive_by(loaded, plan(&loaded.rig, &from, &to), common)
}

/// Runs `ccorch adopt`.
pub fn adopt(context: &Context, args: &AdoptArgs) -> Result<ExitCode> {
    let loaded = context.rig()?;
    drive_by(&loaded, adoption(&loaded.rig, &args.host, args.back), &args.common)
}

fn drive_by(loaded: &LoadedRig, plan: Result<Plan, NoPlan>, common: &Common) -> Result<ExitCode> {
    let plan = plan.map_err(|no| Problem::new(Kind::Rig, no.to_string()))?;
    let wish = if common.resume || common.abort { Wish::GoOn } else { Wish::Begin };
    // One that is gone on with has its own direction, and was asked when it began.
    if common.prove_reboot && wish == Wish::Begin && plan.to.kind == SideKind::Legacy {
        return Err(cannot_prove_reboot(&plan));
    }
    if common.dry_run {
        match wish {
            Wish::Begin => dry_run(loaded, &plan, common.json)?,
            Wish::GoOn => dry_run_of_unfinished(loaded, &plan, common.abort, common.json)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(status) = leave(loaded, &plan)? {
        return Ok(status);
    }
    let _lock = loaded.lock("cutover")?;
    let said = Said {
        unsaved: common.rescue.then_some(UnsavedPolicy::Rescue),
        timeout: common.verify_timeout,
        settle: common.settle,
        prove_reboot: common.prove_reboot.then_some(true),
    };
    let mut log = open(loaded, plan, wish, said)?;
    let gone = common.target_is_dead.clone().map(|target| Gone { target, word: common.yes_host.clone() });
    let options = Options { said, abort: common.abort, gone, json: common.json };
    drive(loaded, &mut log, options)
}

fn cannot_prove_reboot(plan: &Plan) -> anyhow::Error {
    let to = &plan.to.name;
    let message = format!(
        "--prove-reboot: ccorch does not run the rig on {to} (`hosts.{to}.runs`), so it proves no reboot there"
    );
    let hint = format!(
        "leave it away, and reboot {to} by hand when the rig is there: its owner's units have to start it"
    );
    Problem::new(Kind::Usage, message).hint(hint).into()
}
