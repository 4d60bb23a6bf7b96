//! The daemon's REST API, through the `incus` client and its unix socket.
//!
//! Paths and bodies as in the Incus documentation, "Main API specification".

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::layout::Layout;
use crate::run::Run;

/// Reaches one daemon; it need not run yet.
#[derive(Debug, Clone)]
pub struct Api {
    incus_dir: PathBuf,
    client_dir: PathBuf,
    /// The bed's project.
    pub project: String,
}

impl Api {
    /// For the daemon of this bed.
    pub fn new(layout: &Layout) -> Self {
        Self { incus_dir: layout.incus_dir(), client_dir: layout.client_dir(), project: layout.project() }
    }

    /// A run of the client program with these arguments.
    pub fn incus<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Run<'static> {
        let run = Run::new(&["incus"]).env("INCUS_DIR", &self.incus_dir).env("INCUS_CONF", &self.client_dir);
        // The last one on the command line would be an option otherwise, should it look like one.
        arguments.iter().fold(run, |run, argument| run.arg(argument))
    }

    /// Whether the daemon answers now.
    pub fn answers(&self) -> bool {
        self.incus(&["query", "/1.0"]).output().is_ok_and(|output| output.status.success())
    }

    /// What is at `path`; `None` when there is nothing.
    pub fn get(&self, path: &str) -> Result<Option<Value>> {
        let run = self.incus(&["query", path]);
        let output = run.output()?;
        if !output.status.success() && says_not_found(&output.stderr) {
            return Ok(None);
        }
        let text = if output.status.success() {
            String::from_utf8_lossy(&output.stdout).into_owned()
        } else {
            run.read()?
        };
        let value =
            serde_json::from_str(&text).with_context(|| format!("the answer of GET {path} is no JSON"))?;
        Ok(Some(value))
    }

    /// Sends a request with a body and waits for what it started.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let body = body.to_string();
        self.incus(&["query", "--wait", "--request", method, "--data", &body, path]).run()
    }

    /// Removes what is at `path`; says whether there was something.
    pub fn delete(&self, path: &str) -> Result<bool> {
        let run = self.incus(&["query", "--wait", "--request", "DELETE", path]);
        let output = run.output()?;
        if output.status.success() {
            return Ok(true);
        }
        if says_not_found(&output.stderr) {
            return Ok(false);
        }
        anyhow::bail!("DELETE {path} failed\n{}", crate::run::tail(&output))
    }
}

/// `incus query` tells a missing thing from other failures by its text alone.
fn says_not_found(stderr: &[u8]) -> bool {
    String::from_utf8_lossy(stderr).to_lowercase().contains("not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_thing_is_told_from_a_failure() {
        assert!(says_not_found(b"Error: Network not found\n"));
        assert!(!says_not_found(b"Error: Get \"http://unix.socket/1.0\": connection refused\n"));
    }
}
