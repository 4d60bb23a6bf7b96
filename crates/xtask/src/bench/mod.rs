//! `cargo xtask bench`: what ccorch costs, side by side in one run with what would be there without it.
//!
//! No timed tests: a machine has good and bad minutes, so every aim is a ratio of figures of the same run.

mod cutover;
mod median;
mod rivals;
mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::bed::Layout;
use crate::report::Report;
use crate::run::Run;

/// Measure what ccorch costs, side by side with what would be there without it
///
/// Needs root; sets up the test bed by itself, and builds ccorch with optimisation. Ends with status 1 when an aim is missed.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Where beds and built images are kept [default: as `testbed` does]
    #[arg(long, env = "CCORCH_TESTBED_DIR", global = true)]
    dir: Option<PathBuf>,
    /// The ccorch to measure [default: this checkout's, built with optimisation]
    #[arg(long, global = true)]
    ccorch: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Supervisor(supervisor::SupervisorArgs),
    Cutover(cutover::CutoverArgs),
}

/// Runs the job.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    let mut report = Report::default();
    let ccorch = match &args.ccorch {
        Some(ccorch) => ccorch.clone(),
        None => report.step("build", || build("ccorch"))?,
    };
    match &args.what {
        What::Supervisor(args) => supervisor::run(&layout, &ccorch, args, &mut report),
        What::Cutover(args) => cutover::run(&layout, &ccorch, args, &mut report),
    }
}

/// Builds a program of this checkout with optimisation, whatever this one was built with; its path.
fn build(package: &str) -> Result<(PathBuf, String)> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let build = Run::cargo().args(&["build", "--quiet", "--release", "--package", package]);
    build.arg("--manifest-path").arg(root.join("Cargo.toml")).run()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok((target.join("release").join(package), format!("{package} with optimisation")))
}

/// Prints aims, each with what was measured; whether all were met.
fn judge(aims: &[(String, bool)]) -> ExitCode {
    println!();
    for (aim, met) in aims {
        println!("{:<7}{aim}", if *met { "met" } else { "MISSED" });
    }
    if aims.iter().all(|(_, met)| *met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
