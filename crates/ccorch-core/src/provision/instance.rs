//! The shapes of Incus's REST API that provisioning reads and writes
//! (<https://linuxcontainers.org/incus/docs/main/rest-api-spec/>). Fields that are not used here are left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rig::InstanceType;

/// Configuration keys and values; all values are text.
pub type Settings = BTreeMap<String, String>;
/// One device's settings, among them its `type`.
pub type Device = BTreeMap<String, String>;
/// Devices by name.
pub type Devices = BTreeMap<String, Device>;

/// An alias, as `GET /1.0/images/aliases/NAME` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageAlias {
    /// The image's fingerprint.
    pub target: String,
}

/// An image, as `GET /1.0/images/FINGERPRINT` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// SHA-256, hexadecimal.
    pub fingerprint: String,
    /// What it can become.
    #[serde(rename = "type")]
    pub kind: InstanceType,
    /// Free text about it: `os`, `release`, `requirements.secureboot`.
    #[serde(default)]
    pub properties: Settings,
}

/// A profile, as `GET /1.0/profiles/NAME` returns it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// Devices that instances with this profile get.
    #[serde(default)]
    pub devices: Devices,
}

/// An instance, as `GET /1.0/instances/NAME` returns it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// Container or virtual machine.
    #[serde(rename = "type")]
    pub kind: InstanceType,
    /// `Running`, `Ready`, `Stopped`, `Frozen` or `Error`.
    pub status: String,
    /// Its own settings, without those of its profiles.
    #[serde(default)]
    pub config: Settings,
    /// Its own devices, without those of its profiles.
    #[serde(default)]
    pub devices: Devices,
    /// Its profiles, in the order they apply.
    #[serde(default)]
    pub profiles: Vec<String>,
}

/// The body of `POST /1.0/instances`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewInstance {
    /// Its name.
    pub name: String,
    /// Container or virtual machine.
    #[serde(rename = "type")]
    pub kind: InstanceType,
    /// What it is made from.
    pub source: Source,
    /// Its profiles, in the order they apply.
    pub profiles: Vec<String>,
    /// Its own settings.
    pub config: Settings,
    /// Its own devices.
    pub devices: Devices,
}

/// What an instance is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Always `image`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The image's fingerprint: an alias may move between deciding and doing.
    pub fingerprint: String,
}

/// `GET /1.0/instances/NAME/state`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct InstanceState {
    /// Network interfaces by their name inside; `null` while the instance is stopped.
    #[serde(default)]
    pub network: Option<BTreeMap<String, Interface>>,
}

/// A network interface inside an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Interface {
    /// The interface's other end on the server; empty where Incus did not make it.
    #[serde(default)]
    pub host_name: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// `inet` or `inet6`.
    pub family: String,
    /// The address, without its prefix length.
    pub address: String,
    /// `global`, `link` or `local`.
    pub scope: String,
}
