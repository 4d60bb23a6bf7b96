//! The same verb on another host: run over ssh with its output passed through.

use std::io::{Seek as _, Write as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};
use ccorch_core::names::HostName;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::reach;

/// Where `host install` puts the program.
pub const INSTALLED: &str = "/usr/local/bin/ccorch";

/// Runs this very command line on `host`, without its `--host` and `--rig`. Input, output and status pass through.
pub fn again(context: &Context, host: &HostName) -> Result<ExitCode> {
    let argv = without_options(std::env::args().skip(1), &["--host", "--rig"]);
    let terminal = rustix::termios::isatty(std::io::stdin()) && rustix::termios::isatty(std::io::stdout());
    run(context, host, argv, terminal, Stdio::inherit())
}

/// Runs `ccorch` with these arguments on `host`, with `input` to read.
pub fn with_input(context: &Context, host: &HostName, argv: Vec<String>, input: &[u8]) -> Result<ExitCode> {
    let mut file = tempfile::tempfile().context("keep what is sent along")?;
    file.write_all(input)?;
    file.rewind()?;
    run(context, host, argv, false, Stdio::from(file))
}

fn run(
    context: &Context,
    host: &HostName,
    args: Vec<String>,
    terminal: bool,
    input: Stdio,
) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let ssh = reach::ssh(&loaded, host)?;
    // Root answers for the host; a login that is not root becomes it there.
    let connected = reach::connect(&loaded, host)?;
    let mut argv: Vec<String> =
        if connected.uses_sudo() { vec!["sudo".into(), "-n".into(), "--".into()] } else { vec![] };
    argv.push(INSTALLED.into());
    argv.extend(args);
    let mut command = Command::new("ssh");
    command.args(ssh.options()).arg(if terminal { "-t" } else { "-T" }).arg("--").arg(&ssh.destination);
    command.arg(ccorch_io::quote::argv(&argv)).stdin(input);
    let status = command.status().context("run ssh")?;
    match status.code() {
        Some(255) => Err(Problem::new(Kind::Unreachable, format!("the connection to {host} failed")).into()),
        Some(127) => Err(Problem::new(Kind::Unfit, format!("{host} has no {INSTALLED}"))
            .hint(format!("run `ccorch host install {host}` first"))
            .into()),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        None => Ok(ExitCode::FAILURE),
    }
}

/// The arguments without these options and their values.
pub fn without_options(args: impl Iterator<Item = String>, options: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut skip = false;
    for arg in args {
        if std::mem::take(&mut skip) {
            continue;
        }
        if options.contains(&arg.as_str()) {
            skip = true;
        } else if !options.iter().any(|o| arg.starts_with(&format!("{o}="))) {
            kept.push(arg);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_side_is_not_sent_on() {
        let args = ["loops", "--host", "vm", "stop", "--rig=x", "builder"].map(String::from);
        assert_eq!(without_options(args.into_iter(), &["--host", "--rig"]), ["loops", "stop", "builder"]);
    }
}
