//! What a person wants of a loop; what becomes of it then is decided in [`crate::fleet`].

use serde::{Deserialize, Serialize};

/// What a person or the rig wants of a loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It runs whenever this host holds the lease.
    #[default]
    Run,
    /// It stays down until `ccorch loops start`.
    Held,
}
