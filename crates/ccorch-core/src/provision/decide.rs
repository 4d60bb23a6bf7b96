//! What to do about an instance, given the one that is there: create, change, start, nothing, or refuse.

use std::fmt;

use super::instance::{Devices, Instance, Settings};
use super::size::{bytes, same};
use super::wanted::{HOST_MARK, RIG_MARK, USER_DATA, Wanted, kind_name};

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create the instance.
    Create,
    /// Change what can be changed in place.
    Change {
        /// What changes, for people.
        changes: Vec<Change>,
        /// Settings to merge.
        config: Settings,
        /// Devices to merge.
        devices: Devices,
    },
    /// Start it.
    Start,
    /// Let it go on.
    Unfreeze,
}

/// One setting that is not as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The setting.
    pub key: String,
    /// What it is; `None` where it is not set.
    pub from: Option<String>,
    /// What the rig file asks for.
    pub to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.from.as_deref().unwrap_or("unset"), self.to)
    }
}

/// Why nothing may be done to the instance that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not this host of this rig.
    #[error("the name is taken by an instance that {}", owner(.rig.as_deref(), .host.as_deref()))]
    Taken {
        /// The rig it is marked with.
        rig: Option<String>,
        /// The host it is marked with.
        host: Option<String>,
    },
    /// It differs where only a new instance could be right.
    #[error("the instance differs from the rig file: {}", list(.0))]
    Differs(Vec<Change>),
    /// It is in a state that ccorch cannot bring it out of.
    #[error("the instance is in state `{0}`")]
    Status(String),
}

fn owner(rig: Option<&str>, host: Option<&str>) -> String {
    match (rig, host) {
        (Some(rig), Some(host)) => format!("ccorch made for host `{host}` of rig `{rig}`"),
        _ => "ccorch did not make".into(),
    }
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(Change::to_string).collect::<Vec<_>>().join("; ")
}

/// What is to be done so that the instance is as wanted and runs; nothing when it is so.
pub fn decide(wanted: &Wanted, found: Option<&Instance>) -> Result<Vec<Step>, Refusal> {
    let Some(found) = found else { return Ok(vec![Step::Create, Step::Start]) };
    let mark = |key: &str| (found.config.get(key), wanted.new.config.get(key));
    if [RIG_MARK, HOST_MARK].iter().any(|key| mark(key).0 != mark(key).1) {
        let of = |key: &str| found.config.get(key).cloned();
        return Err(Refusal::Taken { rig: of(RIG_MARK), host: of(HOST_MARK) });
    }
    let differences = differences(wanted, found);
    if !differences.is_empty() {
        return Err(Refusal::Differs(differences));
    }
    let power = match found.status.as_str() {
        // `Ready` is what a guest that reports to Incus is while it runs.
        "Running" | "Ready" => None,
        "Stopped" => Some(Step::Start),
        "Frozen" => Some(Step::Unfreeze),
        other => return Err(Refusal::Status(other.into())),
    };
    Ok(change(wanted, found).into_iter().chain(power).collect())
}

/// What only a new instance could have right. The image is none of it: its alias moves on while instances live.
fn differences(wanted: &Wanted, found: &Instance) -> Vec<Change> {
    let mut all = Vec::new();
    let mut differs =
        |key: &str, from: Option<String>, to: String| all.push(Change { key: key.into(), from, to });
    if found.kind != wanted.new.kind {
        differs("type", Some(kind_name(found.kind).into()), kind_name(wanted.new.kind).into());
    }
    if found.profiles != wanted.new.profiles {
        differs("profiles", Some(found.profiles.join(", ")), wanted.new.profiles.join(", "));
    }
    // cloud-init reads it once; text around the key may change from one ccorch to the next.
    let key = wanted.key.to_string();
    if !found.config.get(USER_DATA).is_some_and(|data| data.contains(&key)) {
        differs("authorized_key", Some("another key".into()), key);
    }
    for (name, device) in &wanted.new.devices {
        let size = |device: Option<&super::Device>| device.and_then(|d| d.get("size")).cloned();
        let (from, to) = (size(found.devices.get(name)), size(Some(device)).unwrap_or_default());
        if from.as_deref().and_then(bytes) > bytes(&to) {
            differs("size.disk (disks cannot shrink)", from, to);
        }
    }
    all
}

fn change(wanted: &Wanted, found: &Instance) -> Option<Step> {
    let mut changes = Vec::new();
    let mut config = Settings::new();
    for key in ["limits.cpu", "limits.memory"] {
        let (from, to) = (found.config.get(key), wanted.new.config.get(key));
        let Some(to) = to.filter(|to| !from.is_some_and(|from| same(from, to))) else { continue };
        changes.push(Change { key: key.into(), from: from.cloned(), to: to.clone() });
        config.insert(key.into(), to.clone());
    }
    let mut devices = Devices::new();
    for (name, device) in &wanted.new.devices {
        let from = found.devices.get(name).and_then(|d| d.get("size"));
        let to = device.get("size").cloned().unwrap_or_default();
        if !from.is_some_and(|from| same(from, &to)) {
            changes.push(Change { key: format!("{name} disk size"), from: from.cloned(), to });
            devices.insert(name.clone(), device.clone());
        }
    }
    (!changes.is_empty()).then_some(Step::Change { changes, config, devices })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
