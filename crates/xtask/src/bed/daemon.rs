//! Starts the private Incus daemon, detached, and waits until it answers.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::api::Api;
use super::layout::Layout;
use super::process;
use crate::wait;

/// Where distributions put the daemon; it is in no `PATH`.
const PROGRAMS: &[&str] = &["/usr/libexec/incus/incusd", "/usr/lib/incus/incusd", "/opt/incus/bin/incusd"];

/// It is there in a third of a second; a loaded machine gets far more.
const READY: Duration = Duration::from_secs(60);

/// `dnsmasq` and `nft` live in the administrator's folders.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Has the daemon running; returns its process and what was done.
pub fn ensure(layout: &Layout, api: &Api) -> Result<(i32, String)> {
    let incus_dir = layout.incus_dir();
    if let Some(pid) = process::daemon(&incus_dir)? {
        if api.answers() {
            return Ok((pid, format!("runs as {pid}")));
        }
        // It may be starting still: a bed that was interrupted at this very step.
        if answers_soon(api, pid, Duration::from_secs(10)).is_err() {
            process::end_all(&incus_dir, Duration::from_secs(5))?;
        } else {
            return Ok((pid, format!("runs as {pid}")));
        }
    }
    std::fs::create_dir_all(&incus_dir).with_context(|| format!("cannot make {}", incus_dir.display()))?;
    for folder in [&layout.home, &incus_dir] {
        // The containers' own root passes through, and reads nothing.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))?;
    }
    let adopts = !process::of_bed(&incus_dir)?.is_empty();
    let pid = start(layout)?;
    answers_soon(api, pid, READY)
        .with_context(|| format!("its log ends with:\n{}", log_tail(&layout.log_file())))?;
    let adopted = if adopts { ", adopting what an earlier one left running" } else { "" };
    Ok((pid, format!("started as {pid}{adopted}")))
}

fn start(layout: &Layout) -> Result<i32> {
    let program = program()?;
    let log = layout.log_file();
    let out = File::options()
        .append(true)
        .create(true)
        .open(&log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    // setsid: the daemon outlives this program, its terminal and its process group.
    // Without other variables: nothing of a build's environment ends up in containers.
    let child = Command::new("setsid")
        .arg(&program)
        .args(["--group", "root"])
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("INCUS_DIR", layout.incus_dir())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .context("cannot run setsid")?;
    Ok(child.id().cast_signed())
}

fn program() -> Result<PathBuf> {
    let found = PROGRAMS.iter().map(PathBuf::from).find(|program| program.exists());
    found.with_context(|| {
        format!("no incusd at {}\nhint: is the package incus-base installed?", PROGRAMS.join(", "))
    })
}

fn answers_soon(api: &Api, pid: i32, limit: Duration) -> Result<()> {
    wait::until("the daemon to answer", limit, || {
        if api.answers() {
            return Ok(Some(()));
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'));
        if gone {
            bail!("incusd ended right after its start");
        }
        Ok(None)
    })
}

fn log_tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
