//! `cargo xtask testbed`: the test bed from the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::bed::{self, Bed, Layout};
use crate::report::Report;
use crate::selftest;

/// A private Incus daemon with a system image, for the whole-system tests.
///
/// Needs root. Installs what is missing, and touches nothing that is not its own.
///
/// Example: cargo xtask testbed up && cargo xtask testbed status
#[derive(Debug, Args)]
pub struct TestbedArgs {
    /// Where beds and built images are kept [default: ccorch-testbed in the
    /// user's cache folder, or in /var/cache where that one is closed to others]
    #[arg(long, global = true, env = "CCORCH_TESTBED_DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the bed up, or repair it; a second run changes nothing
    Up,
    /// End and remove everything that `up` made
    Down {
        /// Remove the cache of built images too
        #[arg(long)]
        purge: bool,
    },
    /// Show what is running; exit status 1 when the bed is not up
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Prove the bed: up, status, launch, restart, crash, repair, down
    Selftest,
}

/// Runs the verb.
pub fn run(args: &TestbedArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    let mut report = Report::default();
    match &args.verb {
        Verb::Up => {
            let bed = Bed::up(&layout, &mut report)?;
            println!(
                "up after {:.1} s; talk to it with\n  {}",
                report.total().as_secs_f64(),
                bed.how_to_talk()
            );
        }
        Verb::Down { purge } => Bed::down(&layout, *purge, &mut report)?,
        Verb::Status { json } => {
            let status = bed::status(&layout)?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&status)?);
            } else {
                status.print();
            }
            return Ok(if status.running {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Verb::Selftest => selftest::run(&layout, &mut report)?,
    }
    Ok(ExitCode::SUCCESS)
}
