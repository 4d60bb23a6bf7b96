//! The journal: the write-ahead log of a cutover, its state machine, and how it is read back after any crash.
//!
//! A line is `CHECKSUM JSON`. The checksum covers the line and the checksum before it, so that a flipped byte, a lost
//! line or lines out of order are all damage. A torn last line is what a crash leaves, and is dropped.
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

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Plan, Step};
use crate::names::RigName;

/// The format of this file; another one is not read.
const VERSION: u32 = 1;
/// Hexadecimal digits of a line's checksum.
const SUM: usize = 16;

/// Where one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a line records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// The first line.
    Begin {
        /// Format version.
        version: u32,
        /// The journal's id.
        id: String,
        /// The rig.
        rig: RigName,
        /// What is to be done.
        plan: Plan,
    },
    /// A step begins.
    Started {
        /// Which.
        step: Step,
    },
    /// A step is done.
    Done {
        /// Which.
        step: Step,
        /// What it found or did, for people.
        note: String,
    },
    /// A step failed.
    Failed {
        /// Which.
        step: Step,
        /// Why.
        why: String,
    },
    /// From here on it goes back.
    TurnBack {
        /// Why.
        why: String,
    },
    /// An undo begins.
    UndoStarted {
        /// Of which step.
        step: Step,
    },
    /// An undo is done.
    UndoDone {
        /// Of which step.
        step: Step,
    },
    /// An undo failed.
    UndoFailed {
        /// Of which step.
        step: Step,
        /// Why.
        why: String,
    },
    /// The last line.
    End {
        /// How it ended.
        outcome: Outcome,
    },
}

/// How a cutover ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The target runs the rig.
    Completed,
    /// The source runs the rig again.
    RolledBack,
}

/// A line with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, by the driver's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
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
        Entry::Begin { .. } | Entry::TurnBack { .. } | Entry::End { .. } => return Ok(status),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Why a journal cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A line that is not what was written.
    #[error("line {0} is damaged")]
    Line(usize),
    /// Nothing whole is in it.
    #[error("it is empty")]
    Empty,
    /// It does not begin with its header, or has a second one.
    #[error("line {0} is a header out of place, or the header is missing")]
    Header(usize),
    /// Another version of ccorch wrote it.
    #[error("it has format {0}; this ccorch reads format {VERSION}")]
    Version(u32),
    /// A line that the ones before it do not allow.
    #[error("line {0}: {1}")]
    Illegal(usize, Illegal),
}

/// A journal in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Its id.
    pub id: String,
    /// The rig.
    pub rig: RigName,
    /// What is to be done.
    pub plan: Plan,
    /// Every line.
    pub lines: Vec<Line>,
    statuses: BTreeMap<Step, Status>,
    back: bool,
    end: Option<Outcome>,
    sum: String,
}

impl Journal {
    /// A new journal with its first line, to be written before anything else happens.
    pub fn begin(id: String, rig: RigName, plan: Plan, at: Timestamp) -> (Self, String) {
        let mut journal = Self {
            id: id.clone(),
            rig: rig.clone(),
            plan: plan.clone(),
            lines: Vec::new(),
            statuses: BTreeMap::new(),
            back: false,
            end: None,
            sum: String::new(),
        };
        let line = journal.write(Line { at, entry: Entry::Begin { version: VERSION, id, rig, plan } });
        (journal, line)
    }

    /// Takes an entry; the text of its line, to be appended durably before the entry counts.
    pub fn append(&mut self, at: Timestamp, entry: Entry) -> Result<String, Illegal> {
        self.apply(&entry)?;
        Ok(self.write(Line { at, entry }))
    }

    /// Reads a journal back.
    pub fn read(text: &str) -> Result<Self, Damage> {
        let mut journal: Option<Self> = None;
        let mut sum = String::new();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (index, raw) in whole.lines().enumerate() {
            let number = index + 1;
            let line = check(&sum, raw).ok_or(Damage::Line(number))?;
            sum = raw[..SUM].to_owned();
            match (&mut journal, line.entry.clone()) {
                (None, Entry::Begin { version: VERSION, id, rig, plan }) => {
                    journal = Some(Self::begin(id, rig, plan, line.at).0);
                }
                (None, Entry::Begin { version, .. }) => return Err(Damage::Version(version)),
                (None, _) | (Some(_), Entry::Begin { .. }) => return Err(Damage::Header(number)),
                (Some(journal), entry) => {
                    journal.apply(&entry).map_err(|illegal| Damage::Illegal(number, illegal))?;
                    journal.lines.push(line);
                    journal.sum.clone_from(&sum);
                }
            }
        }
        journal.ok_or(Damage::Empty)
    }

    /// Where a step is.
    pub fn status(&self, step: Step) -> Status {
        self.statuses.get(&step).copied().unwrap_or(Status::Pending)
    }

    /// What comes next.
    pub fn next(&self) -> Next {
        if let Some(outcome) = self.end {
            return Next::Over(outcome);
        }
        let mut steps = self.plan.steps.iter().copied();
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

    fn apply(&mut self, entry: &Entry) -> Result<(), Illegal> {
        match entry {
            Entry::Begin { .. } => {}
            Entry::TurnBack { .. } => self.back = true,
            Entry::End { outcome } => self.end = Some(*outcome),
            Entry::Started { step }
            | Entry::Done { step, .. }
            | Entry::Failed { step, .. }
            | Entry::UndoStarted { step }
            | Entry::UndoDone { step }
            | Entry::UndoFailed { step, .. } => {
                let status = after(self.status(*step), entry)?;
                self.statuses.insert(*step, status);
            }
        }
        Ok(())
    }

    fn write(&mut self, line: Line) -> String {
        // Serialising plain data with string keys cannot fail; an empty line would be read as damage.
        let json = serde_json::to_string(&line).unwrap_or_default();
        self.sum = checksum(&self.sum, &json);
        self.lines.push(line);
        format!("{} {json}", self.sum)
    }
}

fn checksum(before: &str, json: &str) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(json).finalize();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..SUM].to_owned()
}

fn check(before: &str, raw: &str) -> Option<Line> {
    let (sum, json) = raw.split_at_checked(SUM)?;
    let json = json.strip_prefix(' ')?;
    if checksum(before, json) == sum { serde_json::from_str(json).ok() } else { None }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
