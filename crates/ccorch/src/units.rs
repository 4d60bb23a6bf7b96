//! The systemd units, embedded: what Debian hosts are given is what the Nix package ships.

use ccorch_core::rig::Rig;

/// File name below `/etc/systemd/system` and text.
pub const UNITS: &[(&str, &str)] = &[("ccorch.target", include_str!("../units/ccorch.target"))];

/// What the rig adds to the units: path below `/etc/systemd/system` and text.
pub fn drop_ins(_rig: &Rig) -> Vec<(String, String)> {
    Vec::new()
}
