//! A person's word for what no program can know: the name of the host, typed.

use std::io::{self, BufRead as _, Write as _};

use anyhow::{Context as _, Result};
use ccorch_core::names::HostName;

use crate::error::{Kind, Problem};

/// Asks for the host's name; `given` is the word of a person who runs a script.
pub fn confirm(what: &str, host: &HostName, given: Option<&HostName>) -> Result<()> {
    let answer = match given {
        Some(given) => given.to_string(),
        None if rustix::termios::isatty(io::stdin()) => ask(what, host)?,
        None => String::new(),
    };
    if answer == host.as_str() {
        return Ok(());
    }
    Err(Problem::new(Kind::Conflict, format!("not done: this needs a person's word that {what}"))
        .hint(format!("type the host's name when asked, or give `--yes-host {host}`"))
        .into())
}

fn ask(what: &str, host: &HostName) -> Result<String> {
    eprint!("{what}.\nType the host's name ({host}) if that is so: ");
    io::stderr().flush().context("write to the terminal")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("read the answer")?;
    Ok(line.trim().to_owned())
}
