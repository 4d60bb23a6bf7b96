//! A world's state in lines that two worlds can be compared by: what is on the disks, what the clones and the remotes
//! hold, what the lease says. Left out is what every run has of its own: epochs, journals, rescues, times, ids, how far the
//! agents' work is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::host::Host;
use super::world::{World, path};
use super::{LOOPS, RIG};
use crate::run::Run;

/// Folders of a host that are looked at.
const FOLDERS: [&str; 5] = ["etc/ccorch", "var/lib", "srv", "home", "root"];
/// What each run has of its own: records of what happened, not what is so. A trailing `/` means all below.
const OWN: [&str; 17] = [
    "var/lib/ccorch/journals/",
    "var/lib/ccorch/lease.git/",
    "var/lib/ccorch/reboots.jsonl",
    "var/lib/ccorch/events.jsonl",
    "var/lib/ccorch/chatter.jsonl",
    "var/lib/ccorch/receipts/",
    "var/lib/ccorch/deliveries/",
    "var/lib/ccorch/handoff.txt",
    "var/lib/ccorch/confirm-baseline.json",
    "srv/w/REBOOTS.md",
    "home/loops/.local/state/ccorch/replaced/",
    "home/loops/.local/state/ccorch/rescue/",
    ".lock",
    ".old",
    "last-exit.json",
    "last-stop.json",
    "began.json",
];

/// What is over is as if it had never been.
const CLOSED: &str = "closed";

/// One line each.
#[derive(Debug, PartialEq, Eq)]
pub struct State(BTreeMap<String, String>);

impl State {
    /// A world's.
    pub fn of(world: &World) -> Result<Self> {
        let mut lines = BTreeMap::new();
        for host in &world.hosts {
            for folder in FOLDERS {
                walk(host, folder, &mut lines)?;
            }
            for (_, repository) in LOOPS {
                let clone = host.path(&format!("srv/w/{repository}"));
                lines.insert(format!("{}: clone {repository}", host.name), git_facts(&clone)?);
            }
        }
        for (_, repository) in LOOPS {
            let remote = path(&format!("git/{repository}.git"));
            lines.insert(format!("remote {repository}"), branches(&remote)?);
        }
        lines.insert("lease".into(), arbiter()?);
        Ok(Self(lines))
    }

