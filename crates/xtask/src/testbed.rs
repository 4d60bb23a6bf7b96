//! `cargo xtask testbed`: the test bed from the command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::bed::{self, Bed, Layout};
use crate::report::Report;
use crate::run::Run;
use crate::scenario::Scenario;
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
    /// Set up the rehearsal's scenario: a git host and a legacy rig at work
    ///
    /// Removes all instances of the bed first.
    Scenario {
        /// The program that the loops run as `claude` [default: the agent stub of this checkout]
        #[arg(long)]
        agent: Option<PathBuf>,
    },
    /// Prove the bed: up, launch, restart, crash, repair, scenario, down
    ///
    /// Takes the bed down first, and leaves nothing behind.
    Selftest {
        /// The program that the loops run as `claude` [default: the agent stub of this checkout]
        #[arg(long)]
        agent: Option<PathBuf>,
    },
}

fn agent_or_stub(agent: Option<&Path>, report: &mut Report) -> Result<PathBuf> {
    match agent {
        Some(agent) => Ok(agent.to_owned()),
        None => report.step("agent", || build("agent-stub")),
    }
}

/// Names the folder that holds the programs when they are built already.
pub const PROGRAMS: &str = "CCORCH_PROGRAMS";

/// Builds a program of this checkout in the profile that this one was built in; its path. One that is built already is taken
/// as it is.
pub fn build(package: &str) -> Result<(PathBuf, String)> {
    if let Some(folder) = std::env::var_os(PROGRAMS) {
        return Ok((Path::new(&folder).join(package), format!("{package} was built before")));
    }
    let this = std::env::current_exe()?;
    let folder = this.parent().context("this program is in no folder")?;
    let build = Run::cargo().args(&["build", "--quiet", "--package", package]);
    let release = folder.file_name().is_some_and(|name| name == "release");
    let build = if release { build.arg("--release") } else { build };
    build.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")).run()?;
    Ok((folder.join(package), format!("{package} built")))
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
            return Ok(if status.running { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Scenario { agent } => {
            let agent = agent_or_stub(agent.as_deref(), &mut report)?;
            let bed = Bed::up(&layout, &mut report)?;
            let scenario = Scenario::set_up(&bed, &agent, &mut report)?;
            println!("there after {:.1} s; look around with", report.total().as_secs_f64());
            println!("  ssh -F {} pi", scenario.place.ssh_config.display());
            println!("  ssh -F {} git", scenario.place.ssh_config.display());
        }
        Verb::Selftest { agent } => {
            let agent = agent_or_stub(agent.as_deref(), &mut report)?;
            selftest::run(&layout, &agent, &mut report)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
