//! This machine as a host of the rig: its name, its rig, its durable state.

pub mod access;
pub mod again;
pub mod boot;
pub mod carried;
pub mod confirm;
pub mod driver;
pub mod events;
pub mod exits;
pub mod handoff;
pub mod handover;
pub mod holders;
pub mod isolation;
pub mod journals;
pub mod keyboard;
pub mod lease;
pub mod leave;
pub mod letters;
pub mod loop_state;
mod outside;
mod own_exit;
pub mod phases;
pub mod receipt;
pub mod runtime;
pub mod standby;
pub mod start;
pub mod status;
pub mod strangers;
pub mod strays;
pub mod unattended;

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result, anyhow, bail};
use ccorch_core::names::{HostName, LoopName};
use ccorch_core::rig::{Phase, Rig};
use ccorch_io::paths::HostPaths;
use ccorch_io::{content, durable};

use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};

/// So much of a phase file is read: an index, and what is shown of one that is none.
const LONGEST_INDEX: u64 = 4 << 10;

/// What a host is without its rig: enough for what its units ask at every start of a loop, in a few milliseconds.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Where its things lie.
    pub paths: HostPaths,
    /// Which of the rig's hosts it is.
    pub name: HostName,
}

impl Ground {
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
        Ok(Self { paths, name })
    }
}

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
        let Ground { paths, name } = Ground::load(context)?;
        let LoadedRig { rig, file } = context.rig_at(&paths.rig())?;
        if !rig.hosts.contains_key(&name) {
            let message = format!("{}: this host is `{name}`, which the rig does not know", file.display());
            return Err(Problem::new(Kind::Rig, message).hint("run `ccorch host install` again").into());
        }
        Ok(Self { paths, rig, name })
    }

    /// The same for what runs once for each start of each loop: a rig that this host was given was checked then, and again by
    /// the supervisor, so it is read without looking for mistakes. One that this cannot read is read in full, and explained.
    pub fn load_checked(context: &Context) -> Result<Self> {
        let Ground { paths, name } = Ground::load(context)?;
        match serde_json::from_slice(&fs::read(paths.rig()).unwrap_or_default()) {
            Ok(rig) => Ok(Self { paths, rig, name }),
            Err(_) => Self::load(context),
        }
    }

    /// What it is without its rig.
    pub fn ground(&self) -> Ground {
        Ground { paths: self.paths.clone(), name: self.name.clone() }
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
        let read = || format!("read the phase file {}", file.display());
        let text = match content::text(&file, LONGEST_INDEX).with_context(read)? {
            Some(text) => text,
            None => match fs::metadata(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error).with_context(read),
                Ok(_) => bail!(
                    "the phase file {} is no plain file; move it away, then `ccorch phase set`",
                    file.display()
                ),
            },
        };
        // What stands there instead may be anything that root can read: the file is the agents', and so is where it leads.
        let none =
            || anyhow!("the phase file {} holds no index; write one with `ccorch phase set`", file.display());
        text.trim().parse().map_err(|_| none())
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

    /// Keeps the loops down (`Some(journal)`) or lets them start again.
    pub fn set_quiesced(&self, journal: Option<&str>) -> Result<()> {
        match journal {
            Some(journal) => {
                durable::replace(&quiesced_file(&self.paths), format!("{journal}\n").as_bytes(), 0o644)
            }
            None => durable::remove(&quiesced_file(&self.paths)),
        }
    }

    /// Creates the host's own folders where systemd has not.
    pub fn create_folders(&self) -> Result<()> {
        let state = self.paths.state();
        for dir in [state.clone(), self.paths.run(), state.join("shares")] {
            durable::create_dir(&dir, 0o755)?;
        }
        // What they tell of one loop is nothing for another one's user.
        for dir in ["loops", "receipts", "deliveries"] {
            durable::create_dir(&state.join(dir), 0o700)?;
        }
        Ok(())
    }
}

/// The cutover that keeps a host's loops down at the moment, if one does.
pub fn quiesced_by(paths: &HostPaths) -> Option<String> {
    Some(fs::read_to_string(quiesced_file(paths)).ok()?.trim().to_owned())
}

fn quiesced_file(paths: &HostPaths) -> std::path::PathBuf {
    paths.state().join("quiesced")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checked_rig_is_the_same_without_a_look_for_mistakes() {
        for example in ["cc-ci", "two-debian-hosts"] {
            let text = fs::read_to_string(format!("../../examples/{example}.yaml")).unwrap();
            let rig = ccorch_core::install::host_rig(&ccorch_core::rig::parse(&text).unwrap());
            let rendered = serde_json::to_vec_pretty(&rig).unwrap();
            assert_eq!(serde_json::from_slice::<Rig>(&rendered).unwrap(), rig, "{example}");
        }
    }
}
