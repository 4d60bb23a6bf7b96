//! The command line: global options and the choice of a verb.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser};

use crate::command::{self, Verb};
use crate::context::Context;

/// Moves a rig of coding agents to a reboot-resilient host and keeps it alive there.
#[derive(Debug, Parser)]
#[command(name = "ccorch", version, max_term_width = 110)]
#[command(after_help = "Examples, in the order of a first move:
  ccorch check
  ccorch provision vm
  ccorch host install vm
  ccorch stage vm
  ccorch lease init --holder pi --host vm
  ccorch cutover --dry-run
  ccorch cutover
  ccorch status --host vm

Exit status: 0 done, 1 failed or degraded, 2 command line, 3 rig file, 4 unreachable, 5 identity,
6 conflict, 7 unfit machine, 8 taken back, 9 stuck, 10 not in time,
11 goes on in a unit of its own")]
struct Cli {
    /// The rig file [default: ./ccorch.yaml, else this host's /etc/ccorch/rig.json]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CCORCH_RIG",
        hide_env_values = true,
        display_order = 900
    )]
    rig: Option<PathBuf>,

    #[command(subcommand)]
    verb: Verb,
}

/// Reads the command line; on a usage error clap prints it and ends the process with status 2.
pub fn parse() -> (Context, Verb) {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    if let Some(verb) = command::of_units(&words) {
        return (Context::new(std::env::var_os("CCORCH_RIG").map(Into::into)), verb);
    }
    let cli = Cli::parse();
    (Context::new(cli.rig), cli.verb)
}

/// The whole command line, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_units_call_means_what_the_whole_command_line_says() {
        let lines = ["supervise", "lease check", "loop-start a", "loop-exec a", "loop-stop a"];
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let cli = Cli::try_parse_from(std::iter::once("ccorch").chain(words.iter().copied())).unwrap();
            let short = command::of_units(&words).unwrap();
            assert_eq!(format!("{short:?}"), format!("{:?}", cli.verb), "{line}");
        }
        for line in ["supervise --help", "lease check --host vm", "loop-start A_B", "loop-stop", ""] {
            assert!(command::of_units(&line.split(' ').collect::<Vec<_>>()).is_none(), "{line}");
        }
    }
}
