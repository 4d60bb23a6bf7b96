//! `cargo xtask rehearse`: the main job, from a legacy rig on a "pi" to a target that survives reboots, and back, and
//! forth again, by the real verbs on real parts. It exits non-zero when anything is not as it must be.

mod adopt;
mod agents;
mod everyday;
mod faults;
mod first;
pub(crate) mod judge;
pub(crate) mod operator;
pub(crate) mod sampler;
mod standby;
pub(crate) mod walk;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::bed::{Bed, Layout};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::testbed;
use operator::Operator;
use sampler::{Sampler, Samples};

/// Rehearse the main job on the test bed: move a legacy rig to a fresh machine, reboot it, bring it back, move it again.
///
/// Needs root; sets up the test bed by itself. Prints each command before it runs.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Where beds and built images are kept [default: as `testbed` does]
    #[arg(long, env = "CCORCH_TESTBED_DIR")]
    dir: Option<std::path::PathBuf>,
    /// Take the bed down at the end
    #[arg(long)]
    down: bool,
}

impl RehearseArgs {
    /// A rehearsal that leaves the bed up.
    pub fn of(dir: Option<std::path::PathBuf>) -> Self {
        Self { dir, down: false }
    }
}

/// Runs the rehearsal; the table of steps comes at the end, whatever the end is.
pub fn run(args: &RehearseArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    let mut report = Report::default();
    let samples = rehearse(&layout, &mut report);
    println!("\n{}", report.table());
    println!("never both hosts at work: {}\n\nthe rig moved and survived", samples?);
    if args.down {
        Bed::down(&layout, false, &mut report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rehearse(layout: &Layout, report: &mut Report) -> Result<Samples> {
    let ccorch = report.step("build", || testbed::build("ccorch"))?;
    let agent = report.step("agent", || testbed::build("agent-stub"))?;
    let bed = Bed::up(layout, report)?;
    let scenario = Scenario::set_up(&bed, &agent, report)?;
    let operator = Operator::new(&scenario.place, &ccorch)?;
    let sampler = Sampler::start(bed.instance("pi"), bed.instance("vm"));
    let result = walk::all(&bed, &scenario, &operator, &agent, report);
    let samples = sampler.stop();
    result?;
    let samples = samples?;
    samples.of_both()?;
    Ok(samples)
}
