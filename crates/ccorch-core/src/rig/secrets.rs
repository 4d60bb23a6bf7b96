//! Secrets: encrypted in the rig's repository, decrypted on the host that needs them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files with secrets that the agents need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The sops file, relative to the rig file.
    pub file: String,
    /// The age identity's path on the host, the only secret that is not in the file.
    #[serde(default = "default_identity")]
    pub identity: String,
    /// Which key of the sops file becomes which file.
    pub items: BTreeMap<String, SecretItem>,
}

fn default_identity() -> String {
    "/var/lib/ccorch-secrets/age.key".into()
}

/// One decrypted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretItem {
    /// Absolute path of the file on the host.
    pub path: String,
    /// Its mode in octal.
    #[serde(default = "default_mode")]
    pub mode: String,
    /// Its owner; the workspace's user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

fn default_mode() -> String {
    "0600".into()
}
