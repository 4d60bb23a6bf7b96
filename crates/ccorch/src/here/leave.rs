//! A loop's agent is asked to leave: one in the middle of a turn may come to a safe point first; one that rests ends by itself;
//! whoever is still there gets TERM, and whatever is left of its unit KILL, by systemd. The supervisor is no part of it: at a shutdown it has left before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_core::stop::{Facts, SafePoint, StopReason, reason};
use ccorch_core::watchdog::Kind;
use ccorch_io::paths::HostPaths;
use ccorch_io::process::Watched;
use ccorch_io::{clock, process};
use jiff::SignedDuration;

use super::exits::Stop;
use super::loop_state::Share;
use super::runtime::Runtime;
use super::{Ground, Here, exits, own_exit};
use crate::supervisor::deliver::{self, Letter};
use crate::supervisor::look::{Eyes, look, zone};

/// How long an agent may take to leave from its first word of it on, whether that is a nudge or TERM.
const LEAVE: Duration = Duration::from_secs(30);
/// And never less from TERM on. With the longest `stop_grace` and [`RECORD`] still below `TimeoutStopSec=` of the unit.
const TERM: Duration = Duration::from_secs(10);
/// How long the record of an agent's end may take.
const RECORD: Duration = Duration::from_secs(10);
/// Between two looks at an agent.
const LOOK: Duration = Duration::from_millis(250);
/// Whoever is at rest for so long does not begin what it has just been told.
const REST: Duration = Duration::from_secs(1);

/// Asks the agent to leave and waits for it, bounded. No agent is fine. `wished` says that somebody wants the loop down;
/// the rest of one that lost its tmux server goes without anybody's wish. With a rig, whoever is at work may come to a safe
/// point first.
pub fn ask(ground: &Ground, rig: Option<&Here>, name: &LoopName, wished: bool) -> Result<()> {
    let paths = &ground.paths;
    let Some(running) = exits::running(paths, name) else { return Ok(()) };
    let Some(watched) = process::watch(running.pid)? else { return Ok(()) };
    let parent = running.parent.map(process::watch).transpose()?.flatten();
    exits::set_asked(paths, name, wished)?;
    let began = Instant::now();
    if wished {
        let why = reason(facts(ground, name));
        let stop = Stop { at: clock::now(), why, run: running.started, safe_point: None };
        // That it cannot be written must not keep the agent from its safe point.
        if let Err(error) = exits::record_stop(paths, name, &stop) {
            eprintln!("warning: why loop {name} is stopped is not kept: {error:#}");
        }
        if let Some(came) = rig.and_then(|here| safe_point(here, name, why, &watched)) {
            eprintln!("loop {name}: {}", came.words());
            if let Err(error) = exits::leave_word(paths, name, &Stop { safe_point: Some(came), ..stop }) {
                eprintln!("warning: what came of its safe point is not kept: {error:#}");
            }
        }
    }
    let rests = |here: &&Here| wished && is_at_rest(here, name);
    let ended = rig.filter(rests).map_or(Ok(false), |here| own_exit::ask(here, name, &watched));
    if let Err(error) = &ended {
        eprintln!("loop {name}: it does not end by itself: {error:#}");
    }
    if !ended.unwrap_or(false) && !watched.wait(Some(Duration::ZERO))? {
        process::terminate(running.pid)?;
    }
    if watched.wait(Some(LEAVE.saturating_sub(began.elapsed()).max(TERM)))?
        && let Some(parent) = parent
    {
        // Else the signal that follows ends tmux before the record is written, and the loop looks crashed.
        parent.wait(Some(RECORD))?;
    }
    Ok(())
}

/// What this host knows of why a loop is being stopped.
fn facts(ground: &Ground, name: &LoopName) -> Facts {
    Facts {
        quiesced: super::quiesced_by(&ground.paths).is_some(),
        fenced: super::lease::check_at(&ground.paths, &ground.name).is_err(),
        asked: share(&ground.paths, name).stopping,
        shutting_down: Runtime::at(&ground.paths).is_going_down(),
    }
}

fn share(paths: &HostPaths, name: &LoopName) -> Share {
    Share::read(paths, name).unwrap_or_default()
}

/// Whether nothing is under way with an agent that can be told something.
fn is_at_rest(here: &Here, name: &LoopName) -> bool {
    let claude = here.rig.loops.get(name).is_some_and(|spec| spec.agent == Agent::Claude);
    let session = share(&here.paths, name).session;
    claude
        && Eyes::default().judge(&look(here, name, session), zone(here, name), SignedDuration::MAX).verdict
            == Kind::Idle
}

/// Tells an agent that is at work, and waits until its turn is over; what came of it, if it could come to one.
fn safe_point(here: &Here, name: &LoopName, why: StopReason, agent: &Watched) -> Option<SafePoint> {
    let spec = here.rig.loops.get(name).filter(|spec| spec.agent == Agent::Claude)?;
    let within = here.rig.stop_grace_of(spec).duration();
    let about = why.gives_grace().filter(|_| !within.is_zero())?;
    let session = share(&here.paths, name).session;
    let mut eyes = Eyes::default();
    let mut life = || eyes.judge(&look(here, name, session), zone(here, name), SignedDuration::MAX).verdict;
    if life() != Kind::Working {
        return Some(SafePoint::NotAtWork);
    }
    let began = Instant::now();
    let text = format!(
        "{about}, and you will be stopped in {} s at the latest. Come to a safe point: commit and push what is worth keeping, \
         begin nothing new, end your turn. You go on where you were when you are started again. If you read this after a \
         restart, it is over: go on.",
        within.as_secs()
    );
    let told = tell(here, Letter { name: name.clone(), session, id: format!("stop-{}", clock::now()), text });
    let mut rest: Option<Instant> = None;
    while began.elapsed() < within {
        if agent.wait(Some(LOOK)).unwrap_or(true) {
            break;
        }
        let at_rest = match life() {
            Kind::Working => false,
            Kind::Idle => told.load(Ordering::SeqCst),
            _ => true,
        };
        rest = if at_rest { rest.or_else(|| Some(Instant::now())) } else { None };
        if rest.is_some_and(|since| since.elapsed() >= REST) {
            break;
        }
    }
    let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let came = rest.is_some() || agent.wait(Some(Duration::ZERO)).unwrap_or(true);
    Some(if came { SafePoint::Reached(waited) } else { SafePoint::RanOut(waited) })
}

/// Has it typed by a thread, which the stop does not wait for; whether the agent has it.
fn tell(here: &Here, letter: Letter) -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let (here, done) = (here.clone(), Arc::clone(&told));
    let name = letter.name.clone();
    let tells = move || match deliver::once(&here, &letter) {
        Ok(deliver::Delivered::Yes(_)) => done.store(true, Ordering::SeqCst),
        Ok(deliver::Delivered::InTheWay(what)) => eprintln!("loop {}: not told: {what}", letter.name),
        Err(error) => eprintln!("loop {}: not told: {error:#}", letter.name),
    };
    if let Err(error) = thread::Builder::new().spawn(tells) {
        eprintln!("loop {name}: not told: no thread: {error}");
    }
    told
}
