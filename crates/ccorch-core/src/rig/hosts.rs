//! Hosts: the machines that can hold the rig, how they are reached and how they are made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Confirm, Rig};
use crate::names::HostName;
use crate::safepoint::UnsavedPolicy;
use crate::seconds::Seconds;

/// A machine that can hold the rig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The ssh destination, as OpenSSH takes it: `user@name` or an alias of ssh_config. The login is root, or may use sudo without a password. Absent on a host that ccorch provisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// The ssh port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The host's public key (`ssh-ed25519 AAAA...`); without it the operator's known_hosts decides. Never trusted on first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// The operator's private ssh key for this host, a path relative to the rig file or starting with `~/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// How a legacy rig on this host is started and stopped. Absent where ccorch runs the rig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<LegacyRuns>,
    /// What creates the host. Absent for a machine that is simply there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Settings of `provider: incus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incus: Option<Incus>,
    /// Settings of `provider: qemu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu: Option<Qemu>,
    /// How large the host is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// A rig that ccorch does not run yet: what starts and stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LegacyRuns {
    /// The command that stops it, run in the workspace as its user.
    pub stop: Vec<String>,
    /// The command that starts it, run in the workspace as its user.
    pub start: Vec<String>,
    /// The command that has its agents come to a safe point and returns when they have, run in the workspace as its user
    /// before a cutover stops it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub safe_point: Vec<String>,
    /// The systemd units that start it at boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
}

/// What creates a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// An Incus server, over its REST API with mutual TLS.
    Incus,
    /// A local QEMU virtual machine.
    Qemu,
}

/// An instance on an Incus server (<https://linuxcontainers.org/incus/docs/main/rest-api/>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incus {
    /// `https://host:port` of the server.
    pub url: String,
    /// SHA-256 of the server's certificate (DER), hexadecimal, as `incus info` shows it. Without it the system's certificate authorities decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The project.
    #[serde(default = "default_project")]
    pub project: String,
    /// The client certificate (PEM), a path relative to the rig file.
    pub certificate: String,
    /// The client key (PEM), a path relative to the rig file, readable by its owner alone.
    pub key: String,
    /// The image's alias on the server.
    pub image: String,
    /// Container or virtual machine.
    #[serde(default, rename = "type")]
    pub kind: InstanceType,
    /// Profiles to apply; `default` when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// The operator's public ssh key file that may log in as root, relative to the rig file or starting with `~/`.
    pub authorized_key: String,
}

fn default_project() -> String {
    "default".into()
}

/// Container or virtual machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceType {
    /// A system container.
    Container,
    /// A virtual machine.
    #[default]
    VirtualMachine,
}

/// A local QEMU virtual machine, started from a cloud image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// A disk image with cloud-init (qcow2 or raw), a path relative to the rig file. It is copied once.
    pub image: String,
    /// The loopback port that is forwarded to the machine's ssh.
    #[schemars(range(min = 1))]
    pub ssh_port: u16,
    /// The operator's public ssh key file that may log in as root, relative to the rig file or starting with `~/`.
    pub authorized_key: String,
    /// Whether the machine starts when the operator's machine boots, where that has systemd.
    #[serde(default = "default_autostart", skip_serializing_if = "is_default_autostart")]
    pub autostart: bool,
}

fn default_autostart() -> bool {
    true
}

fn is_default_autostart(autostart: &bool) -> bool {
    *autostart
}

/// How large a host is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Number of processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cpus: Option<u32>,
    /// Memory, for example `2GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Root disk, for example `30GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
}

/// The default direction of a cutover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CutoverHosts {
    /// The source.
    pub from: HostName,
    /// The target.
    pub to: HostName,
    /// What happens to work on the source that is not saved in git when its loops have stopped: `refuse` turns back and
    /// says what it is; `rescue` commits it beside the loops' own branches and goes on.
    #[serde(default, skip_serializing_if = "is_refuse")]
    pub unsaved: UnsavedPolicy,
    /// How long loops that are at work may take to come to a safe point, once told, before they are stopped; `0s` stops them
    /// as they are.
    #[serde(default = "default_safe_point", skip_serializing_if = "is_default_safe_point")]
    pub safe_point: Seconds,
    /// How long a host or forge that does not answer while nobody works is asked again, before the driver has the source work
    /// again where it can, or leaves.
    #[serde(default = "default_patience", skip_serializing_if = "is_default_patience")]
    pub patience: Seconds,
    /// What the target has to show before the cutover counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

impl Rig {
    /// How long loops that are at work may take to come to a safe point before a cutover stops them.
    pub fn safe_point(&self) -> Seconds {
        self.cutover.as_ref().map_or_else(default_safe_point, |cutover| cutover.safe_point)
    }

    /// How long what does not answer is asked again while a cutover keeps everybody from work.
    pub fn patience(&self) -> Seconds {
        self.cutover.as_ref().map_or_else(default_patience, |cutover| cutover.patience)
    }
}

/// A forge or a wireless link that restarts is back by then.
fn default_patience() -> Seconds {
    Seconds(60)
}

fn is_default_patience(given: &Seconds) -> bool {
    *given == default_patience()
}

fn default_safe_point() -> Seconds {
    Seconds(60)
}

fn is_default_safe_point(given: &Seconds) -> bool {
    *given == default_safe_point()
}

fn is_refuse(policy: &UnsavedPolicy) -> bool {
    *policy == UnsavedPolicy::Refuse
}
