//! The workspace: one folder with the same path on every host, because agents key their transcripts by path.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the work lies and who owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// Absolute path, the same on every host.
    pub root: String,
    /// The Unix user that owns it and runs the loops.
    pub user: String,
    /// Git clones by their path relative to `root`; `.` is the root itself, nested clones are normal.
    pub repositories: BTreeMap<String, Repository>,
    /// Folders outside the repositories to copy, by a name of your own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<String, Copy>,
    /// Paths relative to `root` that git ignores and the rig needs all the same, files or folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<String>,
    /// The file with the phase index (one decimal integer), relative to `root`.
    #[serde(default = "default_phase_file")]
    pub phase_file: String,
    /// The reboot log people read (Markdown), relative to `root`.
    #[serde(default = "default_reboot_log")]
    pub reboot_log: String,
}

fn default_phase_file() -> String {
    ".ccorch/phase".into()
}

fn default_reboot_log() -> String {
    "REBOOTS.md".into()
}

/// One git clone of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// The remote's URL, as `git clone` takes it.
    pub url: String,
    /// The branch the loops work on.
    pub branch: String,
}

/// A folder that is copied from the source to the same path on the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Absolute path of the folder, the same on both hosts.
    pub from: String,
}
