//! The SOCKS proxy that gets agents to the machines they manage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rig's own SOCKS5 proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Address and port it listens on, a loopback address.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// What provides it.
    #[serde(default)]
    pub backend: Backend,
    /// For `backend: ssh`, the destination of `ssh -N -D`, as OpenSSH takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// For `backend: ssh`, the destination's port; ssh's own configuration decides when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// For `backend: ssh`, the destination's public host key (`ssh-ed25519 AAAA...`); without it the system's known hosts decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// For `backend: ssh`, the private key's path on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// `host:port` that must answer through the proxy for it to count as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Machines that get an ssh_config entry through the proxy when `host install --ssh-config` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What provides the proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// No proxy.
    #[default]
    None,
    /// `tailscaled` with userspace networking and its own state folder and socket.
    Tailscaled,
    /// `ssh -N -D`.
    Ssh,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            backend: Backend::None,
            ssh: None,
            port: None,
            host_key: None,
            identity: None,
            check: None,
            hosts: Vec::new(),
        }
    }
}

impl Proxy {
    /// Whether the rig has no proxy.
    pub fn is_none(&self) -> bool {
        self.backend == Backend::None
    }

    /// Whether nothing is set; a proxy that is off keeps its other settings when the rig is written.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn default_listen() -> String {
    "127.0.0.1:1055".into()
}
