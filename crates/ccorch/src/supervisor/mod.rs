//! The supervisor: has the loops started, sees them end, starts them again. One thread decides; others only wait for
//! one thing each (a start, an agent's end, a request, a signal, a changed folder) and report it as an [`Event`].
//!
//! It owns nothing that its own end would take along: loops are units of their own, and a new supervisor adopts what
//! runs. Idle, every thread sleeps in the kernel.

pub mod control;
mod loops;
mod sources;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_io::{durable, lock, systemd};

use crate::here::runtime::Runtime;
use crate::here::{Here, boot, events, loop_state};
use loops::Loops;

/// How often the sign of life is written that downtime is counted from.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// What can happen to a supervisor.
#[derive(Debug)]
pub enum Event {
    /// A loop's start or end.
    Loop(loops::Report),
    /// Somebody asks for something.
    Request(control::Request, mpsc::Sender<control::Reply>),
    /// The lease's mark or the loops' folders changed.
    Changed,
    /// Leave; agents stay.
    Terminate,
}

/// Runs until it is told to leave.
pub fn run(here: &Here) -> Result<()> {
    let _only =
        lock::acquire(&here.paths.state().join("supervisor.lock"), &format!("pid {}", std::process::id()))?;
    boot::record(here)?;
    loop_state::choose_sessions(here)?;
    let (sender, receiver) = mpsc::channel();
    sources::signals(sender.clone())?;
    sources::folders(here, sender.clone())?;
    control::listen(here, sender.clone())?;
    let mut loops = Loops::new(here.clone(), Runtime::of(here), sender)?;
    hand_on(here, &mut loops)?;
    events::record(here, "supervisor-started", None, format!("pid {}", std::process::id()));
    systemd::notify("READY=1")?;
    loops.adopt()?;
    let pulse = systemd::watchdog_interval().unwrap_or(HEARTBEAT).min(HEARTBEAT);
    let mut next_pulse = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_pulse {
            // Only a main loop that really turns feeds systemd's watchdog.
            systemd::notify("WATCHDOG=1")?;
            if let Err(error) = boot::heartbeat(here, false) {
                eprintln!("warning: the heartbeat could not be written: {error:#}");
            }
            next_pulse = now + pulse;
        }
        loops.start_due();
        let until = loops.next_due().map_or(next_pulse, |due| due.min(next_pulse));
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::Loop(report)) => loops.report(report),
            Ok(Event::Request(request, reply)) => loops.request(request, reply),
            Ok(Event::Changed) => loops.look_again(),
            Ok(Event::Terminate) => return leave(here),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("every source of events is gone"),
        }
    }
}

/// Hands on what the orchestrator sessions should hear: that the host rebooted, or that the rig came here. Forgotten only
/// when every session's state has it.
fn hand_on(here: &Here, loops: &mut Loops) -> Result<()> {
    if let Ok(news) = std::fs::read_to_string(here.paths.handoff()) {
        loops.tell_orchestrators(news.trim_end())?;
        durable::remove(&here.paths.handoff())?;
    }
    Ok(())
}

fn leave(here: &Here) -> Result<()> {
    systemd::notify("STOPPING=1")?;
    let shutting_down = if systemd::is_pid_1() { systemd::is_shutting_down() } else { Ok(false) };
    let why = match &shutting_down {
        Ok(true) => "the machine shuts down".to_owned(),
        Ok(false) => "told to leave; agents stay".to_owned(),
        Err(error) => format!("told to leave; whether the machine shuts down is not known: {error}"),
    };
    boot::heartbeat(here, shutting_down.unwrap_or(false))?;
    events::record(here, "supervisor-stopped", None, why);
    Ok(())
}
