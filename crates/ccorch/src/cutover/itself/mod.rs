//! A cutover that is driven from one of its own hosts: the driver leaves the rig's session, and hands over to the target.
//! What is decided is in `ccorch_core::cutover::itself`.

mod above;
mod follow;
mod leave;
mod onlook;
mod over;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_io::command::Command;
use ccorch_io::host::{Host, Reach};

pub use leave::{Leaving, leave, would_leave};
pub use onlook::{Drives, look_on};
pub use over::able;

use crate::context::LoadedRig;
use crate::reach;

/// Prints what is one machine's alone, as long as it runs: its boot, and its processes' own numbers, which tell two containers
/// of one kernel apart.
const IDENTITY: &str = "cat /proc/sys/kernel/random/boot_id && readlink /proc/self/ns/pid";

/// Whether a host is the machine that this runs on: the host itself answers that.
fn is_this_machine(host: &Host) -> Result<bool> {
    let ask = ["sh", "-c", IDENTITY];
    let theirs = host.command(&ask).shown_as("tell which machine it is").read()?;
    Ok(Command::new(ask[0]).args(&ask[1..]).read()? == theirs)
}

/// A host of the rig, by a connection of this call's own: one that is shared may lie in what is about to be ended.
fn unshared(loaded: &LoadedRig, name: &HostName) -> Result<Host> {
    let ssh = ccorch_io::ssh::Ssh { control_dir: None, ..reach::ssh(loaded, name)? };
    Host::connect(name.as_str(), Reach::Ssh(Box::new(ssh)))
}

/// What a driver hands over: who drives on the target, and by which rig file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Able {
    /// The user.
    pub user: String,
    /// The rig file's place, the same as here.
    pub rig: String,
}
