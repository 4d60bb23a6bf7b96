//! Set-up and whole-system jobs of ccorch, as `cargo xtask JOB`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{asleep, bench, chaos, crash, matrix, meddle, nix, rehearse, test, testbed, trials, vm, world};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set-up and whole-system jobs of ccorch")]
struct Xtask {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    Asleep(asleep::AsleepArgs),
    Bench(bench::BenchArgs),
    Chaos(chaos::ChaosArgs),
    Crash(crash::CrashArgs),
    Matrix(matrix::MatrixArgs),
    Meddle(meddle::MeddleArgs),
    Nix(nix::NixArgs),
    Rehearse(rehearse::RehearseArgs),
    Test(test::TestArgs),
    Testbed(testbed::TestbedArgs),
    Trials(trials::TrialsArgs),
    Vm(vm::VmArgs),
    #[command(hide = true)]
    World(world::WorldArgs),
}

fn main() -> ExitCode {
    let result = match &Xtask::parse().job {
        Job::Asleep(args) => asleep::run(args),
        Job::Bench(args) => bench::run(args),
        Job::Chaos(args) => chaos::run(args),
        Job::Crash(args) => crash::run(args),
        Job::Matrix(args) => matrix::run(args),
        Job::Meddle(args) => meddle::run(args),
        Job::Nix(args) => nix::run(args),
        Job::Rehearse(args) => rehearse::run(args),
        Job::Test(args) => test::run(args),
        Job::Testbed(args) => testbed::run(args),
        Job::Trials(args) => trials::run(args),
        Job::Vm(args) => vm::run(args),
        Job::World(args) => world::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
