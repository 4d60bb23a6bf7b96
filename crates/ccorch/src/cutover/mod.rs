//! A cutover, driven: it asks the journal what comes next, has it performed, probed or undone, and writes down what
//! came of it before it goes on. Killed at any moment, the next run goes on from the journal.

mod copies;
mod decommission;
mod dry_run;
mod hosted;
mod leftovers;
mod legacy;
mod live;
mod log;
mod open;
mod preflight;
mod report;
mod side;
mod signs;
pub mod standby;
mod steps;
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Entry, Journal, Next, Outcome, Plan, Status, Step};
use ccorch_core::safepoint::UnsavedPolicy;
use ccorch_io::clock;

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::here::driver::STALE;
use crate::hints;
pub use dry_run::print as dry_run;
pub use log::Log;
pub use open::{Wish, open};
use steps::Steps;
pub use verify::Trial;

/// An undo is tried this often before a person has to look.
const UNDO_TRIES: u32 = 3;

/// What a person may say beside source and target.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What happens to work that is not saved in git when the source has stopped.
    pub unsaved: UnsavedPolicy,
    /// What the target has to show before it counts.
    pub trial: Trial,
    /// Turn back, whatever the state.
    pub abort: bool,
    /// Print the result as JSON.
    pub json: bool,
}

/// Drives a cutover to its end. The journal may be new or one that an earlier run left unfinished.
pub fn drive(loaded: &LoadedRig, log: &mut Log, options: Options) -> Result<ExitCode> {
    if options.abort && matches!(log.journal.next(), Next::Close(_)) {
        // The arbiter may have been told already; a journal that turns back then could never be taken in hand again.
        eprintln!(
            "cutover {} is done but for its last line; `ccorch rollback` brings the rig back",
            log.journal.id
        );
    } else if options.abort && !log.journal.goes_back() {
        log.append(Entry::TurnBack { why: "a person asked for it".into() })?;
    }
    let (plan, id) = (log.journal.plan.clone(), log.journal.id.clone());
    let steps = Steps::connect(loaded, &plan, &id, options.trial, options.unsaved)?;
    take_again(loaded, log, &steps)?;
    let mut first_failure = None;
    loop {
        match log.journal.next() {
            Next::Perform(step) => forward(loaded, log, &steps, step, &mut first_failure)?,
            Next::Probe(step) => probe(loaded, log, &steps, step, &mut first_failure)?,
            Next::Undo(step) => undo(log, &steps, step)?,
            Next::Close(outcome) => {
                if may_be_claimed(log, first_failure.as_ref()) {
                    claim_unheard(loaded, log, &steps)?;
                }
                close(log, &steps, outcome)?;
            }
            Next::Over(outcome) => {
                report::end(loaded, log, outcome, options.json)?;
                return ended(outcome, &plan, &id, first_failure);
            }
        }
    }
}

/// This machine takes the cutover in hand: at the arbiter first, then every host refuses the driver before; what that
/// one wrote last is where this one goes on.
fn claim(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    let held = log.journal.turn();
    let owner = hosted::claim(steps.claimer(), &log.journal.id, &who(), held, log.text())
        .with_context(|| format!("cutover {} cannot be taken in hand", log.journal.id))?;
    steps.set_turn(owner.turn);
    if held.is_some()
        && let Some((copy, text)) = copies::fence(&log.journal.id, &owner.by, steps)?
        && copy.is_newer_than(&log.journal)
    {
        *log = Log::adopt(loaded, copy, text)?;
    }
    log.taken(&owner)
}

/// A run that goes on takes the cutover in hand anew, so that whatever the run before left on its way comes too late. While
/// the arbiter is away, this machine's own turn is still good; another machine's never is.
fn take_again(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
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
fn may_be_claimed(log: &Log, failure: Option<&anyhow::Error>) -> bool {
    log.journal.turn().is_none()
        && log.journal.status(Step::Preflight) != Status::Pending
        && failure.is_none_or(|error| error.downcast_ref::<preflight::NothingChanged>().is_some())
}

/// Takes in hand what the arbiter names this cutover's, so that it can be closed there; else it would stand in the way of
/// the next one.
fn claim_unheard(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    match hosted::lease(steps.claimer()) {
        Ok(view) if view.owner().is_some_and(|owner| owner.open && owner.journal == log.journal.id) => {
            claim(loaded, log, steps)
        }
        Ok(_) => Ok(()),
        Err(error) => {
            eprintln!(
                "warning: whether the arbiter was told of cutover {} is not known: {error:#}; if a new one is refused \
                 because of it, `ccorch cutover --abort` closes it",
                log.journal.id
            );
            Ok(())
        }
    }
}

/// Who drives, for people.
fn who() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}

/// The arbiter first: what it calls over is over, whoever dies now. Then the journal and its copies.
fn close(log: &mut Log, steps: &Steps<'_>, outcome: Outcome) -> Result<()> {
    let taken = log.journal.turn().is_some();
    if taken {
        hosted::close(steps.claimer(), &log.journal.id).with_context(|| {
            format!("cutover {} is done but for its last line; the same command goes on", log.journal.id)
        })?;
    }
    log.append(Entry::End { outcome })?;
    if taken && let Err(error) = log.send(steps) {
        // The arbiter has it; a copy without its last line misleads nobody.
        eprintln!("warning: the journal's copies lack its last line: {error:#}");
    }
    Ok(())
}

/// Whether this driver was refused because it is not the newest: then nothing is its business any more.
fn is_stale(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains(STALE)
}

