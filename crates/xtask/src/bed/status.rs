//! What the bed is doing now, for people and as JSON.

use anyhow::Result;
use serde::Serialize;

use super::api::Api;
use super::layout::Layout;
use super::process;
use super::state::State;

/// The bed as it is found.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whether the daemon runs and answers.
    pub running: bool,
    /// Numbers of all processes of the bed, the daemon's first.
    pub processes: Vec<i32>,
    /// What `up` wrote down; absent when the bed is down.
    pub bed: Option<State>,
    /// The instances of the project.
    pub instances: Vec<InstanceStatus>,
}

/// One instance in the list.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// `Running`, `Stopped`.
    pub status: String,
    /// IPv4 address on the bridge.
    pub address: Option<String>,
}

/// Looks.
pub fn look(layout: &Layout) -> Result<Status> {
    let api = Api::new(layout);
    let running = api.answers();
    let daemon = process::daemon(&layout.incus_dir())?;
    let mut processes: Vec<i32> =
        process::of_bed(&layout.incus_dir())?.iter().map(|process| process.pid).collect();
    processes.sort_by_key(|pid| (Some(*pid) != daemon, *pid));
    let instances = if running { instances(&api)? } else { Vec::new() };
    Ok(Status { running, processes, bed: State::read(layout)?, instances })
}

/// The instances of the project with their addresses.
pub fn instances(api: &Api) -> Result<Vec<InstanceStatus>> {
    let all = api.get(&format!("/1.0/instances?recursion=2&project={}", api.project))?.unwrap_or_default();
    let describe = |instance: &serde_json::Value| {
        let addresses = instance["state"]["network"]["eth0"]["addresses"].as_array();
        let address = addresses.into_iter().flatten().find(|entry| entry["family"] == "inet");
        Some(InstanceStatus {
            name: instance["name"].as_str()?.to_owned(),
            status: instance["status"].as_str()?.to_owned(),
            address: address.and_then(|entry| Some(entry["address"].as_str()?.to_owned())),
        })
    };
    Ok(all.as_array().into_iter().flatten().filter_map(describe).collect())
}

impl Status {
    /// One line a fact.
    pub fn print(&self) {
        let line = |name: &str, value: &str| println!("{name:<12} {value}");
        let Some(bed) = &self.bed else {
            let left = self.processes.len();
            line(
                "bed",
                &if left == 0 { "down".to_owned() } else { format!("broken: {left} processes, no state") },
            );
            return;
        };
        line("bed", if self.running { "up" } else { "broken: the daemon does not answer; `up` repairs it" });
        line("checkout", &bed.checkout.display().to_string());
        line("daemon", &format!("{} ({} processes)", bed.pid, self.processes.len()));
        line("url", &bed.url);
        line("fingerprint", &bed.fingerprint);
        line("project", &bed.project);
        line("certificate", &bed.certificate.display().to_string());
        line("bridge", &format!("{}, {}", bed.network, bed.subnet));
        line("pool", &bed.pool);
        line("image", &bed.image);
        for instance in &self.instances {
            let address = instance.address.as_deref().unwrap_or("-");
            line("instance", &format!("{:<20} {:<8} {address}", instance.name, instance.status));
        }
    }
}
