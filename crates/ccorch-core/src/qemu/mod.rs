//! A local QEMU virtual machine: what the rig file asks for, what is there, and what is missing.
//!
//! The machine has a disk of its own, made from the image once: a rig that lives for months must not depend on a file in
//! somebody's download folder. Its ssh host key is made by the operator and handed in by cloud-init, so that it is known
//! before the first contact.

mod argv;
mod decide;
mod seed;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use argv::argv;
pub use decide::{Facts, Refusal, Step, decide};
pub use seed::{HostKey, LABEL, Seed, seed};
pub use unit::{Unit, unit, unit_name};

use crate::provision::{self, PublicKey};
use crate::rig;

/// What a machine gets that the rig file says nothing about.
const CPUS: u32 = 2;
const MEMORY: u64 = 2 << 30;

/// Why no machine can be as the rig file asks; each text names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMachine {
    /// Not a size.
    #[error("`{key}: {value}` is not a size like `2GiB`")]
    Size {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Too little to boot anything.
    #[error("`size.memory: {0}` is less than 128 MiB")]
    Memory(String),
    /// No processor.
    #[error("`size.cpus: 0` is no machine")]
    Cpus,
    /// No port.
    #[error("`qemu.ssh_port: 0` is no port")]
    Port,
}

/// What a machine is started with; another start may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The loopback port that leads to its ssh.
    pub ssh_port: u16,
}

/// The machine the rig file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is started with.
    pub shape: Shape,
    /// Its disk in bytes; as large as the image when `None`.
    pub disk: Option<u64>,
    /// The image's absolute path.
    pub image: String,
    /// The operator's key that logs in as root.
    pub key: PublicKey,
}

impl Wanted {
    /// The machine a host's entry asks for. `image` is the absolute path of its image.
    pub fn from(
        settings: &rig::Qemu,
        size: Option<&rig::Size>,
        image: String,
        key: PublicKey,
    ) -> Result<Self, BadMachine> {
        let bytes = |key: &'static str, value: Option<&String>| {
            let bad = |value: &String| BadMachine::Size { key, value: value.clone() };
            value.map(|value| provision::bytes(value).ok_or_else(|| bad(value))).transpose()
        };
        let memory_text = size.and_then(|size| size.memory.as_ref());
        let memory = bytes("size.memory", memory_text)?.unwrap_or(MEMORY);
        if memory < 128 << 20 {
            return Err(BadMachine::Memory(memory_text.cloned().unwrap_or_default()));
        }
        let cpus = size.and_then(|size| size.cpus).unwrap_or(CPUS);
        if cpus == 0 {
            return Err(BadMachine::Cpus);
        }
        if settings.ssh_port == 0 {
            return Err(BadMachine::Port);
        }
        let disk = bytes("size.disk", size.and_then(|size| size.disk.as_ref()))?;
        let shape = Shape { cpus, memory_mib: memory >> 20, ssh_port: settings.ssh_port };
        Ok(Self { shape, disk, image, key })
    }
}

/// What a machine was made from; kept beside its disk, written last, so that a half-made machine has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// cloud-init's instance id: another one would make it run anew.
    pub instance_id: String,
    /// The image.
    pub image: String,
    /// The key that logs in.
    pub key: String,
    /// Its public ssh host key.
    pub host_key: String,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The processor's own virtualisation.
    Kvm,
    /// Emulation: many times slower, works everywhere.
    Tcg,
}

/// KVM where it opens, unless it has failed a guest since this machine booted.
pub fn accelerator(kvm_opens: bool, kvm_failed_this_boot: bool) -> Accelerator {
    if kvm_opens && !kvm_failed_this_boot { Accelerator::Kvm } else { Accelerator::Tcg }
}

/// What QEMU's run state means for a machine that is coming up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may still come.
    Wait,
    /// KVM cannot run this guest here: start it again with TCG.
    FallBack,
    /// It will not come by itself.
    Broken,
}

/// A guest that neither reads nor writes its disk nor its serial line for so long, and has no ssh yet, does not boot: half
/// of what KVM fails at ends like this, in the boot loader, with the run state `running` (seen). Boot menus are shorter.
pub const QUIET: Duration = Duration::from_secs(45);

/// Judges a machine that does not answer yet by its run state (QMP `RunState`,
/// <https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html>) and by how long it has been quiet.
pub fn judge(accelerator: Accelerator, state: &str, quiet: Duration) -> Verdict {
    match (accelerator, state) {
        // What nested or half-working virtualisation ends in, often at the guest kernel's first steps.
        (Accelerator::Kvm, "internal-error") => Verdict::FallBack,
        (Accelerator::Kvm, "running") if quiet >= QUIET => Verdict::FallBack,
        // `io-error` is most often this machine's own full disk.
        (_, "internal-error" | "io-error" | "guest-panicked" | "shutdown" | "watchdog") => Verdict::Broken,
        _ => Verdict::Wait,
    }
}

/// Where a machine's files lie: all in one folder, 0700.
#[derive(Debug, Clone)]
pub struct Files {
    /// The folder.
    pub dir: PathBuf,
}

impl Files {
    /// Its disk.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.qcow2")
    }

    /// cloud-init's seed.
    pub fn seed(&self) -> PathBuf {
        self.dir.join("seed.iso")
    }

    /// What it was made from: [`Made`].
    pub fn made(&self) -> PathBuf {
        self.dir.join("made.json")
    }

    /// What it was started with: [`Started`].
    pub fn started(&self) -> PathBuf {
        self.dir.join("started.json")
    }

    /// When KVM failed: the boot_id of this machine then.
    pub fn kvm_failed(&self) -> PathBuf {
        self.dir.join("kvm-failed.json")
    }

    /// Its process id, locked by QEMU while it runs.
    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// QEMU's control socket.
    pub fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// What it writes to its serial line since the last start.
    pub fn serial(&self) -> PathBuf {
        self.dir.join("serial.log")
    }

    /// Taken while it is started or stopped.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

/// What a machine was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Processors, memory, port.
    #[serde(flatten)]
    pub shape: Shape,
    /// What runs it.
    pub accelerator: Accelerator,
}

#[cfg(test)]
mod tests;
