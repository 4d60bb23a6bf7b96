//! `cargo xtask matrix`: every step of a cutover, both sides of the act, every fault, gone on with or taken back; on
//! hosts on this machine, each cell in a world of its own.

pub mod cell;
pub mod gate;
pub mod play;
mod pool;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::local::{self, Tools};
use crate::report::Report;
use crate::testbed;
use cell::Cell;
pub use pool::{Job, Pool};

/// Break every step of a cutover at both sides of its act, in every way, and see it completed or taken back
///
/// Needs root. Each cell is a world of its own: two hosts without systemd, real git remotes, agents that commit all the
/// while. A cell is FAULT-SIDE-STEP-END: every step, side and fault is broken, and resume or abort follows. A failing one is
/// printed with both hosts' and the driver's last words.
#[derive(Debug, Args)]
pub struct MatrixArgs {
    /// Only cells whose name has this in it
    #[arg(long, value_name = "CELL", default_value = "", hide_default_value = true)]
    only: String,
    /// So many cells at a time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Print the names of the cells and do nothing
    #[arg(long)]
    list: bool,
}

/// Programs and template of one run; the template is gone with it.
#[derive(Debug)]
pub struct Ground {
    /// The programs.
    pub tools: Tools,
    /// Where template, references and outputs lie.
    pub folder: tempfile::TempDir,
}

impl Ground {
    /// Builds everything that worlds begin with.
    pub fn prepare(report: &mut Report) -> Result<Self> {
        let ccorch = report.step("build", || testbed::build("ccorch"))?;
        let agent = report.step("agent", || testbed::build("agent-stub"))?;
        let tools = Tools::of(&ccorch, &agent)?;
        let folder = tempfile::Builder::new().prefix("ccorch-matrix").tempdir()?;
        let ground = Self { tools, folder };
        report.step("template", || {
            let template = ground.path("template");
            local::inside(&ground.tools, &["prepare", "--template", &template], ground.log("template"))?;
            Ok(((), "a rig at work on host one, staged on host two".into()))
        })?;
        report.step("references", || {
            for reference in ["begun", "completed"] {
                let (template, state) = (ground.path("template"), ground.path(reference));
                let args = ["reference", "--template", &template, "--state", &state, reference];
                local::inside(&ground.tools, &args, ground.log(reference))?;
            }
            Ok(((), "a rig that never moved, and one that moved undisturbed".into()))
        })?;
        Ok(ground)
    }

    /// A path below the run's folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Where the output of one world goes.
    pub fn log(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }
}

/// Runs all of it.
pub fn run(args: &MatrixArgs) -> Result<ExitCode> {
    let mut cells = Cell::all();
    cells.retain(|cell| cell.name().contains(&args.only));
    if cells.is_empty() {
        bail!("no cell has that in its name; `cargo xtask matrix --list` prints them all");
    }
    if args.list {
        cells.iter().for_each(|cell| println!("{}", cell.name()));
        return Ok(ExitCode::SUCCESS);
    }
    let ground = Ground::prepare(&mut Report::default())?;
    let failed = on(&ground, &cells, args.jobs)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays these cells; how many failed.
pub fn on(ground: &Ground, cells: &[Cell], jobs: usize) -> Result<usize> {
    let began = Instant::now();
    let job = |cell: &Cell| Job {
        name: cell.name(),
        args: vec![
            "cell".into(),
            "--template".into(),
            ground.path("template"),
            "--states".into(),
            ground.path(""),
            cell.name(),
        ],
        again: format!("cargo xtask matrix --only {}", cell.name()),
    };
    let failed = Pool { ground, jobs }.run(cells.iter().map(job).collect())?;
    println!("{} cells in {:.1} s, {failed} failed", cells.len(), began.elapsed().as_secs_f64());
    Ok(failed)
}
