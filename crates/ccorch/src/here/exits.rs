//! How a loop's agent ended, recorded by its parent: through tmux and systemd alone, status and signal are lost.

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_core::stop::{LastRun, Records, StopReason, last_run};
use ccorch_io::durable;
use ccorch_io::paths::HostPaths;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    durable::read_json(&paths.loop_spool(name).join("last-exit.json")).ok().flatten()
}

/// Records an end. The newest is what counts; history is kept by the supervisor.
pub fn record(paths: &HostPaths, name: &LoopName, exit: &Exit) -> Result<()> {
    durable::replace_json(&paths.loop_spool(name).join("last-exit.json"), exit, 0o600)
}

/// The running agent of a loop.
pub fn running(paths: &HostPaths, name: &LoopName) -> Option<Running> {
    durable::read_json(&paths.loop_run(name).join("agent.json")).ok().flatten()
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
    durable::read_json(&paths.loop_spool(name).join("last-stop.json")).ok().flatten()
}

/// Records a stop before it is made. Readable by all: without systemd root writes it, and the loop's user reads it.
pub fn record_stop(paths: &HostPaths, name: &LoopName, stop: &Stop) -> Result<()> {
    durable::replace_json(&paths.loop_spool(name).join("last-stop.json"), stop, 0o644)
}

/// What became of the agent's last run; from now on `began` is its latest.
pub fn next_run(paths: &HostPaths, name: &LoopName, began: &Began) -> Result<Option<LastRun>> {
    let file = paths.loop_spool(name).join("began.json");
    let before: Option<Began> = durable::read_json(&file).ok().flatten();
    let stop = last_stop(paths, name);
    let last = last_run(Records {
        began: before.as_ref().map(|before| (before.at, before.boot_id.as_str())),
        stopped: stop.map(|stop| (stop.at, stop.why, stop.run)),
        ended: last(paths, name).map(|exit| exit.started),
        boot_id: &began.boot_id,
    });
    durable::replace_json(&file, began, 0o600)?;
    Ok(last)
}

/// Whether the agent was asked to leave.
pub fn was_asked(paths: &HostPaths, name: &LoopName) -> bool {
    paths.loop_run(name).join("asked").exists()
}
