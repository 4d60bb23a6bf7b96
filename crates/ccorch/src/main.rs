//! `ccorch`: moves a rig of coding agents to a reboot-resilient host and keeps it alive there.

mod cli;
mod command;
mod context;
mod cutover;
mod dead;
mod error;
mod findings;
mod here;
mod hints;
mod introduce;
mod person;
mod reach;
mod remote;
mod staging;
mod supervisor;
mod table;
mod units;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let (context, verb) = cli::parse();
    match command::run(&context, verb) {
        Ok(code) => code,
        Err(error) => error::report(&error),
    }
}
