//! What an old source still holds, and its end: looked at and removed over ssh, because a legacy host has no ccorch.

use anyhow::{Context as _, Result};
use ccorch_core::cutover::standby::{ForgetFacts, Standby, not_yet};
use ccorch_core::cutover::{Outcome, Side as Planned, SideKind};
use ccorch_core::lease::Standing;
use ccorch_core::names::HostName;
use ccorch_io::clock;
use serde::Serialize;

use super::decommission::{self, RECORD};
use super::side::Side;
use super::{hosted, legacy, log};
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::{reach, staging};

/// Prints for each unit named after the first two arguments: `unit NAME ENABLED ACTIVE`; then `writable yes|no`, and
/// `kept BYTES PATH` for what is kept. Arguments: workspace, user, units, `--`, paths.
const LOOK: &str = r#"
root=$1; user=$2; shift 2
while [ "$1" != -- ]; do
  # On a NixOS the target belongs to the generation, and what it starts is held by the mark.
  if [ "$1" = ccorch.target ] && [ -e /var/lib/ccorch/closed ]; then echo "unit $1 held held"; shift; continue; fi
  echo "unit $1 $(systemctl is-enabled -- "$1" 2>/dev/null || true) $(systemctl is-active -- "$1" 2>/dev/null || true)"
  shift
done
shift
if [ -d "$root" ] && runuser -u "$user" -- test -w "$root"; then echo "writable yes"; else echo "writable no"; fi
for path; do
  if [ -e "$path" ]; then echo "kept $(du -sxk -- "$path" | cut -f 1) $path"; fi
done
"#;

/// Removes paths and nothing on other file systems below them.
const REMOVE: &str = r#"set -eu; for path; do rm -rf --one-file-system -- "$path"; done"#;

/// One unit of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// As `systemctl is-enabled` says; empty when there is no such unit.
    pub enabled: String,
    /// As `systemctl is-active` says.
    pub active: String,
}

/// Something that is kept on the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Where.
    pub path: String,
    /// Its size on disk, in bytes.
    pub bytes: u64,
}

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// The host.
    pub host: HostName,
    /// What was written down when it became standby; absent when it did not, or was forgotten.
    pub standby: Option<Standby>,
    /// Processes in the workspace.
    pub running: Vec<String>,
    /// The units that would start the rig.
    pub units: Vec<Unit>,
    /// Whether the workspace's user could write to it.
    pub writable: bool,
    /// Workspace and agents' conversations.
    pub kept: Vec<Kept>,
    /// Who runs the rig by the lease.
    pub active: Option<HostName>,
}

impl Holding {
    /// Whether nothing is left to forget.
    pub fn is_forgotten(&self) -> bool {
        self.standby.is_none() && self.kept.is_empty() && self.running.is_empty()
    }

    /// What is not as it should be on a standby.
    pub fn wrong(&self) -> Vec<String> {
        let Some(standby) = &self.standby else {
            return vec![format!("{} was not made standby by a cutover", self.host)];
        };
        let mut wrong: Vec<String> =
            self.running.iter().map(|process| format!("runs in the workspace: {process}")).collect();
        for unit in &self.units {
            if unit.active == "active" {
                wrong.push(format!("{} is active", unit.name));
            }
            // A legacy unit that is enabled does not start either: its fence holds.
            if unit.enabled == "enabled" {
                wrong.push(format!("{} is enabled", unit.name));
            }
        }
        if self.writable {
            wrong.push(format!("{} can be written to", standby.workspace));
        }
        if self.active.as_ref() == Some(&self.host) {
            wrong.push(format!("the lease says that {} runs the rig", self.host));
        }
        wrong
    }
}

/// The source meant: the one named, else that of the last completed cutover, else that of the rig file.
pub fn which(loaded: &LoadedRig, named: Option<&HostName>) -> Result<HostName> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let done = log::all(loaded)?
        .into_iter()
        .rfind(|log| log.journal.outcome() == Some(Outcome::Completed) && !log.journal.plan.in_place());
    let by_rig = || loaded.rig.cutover.as_ref().map(|cutover| cutover.from.clone());
    done.map(|log| log.journal.plan.from.name).or_else(by_rig).ok_or_else(|| {
        Problem::new(Kind::Rig, "no cutover has been made and the rig file names no direction")
            .hint("name the host: `--host HOST`")
            .into()
    })
}

/// Reaches a host, as the side of a cutover that it was.
pub fn connect(loaded: &LoadedRig, name: &HostName) -> Result<Side> {
    let legacy = reach::entry(loaded, name)?.runs.is_some();
    let kind = if legacy { SideKind::Legacy } else { SideKind::Ccorch };
    Side::connect(loaded, &Planned { name: name.clone(), kind })
}

