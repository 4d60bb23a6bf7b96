//! The one way to have cargo build and run the tests of the workspace, and the programs that they made.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::bed::{self, Layout};
use crate::report::Report;
use crate::run::{copy_program, told_by_cargo};

/// Which targets, so that each call has the same build: another selection of packages would be another one.
const ALL: [&str; 3] = ["--workspace", "--features", "ccorch/bed-tests"];

/// Builds and runs tests; `more` chooses among them.
pub fn cargo_test<S: AsRef<OsStr>>(
    layout: &Layout,
    report: &mut Report,
    step: &str,
    more: &[S],
) -> Result<()> {
    let (sops, _) = bed::sops::ensure(&layout.shared)?;
    report.step(step, || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // As in every other build here, or each would undo the other's.
        for name in told_by_cargo() {
            command.env_remove(name);
        }
        command.arg("test").args(ALL).args(more);
        command.env("CCORCH_TESTBED", layout.state_file()).env("CCORCH_SOPS", &sops);
        let status = command.status().context("cannot run cargo test")?;
        if !status.success() {
            bail!("tests failed ({status})");
        }
        Ok(((), "done".to_owned()))
    })
}

/// Copies the programs that the build of the tests made into a folder of their own.
pub fn programs() -> Result<(PathBuf, String)> {
    let this = std::env::current_exe()?;
    let built = this.parent().context("this program is in no folder")?;
    let folder = built.join("test-programs");
    std::fs::create_dir_all(&folder)?;
    for name in ["ccorch", "agent-stub"] {
        copy_program(&built.join(name), &folder.join(name))?;
    }
    let said = folder.display().to_string();
    Ok((folder, said))
}
