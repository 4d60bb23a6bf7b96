//! A cutover, driven: it asks the journal what comes next, has it performed, probed or undone, and writes down what
//! came of it before it goes on. Killed at any moment, the next run goes on from the journal.

mod ask;
mod copies;
mod decommission;
mod dry_run;
pub mod gone;
mod hand;
mod hosted;
mod itself;
mod leftovers;
mod legacy;
mod live;
mod log;
mod loop_states;
mod meanwhile;
mod open;
mod patience;
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
use ccorch_core::cutover::{Entry, Next, Outcome, Plan, Said, Status, Step};
use ccorch_io::clock;

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::here::driver::is_refusal as is_stale;
use crate::hints;
pub use dry_run::{print as dry_run, print_rest as dry_run_of_unfinished};
pub use gone::Gone;
use hand::{claim, claim_unheard, may_be_claimed, take_again};
pub use itself::leave;
pub use log::Log;
use open::asked;
pub use open::{Wish, open};
use side::Side;
use steps::Steps;

/// An undo is tried this often before a person has to look.
const UNDO_TRIES: u32 = 3;

/// What a person may say beside source and target.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the command line says of the cutover; the journal has what was asked of it at its beginning.
    pub said: Said,
    /// Turn back, whatever the state.
    pub abort: bool,
    /// Turn back without the target, which never comes back.
    pub gone: Option<Gone>,
    /// Print the result as JSON.
    pub json: bool,
}

/// Drives a cutover to its end. The journal may be new or one that an earlier run left unfinished.
pub fn drive(loaded: &LoadedRig, log: &mut Log, options: Options) -> Result<ExitCode> {
    let (plan, id) = (log.journal.plan.clone(), log.journal.id.clone());
    let asked = log.journal.asked.unwrap_or_else(|| asked(loaded, options.said));
    let steps = Steps::new(loaded, &plan, &id, asked);
    if let Some(gone) = &options.gone {
        gone::stand_in(&steps, gone)?;
    }
    // The arbiter may have been told already; a journal that turns back then could never be taken in hand again.
    let too_late = options.abort && log.journal.is_done_but_for_its_end();
    if options.abort && !too_late && !log.journal.goes_back() {
        turn_back(log, &steps)?;
    }
    take_again(loaded, log, &steps)?;
    let mut first_failure = None;
    loop {
        match log.journal.next() {
            Next::Perform(Step::Verify) if steps.handed_over() => handed_over(loaded, log, &steps)?,
            Next::Perform(step) => forward(loaded, log, &steps, step, &mut first_failure)?,
            Next::Probe(step) => probe(loaded, log, &steps, step, &mut first_failure)?,
            Next::Undo(step) => undo(log, &steps, step)?,
            Next::Close(outcome) => {
                if may_be_claimed(log, first_failure.as_ref()) {
                    claim_unheard(loaded, log, &steps)?;
                    if log.journal.next() != Next::Close(outcome) {
                        // Another machine went on with it, and this one goes on from there.
                        continue;
                    }
                }
                close(log, &steps, outcome)?;
            }
            Next::Over(outcome) => {
                report::end(loaded, log, outcome, options.json)?;
                if too_late {
                    let message =
                        format!("cutover {id} was done but for its last line, and was not taken back");
                    return Err(Problem::new(Kind::Conflict, message)
                        .hint("`ccorch rollback` brings the rig back")
                        .into());
                }
                return ended(outcome, &plan, &id, first_failure);
            }
        }
    }
}

/// The target drives what remains; this driver does where it does not.
fn handed_over(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    if itself::look_on(loaded, log, steps)? == itself::Drives::This {
        steps.take_back();
        // The target may have died right after it took the cutover in hand; one that ended it says so to the next step.
        if let Err(error) = take_again(loaded, log, steps) {
            eprintln!("warning: {error:#}");
        }
    }
    Ok(())
}

/// A person turns it back. Not before the hosts answer that it takes: whoever gives up the way on has to have the way back.
fn turn_back(log: &mut Log, steps: &Steps<'_>) -> Result<()> {
    let begun = |step: &&Step| !matches!(log.journal.status(**step), Status::Pending | Status::Undone);
    for step in steps.plan().steps.iter().filter(begun) {
        steps.reach_for_undo(*step).map_err(|error| {
            let message = format!("cutover {} was not turned back: {error:#}", log.journal.id);
            match hints::of(&error).0 {
                Kind::Unreachable => {
                    Problem::new(Kind::Unreachable, message).hint(gone::way_without(steps.plan())).into()
                }
                _ => error.context(format!("cutover {} was not turned back", log.journal.id)),
            }
        })?;
    }
    log.append(Entry::TurnBack { why: "a person asked for it".into() })
}

