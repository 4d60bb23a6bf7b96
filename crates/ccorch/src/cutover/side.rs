//! One host of a cutover: reached, and asked in the words its kind understands.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Side as Planned, SideKind};
use ccorch_core::lease::Turn;
use ccorch_core::names::HostName;
use ccorch_core::rig::{LegacyRuns, Workspace};
use ccorch_io::command::Command;
use ccorch_io::host::Host;
use ccorch_io::quote;
use serde::de::DeserializeOwned;

use crate::context::LoadedRig;
use crate::here::driver::STALE;
use crate::{reach, remote};

/// Time to say that it is there.
const ANSWER: Duration = Duration::from_secs(20);

/// Runs a command unless a newer driver was here: its record is `TURN ID` on a host without ccorch, else JSON. Under a lock that
/// such commands share; a driver that takes over waits for it a while, and ends who has it still: a machine that sleeps may have
/// left it waiting for its next word.
pub const GATE: &str = r#"
state=/var/lib/ccorch; lock=$state/driver-acts.lock; turn=$1; stale=$2; shift 2
if [ -e "$lock" ]; then
  exec 9< "$lock"
  if ! flock -s -w 120 9; then echo "error: $stale: another driver's act goes on here" >&2; exit 6; fi
fi
for seen in $(sed -n 's/^\([0-9][0-9]*\) .*/\1/p; s/^.*"turn": *\([0-9][0-9]*\).*/\1/p' \
  "$state/driver-turn" "$state/driver.json" 2> /dev/null); do
  if [ "$seen" -gt "$turn" ]; then
    echo "error: $stale: a newer driver has taken over (turn $seen)" >&2; exit 6
  fi
done
exec "$@"
"#;
/// Without the lock of [`GATE`].
pub const LEAVES: &str = r#"exec 9<&-; exec "$@""#;

/// One of the two hosts, reached when the first thing is to be done there: what needs the other one alone goes on without it.
#[derive(Debug)]
pub struct Lazy<'a> {
    loaded: &'a LoadedRig,
    planned: &'a Planned,
    reached: OnceLock<Side>,
    turn: AtomicU64,
}

impl<'a> Lazy<'a> {
    /// A host that nobody has asked for yet.
    pub fn new(loaded: &'a LoadedRig, planned: &'a Planned) -> Self {
        Self { loaded, planned, reached: OnceLock::new(), turn: AtomicU64::new(0) }
    }

    /// In place of the host, one that is there.
    pub fn replace(&self, side: Side) {
        let _ = self.reached.set(side);
    }

    /// The host, reached by now.
    pub fn get(&self) -> Result<&Side> {
        let side = match self.reached.get() {
            Some(side) => side,
            None => {
                let side = Side::connect(self.loaded, self.planned)?;
                self.reached.get_or_init(|| side)
            }
        };
        side.set_turn(Turn(self.turn.load(Ordering::Relaxed)));
        Ok(side)
    }

    /// The driver has taken the cutover in hand.
    pub fn set_turn(&self, turn: Turn) {
        self.turn.store(turn.0, Ordering::Relaxed);
    }
}

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
    /// Where this machine stands in for a host that is gone: the root of its ccorch here, which has nothing to start.
    stand_in: Option<PathBuf>,
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
            stand_in: None,
            turn: AtomicU64::new(0),
        })
    }

    /// This machine in place of a host that runs ccorch and is gone for good: it takes cutovers in hand and writes the lease
    /// as that host would, under a root of its own.
    pub fn stand_in(loaded: &LoadedRig, planned: &Planned, root: PathBuf) -> Self {
        Self {
            name: planned.name.clone(),
            kind: planned.kind,
            host: Host::here(planned.name.as_str()),
            runs: None,
            workspace: loaded.rig.workspace.clone(),
            stand_in: Some(root),
            turn: AtomicU64::new(0),
        }
    }

    /// Whether the host itself is gone.
    pub fn is_gone(&self) -> bool {
        self.stand_in.is_some()
    }

    /// The driver's turn.
    pub fn turn(&self) -> Turn {
        Turn(self.turn.load(Ordering::Relaxed))
    }

    /// The driver has taken the cutover in hand.
    pub fn set_turn(&self, turn: Turn) {
        self.turn.store(turn.0, Ordering::Relaxed);
    }

    /// Whether the host can be reached now.
    pub fn answers(&self) -> bool {
        self.host.command(&["true"]).deadline(ANSWER).run().is_ok()
    }

    /// A verb of the ccorch that is installed there.
    pub fn ccorch(&self, args: &[&str]) -> Command {
        if let Some(root) = &self.stand_in {
            let program = std::env::current_exe().unwrap_or_else(|_| "ccorch".into());
            return Command::new(program).args(args).env("CCORCH_ROOT", root);
        }
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

    /// A small script as root, with arguments, that changes nothing; its text is this program's own.
    pub fn script(&self, shown: &str, script: &str, args: &[&str]) -> Command {
        self.host.command(&words(script, args)).shown_as(shown)
    }

    /// The host for what changes something on it: every command is refused once a newer driver was there, and that waits until the
    /// command is over. Before there is a turn it is the host itself.
    pub fn acting(&self) -> Host {
        let turn = self.turn();
        let gate = ["sh", "-c", GATE, "gate", &turn.0.to_string(), STALE].map(Into::into);
        if turn.0 == 0 || self.is_gone() { self.host.clone() } else { self.host.gated(gate.into()) }
    }

    /// A script that changes something.
    pub fn act(&self, shown: &str, script: &str, args: &[&str]) -> Command {
        self.acting().command(&words(script, args)).shown_as(shown)
    }

    /// A command of the rig's owner, as its user in its workspace. What that leaves running holds no newer driver up.
    pub fn owners(&self, command: &[String]) -> Command {
        let argv: Vec<&str> =
            ["sh", "-c", LEAVES, "owner"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let (user, root) = (&self.workspace.user, &self.workspace.root);
        self.acting().command_as(user, root, &argv).shown_as(quote::argv(command))
    }
}

fn words<'a>(script: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    ["sh", "-c", script, "ccorch"].into_iter().chain(args.iter().copied()).collect()
}