    /// Reads what was written.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// Writes it down.
    pub fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_string(&self.0)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Demands that another world is the same; an error names every difference.
    pub fn same_as(&self, other: &Self) -> Result<()> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut wrong = String::new();
        for key in keys {
            let (wanted, found) = (self.0.get(key), other.0.get(key));
            if wanted != found {
                let (wanted, found) = (wanted.map_or("nothing", |v| v), found.map_or("nothing", |v| v));
                wrong.push_str(&format!("\n  {key}: wanted {wanted}, found {found}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { bail!("the state differs:{wrong}") }
    }
}

fn walk(host: &Host, folder: &str, lines: &mut BTreeMap<String, String>) -> Result<()> {
    let Ok(entries) = fs::read_dir(host.path(folder)) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_name() == ".git" || is_own(&name) {
            continue;
        }
        // Agents are at work: it may be gone by now.
        let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
        let value = match content(host, &name) {
            Some(value) => value,
            None => format!("{:o} {}", found.mode(), found.uid()),
        };
        if value != CLOSED {
            lines.insert(format!("{}: {}", host.name, without_ids(&name)), value);
        }
        if found.is_dir() {
            walk(host, &name, lines)?;
        }
    }
    Ok(())
}

fn is_own(name: &str) -> bool {
    let temporary = name.rsplit('/').next().is_some_and(|last| last.starts_with(".ccorch-"));
    temporary
        || OWN.iter().any(|own| match own.strip_suffix('/') {
            Some(folder) => name == folder,
            None => name == *own || !own.contains('/') && name.ends_with(own),
        })
}

/// Ids are each run's own.
fn without_ids(name: &str) -> String {
    let parts = name.split('/').map(|part| {
        let (stem, end) = part.split_once('.').unwrap_or((part, ""));
        let hex = stem.len() == 36 && stem.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if hex { format!("ID.{end}") } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The part of a file that has to be the same; nothing when its presence says all.
fn content(host: &Host, name: &str) -> Option<String> {
    let read = || -> Option<Value> { serde_json::from_slice(&fs::read(host.path(name)).ok()?).ok() };
    match name {
        "var/lib/ccorch/lease.json" => {
            let file = read()?;
            let lease = file.get("lease").unwrap_or(&file);
            let pending = file.get("pending").is_some_and(|pending| !pending.is_null());
            // To every rule of the lease a host that stands by is one that never had it.
            if lease["holder"] == host.name && lease["state"] == "standby" && !pending {
                return Some(CLOSED.into());
            }
            Some(format!("{} {}{}", lease["holder"], lease["state"], if pending { " pending" } else { "" }))
        }
        "var/lib/ccorch/driver.json" if read()?["open"] == false => Some(CLOSED.into()),
        "var/lib/ccorch/driver.json" => Some("a cutover is open".into()),
        "var/lib/ccorch/confirm.json" if read()?["verdict"] == "withdrawn" => Some(CLOSED.into()),
        "var/lib/ccorch/confirm.json" => Some(format!("a window: {}", read()?["verdict"])),
        // Where loops left their records.
        _ if name.starts_with("var/lib/ccorch-loops") && host.path(name).is_dir() => Some(CLOSED.into()),
        _ if name.starts_with("etc/ccorch/") || name == "srv/w/.logs/phase" => {
            fs::read_to_string(host.path(name)).ok()
        }
        _ => None,
    }
}

/// What a clone is: its branches, nothing half done in it.
fn git_facts(clone: &Path) -> Result<String> {
    let half: Vec<String> = fs::read_dir(clone.join(".git"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            name.starts_with("rebase-") || ["MERGE_HEAD", "CHERRY_PICK_HEAD"].contains(&name.as_str())
        })
        .collect();
    let head = fs::read_to_string(clone.join(".git/HEAD"))?;
    Ok(format!("{} at {} {}", branches(clone)?, head.trim(), half.join(" ")))
}

fn branches(repository: &Path) -> Result<String> {
    let git =
        Run::new(&["git", "-C"]).arg(repository).args(&["for-each-ref", "--format=%(refname)", "refs/heads"]);
    let all = trusted(git).read()?;
    Ok(all.lines().filter(|name| !name.contains("ccorch/rescue")).collect::<Vec<_>>().join(" "))
}

fn arbiter() -> Result<String> {
    let reference = format!("refs/ccorch/lease/{RIG}");
    let git = Run::new(&["git", "-C"]).arg(path("git/lease.git"));
    let text = trusted(git.args(&["log", "-1", "--format=%B", &reference])).read()?;
    let files = Run::new(&["git", "-C"]).arg(path("git/lease.git"));
    let files = trusted(files.args(&["ls-tree", "-r", "--name-only", &reference])).read()?;
    let name = files.lines().next().map(|file| format!("{reference}:{file}"));
    let json = match name {
        Some(name) => {
            let show = Run::new(&["git", "-C"]).arg(path("git/lease.git")).args(&["show", &name]);
            trusted(show).read()?
        }
        None => text,
    };
    let lease: Value = serde_json::from_str(&json).context("the lease is no JSON")?;
    let open = lease["cutover"].get("open").and_then(Value::as_bool).unwrap_or(false);
    Ok(format!("{} {}, a cutover open: {open}", lease["holder"], lease["state"]))
}

/// The repositories are other users'.
fn trusted(run: Run<'_>) -> Run<'_> {
    let run = run.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory");
    run.env("GIT_CONFIG_VALUE_0", "*")
}
