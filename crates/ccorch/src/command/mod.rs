//! One file per verb; each has its `Args` (whose comments are its help) and a `run`.

pub mod check;
pub mod schema;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Check(check::Args),
    Schema(schema::Args),
}

/// Runs one verb.
pub fn run(context: &Context, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Check(args) => check::run(context, &args),
        Verb::Schema(args) => schema::run(&args),
    }
}
