//! This host failed as a target, and no driver takes the cutover back: it stops its loops, so that they do no harm, and gives
//! the lease back to a source that runs ccorch. A source whose rig is its owner's is a driver's or a person's to start.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::cutover::confirm::{Alone, Event, Verdict, Window, is_its_own, rule, without_driver};
use ccorch_core::cutover::{Journal, Side, SideKind};
use ccorch_io::durable;

use super::left::rescue_from_confirm_unit;
use super::{LOOK, file, read, turn};
use crate::here::runtime::Runtime;
use crate::here::{Here, driver, events, handoff, journals, lease, letters};

/// After a try that did not arrive, the next one.
const AGAIN: Duration = Duration::from_secs(5);

/// Stays with a failed window until somebody has taken the cutover back: a driver, or this host itself.
pub fn stay(here: &Here) -> Result<()> {
    let (mut heard, mut since, mut rescued) = (None, Instant::now(), false);
    while let Some(window) = failed(here)? {
        if over(here, &window)? {
            return Ok(());
        }
        let sign = (driver::seen(here)?, journals::read(here, &window.journal)?);
        if heard.as_ref() != Some(&sign) {
            (heard, since) = (Some(sign), Instant::now());
        }
        let source = source(here, &window.journal);
        let kind = source.as_ref().map_or(SideKind::Legacy, |side| side.kind);
        let alone = without_driver(&window.terms, since.elapsed(), kind, lease::arbiter(here).is_some());
        if alone == Alone::Wait {
            thread::sleep(LOOK);
            continue;
        }
        if !window.stood_down {
            stand_down(here, &window, source.as_ref())?;
            continue;
        }
        if !rescued {
            // Before the source works again: it looks once for what was pushed meanwhile.
            rescue_from_confirm_unit(here);
            rescued = true;
        }
        match source.filter(|_| alone == Alone::GiveBack) {
            None => return Ok(()),
            Some(source) if give_back(here, &window, &source)? => return Ok(()),
            Some(_) => thread::sleep(AGAIN),
        }
    }
    Ok(())
}

/// Whether the rig is this host's by a word that came since, a takeover's for one: the window is withdrawn then.
fn over(here: &Here, window: &Window) -> Result<bool> {
    let (file, heard) = (lease::file(here)?, driver::seen(here)?);
    let over = is_its_own(&here.name, file.as_ref(), heard.as_ref(), &window.journal);
    if over {
        super::withdraw(here, &window.journal)?;
    }
    Ok(over)
}

fn failed(here: &Here) -> Result<Option<Window>> {
    Ok(read(here)?.filter(|window| matches!(window.verdict, Verdict::Failed { .. })))
}

/// The source, by this host's copy of the journal.
fn source(here: &Here, journal: &str) -> Option<Side> {
    let text = journals::read(here, journal).ok()??;
    Journal::read(&text).ok().map(|journal| journal.plan.from)
}

/// Every loop stops, and none starts again. An act of a driver's that is under way comes first: it may be the one that takes
/// the cutover back.
fn stand_down(here: &Here, seen: &Window, source: Option<&Side>) -> Result<()> {
    let _act = driver::between_acts(here)?;
    let Some(window) = failed(here)?.filter(|window| window.journal == seen.journal) else { return Ok(()) };
    if over(here, &window)? {
        return Ok(());
    }
    stop(here, &window)?;
    let said = words(here, &window, source);
    letters::tell(here, &said);
    handoff::instead(here, &said)?;
    events::record(here, "cutover-stood-down", None, said);
    keep(here, Window { stood_down: true, ..window })
}

/// Repeatable; a driver that did not know of the verdict may have had the rig started again.
fn stop(here: &Here, window: &Window) -> Result<()> {
    here.set_quiesced(Some(&window.journal))?;
    Runtime::of(here).stop_all(here)
}

fn words(here: &Here, window: &Window, source: Option<&Side>) -> String {
    let (name, id) = (&here.name, &window.journal);
    let why = match &window.verdict {
        Verdict::Failed { why } => why.as_str(),
        _ => "it was taken back",
    };
    let waited = window.terms.fallback;
    let begin = format!(
        "cutover {id} failed on {name} ({why}) and nobody took it back for {waited}: {name} has stopped its loops"
    );
    match source {
        Some(side) if side.kind == SideKind::Ccorch && lease::arbiter(here).is_some() => {
            format!("{begin} and gives the lease back to {}", side.name)
        }
        Some(side) => format!(
            "{begin}. Nothing runs until `ccorch cutover --resume` has {} run the rig again",
            side.name
        ),
        None => format!("{begin}. Nothing runs until `ccorch cutover --resume` takes it back"),
    }
}

/// Whether there is nothing more to do: it is given back, or it is another one's by now.
fn give_back(here: &Here, seen: &Window, source: &Side) -> Result<bool> {
    let _act = driver::between_acts(here)?;
    let Some(window) = failed(here)?.filter(|window| window.journal == seen.journal) else { return Ok(true) };
    if over(here, &window)? {
        return Ok(true);
    }
    stop(here, &window)?;
    match lease::change::give_back(here, &source.name, &window.journal) {
        Ok(lease) => {
            let said = format!("{} was given the lease back, at epoch {}", source.name, lease.epoch);
            events::record(here, "lease-given-back", None, format!("cutover {}: {said}", window.journal));
            letters::tell(here, &said);
            let verdict = rule(window.verdict.clone(), Event::FallBack);
            keep(here, Window { verdict, ..window })?;
            Ok(true)
        }
        Err(error) => {
            events::record(here, "lease-not-given-back", None, format!("{error:#}"));
            Ok(driver::is_refusal(&error))
        }
    }
}

fn keep(here: &Here, window: Window) -> Result<()> {
    let _turn = turn(here)?;
    durable::replace_json(&file(here), &window, 0o644)
}
