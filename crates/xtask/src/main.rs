//! Set-up and whole-system jobs of ccorch, as `cargo xtask JOB`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{nix, rehearse, testbed};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set-up and whole-system jobs of ccorch")]
struct Xtask {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    Nix(nix::NixArgs),
    Rehearse(rehearse::RehearseArgs),
    Testbed(testbed::TestbedArgs),
}

fn main() -> ExitCode {
    let result = match &Xtask::parse().job {
        Job::Nix(args) => nix::run(args),
        Job::Rehearse(args) => rehearse::run(args),
        Job::Testbed(args) => testbed::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
