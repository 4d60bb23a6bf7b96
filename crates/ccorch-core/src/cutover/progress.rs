//! How far a cutover is: the state machine of its steps, what comes next, and who drives.
//!
//! | status | event | becomes |
//! | --- | --- | --- |
//! | pending, failed | started | started |
//! | started | started (after a probe found it not done) | started |
//! | started | done | done |
//! | started | failed | failed |
//! | started, done, failed | undo-started | undoing |
//! | undoing | undo-started, undo-failed | undoing |
//! | undoing | undo-done | undone |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Step;
use super::journal::{Entry, Outcome};
use crate::lease::Turn;

/// Where one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Not begun.
    Pending,
    /// Begun; whether it was done is not known.
    Started,
    /// Done.
    Done,
    /// It said that it failed; part of it may be done.
    Failed,
    /// Its undo has begun.
    Undoing,
    /// Undone.
    Undone,
}

/// An event that the status does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a step that is {status:?} cannot be {event}")]
pub struct Illegal {
    status: Status,
    event: &'static str,
}

/// The legality table: the status after an event.
pub fn after(status: Status, entry: &Entry) -> Result<Status, Illegal> {
    use Status::{Done, Failed, Pending, Started, Undoing, Undone};
    let event = match entry {
        Entry::Started { .. } => "started",
        Entry::Done { .. } => "done",
        Entry::Failed { .. } => "failed",
        Entry::UndoStarted { .. } => "undo-started",
        Entry::UndoDone { .. } => "undo-done",
        Entry::UndoFailed { .. } => "undo-failed",
        Entry::Begin { .. } | Entry::Driver { .. } | Entry::TurnBack { .. } | Entry::End { .. } => {
            return Ok(status);
        }
    };
    match (status, event) {
        (Pending | Failed | Started, "started") => Ok(Started),
        (Started, "done") => Ok(Done),
        (Started, "failed") => Ok(Failed),
        (Started | Done | Failed | Undoing, "undo-started") => Ok(Undoing),
        (Undoing, "undo-failed") => Ok(Undoing),
        (Undoing, "undo-done") => Ok(Undone),
        _ => Err(Illegal { status, event }),
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Next {
    /// Perform this step.
    Perform(Step),
    /// It was begun and nothing is known: find out whether it was done.
    Probe(Step),
    /// Undo this step.
    Undo(Step),
    /// Write the end.
    Close(Outcome),
    /// It is over.
    Over(Outcome),
}

/// What all the lines of a journal come to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Progress {
    statuses: BTreeMap<Step, Status>,
    back: bool,
    end: Option<Outcome>,
    turn: Option<Turn>,
}

impl Progress {
    /// Where a step is.
    pub fn status(&self, step: Step) -> Status {
        self.statuses.get(&step).copied().unwrap_or(Status::Pending)
    }

    /// What comes next of these steps.
    pub fn next(&self, steps: &[Step]) -> Next {
        if let Some(outcome) = self.end {
            return Next::Over(outcome);
        }
        let mut steps = steps.iter().copied();
        if self.back {
            let open = |step: &Step| !matches!(self.status(*step), Status::Pending | Status::Undone);
            return steps.rfind(open).map_or(Next::Close(Outcome::RolledBack), Next::Undo);
        }
        match steps.find(|step| self.status(*step) != Status::Done) {
            None => Next::Close(Outcome::Completed),
            Some(step) if self.status(step) == Status::Started => Next::Probe(step),
            Some(step) => Next::Perform(step),
        }
    }

    /// Whether it goes back.
    pub fn goes_back(&self) -> bool {
        self.back
    }

    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.end
    }

    /// The turn of the driver that has it in hand, or had it last.
    pub fn turn(&self) -> Option<Turn> {
        self.turn
    }

    /// Takes an entry, or leaves all as it was.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Illegal> {
        match entry {
            Entry::Begin { .. } => {}
            Entry::Driver { turn, .. } => self.turn = Some(*turn),
            Entry::TurnBack { .. } => self.back = true,
            Entry::End { outcome } => self.end = Some(*outcome),
            Entry::Started { step }
            | Entry::Done { step, .. }
            | Entry::Failed { step, .. }
            | Entry::UndoStarted { step }
            | Entry::UndoDone { step, .. }
            | Entry::UndoFailed { step, .. } => {
                let status = after(self.status(*step), entry)?;
                self.statuses.insert(*step, status);
            }
        }
        Ok(())
    }
}
