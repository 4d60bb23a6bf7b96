//! What is written down about a running bed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// All that somebody needs to talk to the bed. Written to `bed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The checkout whose bed this is.
    pub checkout: PathBuf,
    /// The daemon's process.
    pub pid: i32,
    /// Its REST API, such as `https://127.0.0.1:40123`.
    pub url: String,
    /// SHA-256 of the daemon's certificate in DER, in hex.
    pub fingerprint: String,
    /// The Incus project that everything lives in.
    pub project: String,
    /// The client certificate that the daemon trusts, for this project alone.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The storage pool.
    pub pool: String,
    /// The bridge.
    pub network: String,
    /// The bridge's subnet, such as `10.18.52.0/24`.
    pub subnet: String,
    /// Alias of the system image in the project.
    pub image: String,
    /// The daemon's own folder (`INCUS_DIR`).
    pub incus_dir: PathBuf,
}

impl State {
    /// The state last written for this bed, if any.
    pub fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.state_file();
        match std::fs::read(&path) {
            Ok(bytes) => {
                let state = serde_json::from_slice(&bytes);
                // A bed that went down half-way left nothing worth keeping: `up` writes it anew.
                Ok(state.ok())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes it in one piece.
    pub fn write(&self, layout: &Layout) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        replace(&layout.state_file(), text.as_bytes(), 0o644)
    }

    /// The port of the REST API.
    pub fn port(&self) -> Option<u16> {
        self.url.rsplit_once(':')?.1.parse().ok()
    }
}

/// Writes a file whole: whoever reads it sees the old text or the new.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let beside = path.with_extension("new");
    let write = || {
        // A left-over one might have another mode.
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_rubbish_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(Path::new("/src/one"), folder.path()).unwrap();
        assert_eq!(State::read(&layout).unwrap(), None);
        std::fs::create_dir_all(&layout.home).unwrap();
        let state = State {
            checkout: "/src/one".into(),
            pid: 7,
            url: "https://127.0.0.1:4012".into(),
            fingerprint: "ab".into(),
            project: "ccorch".into(),
            certificate: layout.certificate(),
            key: layout.key(),
            pool: "default".into(),
            network: layout.bridge(),
            subnet: "10.1.2.0/24".into(),
            image: "debian-12".into(),
            incus_dir: layout.incus_dir(),
        };
        state.write(&layout).unwrap();
        assert_eq!(State::read(&layout).unwrap().as_ref(), Some(&state));
        assert_eq!(state.port(), Some(4012));
        std::fs::write(layout.state_file(), "{").unwrap();
        assert_eq!(State::read(&layout).unwrap(), None);
    }
}
