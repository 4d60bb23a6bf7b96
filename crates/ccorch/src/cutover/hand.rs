//! Taking a cutover in hand: at its beginning, and by every run that goes on with it.

use anyhow::{Context as _, Result};
use ccorch_core::cutover::passed::drove_alone;
use ccorch_core::cutover::{Entry, Next, Status, Step};

use super::steps::Steps;
use super::{Log, copies, hosted, preflight};
use crate::context::LoadedRig;
use crate::error::Kind;
use crate::{hints, introduce};

/// This machine takes the cutover in hand: at the arbiter first, then every host refuses the driver before; what that
/// one wrote last is where this one goes on.
pub fn claim(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    let held = log.journal.turn();
    let owner = hosted::claim(steps.claimer()?, &log.journal.id, &who(), held, log.text())
        .with_context(|| format!("cutover {} cannot be taken in hand", log.journal.id))?;
    steps.set_turn(owner.turn);
    // Even at its beginning: an earlier run may have told the arbiter and died, and another machine gone on from there.
    let alone = drove_alone(held, log.foreign, owner.turn);
    let heard = copies::fence(&log.journal, &owner.by, alone, steps)?;
    if let Some((copy, text)) = heard.newest.filter(|(copy, _)| copy.is_newer_than(&log.journal)) {
        *log = Log::adopt(loaded, copy, text)?;
    }
    log.taken(&owner)?;
    if held.is_none() {
        introduced(loaded, steps);
    }
    if heard.unfenced && !log.journal.goes_back() && log.journal.status(Step::Quiesce) == Status::Done {
        // A driver that reached this host alone took the cutover back; its last words are in no copy, and its rig runs.
        let from = &steps.plan().from.name;
        log.append(Entry::TurnBack {
            why: format!("the rig of {from} was started again by a driver before"),
        })?;
    }
    Ok(())
}

/// Whoever goes on with this cutover may sit at a machine that provisioned neither host. What cannot be told is no reason to
/// stop.
fn introduced(loaded: &LoadedRig, steps: &Steps<'_>) {
    let (from, to) = (&steps.plan().from.name, &steps.plan().to.name);
    if from == to {
        return;
    }
    for (side, about) in [(steps.from(), to), (steps.to(), from)] {
        if let Err(error) = side.and_then(|side| introduce::tell(loaded, &side.host, about)) {
            eprintln!("warning: how {about} is reached was not left on the other host: {error:#}");
        }
    }
}

/// A run that goes on takes the cutover in hand anew, so that whatever the run before left on its way comes too late. While
/// the arbiter is away, this machine's own turn is still good; another machine's never is.
pub fn take_again(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    let Some(turn) = log.journal.turn() else { return Ok(()) };
    match claim(loaded, log, steps) {
        Err(error) if !log.foreign && hints::of(&error).0 == Kind::Unreachable => {
            eprintln!("warning: going on with turn {turn}: {error:#}");
            steps.set_turn(turn);
            Ok(())
        }
        // Its last line is all that is missing.
        Err(_) if matches!(log.journal.next(), Next::Close(_) | Next::Over(_)) => {
            steps.set_turn(turn);
            Ok(())
        }
        claimed => claimed,
    }
}

/// Whether this journal does not say that the cutover was taken in hand, and the arbiter may: whoever dies or is cut off
/// between the two leaves it so. A preflight that failed before that in this very run is known not to.
pub fn may_be_claimed(log: &Log, failure: Option<&anyhow::Error>) -> bool {
    log.journal.turn().is_none()
        && log.journal.status(Step::Preflight) != Status::Pending
        && failure.is_none_or(|error| error.downcast_ref::<preflight::NothingChanged>().is_some())
}

/// Takes in hand what the arbiter names this cutover's, so that it can be closed there; else it would stand in the way of
/// the next one.
pub fn claim_unheard(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    let ours = |view: &hosted::LeaseView| {
        view.owner().is_some_and(|owner| owner.open && owner.journal == log.journal.id)
    };
    let failure = match steps.claimer().and_then(hosted::lease) {
        Ok(view) if ours(&view) => match claim(loaded, log, steps) {
            Err(error) if hints::of(&error).0 == Kind::Unreachable => error,
            claimed => return claimed,
        },
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    eprintln!(
        "warning: whether the arbiter was told of cutover {} is not known: {failure:#}; if a new one is refused because of it, \
         `ccorch cutover --abort` closes it",
        log.journal.id
    );
    Ok(())
}

/// Who drives, for people.
fn who() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}
