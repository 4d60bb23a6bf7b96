//! The command line: global options and the choice of a verb.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser};

use crate::command::Verb;
use crate::context::Context;

/// Moves a rig of coding agents to a reboot-resilient host and keeps it alive there.
#[derive(Debug, Parser)]
#[command(name = "ccorch", version, max_term_width = 110)]
struct Cli {
    /// The rig file [default: ./ccorch.yaml, else this host's /etc/ccorch/rig.json]
    #[arg(long, global = true, value_name = "FILE", env = "CCORCH_RIG")]
    rig: Option<PathBuf>,

    #[command(subcommand)]
    verb: Verb,
}

/// Reads the command line; on a usage error clap prints it and ends the process with status 2.
pub fn parse() -> (Context, Verb) {
    let cli = Cli::parse();
    (Context::new(cli.rig), cli.verb)
}

/// The whole command line, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}
