//! How a loop's agent ended, recorded by its parent: through tmux and systemd alone, status and signal are lost.

use std::collections::VecDeque;

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_core::stop::{self, LastRun, Records, SafePoint, StopReason};
use ccorch_io::paths::HostPaths;
use ccorch_io::spool::{self, Full};
use ccorch_io::{content, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// These records lie in folders of the loop's user, who may put anything in their place; none of them is longer.
const LONGEST: u64 = 1 << 20;

/// One end of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The boot it ran in.
    pub boot_id: String,
    /// Exit status, unless a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal, if one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether it had been asked to leave (a stop of its unit, a shutdown).
    #[serde(default)]
    pub asked: bool,
    /// Why the agent could not even be started, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the kernel did for the loop's limits, in words that say how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The last screen, bounded.
    #[serde(default)]
    pub screen: String,
}

impl Exit {
    /// In a few words.
    pub fn words(&self) -> String {
        if let Some(error) = &self.error {
            return error.clone();
        }
        let how = self.kernel.clone().unwrap_or_else(|| how(self.code, self.signal));
        if self.asked { format!("{how}, as asked") } else { how }
    }
}

/// How a process ended, in a few words.
pub fn how(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (_, Some(signal)) => format!("ended by signal {signal}"),
        (Some(code), None) => format!("exit status {code}"),
        (None, None) => "ended, how is not known".into(),
    }
}

/// The running agent, as its parent sees it; in the loop's runtime folder, so it is gone with the unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The agent's process.
    pub pid: u32,
    /// Its parent, which records how it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// Since when.
    pub started: Timestamp,
    /// Its conversation, for agents that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<uuid::Uuid>,
}

/// The last end of a loop's agent.
pub fn last(paths: &HostPaths, name: &LoopName) -> Option<Exit> {
    content::json(&paths.loop_spool(name).join("last-exit.json"), LONGEST)
}

/// Records an end, whole for whoever reads it from now on, and on disk after [`keep`]. The newest is what counts; history
/// is kept by the supervisor.
pub fn record(paths: &HostPaths, name: &LoopName, exit: &Exit) -> Result<()> {
    durable::put_json(&paths.loop_spool(name).join("last-exit.json"), exit, 0o600)
}

/// Has the record of the last end on disk; that it cannot be stops nothing.
pub fn keep(paths: &HostPaths, name: &LoopName) {
    if let Err(error) = durable::sync(&paths.loop_spool(name).join("last-exit.json")) {
        eprintln!("warning: how loop {name} ended may not outlive a power cut: {error:#}");
    }
}

/// Runs of a loop's agent that are known, each by its beginning as it was recorded.
#[derive(Debug, Clone, Default)]
pub struct Past(VecDeque<Timestamp>);

impl Past {
    /// Those that can be taken for a present one.
    const KEPT: usize = 8;

    /// Whether that run is one of them.
    pub fn knows(&self, started: Timestamp) -> bool {
        self.0.contains(&started)
    }

    /// One more, if there is one.
    pub fn note(&mut self, started: Option<Timestamp>) {
        if let Some(started) = started.filter(|started| !self.knows(*started)) {
            self.0.push_back(started);
            while self.0.len() > Self::KEPT {
                self.0.pop_front();
            }
        }
    }
}

/// The running agent of a loop.
pub fn running(paths: &HostPaths, name: &LoopName) -> Option<Running> {
    content::json(&paths.loop_run(name).join("agent.json"), LONGEST)
}

/// Records the running agent.
pub fn set_running(paths: &HostPaths, name: &LoopName, running: &Running) -> Result<()> {
    durable::replace_json(&paths.loop_run(name).join("agent.json"), running, 0o600)
}

/// Forgets the agent that ran before, and whether it was asked to leave. Under systemd the folder is new with each
/// start; elsewhere a stale pid would belong to somebody else one day.
pub fn forget(paths: &HostPaths, name: &LoopName) -> Result<()> {
    durable::remove(&paths.loop_run(name).join("agent.json"))?;
    durable::remove(&paths.loop_run(name).join("asked"))
}

/// Takes note, or forgets, that the agent was asked to leave.
pub fn set_asked(paths: &HostPaths, name: &LoopName, asked: bool) -> Result<()> {
    let mark = paths.loop_run(name).join("asked");
    if asked { durable::replace(&mark, b"", 0o600) } else { durable::remove(&mark) }
}

/// A stop of a loop that somebody wished; durable, because the agent may not live to have its end recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: StopReason,
    /// The beginning of the run that it stopped.
    pub run: Timestamp,
    /// What came of its safe point, where it could come to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_point: Option<SafePoint>,
}

impl Stop {
    /// In words.
    pub fn words(&self) -> String {
        let came = self.safe_point.map(|came| format!("; {}", came.words())).unwrap_or_default();
        format!("{}{came}", self.why.words())
    }
}

/// The beginning of an agent's latest run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// When.
    pub at: Timestamp,
    /// In which boot.
    pub boot_id: String,
}

/// The last stop that somebody wished.
pub fn last_stop(paths: &HostPaths, name: &LoopName) -> Option<Stop> {
    content::json(&paths.loop_spool(name).join("last-stop.json"), LONGEST)
}

/// Records a stop before it is made. Readable by all: without systemd root writes it, and the loop's user reads it.
pub fn record_stop(paths: &HostPaths, name: &LoopName, stop: &Stop) -> Result<()> {
    durable::replace_json(&paths.loop_spool(name).join("last-stop.json"), stop, 0o644)
}

/// Leaves word of what came of a stop, for the supervisor: at a shutdown it has left before.
pub fn leave_word(paths: &HostPaths, name: &LoopName, stop: &Stop) -> Result<()> {
    record_stop(paths, name, stop)?;
    spool::leave(&paths.stop_spool(name), &serde_json::to_vec(stop)?, Full::DropOldest)
}

/// What became of the agent's last run before this one.
pub fn last_run(paths: &HostPaths, name: &LoopName, began: &Began) -> Option<LastRun> {
    let before = self::began(paths, name);
    let stop = last_stop(paths, name);
    stop::last_run(Records {
        began: before.as_ref().map(|before| (before.at, before.boot_id.as_str())),
        stopped: stop.map(|stop| (stop.at, stop.why, stop.run)),
        ended: last(paths, name).map(|exit| exit.started),
        boot_id: &began.boot_id,
    })
}

/// The beginning of the agent's latest run.
pub fn began(paths: &HostPaths, name: &LoopName) -> Option<Began> {
    content::json(&paths.loop_spool(name).join("began.json"), LONGEST)
}

/// From now on `began` is the agent's latest run.
pub fn set_began(paths: &HostPaths, name: &LoopName, began: &Began) -> Result<()> {
    durable::replace_json(&paths.loop_spool(name).join("began.json"), began, 0o600)
}

/// Whether the agent was asked to leave.
pub fn was_asked(paths: &HostPaths, name: &LoopName) -> bool {
    paths.loop_run(name).join("asked").exists()
}
