//! This machine as a host of the rig: its name, its rig, its durable state.

pub mod access;
pub mod boot;
pub mod confirm;
pub mod driver;
pub mod events;
pub mod exits;
pub mod handoff;
pub mod isolation;
pub mod journals;
pub mod lease;
pub mod letters;
pub mod loop_state;
pub mod phases;
pub mod receipt;
pub mod runtime;
pub mod start;
pub mod status;
pub mod strangers;
pub mod unattended;

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result, anyhow};
use ccorch_core::names::{HostName, LoopName};
use ccorch_core::rig::{Phase, Rig};
use ccorch_io::durable;
use ccorch_io::paths::HostPaths;

use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};

/// This machine, as one of the rig's hosts.
#[derive(Debug, Clone)]
pub struct Here {
    /// Where its things lie.
    pub paths: HostPaths,
    /// The rig it was given.
    pub rig: Rig,
    /// Which of the rig's hosts it is.
    pub name: HostName,
}

impl Here {
    /// Finds out which host this is, or says that it is none.
    pub fn load(context: &Context) -> Result<Self> {
        let paths = context.host_paths.clone();
        let file = paths.host_name();
        let Ok(name) = fs::read_to_string(&file) else {
            return Err(Problem::new(
                Kind::Unfit,
                format!("this machine is no host of a rig: no {}", file.display()),
            )
            .hint(
                "run this on a host, or name one with `--host`; `ccorch host install` makes a machine a host",
            )
            .into());
        };
        let name = HostName::new(name.trim()).with_context(|| format!("read {}", file.display()))?;
        let LoadedRig { rig, file } = context.rig_at(&paths.rig())?;
        if !rig.hosts.contains_key(&name) {
            let message = format!("{}: this host is `{name}`, which the rig does not know", file.display());
            return Err(Problem::new(Kind::Rig, message).hint("run `ccorch host install` again").into());
        }
        Ok(Self { paths, rig, name })
    }

    /// The phase, by the index in the rig's own file; absent when no phase has that index, or the file holds none.
    pub fn phase(&self) -> Option<(usize, &Phase)> {
        let index = self.phase_index().ok()?;
        Some((index, self.rig.phases.get(index)?))
    }

    /// The index in the rig's own file.
    pub fn phase_index(&self) -> Result<usize> {
        let file = self.in_workspace(&self.rig.workspace.phase_file);
        // A rig that never wrote the file is at its first phase.
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            read => read.with_context(|| format!("read the phase file {}", file.display()))?,
        };
        let text = String::from_utf8_lossy(&text);
        let index = text.trim();
        index.parse().map_err(|_| anyhow!("the phase file {} holds no index: {index:.40?}", file.display()))
    }

    /// The Unix user a loop runs as.
    pub fn user_of(&self, name: &LoopName) -> &str {
        self.rig.loops.get(name).map_or(&self.rig.workspace.user, |spec| self.rig.user_of(spec))
    }

    /// A path relative to the workspace's root.
    pub fn in_workspace(&self, relative: &str) -> std::path::PathBuf {
        std::path::Path::new(&self.rig.workspace.root).join(relative)
    }

    /// Whether a cutover has made this host a standby that runs nothing.
    pub fn is_decommissioned(&self) -> bool {
        self.paths.state().join("standby.json").exists()
    }

    /// The cutover that keeps the loops down at the moment, if one does.
    pub fn quiesced_by(&self) -> Option<String> {
        Some(fs::read_to_string(self.quiesced_file()).ok()?.trim().to_owned())
    }

    /// Keeps the loops down (`Some(journal)`) or lets them start again.
    pub fn set_quiesced(&self, journal: Option<&str>) -> Result<()> {
        match journal {
            Some(journal) => {
                durable::replace(&self.quiesced_file(), format!("{journal}\n").as_bytes(), 0o644)
            }
            None => durable::remove(&self.quiesced_file()),
        }
    }

    fn quiesced_file(&self) -> std::path::PathBuf {
        self.paths.state().join("quiesced")
    }

    /// Creates the host's own folders where systemd has not.
    pub fn create_folders(&self) -> Result<()> {
        let state = self.paths.state();
        for dir in [state.clone(), self.paths.run(), state.join("loops"), state.join("receipts")] {
            durable::create_dir(&dir, 0o755)?;
        }
        durable::create_dir(&state.join("deliveries"), 0o700)?;
        Ok(())
    }
}
