//! One host of a cutover: reached, and asked in the words its kind understands.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Side as Planned, SideKind};
use ccorch_core::lease::Turn;
use ccorch_core::names::HostName;
use ccorch_core::rig::{LegacyRuns, Workspace};
use ccorch_io::command::Command;
use ccorch_io::host::Host;
use serde::de::DeserializeOwned;

use crate::context::LoadedRig;
use crate::{reach, remote};

/// One host of a cutover.
#[derive(Debug)]
pub struct Side {
    /// Its name in the rig.
    pub name: HostName,
    /// How it runs the rig.
    pub kind: SideKind,
    /// The host itself.
    pub host: Host,
    /// How its legacy rig is started and stopped.
    pub runs: Option<LegacyRuns>,
    /// The workspace, the same on both.
    pub workspace: Workspace,
    /// The turn of the driver that acts, which every act carries; 0 before it has one.
    turn: AtomicU64,
}

impl Side {
    /// Reaches the host.
    pub fn connect(loaded: &LoadedRig, planned: &Planned) -> Result<Self> {
        let entry = reach::entry(loaded, &planned.name)?;
        Ok(Self {
            name: planned.name.clone(),
            kind: planned.kind,
            host: reach::connect(loaded, &planned.name)?,
            runs: entry.runs.clone(),
            workspace: loaded.rig.workspace.clone(),
            turn: AtomicU64::new(0),
        })
    }

    /// The driver's turn.
    pub fn turn(&self) -> Turn {
        Turn(self.turn.load(Ordering::Relaxed))
    }

    /// The driver has taken the cutover in hand.
    pub fn set_turn(&self, turn: Turn) {
        self.turn.store(turn.0, Ordering::Relaxed);
    }

    /// A verb of the ccorch that is installed there.
    pub fn ccorch(&self, args: &[&str]) -> Command {
        let argv: Vec<&str> = std::iter::once(remote::INSTALLED).chain(args.iter().copied()).collect();
        self.host.command(&argv)
    }

    /// The JSON that a verb prints; its exit status is not asked, because `status` uses it.
    pub fn ccorch_json<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        let command = self.ccorch(args);
        let output = command.output()?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| anyhow::Error::from(command.failed(&output)))
            .with_context(|| format!("{} does not answer as expected", self.name))
    }

    /// A small script as root, with arguments; its text is this program's own.
    pub fn script(&self, shown: &str, script: &str, args: &[&str]) -> Command {
        let argv: Vec<&str> =
            ["sh", "-c", script, "ccorch"].into_iter().chain(args.iter().copied()).collect();
        self.host.command(&argv).shown_as(shown)
    }
}
