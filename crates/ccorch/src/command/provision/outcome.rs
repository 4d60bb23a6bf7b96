//! What provisioning found and did, for people and for scripts.

use std::net::IpAddr;

use anyhow::Result;
use ccorch_core::names::HostName;
use serde::Serialize;

use crate::reach::Provisioned;

/// What provisioning found and did.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The host's name in the rig file, and the instance's.
    pub host: HostName,
    /// Whether this only says what would be done.
    pub dry_run: bool,
    /// What was done, or would be, in order; empty when all was as it should be.
    pub changes: Vec<String>,
    /// The machine that is there now; `null` after a dry run.
    pub machine: Option<Machine>,
}

/// A machine that is ready.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Its address.
    pub address: IpAddr,
    /// How it is reached, and its host key.
    #[serde(flatten)]
    pub reached: Provisioned,
    /// How cloud-init ended.
    pub cloud_init: super::cloud_init::End,
}

impl Outcome {
    /// For people.
    pub fn print(&self) {
        let host = &self.host;
        match &self.machine {
            Some(Machine { reached, .. }) if reached.port == 22 => {
                println!("{host}: ready at {}", reached.ssh)
            }
            Some(Machine { reached, .. }) => {
                println!("{host}: ready at {} port {}", reached.ssh, reached.port)
            }
            None => println!("{host}: dry run"),
        }
        let (done, nothing) =
            if self.dry_run { ("would be ", "nothing to do") } else { ("", "nothing changed") };
        if self.changes.is_empty() {
            println!("  {nothing}: it is as the rig file says");
        }
        for change in &self.changes {
            println!("  {done}{change}");
        }
    }

    /// For scripts.
    pub fn print_json(&self) -> Result<()> {
        println!("{}", serde_json::to_string_pretty(self)?);
        Ok(())
    }
}
