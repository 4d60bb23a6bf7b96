//! The wait for loops that are at work to come to a safe point, before a cutover stops them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_core::seconds::Seconds;

use crate::here::Here;
use crate::here::status::LoopReport;
use crate::supervisor::control::{Reply, Request, call, status};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Whoever is at rest for so long does not begin what it has just been told.
const REST: Duration = Duration::from_secs(1);

/// The loops that have what they were told.
type Told = Arc<Mutex<BTreeSet<LoopName>>>;

/// Tells every agent that is at work, and waits; what came of it, if anybody was at work. A loop that does not come in time is
/// stopped as it is.
pub fn wait(here: &Here, journal: &str, within: Seconds) -> Option<String> {
    let reports = match status(&here.paths) {
        Ok(reports) => reports,
        Err(error) => return Some(format!("no loop was told of a safe point: {error:#}")),
    };
    let agents = reports.iter().filter(|one| {
        here.rig.loops.get(&one.name).is_some_and(|known| known.agent == Agent::Claude) && is_at_work(one)
    });
    // Since when each that has not come is at rest.
    let mut open: BTreeMap<LoopName, Option<Instant>> = agents.map(|one| (one.name.clone(), None)).collect();
    if open.is_empty() {
        return None;
    }
    let names = words(open.keys());
    let told = Told::default();
    for name in open.keys() {
        tell(here, name, journal, within, &told);
    }
    let began = Instant::now();
    while !open.is_empty() && began.elapsed() < within.duration() {
        thread::sleep(LOOK);
        // One that restarts just now answers the next time.
        let Ok(reports) = status(&here.paths) else { continue };
        let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        open.retain(|name, rest| {
            let report = reports.iter().find(|one| one.name == *name);
            if report.is_some_and(|one| !is_at_rest(one, told.contains(name))) {
                *rest = None;
                return true;
            }
            rest.get_or_insert_with(Instant::now).elapsed() < REST
        });
    }
    let waited = format!("waited {:.1} s for a safe point of {names}", began.elapsed().as_secs_f64());
    Some(if open.is_empty() { waited } else { format!("{waited}, not reached by {}", words(open.keys())) })
}

fn is_at_work(report: &LoopReport) -> bool {
    report.life.as_deref() == Some("working")
}

/// Whether it has nothing more to do: it has the word and its turn is over, or it cannot work at all.
fn is_at_rest(report: &LoopReport, told: bool) -> bool {
    match report.life.as_deref() {
        Some("working" | "starting") => false,
        Some("idle") => told,
        _ => true,
    }
}

/// Once for this cutover, however often it is asked.
fn tell(here: &Here, name: &LoopName, journal: &str, within: Seconds, told: &Told) {
    let text = format!(
        "This rig is about to move to another host (cutover {journal}), and you will be stopped. Come to a safe point: commit \
         and push what is worth keeping, begin nothing new, end your turn. You go on where you were after the move. If you \
         read this after a restart, it is over: go on."
    );
    let id = format!("safe-point-{journal}");
    let request = Request::Nudge { name: name.clone(), id, text, within: within.0 };
    let (paths, of, told) = (here.paths.clone(), name.clone(), Arc::clone(told));
    // It may wait longer for its receipt than this process lives.
    let asks = move || {
        if matches!(call(&paths, &request), Ok(Reply::Received { .. })) {
            told.lock().unwrap_or_else(PoisonError::into_inner).insert(of);
        }
    };
    if let Err(error) = thread::Builder::new().spawn(asks) {
        eprintln!("warning: loop {name} is not told of the move: no thread: {error}");
    }
}

fn words<'a>(names: impl Iterator<Item = &'a LoopName>) -> String {
    names.map(LoopName::as_str).collect::<Vec<_>>().join(", ")
}
