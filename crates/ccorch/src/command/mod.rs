//! One file per verb; each has its `Args` (whose comments are its help) and a `run`.

pub mod check;
pub mod host;
pub mod stage;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Check(check::Args),
    Host(host::Args),
    Stage(stage::Args),
}

/// Runs one verb.
pub fn run(context: &Context, verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Check(args) => check::run(context, &args),
        Verb::Host(args) => host::run(context, &args),
        Verb::Stage(args) => stage::run(context, &args),
    }
}
