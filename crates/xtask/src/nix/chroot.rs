//! Nix of Debian trixie in a folder of its own, built once with mmdebstrap and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::bed::{apt_source, packages};
use crate::run::Run;

/// Names the folder; another recipe needs another name.
const NAME: &str = "trixie-2";
const SUITE: &str = "trixie";
/// Where the project and the inputs are bound.
pub const MOUNT_POINTS: [&str; 4] = ["src", "nixpkgs", "nixpkgs-lib", "sops-nix"];

/// Has the folder in the cache.
pub fn built(cache: &Path) -> Result<PathBuf> {
    let root = cache.join(NAME);
    if root.exists() {
        return Ok(root);
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "there is no `nix` on this machine, and to set one up needs root\nhint: run this as root, or install Nix"
        );
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::options().create(true).append(true).open(cache.join(".lock"))?;
    lock.lock().context("wait for another run that sets up Nix")?;
    if root.exists() {
        return Ok(root);
    }
    println!("setting up Nix in {} (once, a minute or two)", root.display());
    let work = cache.join(".building");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    bootstrap(&work)?;
    for name in MOUNT_POINTS {
        fs::create_dir_all(work.join(name))?;
    }
    fs::rename(&work, &root)?;
    Ok(root)
}

fn bootstrap(root: &Path) -> Result<()> {
    let run = Run::new(&["mmdebstrap", "--mode=root", "--format=directory", "--variant=apt"])
        .arg("--include=nix-bin")
        .arg("--aptopt=APT::Install-Recommends \"false\"")
        .arg("--aptopt=Acquire::Languages \"none\"")
        .arg("--dpkgopt=path-exclude=/usr/share/doc/*")
        .arg("--dpkgopt=path-exclude=/usr/share/locale/*")
        .arg(SUITE)
        .arg(root);
    let run = match mirror()? {
        Some(uri) => run.arg(format!("deb {uri} {SUITE} main")),
        None => run,
    };
    run.run().context("cannot set up a Debian with Nix\nhint: `apt-get install mmdebstrap`, or install Nix")
}

/// The mirror a Debian uses itself; elsewhere mmdebstrap takes its own choice.
fn mirror() -> Result<Option<String>> {
    let release = packages::os_release()?;
    if release.id != "debian" {
        return Ok(None);
    }
    let sources = apt_source::of_this_machine()?;
    Ok(apt_source::serving(&sources, &release.codename).map(|source| source.uri.clone()))
}
