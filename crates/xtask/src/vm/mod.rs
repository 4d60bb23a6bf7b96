//! `cargo xtask vm`: a small cloud image, and the test that boots it as a local virtual machine.

mod image;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use crate::bed::{Layout, packages};

/// A local virtual machine for real: a small Debian cloud image, and the test that boots it.
///
/// Needs root and amd64. Installs what is missing.
///
/// Example: cargo xtask vm test
#[derive(Debug, Args)]
pub struct VmArgs {
    /// Where built images are kept [default: as for `testbed`]
    #[arg(long, global = true, env = "CCORCH_TESTBED_DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the image if it is not in the cache, and print its path
    Image,
    /// Boot it: provision, reboot, crash, stop; some minutes where there is no KVM
    Test,
}

/// Runs the job.
pub fn run(args: &VmArgs) -> Result<ExitCode> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("local virtual machines are tested on amd64 only, this is {}", std::env::consts::ARCH);
    }
    eprintln!("packages: {}", packages::ensure_all(image::NEEDED)?);
    let (path, what) = image::built(&Layout::here(args.dir.as_deref())?)?;
    eprintln!("image: {what}");
    match args.verb {
        Verb::Image => println!("{}", path.display()),
        Verb::Test => {
            // Its output is for whoever waits for it, so nothing is caught.
            let status = std::process::Command::new(env!("CARGO"))
                .args([
                    "test",
                    "--package",
                    "ccorch",
                    "--features",
                    "vm-tests",
                    "--test",
                    "vm_boot",
                    "--",
                    "--nocapture",
                ])
                .env("CCORCH_TEST_VM_IMAGE", &path)
                .status()
                .context("cannot run cargo")?;
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}