/// The arbiter first: what it calls over is over, whoever dies now. Then the journal and its copies.
fn close(log: &mut Log, steps: &Steps<'_>, outcome: Outcome) -> Result<()> {
    let taken = log.journal.turn().is_some();
    if taken {
        steps.claimer().and_then(|side| hosted::close(side, &log.journal.id)).with_context(|| {
            let (id, runs) = (&log.journal.id, outcome.runs(steps.plan()));
            format!("cutover {id} is done but for its last line, and {runs} runs the rig; the same command goes on")
        })?;
    }
    log.append(Entry::End { outcome })?;
    if taken && let Err(error) = log.send(steps) {
        // The arbiter has it; a copy without its last line misleads nobody.
        eprintln!("warning: the journal's copies lack its last line: {error:#}");
    }
    Ok(())
}

fn forward(
    loaded: &LoadedRig,
    log: &mut Log,
    steps: &Steps<'_>,
    step: Step,
    failure: &mut Option<anyhow::Error>,
) -> Result<()> {
    log.append(Entry::Started { step })?;
    if step.changes_a_host()
        && let Err(error) = patience::with(steps, step, || log.send(steps))
    {
        return failed(log, steps, step, error, failure);
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
    let mut again = false;
    let performed = patience::with(steps, step, || {
        // This machine may have slept while it was not answered.
        if std::mem::replace(&mut again, true) && step.changes_a_host() {
            log.send(steps)?;
        }
        steps.perform(step)
    });
    let performed = match step {
        // The last of the looks: nobody else drives, and from here on nobody else will.
        Step::Preflight if log.journal.turn().is_none() => performed
            .and_then(|note| claim(loaded, log, steps).context(preflight::NothingChanged).map(|()| note)),
        _ => performed,
    };
    if performed.is_ok() && log.journal.status(step) != Status::Started {
        // Another machine had gone on with this cutover; its journal is this one's now.
        return Ok(());
    }
    let performed = match step {
        // This machine may have slept since it looked, and the rig be where no undo of this cutover could bring it back from;
        // from here on nobody else changes the lease.
        Step::Preflight => performed
            .and_then(|note| preflight::lease(steps).context(preflight::NothingChanged).map(|()| note)),
        _ => performed,
    };
    match performed {
        Ok(note) => {
            report::done(step, began.elapsed(), &note);
            log.append(Entry::Done { step, note })
        }
        Err(error) if error.is::<verify::FellBack>() => fell_back(log, steps, step, error, failure),
        Err(error) => failed(log, steps, step, error, failure),
    }
}

/// The target has taken the cutover back itself, which ended it for every driver: this journal gets that end.
fn fell_back(
    log: &mut Log,
    steps: &Steps<'_>,
    step: Step,
    error: anyhow::Error,
    failure: &mut Option<anyhow::Error>,
) -> Result<()> {
    let why = format!("{error:#}");
    report::failed(step, &why);
    log.append(Entry::Failed { step, why })?;
    if !open::end_from_elsewhere(log, hosted::lease(steps.to()?)?.owner())? {
        return Err(error);
    }
    *failure = Some(error);
    Ok(())
}

/// A step that failed turns the cutover back, but for two cases: a connection that broke says nothing about the step
/// and would fail its undo as well; and once the target has proven itself there is no way back but a rollback.
fn failed(
    log: &mut Log,
    steps: &Steps<'_>,
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
    let broken = broken && !is_the_sources(steps, step);
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

/// Whether a step that somebody's silence ended is taken back all the same, because that needs nobody but the source: better that
/// at work than nobody, with nobody there to run a command. A target that was told to start may be at work.
fn is_the_sources(steps: &Steps<'_>, step: Step) -> bool {
    match step {
        Step::Fence => true,
        Step::Quiesce | Step::FinalSync | Step::Prove => steps.from().is_ok_and(Side::answers),
        Step::Preflight | Step::Presync | Step::Activate | Step::Verify | Step::Decommission => false,
    }
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
        return log.append(Entry::UndoDone { step, note: String::new() });
    }
    report::undoes(step, &steps.plan().describe_undo(step));
    let mut tries = 0;
    loop {
        tries += 1;
        let undone = patience::with(steps, step, || log.send(steps).and_then(|()| steps.undo(step)));
        let error = match undone {
            Ok(note) => {
                report::undone(step, &note);
                return log.append(Entry::UndoDone { step, note });
            }
            Err(error) => error,
        };
        if is_stale(&error) {
            return Err(error);
        }
        let why = format!("{error:#}");
        report::failed(step, &why);
        log.append(Entry::UndoFailed { step, why: why.clone() })?;
        if hints::of(&error).0 == Kind::Unreachable {
            let message = format!("undo of step {} is not finished: {why}", step.name());
            return Err(Problem::new(Kind::Unreachable, message)
                .hint(gone::way_without(steps.plan()))
                .into());
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
