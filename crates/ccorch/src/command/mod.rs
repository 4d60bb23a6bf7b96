//! One file per verb; each has its `Args` (whose comments are its help) and a `run`.

mod activate;
mod can_drive;
mod check;
mod confirm;
mod connect;
mod cutover;
mod generate;
mod hook;
mod host;
mod journal;
mod lease;
mod loops;
mod notify;
mod phase;
mod plumbing;
pub mod provision;
mod proxy;
mod quiesce;
mod reboots;
mod resume;
mod safe_point;
mod schema;
mod secrets;
mod stage;
mod standby;
mod status;
mod supervise;
mod takeover;
mod unsaved;
mod vm;
mod watchdog;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;

/// What to do, in the order in which a rig's life needs it.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Check(check::Args),
    Schema(schema::Args),
    Provision(provision::Args),
    Vm(vm::Args),
    Host(host::Args),
    Stage(stage::Args),
    Unsaved(unsaved::Args),
    Lease(lease::Args),
    Cutover(cutover::Args),
    Rollback(cutover::RollbackArgs),
    Adopt(cutover::AdoptArgs),
    Journal(journal::Args),
    Takeover(takeover::Args),
    StandbyStatus(standby::StatusArgs),
    ForgetSource(standby::ForgetArgs),
    Status(status::Args),
    Loops(loops::Args),
    Phase(phase::Args),
    Notify(notify::Args),
    Reboots(reboots::Args),
    Resume(resume::Args),
    Secrets(secrets::Args),
    Proxy(proxy::Args),
    Connect(connect::Args),
    Supervise(supervise::Args),
    Watchdog(watchdog::Args),
    #[command(hide = true)]
    Confirm(confirm::Args),
    #[command(hide = true)]
    Activate(activate::Args),
    #[command(hide = true)]
    CanDrive(can_drive::Args),
    #[command(hide = true)]
    Quiesce(quiesce::Args),
    #[command(hide = true)]
    LoopStart(plumbing::Args),
    #[command(hide = true)]
    LoopExec(plumbing::Args),
    #[command(hide = true)]
    LoopStop(plumbing::Args),
    #[command(hide = true)]
    Hook(hook::Args),
    #[command(hide = true)]
    Generate(generate::Args),
}

/// What the units of loops and supervisor call, word for word. They are started more often than all else, and the whole
/// command line costs each of them more than its own work, in time and in memory that stays.
pub fn of_units(words: &[&str]) -> Option<Verb> {
    let one = |name: &str| ccorch_core::names::LoopName::new(name).ok().map(plumbing::Args::of);
    Some(match words {
        ["supervise"] => Verb::Supervise(supervise::Args::default()),
        ["lease", "check"] => Verb::Lease(lease::Args::check()),
        ["loop-start", name] => Verb::LoopStart(one(name)?),
        ["loop-exec", name] => Verb::LoopExec(one(name)?),
        ["loop-stop", name] => Verb::LoopStop(one(name)?),
        _ => return None,
    })
}

/// Runs one verb.
pub fn run(context: &Context, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Check(args) => check::run(context, &args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Provision(args) => provision::run(context, &args),
        Verb::Vm(args) => vm::run(context, &args),
        Verb::Host(args) => host::run(context, &args),
        Verb::Stage(args) => stage::run(context, &args),
        Verb::Unsaved(args) => unsaved::run(context, &args),
        Verb::Cutover(args) => cutover::run(context, &args),
        Verb::Rollback(args) => cutover::rollback(context, &args),
        Verb::Adopt(args) => cutover::adopt(context, &args),
        Verb::Journal(args) => journal::run(context, &args),
        Verb::Takeover(args) => takeover::run(context, &args),
        Verb::Resume(args) => resume::run(context, &args),
        Verb::StandbyStatus(args) => standby::status(context, &args),
        Verb::ForgetSource(args) => standby::forget(context, &args),
        Verb::Status(args) => status::run(context, &args),
        Verb::Loops(args) => loops::run(context, &args),
        Verb::Phase(args) => phase::run(context, &args),
        Verb::Notify(args) => notify::run(context, &args),
        Verb::Reboots(args) => reboots::run(context, &args),
        Verb::Lease(args) => lease::run(context, &args),
        Verb::Secrets(args) => secrets::run(context, &args),
        Verb::Proxy(args) => proxy::run(context, &args),
        Verb::Connect(args) => connect::run(context, &args),
        Verb::Supervise(args) => supervise::run(context, &args),
        Verb::Watchdog(args) => watchdog::run(&args),
        Verb::Confirm(args) => confirm::run(context, &args),
        Verb::Activate(args) => activate::run(context, &args),
        Verb::CanDrive(args) => can_drive::run(context, &args),
        Verb::Quiesce(args) => quiesce::run(context, &args),
        Verb::LoopStart(args) => plumbing::start(context, &args),
        Verb::LoopExec(args) => plumbing::exec(context, &args),
        Verb::LoopStop(args) => plumbing::stop(context, &args),
        Verb::Hook(args) => hook::run(context, args),
        Verb::Generate(args) => generate::run(&args),
    }
}
