//! The instance a rig file asks for, from its entry and what the server says about image and profiles.

use crate::names::{HostName, RigName};
use crate::rig::{Incus, InstanceType, Size};

use super::instance::{Device, Devices, Image, NewInstance, Profile, Settings, Source};
use super::size::bytes;
use super::{PublicKey, user_data};

/// The setting that says for which rig ccorch made an instance.
pub const RIG_MARK: &str = "user.ccorch.rig";
/// The setting that says which host of the rig an instance is.
pub const HOST_MARK: &str = "user.ccorch.host";
/// The setting that cloud-init reads.
pub const USER_DATA: &str = "cloud-init.user-data";

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The rig's name.
    pub rig: &'a RigName,
    /// The host's name; the instance gets the same.
    pub host: &'a HostName,
    /// The host's `incus` settings.
    pub settings: &'a Incus,
    /// The host's `size`.
    pub size: Option<&'a Size>,
    /// The operator's key.
    pub key: &'a PublicKey,
    /// The image its alias stands for now.
    pub image: &'a Image,
    /// The profiles by name, in the order they apply.
    pub profiles: &'a [(String, Profile)],
}

/// The instance that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How it would be created.
    pub new: NewInstance,
    /// The operator's key in its user-data.
    pub key: PublicKey,
}

/// Why no instance can be as the rig file asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The image is of the other type.
    #[error("image alias `{alias}` is of a {found}, but `type: {asked}` is asked for")]
    ImageType {
        /// The alias.
        alias: String,
        /// What the image is.
        found: &'static str,
        /// What the rig file says.
        asked: &'static str,
    },
    /// A size that Incus would not understand.
    #[error("`{key}: {value}` is not a size like `2GiB`")]
    Size {
        /// The key in the rig file.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// No profile says where the root disk lies, so it cannot be given a size.
    #[error("no root disk in profile {0}, so `size.disk` has nothing to apply to")]
    NoRootDisk(String),
}

impl Wanted {
    /// The instance these facts ask for.
    pub fn from(facts: Facts<'_>) -> Result<Self, Unfit> {
        let settings = facts.settings;
        if facts.image.kind != settings.kind {
            return Err(Unfit::ImageType {
                alias: settings.image.clone(),
                found: kind_name(facts.image.kind),
                asked: kind_name(settings.kind),
            });
        }
        let new = NewInstance {
            name: facts.host.as_str().into(),
            kind: settings.kind,
            source: Source { kind: "image", fingerprint: facts.image.fingerprint.clone() },
            profiles: facts.profiles.iter().map(|(name, _)| name.clone()).collect(),
            config: config(facts)?,
            devices: devices(facts)?,
        };
        Ok(Self { new, key: facts.key.clone() })
    }
}

fn config(facts: Facts<'_>) -> Result<Settings, Unfit> {
    let mut config = Settings::from([
        (RIG_MARK.into(), facts.rig.to_string()),
        (HOST_MARK.into(), facts.host.to_string()),
        (USER_DATA.into(), user_data(facts.host, facts.key)),
    ]);
    if let Some(cpus) = facts.size.and_then(|size| size.cpus) {
        config.insert("limits.cpu".into(), cpus.to_string());
    }
    if let Some(memory) = facts.size.and_then(|size| size.memory.as_ref()) {
        check("size.memory", memory)?;
        config.insert("limits.memory".into(), memory.clone());
    }
    if facts.settings.kind == InstanceType::VirtualMachine && !boots_securely(facts.image) {
        config.insert("security.secureboot".into(), "false".into());
    }
    Ok(config)
}

/// Incus starts virtual machines with secure boot unless told otherwise; images that cannot boot so say it in
/// `requirements.secureboot`. NixOS's own images do not say it, and cannot.
fn boots_securely(image: &Image) -> bool {
    let property = |name: &str| image.properties.get(name).map(String::as_str).unwrap_or_default();
    property("requirements.secureboot") != "false" && !property("os").eq_ignore_ascii_case("nixos")
}

/// The root disk with the size asked for. An instance's device hides the profile's of the same name whole, so the
/// profile's settings are repeated in it.
fn devices(facts: Facts<'_>) -> Result<Devices, Unfit> {
    let Some(disk) = facts.size.and_then(|size| size.disk.as_ref()) else { return Ok(Devices::new()) };
    check("size.disk", disk)?;
    let is_root = |device: &Device| {
        device.get("type").is_some_and(|t| t == "disk") && device.get("path").is_some_and(|p| p == "/")
    };
    let root =
        facts.profiles.iter().rev().flat_map(|(_, profile)| &profile.devices).find(|(_, d)| is_root(d));
    let (name, device) = root.ok_or_else(|| {
        let names: Vec<String> = facts.profiles.iter().map(|(name, _)| format!("`{name}`")).collect();
        Unfit::NoRootDisk(names.join(", "))
    })?;
    let mut device = device.clone();
    device.insert("size".into(), disk.clone());
    Ok(Devices::from([(name.clone(), device)]))
}

fn check(key: &'static str, value: &str) -> Result<(), Unfit> {
    if bytes(value).is_some() { Ok(()) } else { Err(Unfit::Size { key, value: value.into() }) }
}

/// The word of the rig file and of Incus's API.
pub(super) fn kind_name(kind: InstanceType) -> &'static str {
    match kind {
        InstanceType::Container => "container",
        InstanceType::VirtualMachine => "virtual-machine",
    }
}
