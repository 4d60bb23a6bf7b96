//! The rig file's schema: all that drives the loops, in one document (YAML on the operator's machine, JSON on hosts).

mod confirm;
mod files;
mod finding;
mod hosts;
mod isolation;
mod lease;
mod loops;
mod notify;
mod parse;
#[cfg(test)]
mod properties;
mod proxy;
mod rules;
mod scalar;
mod schema;
mod secrets;
mod shape;
#[cfg(test)]
mod tests;
mod tree;
mod validate;
mod workspace;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use confirm::{Confirm, Handoff, Health};
pub use files::{FileKind, NamedFile, files};
pub use finding::{Finding, Severity};
pub use hosts::{CutoverHosts, Host, Incus, InstanceType, LegacyRuns, Provider, Qemu, Size};
pub use isolation::Limits;
pub use lease::{LEASE_KEY, LeaseConfig, Offline};
pub use loops::{Agent, Loop, Role};
pub use notify::Notify;
pub use parse::{check, locate_key, parse};
pub use proxy::{Backend, Proxy};
pub use rules::{crosses_in_clear, size_bytes};
pub use schema::schema;
pub use secrets::{SecretItem, Secrets};
pub use tree::MAX_BYTES;
pub use workspace::{Copy, Repository, Workspace};

use crate::names::{HostName, LoopName, RigName};
use crate::seconds::Seconds;

/// A rig: loops, watchdog, orchestrator session, proxy, secrets and workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rig {
    /// The rig's name; it names the lease ref `refs/ccorch/lease/<rig>`.
    pub rig: RigName,
    /// Where the work lies and who owns it.
    pub workspace: Workspace,
    /// The ordered plans; the phase index counts them from 0.
    pub phases: Vec<Phase>,
    /// The long-running agents, by name.
    pub loops: BTreeMap<LoopName, Loop>,
    /// The loops that have to say in their state file that a phase is done; without any, `ccorch phase next` says it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done_when: Vec<LoopName>,
    /// A loop's state file, looked up in `machine-docs/` of its working directory first and in the directory itself
    /// second; `{phase}` and `{loop}` stand for their names. It says that the phase is done by a line `## DONE`.
    #[serde(default = "default_state_file", skip_serializing_if = "is_default_state_file")]
    pub state_file: String,
    /// How long an open turn may show no change before the loop is nudged, then restarted [default: 20m].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<Seconds>,
    /// How long after a finished turn a loop is told to go on, while its phase is open [default: 5m].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_after: Option<Seconds>,
    /// How long a loop that is at work may take to come to a safe point whenever it is stopped, at a shutdown too, once told
    /// and before it gets TERM; `0s` stops it as it is [default: 20s].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<Seconds>,
    /// The SOCKS proxy that gets agents to the machines they manage.
    #[serde(default, skip_serializing_if = "Proxy::is_default")]
    pub proxy: Proxy,
    /// Files with secrets that the agents need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Secrets>,
    /// Where the lease is arbitrated. Without it the host's own file alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseConfig>,
    /// Programs the agents expect on a host, by command name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// The machines that can hold the rig.
    pub hosts: BTreeMap<HostName, Host>,
    /// What `ccorch cutover` does when neither `--from` nor `--to` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutover: Option<CutoverHosts>,
    /// Who is told when a person is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notify>,
}

fn default_state_file() -> String {
    "STATUS-{phase}.md".into()
}

fn is_default_state_file(file: &str) -> bool {
    file == default_state_file()
}

impl Rig {
    /// The login a loop works with: loops with the same one are limited together.
    pub fn account_of(&self, name: &LoopName) -> String {
        let Some(entry) = self.loops.get(name) else { return String::new() };
        let folder = entry.env.get("CLAUDE_CONFIG_DIR").map_or("~/.claude", String::as_str);
        entry.account.clone().unwrap_or_else(|| format!("{}:{folder}", self.user_of(entry)))
    }

    /// The name of a loop's state file in a phase.
    pub fn state_file_of(&self, name: &LoopName, phase: &Phase) -> String {
        self.state_file.replace("{phase}", &phase.id).replace("{loop}", name.as_str())
    }
}

/// One entry of the ordered list of plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// A short name people use for it, for example `1d`.
    pub id: String,
    /// The plan's path, relative to the workspace.
    pub plan: String,
}
