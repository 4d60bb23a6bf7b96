//! Set-up and whole-system jobs of ccorch, as `cargo xtask JOB`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, chaos, crash, nix, rehearse, test, testbed, vm};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set-up and whole-system jobs of ccorch")]
struct Xtask {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    Bench(bench::BenchArgs),
    Chaos(chaos::ChaosArgs),
    Crash(crash::CrashArgs),
    Nix(nix::NixArgs),
    Rehearse(rehearse::RehearseArgs),
    Test(test::TestArgs),
    Testbed(testbed::TestbedArgs),
    Vm(vm::VmArgs),
}

fn main() -> ExitCode {
    let result = match &Xtask::parse().job {
        Job::Bench(args) => bench::run(args),
        Job::Chaos(args) => chaos::run(args),
        Job::Crash(args) => crash::run(args),
        Job::Nix(args) => nix::run(args),
        Job::Rehearse(args) => rehearse::run(args),
        Job::Test(args) => test::run(args),
        Job::Testbed(args) => testbed::run(args),
        Job::Vm(args) => vm::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
