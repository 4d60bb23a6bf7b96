//! `cargo xtask crash`: cutovers on the test bed whose driver is killed, whose hosts reboot, whose network and disk
//! fail. After each the same command completes, or the source runs as before; at no moment do both hosts work.

mod adopt;
mod cells;
mod driver;
mod itself;
mod secrets;
mod unsaved;
mod walk;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::bed::{Bed, Layout};
use crate::rehearse::operator::Operator;
use crate::rehearse::sampler::Sampler;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::testbed;
use driver::Drivers;
use secrets::{Secrets, Watch};
use walk::Wanted;

/// So many cells of the matrix after the walks: each takes a minute or more.
const SAMPLE: usize = 2;

/// Kill, reboot, cut and fill everything that takes part in a cutover, on the test bed, and see it complete or go back.
///
/// Needs root; sets up the test bed by itself.
#[derive(Debug, Args)]
pub struct CrashArgs {
    /// Where beds and built images are kept [default: as `testbed` does]
    #[arg(long, env = "CCORCH_TESTBED_DIR")]
    dir: Option<std::path::PathBuf>,
    /// Only this walk, by its name in the output
    #[arg(long)]
    only: Option<String>,
    /// Only so many random cells of the matrix [default: every walk, then 2 cells]
    #[arg(long, value_name = "N", conflicts_with = "only")]
    cells: Option<usize>,
    /// Which cells
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this cell, by its name
    #[arg(long, value_name = "CELL", conflicts_with_all = ["only", "cells"])]
    cell: Option<String>,
    /// Take the bed down at the end
    #[arg(long)]
    down: bool,
}

impl CrashArgs {
    /// Every walk, on a bed that is left up.
    pub fn of(dir: Option<std::path::PathBuf>) -> Self {
        Self { dir, only: None, cells: None, seed: 1, cell: None, down: false }
    }

    fn wanted(&self) -> Result<Wanted<'_>> {
        let walks = self.cells.is_none() && self.cell.is_none();
        let count = if self.only.is_some() { 0 } else { self.cells.unwrap_or(SAMPLE) };
        let cells = cells::chosen(count, self.seed, self.cell.as_deref())?;
        Ok(Wanted { walks, only: self.only.as_deref(), cells })
    }
}

/// Runs all of it.
pub fn run(args: &CrashArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    let wanted = args.wanted()?;
    let mut report = Report::default();
    let ccorch = report.step("build", || testbed::build("ccorch"))?;
    let agent = report.step("agent", || testbed::build("agent-stub"))?;
    let bed = Bed::up(&layout, &mut report)?;
    let scenario = Scenario::set_up(&bed, &agent, &mut report)?;
    let operator = Operator::new(&scenario.place, &ccorch)?;
    let secrets = Secrets::of(&scenario.place)?;
    let sampler = Sampler::start(bed.instance("pi"), bed.instance("vm"));
    let watch = Watch::start(secrets.clone(), &bed.instance("pi"))?;
    let mut drivers = Drivers::new(&operator, scenario.place.folder.join("outputs"))?;
    let result = walk::all(&bed, &scenario, &operator, &mut drivers, &agent, wanted, &mut report);
    let (samples, looks) = (sampler.stop(), watch.stop());
    result?;
    let (samples, looks) = (samples?, looks?);
    secrets.not_in("the output of a run or in a journal", &drivers.all_words()?)?;
    for host in ["pi", "vm"] {
        secrets.not_on(&bed.instance(host))?;
    }
    // A single walk may leave one of them idle.
    if args.only.is_none() && args.cells.is_none() && args.cell.is_none() {
        samples.of_both()?;
    }
    println!("\nnever both hosts at work: {samples}");
    println!(
        "no secret in any output, journal, log, open file, argument or environment: {looks} looks at all processes"
    );
    println!("all after {:.1} s", report.total().as_secs_f64());
    if args.down {
        Bed::down(&layout, false, &mut report)?;
    }
    Ok(ExitCode::SUCCESS)
}
