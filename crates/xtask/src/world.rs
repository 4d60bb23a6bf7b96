//! `cargo xtask world`: what runs inside a world's own namespaces; `matrix` and `trials` start it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::asleep;
use crate::local::prepare;
use crate::matrix::play;
use crate::meddle;
use crate::trials;

/// Inside a world (started by `matrix` and `trials`)
#[derive(Debug, Args)]
pub struct WorldArgs {
    /// The programs
    #[arg(long)]
    tools: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the template
    Prepare {
        #[arg(long)]
        template: PathBuf,
    },
    /// Write down what cells are compared with
    Reference {
        #[arg(long)]
        template: PathBuf,
        #[arg(long)]
        state: PathBuf,
        #[arg(value_parser = ["begun", "completed"])]
        which: String,
    },
    /// Play one cell
    Cell {
        #[arg(long)]
        template: PathBuf,
        #[arg(long)]
        states: PathBuf,
        name: String,
    },
    /// Play one story of sleepers
    Asleep {
        #[arg(long)]
        template: PathBuf,
        name: String,
    },
    /// Play one story of meddlers
    Meddle {
        #[arg(long)]
        template: PathBuf,
        name: String,
    },
    /// Play one trial
    Trial {
        #[arg(long)]
        template: PathBuf,
        seed: u64,
    },
}

/// Runs it.
pub fn run(args: &WorldArgs) -> Result<ExitCode> {
    let tools = &args.tools;
    match &args.what {
        What::Prepare { template } => prepare::template(tools, template)?,
        What::Reference { template, state, which } => {
            play::reference(tools, template, state, which == "completed")?;
        }
        What::Cell { template, states, name } => play::cell(tools, template, states, name)?,
        What::Asleep { template, name } => asleep::story(tools, template, name)?,
        What::Meddle { template, name } => meddle::story(tools, template, name)?,
        What::Trial { template, seed } => trials::trial(tools, template, *seed)?,
    }
    Ok(ExitCode::SUCCESS)
}
