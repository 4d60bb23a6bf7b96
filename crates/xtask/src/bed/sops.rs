//! sops, which Debian does not have: the machine's own, else a pinned release built once by Go and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::packages;
use crate::run::Run;

/// What is built: <https://github.com/getsops/sops/releases/tag/v3.10.2>, verified by Go's checksum database.
const RELEASE: &str = "github.com/getsops/sops/v3/cmd/sops@v3.10.2";
const KEPT: &str = "sops-3.10.2";
/// What its `go.mod` asks for.
const OLDEST_GO: (u32, u32) = (1, 23);
const GO_HINT: &str = "hint: install Go 1.23 or newer, with which sops is built, as `go` or in /usr/local/go";

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

/// The machine's Go, or Debian's; the first that is new enough.
fn go() -> Result<PathBuf> {
    let known = [PathBuf::from("go"), PathBuf::from("/usr/local/go/bin/go")];
    if let Some(go) = known.into_iter().find(|go| version(go).is_some_and(|there| there >= OLDEST_GO)) {
        return Ok(go);
    }
    packages::ensure_all(&["golang-go"]).context(GO_HINT)?;
    let there = version(Path::new("go"));
    ensure!(there >= Some(OLDEST_GO), "the Go of this system is too old for sops: {there:?}\n{GO_HINT}");
    Ok("go".into())
}

fn version(go: &Path) -> Option<(u32, u32)> {
    let output = Run::new(&[go.as_os_str()]).arg("version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Of `go version go1.23.4 linux/amd64`: 1 and 23.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("go version go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_go_is_read() {
        assert_eq!(parse_version("go version go1.23.4 linux/amd64"), Some((1, 23)));
        assert_eq!(parse_version("go version go1.24rc1 linux/arm64"), Some((1, 24)));
        assert!(parse_version("go version go1.9 linux/amd64") < Some(OLDEST_GO));
        assert_eq!(parse_version("zsh: command not found: go"), None);
    }
}
