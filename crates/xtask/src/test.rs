//! `cargo xtask test`: every test of the project, on a machine that has nothing set up for it.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::bed::{self, Bed, Layout};
use crate::crash::{self, CrashArgs};
use crate::nix;
use crate::rehearse::{self, RehearseArgs};
use crate::report::Report;

/// Run every test: units, snapshots, crashes, the real Incus and systemd of the test bed, the flake, and the
/// rehearsal.
///
/// Needs root; installs what is missing and sets the test bed up by itself.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Where beds and built images are kept [default: as `testbed` does]
    #[arg(long, env = "CCORCH_TESTBED_DIR")]
    dir: Option<std::path::PathBuf>,
    /// Leave the flake, the crash walks and the rehearsal out
    #[arg(long)]
    no_rehearsal: bool,
    /// Only tests whose name contains this (leaves the flake, the crash walks and the rehearsal out)
    filter: Option<String>,
}

/// Runs them all; the first failure ends it.
pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let layout = Layout::here(args.dir.as_deref())?;
    let mut report = Report::default();
    // The bed first: it installs what the plain tests need too.
    Bed::up(&layout, &mut report)?;
    let sops = report.step("sops", || bed::sops::ensure(&layout.shared))?;
    report.step("cargo test", || {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "--workspace", "--features", "ccorch/bed-tests"]).args(&args.filter);
        command.env("CCORCH_TESTBED", layout.state_file()).env("CCORCH_SOPS", &sops);
        let status = command.status().context("cannot run cargo test")?;
        if !status.success() {
            bail!("tests failed ({status})");
        }
        Ok(((), "units, snapshots, crashes, test bed".to_owned()))
    })?;
    if args.no_rehearsal || args.filter.is_some() {
        return Ok(ExitCode::SUCCESS);
    }
    let nixos = nix::run(&nix::NixArgs::all(args.dir.clone()))?;
    if nixos != ExitCode::SUCCESS {
        return Ok(nixos);
    }
    crash::run(&CrashArgs::of(args.dir.clone()))?;
    rehearse::run(&RehearseArgs::of(args.dir.clone()))
}
