//! Where things lie on a host and on the operator's machine, in one table.

use std::env;
use std::path::{Path, PathBuf};

use ccorch_core::names::{LoopName, RigName};

/// A host's own paths, all under one root (`/`, or `$CCORCH_ROOT` for quick trials without systemd).
#[derive(Debug, Clone)]
pub struct HostPaths {
    root: PathBuf,
}

impl HostPaths {
    /// The paths of the machine this process runs on.
    pub fn of_this_machine() -> Self {
        Self::under(env::var_os("CCORCH_ROOT").unwrap_or_else(|| "/".into()))
    }

    /// The paths under another root.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Configuration: rig file, known hosts.
    pub fn etc(&self) -> PathBuf {
        self.root.join("etc/ccorch")
    }

    /// The rig this host knows.
    pub fn rig(&self) -> PathBuf {
        self.etc().join("rig.json")
    }

    /// Host keys that ssh from this host may trust, and no others.
    pub fn known_hosts(&self) -> PathBuf {
        self.etc().join("known_hosts")
    }

    /// Which host of the rig this machine is: one line with its name.
    pub fn host_name(&self) -> PathBuf {
        self.etc().join("host")
    }

    /// Durable state.
    pub fn state(&self) -> PathBuf {
        self.root.join("var/lib/ccorch")
    }

    /// This host's half of the lease.
    pub fn lease(&self) -> PathBuf {
        self.state().join("lease.json")
    }

    /// Cache of the lease repository.
    pub fn lease_git(&self) -> PathBuf {
        self.state().join("lease.git")
    }

    /// The newest driver of a cutover that this host has heard of.
    pub fn driver(&self) -> PathBuf {
        self.state().join("driver.json")
    }

    /// Copies of the journals of cutovers that acted on this host.
    pub fn journals(&self) -> PathBuf {
        self.state().join("journals")
    }

    /// When this boot's loops have to stop unless the lease is renewed.
    pub fn term(&self) -> PathBuf {
        self.run().join("term.json")
    }

    /// For how long a standby has seen the arbiter show the same renewal.
    pub fn watched(&self) -> PathBuf {
        self.run().join("watched.json")
    }

    /// What is known of this boot and the last: boot_id, heartbeat, clean shutdown.
    pub fn boot(&self) -> PathBuf {
        self.state().join("boot.json")
    }

    /// One JSON object a line for each reboot.
    pub fn reboots(&self) -> PathBuf {
        self.state().join("reboots.jsonl")
    }

    /// What a cutover leaves for the orchestrator sessions to be told at their next start.
    pub fn handoff(&self) -> PathBuf {
        self.state().join("handoff.txt")
    }

    /// Events of the supervisor, JSON lines.
    pub fn events(&self) -> PathBuf {
        self.state().join("events.jsonl")
    }

    /// Events that agents cause at will, JSON lines.
    pub fn chatter(&self) -> PathBuf {
        self.state().join("chatter.jsonl")
    }

    /// One receipt per boot.
    pub fn receipts(&self) -> PathBuf {
        self.state().join("receipts")
    }

    /// What the supervisor keeps about one loop.
    pub fn loop_state(&self, name: &LoopName) -> PathBuf {
        self.state().join("loops").join(format!("{name}.json"))
    }

    /// So much of it as the loop's own processes need, for its user alone.
    pub fn loop_share(&self, name: &LoopName) -> PathBuf {
        self.state().join("shares").join(format!("{name}.json"))
    }

    /// What a loop's own processes may write durably, owned by its user.
    pub fn loop_spool(&self, name: &LoopName) -> PathBuf {
        self.root.join("var/lib/ccorch-loops").join(name.as_str())
    }

    /// Messages to people that wait to be sent, root's alone.
    pub fn outbox(&self) -> PathBuf {
        self.state().join("notify")
    }

    /// The folder of all loops' durable folders, root's.
    pub fn loop_spools(&self) -> PathBuf {
        self.root.join("var/lib/ccorch-loops")
    }

    /// Where a loop's agent leaves messages to people.
    pub fn loop_outbox(&self, name: &LoopName) -> PathBuf {
        self.loop_spool(name).join("notify")
    }

    /// Runtime folder of the supervisor.
    pub fn run(&self) -> PathBuf {
        self.root.join("run/ccorch")
    }

    /// The supervisor's control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// Where agents' hooks are told to the supervisor. In its own folder, not the loops': a loop's is new with each of
    /// its starts, and a folder that an agent can write is none in which root changes modes.
    pub fn hook_socket(&self) -> PathBuf {
        self.run().join("hooks.sock")
    }

    /// Where a loop's hooks wait while no supervisor listens; the loop's own.
    pub fn hook_spool(&self, name: &LoopName) -> PathBuf {
        self.loop_spool(name).join("hooks")
    }

    /// What came of a loop's stops, until a supervisor takes it; the loop's own.
    pub fn stop_spool(&self, name: &LoopName) -> PathBuf {
        self.loop_spool(name).join("stops")
    }

    /// Where in a conversation the delivery of a loop's nudge began.
    pub fn delivery(&self, name: &LoopName) -> PathBuf {
        self.state().join("deliveries").join(format!("{name}.json"))
    }

    /// Present while this boot holds the lease.
    pub fn lease_ok(&self) -> PathBuf {
        self.run().join("lease-ok")
    }

    /// Runtime folder of the proxy: pinned host key, tailscaled's socket.
    pub fn proxy_run(&self) -> PathBuf {
        self.root.join("run/ccorch-proxy")
    }

    /// Durable state of the proxy: tailscaled's node key.
    pub fn proxy_state(&self) -> PathBuf {
        self.root.join("var/lib/ccorch-proxy")
    }

    /// Runtime folder of one loop, owned by its user; a sibling of the supervisor's, never inside it.
    pub fn loop_run(&self, name: &LoopName) -> PathBuf {
        self.root.join("run/ccorch-loops").join(name.as_str())
    }

    /// The loop's tmux socket.
    pub fn tmux_socket(&self, name: &LoopName) -> PathBuf {
        self.loop_run(name).join("tmux")
    }
}

/// The operator's own state for one rig: known hosts, provisioned addresses, journals, lock.
#[derive(Debug, Clone)]
pub struct OperatorPaths {
    dir: PathBuf,
}

impl OperatorPaths {
    /// `$XDG_STATE_HOME/ccorch/RIG`, by default `~/.local/state/ccorch/RIG`.
    pub fn of(rig: &RigName) -> Self {
        let state = env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home =
            || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".local/state");
        Self { dir: state.unwrap_or_else(home).join("ccorch").join(rig.as_str()) }
    }

    /// The folder itself, 0700.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Host keys learnt over authenticated channels.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    /// What provisioning found out about one host (JSON).
    pub fn host(&self, name: &str) -> PathBuf {
        self.dir.join("hosts").join(format!("{name}.json"))
    }

    /// The journals, one file a cutover.
    pub fn journals(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Taken by every verb that changes a host.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The driver's cache of the lease repository.
    pub fn lease_git(&self) -> PathBuf {
        self.dir.join("lease.git")
    }
}
