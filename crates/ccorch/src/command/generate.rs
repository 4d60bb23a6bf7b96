//! `ccorch generate`: what a package brings beside the program: manual pages and completions. Hidden from the help.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap_complete::Shell;

/// Write manual pages (`man/`) and shell completions (`completions/`) into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch generate generated")]
pub struct Args {
    /// The folder; it is made where it is not there
    folder: PathBuf,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (man, completions) = (args.folder.join("man"), args.folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let command = crate::cli::command();
    // Completions named as packaging tools expect them: `ccorch.bash`, `_ccorch`, `ccorch.fish`.
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "ccorch", &completions)
            .with_context(|| format!("cannot write into {}", completions.display()))?;
    }
    pages(command, &man)?;
    Ok(ExitCode::SUCCESS)
}

/// One page for the program and one for each verb that people use.
fn pages(command: clap::Command, folder: &Path) -> Result<()> {
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write into {}", folder.display()))
}
