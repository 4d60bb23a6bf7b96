//! sops, which Debian does not have: the machine's own, else a pinned release built once by Go and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::packages;
use crate::run::Run;

/// What is built: <https://github.com/getsops/sops/releases/tag/v3.10.2>, verified by Go's checksum database.
const RELEASE: &str = "github.com/getsops/sops/v3/cmd/sops@v3.10.2";
const KEPT: &str = "sops-3.10.2";

/// A sops that also runs in the bed's containers, so one that is linked to nothing.
pub fn ensure(shared: &Path) -> Result<(PathBuf, String)> {
    let kept = shared.join(KEPT);
    if works(&kept) {
        return Ok((kept, "is in the cache".into()));
    }
    fs::create_dir_all(shared).with_context(|| format!("cannot make {}", shared.display()))?;
    let lock = File::options().create(true).append(true).open(shared.join("sops.lock"))?;
    lock.lock().context("wait for another run that builds sops")?;
    if works(&kept) {
        return Ok((kept, "is in the cache".into()));
    }
    let go = go()?;
    // Everything that the build fetches goes with this folder.
    let work = tempfile::Builder::new().prefix("sops").tempdir_in(shared)?;
    println!("building sops with {} (once, some minutes)", go.display());
    Run::new(&[&go])
        .args(&["install", "-trimpath", RELEASE])
        .env("GOPATH", work.path().join("path"))
        .env("GOBIN", work.path())
        .env("GOCACHE", work.path().join("cache"))
        .env("GOFLAGS", "-modcacherw")
        .env("CGO_ENABLED", "0")
        .run()
        .context("cannot build sops")?;
    fs::rename(work.path().join("sops"), &kept)?;
    Ok((kept, "built".into()))
}

fn works(program: &Path) -> bool {
    let run = Run::new(&[program.as_os_str()]).args(&["--version", "--disable-version-check"]);
    run.output().is_ok_and(|output| output.status.success())
}

/// The machine's Go, or Debian's.
fn go() -> Result<PathBuf> {
    let there = |program: &PathBuf| {
        Run::new(&[program]).arg("version").output().is_ok_and(|out| out.status.success())
    };
    let known = [PathBuf::from("go"), PathBuf::from("/usr/local/go/bin/go")];
    if let Some(go) = known.into_iter().find(there) {
        return Ok(go);
    }
    packages::ensure_all(&["golang-go"])
        .context("hint: install Go 1.23 or newer, with which sops is built")?;
    Ok("go".into())
}
