//! Which host may run the loops, and who arbitrates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::RigName;
use crate::seconds::Seconds;

/// Where the lease is arbitrated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// A git remote that every host reaches and that agents cannot push to.
    pub remote: String,
    /// The full ref name; `refs/ccorch/lease/<rig>` when absent. Some forges take only branches: `refs/heads/ccorch-lease/<rig>`.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_name: Option<String>,
    /// The private ssh key for the remote on the operator's machine, a path relative to the rig file or starting with
    /// `~/`: `ccorch host install` puts it on the host, for root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The private ssh key for the remote on a host, where something else puts it there; root's own ssh configuration
    /// decides when neither this nor `key` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What a host does at boot when the remote is away.
    #[serde(default)]
    pub offline: Offline,
    /// How often a running host looks at the ref.
    #[serde(default = "default_heartbeat")]
    pub heartbeat: Seconds,
    /// For how long a renewal is good. With it a holder that cannot renew stops its loops when it is over, and a standby
    /// takes over by itself some time later. Without it, only a person's word takes the lease from a holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Seconds>,
    /// How long the loops may take to stop when a term ends; whatever is left then is killed. Used with `term` alone.
    #[serde(default = "default_stop", skip_serializing_if = "is_default_stop")]
    pub stop: Seconds,
}

/// Where `ccorch host install` puts the key for the lease's remote.
pub const LEASE_KEY: &str = "/etc/ccorch/lease_key";

impl LeaseConfig {
    /// The private key's path on a host, if the rig says one.
    pub fn identity_on_host(&self) -> Option<&str> {
        self.identity.as_deref().or(self.key.as_ref().map(|_| LEASE_KEY))
    }

    /// The ref that holds the lease of `rig`.
    pub fn ref_name(&self, rig: &RigName) -> String {
        self.ref_name.clone().unwrap_or_else(|| format!("refs/ccorch/lease/{rig}"))
    }
}

/// What a host does at boot when the remote is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Offline {
    /// Start nothing, say so, and start the moment the remote answers.
    #[default]
    Wait,
    /// Believe the local file. This gives up the guarantee that one host at most runs the loops.
    Trust,
}

fn default_heartbeat() -> Seconds {
    Seconds(60)
}

fn default_stop() -> Seconds {
    Seconds(60)
}

fn is_default_stop(stop: &Seconds) -> bool {
    *stop == default_stop()
}
