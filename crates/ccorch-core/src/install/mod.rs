//! What `ccorch host install` has to do: from what is found on a host and what is wanted there to a list of actions.
//!
//! An empty list means that there is nothing to do; a host that is not fit gives all reasons at once.

mod elf;
mod facts;
mod known_hosts;
mod plan;
mod render;

pub use elf::{Binary, NotElf};
pub use facts::{FACTS_SCRIPT, Facts, FileFact, UserFact};
pub use known_hosts::{KeyLine, host_of_url, key_line, proxy_host, ssh_hosts};
pub use plan::{Action, File, MANIFEST, UNFINISHED, USER_ENTRY, Unfit, Wanted, manifest, plan};
pub use render::{host_rig, ssh_config};

/// Where the binary lies on a Debian host; hooks and units call it by this path, which survives upgrades.
pub const BINARY: &str = "/usr/local/bin/ccorch";
/// Where a new binary proves itself before it takes [`BINARY`]'s place; on the same file system, so that renaming is atomic.
pub const NEW_BINARY: &str = "/usr/local/bin/.ccorch.new";
/// Entries that send ssh through the rig's proxy.
pub const SSH_CONFIG: &str = "/etc/ssh/ssh_config.d/50-ccorch.conf";
/// Where unit files of the administrator lie (systemd.unit(5)).
pub const UNIT_DIR: &str = "/etc/systemd/system";
