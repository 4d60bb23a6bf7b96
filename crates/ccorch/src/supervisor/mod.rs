//! The supervisor: has the loops started, sees them end, starts them again. One thread decides; others only wait for
//! one thing each (a start, an agent's end, a request, a signal, a changed folder) and report it as an [`Event`].
//!
//! It owns nothing that its own end would take along: loops are units of their own, and a new supervisor adopts what
//! runs. Idle, every thread sleeps in the kernel.

mod again;
mod asked;
pub mod control;
pub mod deliver;
mod ends;
mod files;
mod hears;
mod history;
mod hooks;
mod index;
mod keep;
pub mod look;
mod loops;
mod perform;
mod post;
mod reader;
mod rebuild;
mod report;
mod requests;
mod sources;
mod stops;
mod survey;
mod threads;
mod troubles;

use std::collections::VecDeque;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_io::{content, durable, lock, process, systemd};

use crate::here::runtime::Runtime;
use crate::here::{Here, boot, events, loop_state};
pub use files::LARGEST_INBOX;
use loops::Loops;

/// How often the sign of life is written that downtime is counted from.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Files that may be open at once: a loop takes one while it runs, and a few more when it starts or ends.
const FILES: u64 = 16_384;

/// What is due within this time is done now.
const SOON: Duration = Duration::from_millis(10);

/// What can happen to a supervisor.
#[derive(Debug)]
pub enum Event {
    /// A loop's start or end.
    Loop(threads::Report),
    /// Somebody asks for something.
    Request(control::Request, mpsc::Sender<control::Reply>),
    /// The lease's mark or the loops' folders changed.
    Changed,
    /// What systemd says of what runs.
    Found(survey::Answer),
    /// Something waits of a loop's hooks.
    Hook(ccorch_core::names::LoopName),
    /// The parent of a loop's agent says that it ended, and waits for a word.
    AgentEnded(ccorch_core::names::LoopName),
    /// A loop's inbox has this content, by its hash.
    Inbox(ccorch_core::names::LoopName, String),
    /// The phase index or a loop's state file may say something else now.
    Phases,
    /// What they say, if that can be read; whoever waits for it is answered then.
    Phase(Option<index::Reading>, Vec<mpsc::Sender<control::Reply>>),
    /// Leave; agents stay.
    Terminate,
}

