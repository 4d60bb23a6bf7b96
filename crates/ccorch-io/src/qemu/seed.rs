//! cloud-init's seed as a disk image: an ISO 9660 file system, made by one of the programs that know how.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use ccorch_core::qemu::{LABEL, Seed};

use crate::command::{Command, CommandError, Failure};
use crate::durable;

/// All take mkisofs's options; xorriso, the one still developed, first.
const PROGRAMS: [&[&str]; 3] = [&["xorriso", "-as", "mkisofs"], &["genisoimage"], &["mkisofs"]];

/// Writes the seed to `path`, readable by its owner alone: the private host key is in it.
pub fn write(path: &Path, seed: &Seed) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let work = tempfile::Builder::new().prefix(".seed-").tempdir_in(dir).context("make the seed")?;
    for (name, text) in [("meta-data", &seed.meta_data), ("user-data", &seed.user_data)] {
        durable::replace(&work.path().join(name), text.as_bytes(), 0o600)?;
    }
    // The folder is 0700, so the image's own mode is no matter while it is made.
    let image = work.path().join("seed.iso");
    iso(work.path(), &image)?;
    durable::replace(path, &fs::read(&image).with_context(|| format!("read {}", image.display()))?, 0o600)
}

fn iso(dir: &Path, image: &Path) -> Result<(), CommandError> {
    let mut missing = None;
    for program in PROGRAMS {
        let command = Command::new(program[0])
            .args(&program[1..])
            .args(["-quiet", "-volid", LABEL, "-joliet", "-rational-rock", "-output"])
            .arg(image)
            .args(["meta-data", "user-data"])
            .cwd(dir);
        match command.run() {
            Err(error) if error.failure == Failure::NotFound => missing = missing.or(Some(error)),
            other => return other.map(drop),
        }
    }
    missing.map_or(Ok(()), Err)
}
