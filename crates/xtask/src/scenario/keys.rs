//! The key pairs of a scenario: who may log in where.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run::Run;

/// An ed25519 key pair of OpenSSH.
#[derive(Debug, Clone)]
pub struct Key {
    /// The private key's file, mode 0600.
    pub private: PathBuf,
    /// The public key: one line without a comment.
    pub public: String,
}

/// All key pairs.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The person's: root and pi on the pi, both accounts of the git host, the target.
    pub operator: Key,
    /// The loops' own: pushes to the work's repositories, not to the lease's.
    pub loops: Key,
    /// The hosts': opens the lease's repository alone.
    pub lease: Key,
}

impl Keys {
    /// Makes them in a folder.
    pub fn make(folder: &Path) -> Result<Self> {
        Ok(Self {
            operator: make(folder, "operator_ed25519")?,
            loops: make(folder, "loops_ed25519")?,
            lease: make(folder, "lease_ed25519")?,
        })
    }
}

fn make(folder: &Path, name: &str) -> Result<Key> {
    let private = folder.join(name);
    Run::new(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&private).run()?;
    let file = private.with_extension("pub");
    let line = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    Ok(Key { private, public: words.join(" ") })
}
