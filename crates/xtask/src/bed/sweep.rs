//! Removes what a bed leaves in the kernel: bridge, firewall, mounts, cgroups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::process::Process;
use crate::run::Run;
use crate::wait;

/// Removes a bridge and what is plugged into it; says whether it was there.
pub fn link(bridge: &str) -> Result<bool> {
    let show = Run::new(&["ip", "-json", "link", "show", "dev", bridge]).output()?;
    if !show.status.success() {
        return Ok(false);
    }
    let ports = Run::new(&["ip", "-json", "link", "show", "master", bridge]).read()?;
    for port in names(&ports)? {
        // Its other end may have gone with a container, and this one with it.
        Run::new(&["ip", "link", "delete", "dev", &port]).output()?;
    }
    Run::new(&["ip", "link", "delete", "dev", bridge]).run()?;
    Ok(true)
}

fn names(json: &str) -> Result<Vec<String>> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let links: Vec<Value> = serde_json::from_str(json).context("cannot read the output of `ip link`")?;
    Ok(links.iter().filter_map(|link| Some(link["ifname"].as_str()?.to_owned())).collect())
}

/// Removes the bridge's chains from the table that all Incus daemons of a machine share.
pub fn firewall(bridge: &str) -> Result<()> {
    let listing = Run::new(&["nft", "list", "table", "inet", "incus"]).output()?;
    if !listing.status.success() {
        return Ok(());
    }
    let (ours, others) = chains(&String::from_utf8_lossy(&listing.stdout), bridge);
    for chain in ours {
        Run::new(&["nft", "delete", "chain", "inet", "incus", &chain]).run()?;
    }
    if others == 0 {
        Run::new(&["nft", "delete", "table", "inet", "incus"]).output()?;
    }
    Ok(())
}

/// The bridge's own chains, and how many others there are.
fn chains(listing: &str, bridge: &str) -> (Vec<String>, usize) {
    let chain = |line: &str| Some(line.trim().strip_prefix("chain ")?.strip_suffix(" {")?.to_owned());
    let end = format!(".{bridge}");
    let (ours, others): (Vec<_>, Vec<_>) =
        listing.lines().filter_map(chain).partition(|name| name.ends_with(&end));
    (ours, others.len())
}

/// Unmounts everything below a folder, the last mounted first.
pub fn mounts(folder: &Path) -> Result<usize> {
    let first = mounted_below(folder)?;
    for point in first.iter().rev() {
        let plain = Run::new(&["umount"]).arg(point).output()?;
        if !plain.status.success() {
            Run::new(&["umount", "--lazy"]).arg(point).run()?;
        }
    }
    let left = mounted_below(folder)?;
    if let Some(point) = left.first() {
        bail!("{} is still mounted", point.display());
    }
    Ok(first.len())
}

/// The mount points below a folder, in the order in which they were mounted.
pub fn mounted_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    // The fifth field is the mount point (proc(5)).
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points.map(PathBuf::from).filter(|point| point.starts_with(folder)).collect())
}

/// Blanks and backslashes are octal there: `\040`.
fn unescape(field: &str) -> String {
    ["\\040", "\\011", "\\012"]
        .iter()
        .zip([" ", "\t", "\n"])
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
        .replace("\\134", "\\")
}

/// The control groups that LXC made for these processes.
pub fn groups_of(processes: &[Process]) -> BTreeSet<PathBuf> {
    let text = |process: &Process| {
        std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default()
    };
    let relative: BTreeSet<String> =
        processes.iter().flat_map(|process| lxc_groups(&text(process))).collect();
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies() {
        found.extend(relative.iter().map(|group| hierarchy.join(group)).filter(|group| group.exists()));
    }
    found
}

/// The top folders of containers' groups, from a `/proc/PID/cgroup`.
fn lxc_groups(text: &str) -> Vec<String> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let top = |path: &str| {
        let mut walked = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            walked.push(part);
            if part.starts_with("lxc.payload.") || part.starts_with("lxc.monitor.") {
                return Some(walked.join("/"));
            }
        }
        None
    };
    paths.filter_map(top).collect()
}

/// `/sys/fs/cgroup`, and with version 1 each controller's folder in it.
fn hierarchies() -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    let inner = top.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = inner.filter(|path| path.is_dir()).collect();
    all.push(top);
    all
}

/// Removes control groups whose processes have ended, the inner ones first.
///
/// The kernel lets go of a killed process a moment after it is gone from
/// `/proc`, so this is tried until it works.
pub fn groups(groups: &BTreeSet<PathBuf>) -> Result<()> {
    let gone = || {
        groups.iter().for_each(|group| remove_group(group));
        let none = groups.iter().all(|group| !group.exists());
        Ok(none.then_some(()))
    };
    wait::until("control groups to be empty", Duration::from_secs(20), gone)
}

fn remove_group(group: &Path) {
    for entry in group.read_dir().into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    // One that still has processes is refused by the kernel.
    let _ = std::fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bridges_chains_are_taken() {
        let listing = "table inet incus {\n\tchain fwd.ccb1 {\n\t}\n\tchain in.ccb1 {\n\t}\n\tchain in.ccb12 {\n\t}\n}\n";
        assert_eq!(chains(listing, "ccb1"), (vec!["fwd.ccb1".to_owned(), "in.ccb1".to_owned()], 1));
    }

    #[test]
    fn groups_of_containers_are_told_from_others() {
        let text = "5:memory:/lxc.payload.ccorch_a-1/system.slice/ssh.service\n1:name=systemd:/user.slice\n0::/x/lxc.monitor.ccorch_a\n";
        assert_eq!(lxc_groups(text), ["lxc.payload.ccorch_a-1", "x/lxc.monitor.ccorch_a"]);
    }

    #[test]
    fn blanks_in_mount_points_are_read() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
