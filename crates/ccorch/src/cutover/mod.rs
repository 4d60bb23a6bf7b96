//! A cutover, driven: it asks the journal what comes next, has it performed, probed or undone, and writes down what
//! came of it before it goes on. Killed at any moment, the next run goes on from the journal.

mod decommission;
mod dry_run;
mod hosted;
mod legacy;
mod live;
mod log;
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
use ccorch_io::clock;

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::hints;
pub use dry_run::print as dry_run;
pub use log::{Log, unfinished};
use steps::Steps;
pub use verify::Trial;

/// An undo is tried this often before a person has to look.
const UNDO_TRIES: u32 = 3;

/// What a person may say beside source and target.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What the target has to show before it counts.
    pub trial: Trial,
    /// Turn back, whatever the state.
    pub abort: bool,
    /// Print the result as JSON.
    pub json: bool,
}

/// Drives a cutover to its end. The journal may be new or one that an earlier run left unfinished.
pub fn drive(loaded: &LoadedRig, log: &mut Log, options: Options) -> Result<ExitCode> {
    if options.abort && !log.journal.goes_back() {
        log.append(Entry::TurnBack { why: "a person asked for it".into() })?;
    }
    let (plan, id) = (log.journal.plan.clone(), log.journal.id.clone());
    let steps = Steps::connect(loaded, &plan, &id, options.trial)?;
    let mut first_failure = None;
    loop {
        match log.journal.next() {
            Next::Perform(step) => forward(log, &steps, step, &mut first_failure)?,
            Next::Probe(step) => probe(log, &steps, step, &mut first_failure)?,
            Next::Undo(step) => undo(log, &steps, step)?,
            Next::Close(outcome) => log.append(Entry::End { outcome })?,
            Next::Over(outcome) => {
                report::end(loaded, log, outcome, options.json)?;
                return ended(outcome, &plan, &id, first_failure);
            }
        }
    }
}

fn forward(log: &mut Log, steps: &Steps<'_>, step: Step, failure: &mut Option<anyhow::Error>) -> Result<()> {
    log.append(Entry::Started { step })?;
    perform(log, steps, step, failure)
}

fn perform(log: &mut Log, steps: &Steps<'_>, step: Step, failure: &mut Option<anyhow::Error>) -> Result<()> {
    let began = Instant::now();
    report::begins(step, &steps.plan().describe(step));
    match steps.perform(step) {
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
fn probe(log: &mut Log, steps: &Steps<'_>, step: Step, failure: &mut Option<anyhow::Error>) -> Result<()> {
    match steps.probe(step).with_context(|| format!("find out whether step {} was done", step.name()))? {
        Some(note) => {
            report::done(step, std::time::Duration::ZERO, &format!("found done: {note}"));
            log.append(Entry::Done { step, note })
        }
        None => forward(log, steps, step, failure),
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
        let Err(error) = steps.undo(step) else { return log.append(Entry::UndoDone { step }) };
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
    eprintln!("the cutover was taken back; {} runs the rig (cutover {id})", plan.from.name);
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
