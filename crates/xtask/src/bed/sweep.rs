//! Removes what a bed leaves in the kernel: bridge, firewall, mounts, cgroups.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

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

/// The control groups of a project's containers, in every hierarchy.
pub fn groups_of(project: &str) -> Vec<PathBuf> {
    let inside = |hierarchy: PathBuf| hierarchy.read_dir().into_iter().flatten().flatten();
    let ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| is_group_of(&name.to_string_lossy(), project));
    hierarchies().into_iter().flat_map(inside).map(|entry| entry.path()).filter(ours).collect()
}

/// LXC names them so, with a number behind where one was left over.
fn is_group_of(name: &str, project: &str) -> bool {
    ["lxc.payload.", "lxc.monitor."].iter().any(|kind| {
        let rest = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix(project));
        rest.is_some_and(|rest| rest.starts_with('_'))
    })
}

/// `/sys/fs/cgroup`, and with version 1 each controller's folder in it.
fn hierarchies() -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    let inner = top.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = inner.filter(|path| path.is_dir()).collect();
    all.push(top);
    all
}

/// Removes a project's control groups when its containers have ended.
///
/// The kernel lets go of a killed process a moment after it is gone from
/// `/proc`, so this is tried until it works.
pub fn groups(project: &str) -> Result<()> {
    let gone = || {
        groups_of(project).iter().for_each(|group| remove_group(group));
        Ok(groups_of(project).is_empty().then_some(()))
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
    fn groups_of_another_project_are_not_ours() {
        assert!(is_group_of("lxc.payload.ccorch-1_a", "ccorch-1"));
        assert!(is_group_of("lxc.monitor.ccorch-1_a-1", "ccorch-1"));
        assert!(!is_group_of("lxc.payload.ccorch-12_a", "ccorch-1"));
        assert!(!is_group_of("lxc.pivot", "ccorch-1"));
    }

    #[test]
    fn blanks_in_mount_points_are_read() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
