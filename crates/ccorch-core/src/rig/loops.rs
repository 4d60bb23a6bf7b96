//! Loops: the long-running agents and what runs in each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Limits, Rig};
use crate::seconds::Seconds;

/// One long-running agent, in a unit and a tmux server of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loop {
    /// What the supervisor knows about the program.
    pub agent: Agent,
    /// Its working directory, relative to the workspace's root; `.` is the root.
    pub workdir: String,
    /// For `agent: command`, the program and its arguments; for `agent: claude`, arguments added to ccorch's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The file whose text starts the first conversation, relative to the workspace's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// A file others leave messages in, relative to the loop's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox: Option<String>,
    /// Whether this is the interactive session above the others.
    #[serde(default, skip_serializing_if = "Role::is_worker")]
    pub role: Role,
    /// The name under which the agent offers remote control, where it has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_control: Option<String>,
    /// The login it works with, by a name of your own: a limit of one loop is taken for a limit of all with that name
    /// [default: the user and the agent's configuration folder].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How long an open turn may show no change, for this loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after: Option<Seconds>,
    /// How long after a finished turn it is told to go on, for this loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_after: Option<Seconds>,
    /// How long it may take to come to a safe point when it is stopped at work, for this loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<Seconds>,
    /// Environment variables added for this loop. Secrets belong in `secrets`, not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The Unix user it runs as [default: the workspace's]; `ccorch host install` makes it, in the group of the
    /// workspace's user. Such a loop may write its working directory and reads the rest of the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may use of the host.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// What it can read and not change: absolute, or relative to the workspace's root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only: Vec<String>,
    /// What it cannot even see: absolute, or relative to the workspace's root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
}

/// The agent adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Agent {
    /// Claude Code: sessions are chosen, resumed and watched.
    Claude,
    /// Anything: started and restarted, nothing more is known of it.
    Command,
}

/// What a loop is to the rig.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Works on the phase's plan.
    #[default]
    Worker,
    /// The interactive session above the loops; told about every reboot.
    Orchestrator,
}

/// How long a loop may take to a safe point where nobody says.
const STOP_GRACE: Seconds = Seconds(20);

impl Rig {
    /// How long a loop that is at work may take to come to a safe point when it is stopped.
    pub fn stop_grace_of(&self, spec: &Loop) -> Seconds {
        spec.stop_grace.or(self.stop_grace).unwrap_or(STOP_GRACE)
    }
}

impl Role {
    fn is_worker(&self) -> bool {
        *self == Self::Worker
    }
}