/// Runs until it is told to leave.
pub fn run(here: &Here) -> Result<()> {
    // In the runtime folder: a disk that takes nothing keeps no supervisor from starting.
    let _only =
        lock::acquire(&here.paths.run().join("supervisor.lock"), &format!("pid {}", std::process::id()))?;
    if let Err(error) = process::allow_files(FILES) {
        eprintln!("warning: {error:#}");
    }
    keep::mend(here);
    // A disk that takes nothing must not keep the loops down.
    if let Err(error) = boot::record(here) {
        events::record(here, "boot-not-recorded", None, format!("{error:#}"));
    }
    if let Err(error) = loop_state::choose_sessions(here) {
        events::record(here, "sessions-not-kept", None, format!("{error:#}"));
    }
    let (sender, receiver) = mpsc::channel();
    sources::signals(sender.clone())?;
    sources::folders(here, sender.clone())?;
    control::listen(here, sender.clone())?;
    let hooks = hooks::listen(here, sender.clone())?;
    let post = post::Post::open(here);
    let mut loops = Loops::new(here.clone(), Runtime::of(here), sender.clone(), hooks, post.clone())?;
    hand_on(here, &mut loops)?;
    events::record(here, "supervisor-started", None, format!("pid {}", std::process::id()));
    systemd::notify("READY=1")?;
    // What was told while nobody listened is known before anybody is judged.
    loops.hear_all();
    let mut early = adopt(&mut loops, &receiver);
    files::watch(here, sender, post, loops.history(), loops.troubles())?;
    let pulse = systemd::watchdog_interval().unwrap_or(HEARTBEAT).min(HEARTBEAT);
    let mut next_pulse = Instant::now();
    loop {
        if loops.overtaken() {
            return again(here);
        }
        let now = Instant::now();
        if now >= next_pulse {
            // Only a main loop that really turns feeds systemd's watchdog.
            if let Err(error) = systemd::notify("WATCHDOG=1") {
                eprintln!("warning: {error:#}");
            }
            if let Err(error) = boot::heartbeat(here, false) {
                eprintln!("warning: the heartbeat could not be written: {error:#}");
            }
            loops.pulse();
            next_pulse = now + pulse;
        }
        if loops.next_due().is_some_and(|due| due <= Instant::now() + SOON) {
            loops.tick();
        }
        let until = loops.next_due().map_or(next_pulse, |due| due.min(next_pulse));
        let next = match early.pop_front() {
            Some(event) => Ok(event),
            None => receiver.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        loops.mind_the_clock();
        match next {
            Ok(Event::Loop(report)) => loops.report(report),
            Ok(Event::Request(control::Request::Again, _)) => return again(here),
            Ok(Event::Request(request, reply)) => loops.request(request, reply),
            Ok(Event::Hook(name)) => loops.hears(&name),
            Ok(Event::AgentEnded(name)) => loops.agent_ended(&name),
            Ok(Event::Inbox(name, hash)) => loops.inbox(&name, hash),
            Ok(Event::Changed) => loops.ask_what_runs(),
            Ok(Event::Found(answer)) => loops.found(answer),
            Ok(Event::Phases) => loops.look_at_phase(None),
            Ok(Event::Phase(reading, waiting)) => loops.phase(reading, waiting),
            Ok(Event::Terminate) => {
                loops.leave();
                return leave(here);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("every source of events is gone"),
        }
    }
}

/// Takes over what runs and has started what should run, before anything else that came meanwhile: that is returned. A
/// systemd that takes long keeps nobody waiting longer.
fn adopt(loops: &mut Loops, receiver: &mpsc::Receiver<Event>) -> VecDeque<Event> {
    loops.ask_what_runs();
    let (until, mut early) = (Instant::now() + survey::SLOW, VecDeque::new());
    while let Ok(event) = receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
        match event {
            Event::Found(answer) => {
                loops.found(answer);
                return early;
            }
            other => early.push_back(other),
        }
    }
    loops.say_what_is_slow();
    early
}

/// Hands on what the orchestrator sessions should hear: that the host rebooted, or that the rig came here. Forgotten only
/// when every session's state has it.
fn hand_on(here: &Here, loops: &mut Loops) -> Result<()> {
    if let Ok(Some(news)) = content::text(&here.paths.handoff(), boot::LONGEST_NOTE) {
        let reboot = boot::of_this_boot(here);
        let cut = reboot.as_ref().and_then(|reboot| loops.cut_off(reboot));
        let news = [Some(news.trim_end().to_owned()), cut].into_iter().flatten().collect::<Vec<_>>();
        loops.tell_orchestrators(&news.join("\n"));
        // Told twice is better than lost: a supervisor that dies here leaves the note for the next one.
        if let Some(reboot) = reboot {
            loops.rebooted(reboot.sentence());
        }
        if let Err(error) = durable::remove(&here.paths.handoff()) {
            events::record(
                here,
                "handoff-stays",
                None,
                format!("{error:#}; it is told again at the next start"),
            );
        }
    }
    Ok(())
}

/// Becomes a new supervisor in the same process: what it had in mind is what the last cutover left, not what the next
/// one brought. Returns only when that fails.
fn again(here: &Here) -> Result<()> {
    events::record(here, "supervisor-again", None, format!("pid {}", std::process::id()));
    let me = std::env::current_exe().context("find this program's own path")?;
    let error = Command::new(me).args(std::env::args_os().skip(1)).exec();
    Err(error).context("the supervisor could not begin anew")
}

fn leave(here: &Here) -> Result<()> {
    if let Err(error) = systemd::notify("STOPPING=1") {
        eprintln!("warning: {error:#}");
    }
    let shutting_down = if systemd::is_pid_1() { systemd::is_shutting_down() } else { Ok(false) };
    let why = match &shutting_down {
        Ok(true) => "the machine shuts down".to_owned(),
        Ok(false) => "told to leave; agents stay".to_owned(),
        Err(error) => format!("told to leave; whether the machine shuts down is not known: {error:#}"),
    };
    if let Err(error) = boot::heartbeat(here, shutting_down.unwrap_or(false)) {
        eprintln!("warning: the heartbeat could not be written: {error:#}");
    }
    events::record(here, "supervisor-stopped", None, why);
    Ok(())
}