fn forward(
    loaded: &LoadedRig,
    log: &mut Log,
    steps: &Steps<'_>,
    step: Step,
    failure: &mut Option<anyhow::Error>,
) -> Result<()> {
    log.append(Entry::Started { step })?;
    if step.changes_a_host() {
        log.send(steps)?;
    }
    perform(loaded, log, steps, step, failure)
}

fn perform(
    loaded: &LoadedRig,
    log: &mut Log,
    steps: &Steps<'_>,
    step: Step,
    failure: &mut Option<anyhow::Error>,
) -> Result<()> {
    let began = Instant::now();
    report::begins(step, &steps.plan().describe(step));
    let performed = steps.perform(step);
    let performed = match step {
        // The last of the looks: nobody else drives, and from here on nobody else will.
        Step::Preflight if log.journal.turn().is_none() => performed
            .and_then(|note| claim(loaded, log, steps).context(preflight::NothingChanged).map(|()| note)),
        _ => performed,
    };
    match performed {
        Ok(note) => {
            report::done(step, began.elapsed(), &note);
            log.append(Entry::Done { step, note })
        }
        Err(error) => failed(log, step, error, failure),
    }
}

/// A step that failed turns the cutover back, but for two cases: a connection that broke says nothing about the step
/// and would fail its undo as well; and once the target has proven itself there is no way back but a rollback.
fn failed(
    log: &mut Log,
    step: Step,
    error: anyhow::Error,
    failure: &mut Option<anyhow::Error>,
) -> Result<()> {
    if is_stale(&error) && step != Step::Preflight {
        return Err(error);
    }
    let why = format!("{error:#}");
    report::failed(step, &why);
    let broken = step != Step::Preflight && hints::of(&error).0 == Kind::Unreachable;
    if broken || !step.failure_turns_back() {
        return Err(error.context(format!(
            "step {} of cutover {} is not finished; the same command goes on",
            step.name(),
            log.journal.id
        )));
    }
    log.append(Entry::Failed { step, why: why.clone() })?;
    log.append(Entry::TurnBack { why })?;
    *failure = Some(error);
    Ok(())
}

/// A step begun by a run that died: done, not done, or unknown. Steps are repeatable, so "not done" performs it again.
fn probe(
    loaded: &LoadedRig,
    log: &mut Log,
    steps: &Steps<'_>,
    step: Step,
    failure: &mut Option<anyhow::Error>,
) -> Result<()> {
    if step.changes_a_host() {
        log.send(steps)?;
    }
    match steps.probe(step).with_context(|| format!("find out whether step {} was done", step.name()))? {
        Some(note) => {
            report::done(step, std::time::Duration::ZERO, &format!("found done: {note}"));
            log.append(Entry::Done { step, note })
        }
        None => forward(loaded, log, steps, step, failure),
    }
}

fn undo(log: &mut Log, steps: &Steps<'_>, step: Step) -> Result<()> {
    let done_before = log.journal.status(step);
    log.append(Entry::UndoStarted { step })?;
    if !step.has_undo() {
        return log.append(Entry::UndoDone { step });
    }
    report::undoes(step, &steps.plan().describe_undo(step));
    let mut tries = 0;
    loop {
        tries += 1;
        let undone = log.send(steps).and_then(|()| steps.undo(step));
        let Err(error) = undone else { return log.append(Entry::UndoDone { step }) };
        if is_stale(&error) {
            return Err(error);
        }
        let why = format!("{error:#}");
        report::failed(step, &why);
        log.append(Entry::UndoFailed { step, why: why.clone() })?;
        if hints::of(&error).0 == Kind::Unreachable {
            return Err(error
                .context(format!("undo of step {} is not finished; the same command goes on", step.name())));
        }
        if tries >= UNDO_TRIES {
            return Err(stuck(log, steps.plan(), step, done_before, &why));
        }
    }
}

fn stuck(log: &Log, plan: &Plan, step: Step, was: Status, why: &str) -> anyhow::Error {
    let message = format!(
        "cutover {} is stuck: the undo of step {} (which was {was:?}) failed {UNDO_TRIES} times: {why}",
        log.journal.id,
        step.name()
    );
    let hint = format!(
        "do this by hand: {}; then run `ccorch cutover --resume`; the journal is {}",
        plan.describe_undo(step),
        log.path.display()
    );
    Problem::new(Kind::Stuck, message).hint(hint).into()
}

/// What was taken back never ends with 0, and says so in a last line of its own.
fn ended(outcome: Outcome, plan: &Plan, id: &str, failure: Option<anyhow::Error>) -> Result<ExitCode> {
    if outcome == Outcome::Completed {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(error) = failure {
        if error.downcast_ref::<preflight::NothingChanged>().is_some() {
            return Err(error);
        }
        crate::error::report(&error);
    }
    let how = if plan.in_place() { "runs the rig as it did before" } else { "runs the rig" };
    eprintln!("the cutover was taken back; {} {how} (cutover {id})", plan.from.name);
    Ok(ExitCode::from(Kind::RolledBack as u8))
}

/// A new journal's id: sorts by time, and two made in the same second differ.
pub fn new_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", clock::now().strftime("%Y%m%dT%H%M%SZ"), &random[..6])
}

/// Reads a journal's text into what people are shown.
pub fn read(text: &str, path: &std::path::Path) -> Result<Journal> {
    Journal::read(text).map_err(|damage| {
        Problem::new(Kind::General, format!("journal {}: {damage}", path.display()))
            .hint("look at the hosts with `ccorch status --host` and `ccorch lease show`; then move the file away")
            .into()
    })
}