/// Looks at a source.
pub fn look(loaded: &LoadedRig, source: &Side) -> Result<Holding> {
    let standby: Option<Standby> = match source.host.read_file(RECORD)? {
        Some(bytes) => {
            Some(serde_json::from_slice(&bytes).with_context(|| format!("{}: {RECORD}", source.name))?)
        }
        None => None,
    };
    let (root, user) = (source.workspace.root.as_str(), source.workspace.user.as_str());
    let units: Vec<&str> = match &source.runs {
        Some(runs) => runs.units.iter().map(String::as_str).collect(),
        None => vec!["ccorch.target", "ccorch-supervisor.service", "ccorch-proxy.service"],
    };
    let paths = paths(loaded, source)?;
    let paths = paths.iter().map(String::as_str);
    let args: Vec<&str> = [root, user].into_iter().chain(units).chain(["--"]).chain(paths).collect();
    let text = source.script("look at what is kept", LOOK, &args).read()?;
    let mut holding = Holding {
        host: source.name.clone(),
        running: legacy::processes(source)?,
        units: Vec::new(),
        writable: text.lines().any(|line| line == "writable yes"),
        kept: Vec::new(),
        active: active(loaded, source, standby.as_ref())?,
        standby,
    };
    for line in text.lines() {
        if let Some(unit) = line.strip_prefix("unit ") {
            let mut words = unit.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            holding.units.push(Unit { name: word(), enabled: word(), active: word() });
        } else if let Some((size, path)) = line.strip_prefix("kept ").and_then(|kept| kept.split_once(' ')) {
            holding.kept.push(Kept { path: path.into(), bytes: size.parse::<u64>().unwrap_or(0) << 10 });
        }
    }
    Ok(holding)
}

/// What a standby keeps: the workspace, and its agents' conversations in it. Copies from elsewhere may be others' too, and
/// the agents' login and settings are their user's.
fn paths(loaded: &LoadedRig, source: &Side) -> Result<Vec<String>> {
    let root = &source.workspace.root;
    let home = home(source)?;
    let mut all = vec![root.clone()];
    for spec in loaded.rig.loops.values() {
        let key = ccorch_core::launch::project_key(&loaded.rig.place(&spec.workdir));
        let path = format!("{home}/.claude/projects/{key}");
        if !all.contains(&path) {
            all.push(path);
        }
    }
    Ok(all)
}

fn home(source: &Side) -> Result<String> {
    let line = source.host.command(&["getent", "passwd", &source.workspace.user]).read()?;
    let home = line.split(':').nth(5).filter(|home| home.starts_with('/'));
    Ok(home.with_context(|| format!("{}: {line} has no home", source.name))?.trim_end_matches('/').to_owned())
}

/// Asked where ccorch runs: the target, or the source itself.
fn active(loaded: &LoadedRig, source: &Side, standby: Option<&Standby>) -> Result<Option<HostName>> {
    let other = standby.map(|standby| standby.to.clone()).filter(|to| *to != source.name);
    let other = other.map(|name| connect(loaded, &name)).transpose()?;
    let asked = [other.as_ref(), Some(source)].into_iter().flatten().find(|s| s.kind == SideKind::Ccorch);
    let Some(asked) = asked else { return Ok(None) };
    let view = hosted::lease(asked)?;
    Ok(view.counts().filter(|lease| lease.state == Standing::Active).map(|lease| lease.holder.clone()))
}

/// Why the source may not be forgotten yet; everything at once.
pub fn obstacles(loaded: &LoadedRig, source: &Side, holding: &Holding, days: u32) -> Result<Vec<String>> {
    let Some(standby) = &holding.standby else { return Ok(holding.wrong()) };
    let target = connect(loaded, &standby.to)?;
    let reboots = decommission::reboots(&target)?.unwrap_or_default();
    let facts = ForgetFacts {
        now: clock::now(),
        source: source.name.clone(),
        active: holding.active.clone(),
        running: holding.running.clone(),
        last_clean_reboot: reboots.iter().rfind(|reboot| reboot.clean).map(|reboot| reboot.number),
    };
    let mut all = not_yet(standby, &facts, days);
    if target.name != source.name {
        let only = staging::lacking(loaded, &source.host, &target.host)?;
        all.extend(
            only.iter().map(|one| format!("{one} is not on {}: push it, or fetch it there", target.name)),
        );
    }
    let (root, home) = (&source.workspace.root, home(source)?);
    if root.trim_end_matches('/').matches('/').count() < 2
        || format!("{home}/").starts_with(&format!("{root}/"))
    {
        all.push(format!("{root} holds more than a workspace: remove what is the rig's in it by hand"));
    }
    Ok(all)
}

/// Removes what is kept. The fence and the disabled units stay: nothing of the rig ever starts there again.
pub fn forget(loaded: &LoadedRig, source: &Side) -> Result<()> {
    decommission::reopen(source)?;
    let paths = paths(loaded, source)?;
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    source
        .script("remove what is kept", REMOVE, &paths)
        .deadline(std::time::Duration::from_secs(600))
        .run()?;
    decommission::forget(source)
}
