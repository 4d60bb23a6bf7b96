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
    /// Private ssh key for the remote, a path on the hosts; the user's own configuration decides when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What a host does at boot when the remote is away.
    #[serde(default)]
    pub offline: Offline,
    /// How often a running host looks at the ref.
    #[serde(default = "default_heartbeat")]
    pub heartbeat: Seconds,
}

impl LeaseConfig {
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
