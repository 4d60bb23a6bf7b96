//! Who is told when a person is needed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to tell a person: exactly one of `ntfy`, `webhook` and `command`. In place of a URL that is a secret itself, as those of
/// many webhooks are, stands `file:///PATH`: a file on the host that holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// The URL of an ntfy topic (<https://docs.ntfy.sh/publish/>).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ntfy: Option<String>,
    /// A URL that is sent JSON: `rig`, `host`, `loop` (of a message by an agent), `text`, `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// A program and its arguments; it runs as the workspace's user and reads who speaks, in a line, and the words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// A file on the host with the access token for `ntfy` or `webhook`, sent as `Authorization: Bearer`; `secrets` can
    /// put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
}
