//! The programs that ccorch is measured beside, brought into a container of the bed from their packages.
//!
//! Fetched by this machine and pushed: a container need not reach anything but the bed.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::bed::Instance;
use crate::run::Run;

/// Debian's packages; nodejs is what pm2 runs on.
const PACKAGES: &[&str] = &["runit", "s6", "supervisor", "nodejs"];
/// From npm.
const PM2: &str = "pm2";

/// Installs all of them.
pub fn install(instance: &Instance) -> Result<String> {
    let work = tempfile::tempdir().context("no temporary folder")?;
    debian(instance, work.path())?;
    npm(instance, work.path())?;
    Ok(format!("{} and {PM2}", PACKAGES.join(", ")))
}

/// apt on this machine resolves for the container, by the container's own list of what is installed.
fn debian(instance: &Instance, work: &Path) -> Result<()> {
    let (status, archives) = (work.join("status"), work.join("archives"));
    std::fs::create_dir_all(archives.join("partial"))?;
    std::fs::write(&status, instance.read(&["cat", "/var/lib/dpkg/status"])? + "\n\n")?;
    let option = |name: &str, value: &Path| format!("{name}={}", value.display());
    Run::new(&["apt-get", "--quiet", "--yes", "--no-install-recommends", "--download-only"])
        .arg("-o")
        .arg(option("Dir::State::status", &status))
        .arg("-o")
        .arg(option("Dir::Cache::archives", &archives))
        .args(&["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", "install"])
        .args(PACKAGES)
        .run()
        .context("hint: `apt-get update` on this machine")?;
    let fetched = std::fs::read_dir(&archives)?.count();
    ensure!(fetched > PACKAGES.len(), "apt fetched {fetched} files only");
    unpack(instance, &archives, "/root/rivals/debs")?;
    instance.script("cd /root/rivals/debs; DEBIAN_FRONTEND=noninteractive dpkg --install ./*.deb")?;
    Ok(())
}

fn npm(instance: &Instance, work: &Path) -> Result<()> {
    let prefix = work.join("npm");
    std::fs::create_dir(&prefix)?;
    Run::new(&["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(&prefix)
        .arg(PM2)
        .run()
        .context("hint: npm of this machine fetches pm2")?;
    unpack(instance, &prefix, "/root/rivals/npm")
}

/// Puts a folder into the container.
fn unpack(instance: &Instance, folder: &Path, to: &str) -> Result<()> {
    let packed = folder.with_extension("tar");
    Run::new(&["tar", "-C"]).arg(folder).arg("-cf").arg(&packed).arg(".").run()?;
    instance.push_file(&std::fs::read(&packed)?, "/root/rivals.tar", "0600", "root:root")?;
    instance.script(&format!(
        "mkdir -p {to}; tar -C {to} --no-same-owner -xf /root/rivals.tar; rm /root/rivals.tar"
    ))?;
    Ok(())
}
