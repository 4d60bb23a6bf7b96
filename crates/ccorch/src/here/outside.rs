//! What a unit of ccorch's own needs done that its sandbox does not let it do: systemd has it done outside.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_io::command::Command;

/// Runs a verb of this very program as a unit of this name, and waits for its end.
pub fn run(unit: &str, verb: &[&str], deadline: Duration) -> Result<()> {
    let program = std::env::current_exe().context("find this very program")?;
    let unit = format!("--unit={unit}");
    // Where programs lie in no usual place, the caller's unit names the places.
    let path = format!("--setenv=PATH={}", std::env::var("PATH").unwrap_or_default());
    // Without `--wait` and with a oneshot it is the start itself that is waited for.
    Command::new("systemd-run")
        .args(["--quiet", "--collect", &unit, &path, "--property=Type=oneshot", "--"])
        .arg(program)
        .args(verb)
        .deadline(deadline)
        .run()
        .map(drop)
        .map_err(Into::into)
}
