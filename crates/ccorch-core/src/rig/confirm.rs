//! When a cutover's target counts as confirmed: what has to be seen there before the source is let go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cutover::confirm::default_fallback;
use crate::seconds::Seconds;

/// What the target has to show beside loops that work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// How long no loop may end before the target counts as settled.
    #[serde(default = "default_settle")]
    pub settle: Seconds,
    /// So many ends of one loop within the window are a crash loop, which fails the cutover at once.
    #[serde(default = "default_crashes")]
    #[schemars(range(min = 1))]
    pub crashes: u32,
    /// How long, after it has failed, the target waits for a driver to take the cutover back; then it stops its loops and gives
    /// the lease back to the source itself.
    #[serde(default = "default_fallback")]
    pub fallback: Seconds,
    /// URLs that have to answer with a status from 200 to 399.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<Health>,
    /// How hand-offs between loops show; each is waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handoffs: Vec<Handoff>,
}

/// A URL that has to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `http://` or `https://`.
    pub url: String,
    /// Whether it is asked through the rig's proxy.
    #[serde(default)]
    pub proxy: bool,
}

impl Health {
    /// The URL for people and files that others may read.
    pub fn shown(&self) -> String {
        super::rules::shown_url(&self.url)
    }
}

/// A sign that one loop handed on to another: exactly one of `file` and `commits`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// A file, relative to the workspace's root, whose content changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A repository of `workspace.repositories` that gets a new commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commits: Option<String>,
    /// What the file, or the commit's first line, has to contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
}

impl Handoff {
    /// In a few words.
    pub fn words(&self) -> String {
        let what = match (&self.file, &self.commits) {
            (Some(file), _) => format!("a new content of {file}"),
            (None, Some(repository)) => format!("a new commit in {repository}"),
            (None, None) => "a hand-off".into(),
        };
        self.matching.as_ref().map_or(what.clone(), |text| format!("{what} with `{text}`"))
    }
}

impl Default for Confirm {
    fn default() -> Self {
        Self {
            settle: default_settle(),
            crashes: default_crashes(),
            fallback: default_fallback(),
            health: vec![],
            handoffs: vec![],
        }
    }
}

fn default_settle() -> Seconds {
    Seconds(60)
}

fn default_crashes() -> u32 {
    3
}
