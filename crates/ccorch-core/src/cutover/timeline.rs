//! Where a cutover's time went: each step with its status, its begin and how long it took.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Entry, Journal, Status, Step};

/// One step in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timed {
    /// Which.
    pub step: Step,
    /// Where it is.
    pub status: Status,
    /// When it began last, or its undo did.
    pub began: Timestamp,
    /// When it ended; absent while it is under way or after a crash.
    pub ended: Option<Timestamp>,
    /// What it came to, or why it failed.
    pub note: String,
}

impl Timed {
    /// How long it took.
    pub fn took(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.began))
    }
}

/// All steps that were begun, in the order of the plan, and after them the undone ones once more in the order of undoing.
pub fn timeline(journal: &Journal) -> Vec<Timed> {
    let mut forward: Vec<Timed> = Vec::new();
    let mut back: Vec<Timed> = Vec::new();
    for line in &journal.lines {
        let (rows, step, status, note) = match &line.entry {
            Entry::Started { step } => (&mut forward, *step, Status::Started, None),
            Entry::Done { step, note } => (&mut forward, *step, Status::Done, Some(note)),
            Entry::Failed { step, why } => (&mut forward, *step, Status::Failed, Some(why)),
            Entry::UndoStarted { step } => (&mut back, *step, Status::Undoing, None),
            Entry::UndoDone { step, note } => (&mut back, *step, Status::Undone, Some(note)),
            Entry::UndoFailed { step, why } => (&mut back, *step, Status::Undoing, Some(why)),
            _ => continue,
        };
        let index = rows.iter().position(|row| row.step == step);
        let begins = matches!(line.entry, Entry::Started { .. } | Entry::UndoStarted { .. });
        let row = match index {
            Some(index) => &mut rows[index],
            None => {
                rows.push(Timed { step, status, began: line.at, ended: None, note: String::new() });
                let last = rows.len() - 1;
                &mut rows[last]
            }
        };
        row.status = status;
        if begins {
            (row.began, row.ended) = (line.at, None);
        } else {
            (row.ended, row.note) = (Some(line.at), note.cloned().unwrap_or_default());
        }
    }
    forward.append(&mut back);
    forward
}
