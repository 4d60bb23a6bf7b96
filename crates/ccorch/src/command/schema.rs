//! `ccorch schema`: the rig file's JSON Schema, for editors and other tools.

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::rig;

/// Print the JSON Schema of the rig file
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch schema > ccorch.schema.json
Editors that know the YAML language server read it with this first line in the rig file:
# yaml-language-server: $schema=ccorch.schema.json")]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: &Args) -> Result<ExitCode> {
    let text = serde_json::to_string_pretty(&rig::schema())?;
    match writeln!(stdout(), "{text}") {
        // `ccorch schema | head` is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
