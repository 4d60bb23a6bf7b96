//! Set-up and whole-system jobs of ccorch, as `cargo xtask JOB`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::testbed;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set-up and whole-system jobs of ccorch")]
struct Xtask {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    Testbed(testbed::TestbedArgs),
}

fn main() -> ExitCode {
    let result = match &Xtask::parse().job {
        Job::Testbed(args) => testbed::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
