//! The journal: the write-ahead log of a cutover, its state machine, and how it is read back after any crash.
//!
//! A line is `CHECKSUM JSON`. The checksum covers the line and the checksum before it, so that a flipped byte, a lost
//! line or lines out of order are all damage. A torn last line is what a crash leaves, and is dropped.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::progress::{Illegal, Next, Progress, Status};
use super::{Asked, Plan, Step};
use crate::lease::Turn;
use crate::names::{HostName, RigName};

/// The format of this file.
const VERSION: u32 = 3;
/// The oldest that is read. Format 2 did not say what was asked.
const OLDEST: u32 = 2;
/// Hexadecimal digits of a line's checksum.
const SUM: usize = 16;

/// What a journal was planned from; whoever goes on with it must come to the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version of ccorch that planned it.
    pub ccorch: String,
    /// See [`super::plan_hash`].
    pub plan_hash: String,
}

/// What a line records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
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
        /// What it was planned from.
        #[serde(flatten)]
        origin: Origin,
        /// What was asked of it; absent in format 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Asked>,
    },
    /// A driver takes the cutover in hand; what follows is its own.
    Driver {
        /// Its turn, given by the arbiter.
        turn: Turn,
        /// Who, for people: `user@machine`.
        by: String,
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
        /// What was kept of what the step had made possible, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The target runs the rig.
    Completed,
    /// The source runs the rig again.
    RolledBack,
    /// Somebody else ended it: a takeover, or a driver whose last lines are lost. Who runs the rig the lease tells.
    Superseded,
}

impl Outcome {
    /// Who runs the rig after it.
    pub fn runs(self, plan: &Plan) -> &HostName {
        if self == Self::Completed { &plan.to.name } else { &plan.from.name }
    }
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
    #[error("it has format {0}; this ccorch reads formats {OLDEST} to {VERSION}")]
    Version(u32),
    /// A line that the ones before it do not allow.
    #[error("line {0}: {1}")]
    Illegal(usize, Illegal),
}

/// What is still to come of a cutover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// A step, which may have been begun.
    Perform(Step),
    /// Its undo, which may have been begun.
    Undo(Step),
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
    /// What it was planned from.
    pub origin: Origin,
    /// What was asked of it; a journal of an older ccorch does not say.
    pub asked: Option<Asked>,
    /// Every line.
    pub lines: Vec<Line>,
    progress: Progress,
    sum: String,
}

impl Journal {
    /// A new journal with its first line, to be written before anything else happens.
    pub fn begin(
        id: String,
        rig: RigName,
        plan: Plan,
        origin: Origin,
        asked: Asked,
        at: Timestamp,
    ) -> (Self, String) {
        let asked = Some(asked);
        let mut journal = Self {
            id: id.clone(),
            rig: rig.clone(),
            plan: plan.clone(),
            origin: origin.clone(),
            asked,
            lines: Vec::new(),
            progress: Progress::default(),
            sum: String::new(),
        };
        let begin = Entry::Begin { version: VERSION, id, rig, plan, origin, asked };
        let line = journal.write(Line { at, entry: begin });
        (journal, line)
    }

    /// Takes an entry; the text of its line, to be appended durably before the entry counts.
    pub fn append(&mut self, at: Timestamp, entry: Entry) -> Result<String, Illegal> {
        self.progress.apply(&entry)?;
        Ok(self.write(Line { at, entry }))
    }

    /// The whole lines of a journal's file. What a crash tore off its end is none of them, in whatever letter it was cut.
    pub fn whole_lines(bytes: &[u8]) -> Result<&str, Damage> {
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        str::from_utf8(&bytes[..end]).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            Damage::Line(before.iter().filter(|byte| **byte == b'\n').count() + 1)
        })
    }

    /// Reads a journal back.
    pub fn read(text: &str) -> Result<Self, Damage> {
        let mut journal: Option<Self> = None;
        let mut sum = String::new();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (index, raw) in whole.lines().enumerate() {
            let number = index + 1;
            let line = match check(&sum, raw) {
                Some(line) => line,
                // The header of another format need not look like ours.
                None => return Err(foreign(&sum, raw).map_or(Damage::Line(number), Damage::Version)),
            };
            sum = raw[..SUM].to_owned();
            match (&mut journal, line.entry.clone()) {
                (None, Entry::Begin { version: OLDEST..=VERSION, id, rig, plan, origin, asked }) => {
                    let (progress, sum) = (Progress::default(), sum.clone());
                    let lines = vec![line];
                    journal = Some(Self { id, rig, plan, origin, asked, lines, progress, sum });
                }
                (None, Entry::Begin { version, .. }) => return Err(Damage::Version(version)),
                (None, _) | (Some(_), Entry::Begin { .. }) => return Err(Damage::Header(number)),
                (Some(journal), entry) => {
                    journal.progress.apply(&entry).map_err(|illegal| Damage::Illegal(number, illegal))?;
                    journal.lines.push(line);
                    journal.sum.clone_from(&sum);
                }
            }
        }
        journal.ok_or(Damage::Empty)
    }

    /// Where a step is.
    pub fn status(&self, step: Step) -> Status {
        self.progress.status(step)
    }

    /// What comes next.
    pub fn next(&self) -> Next {
        self.progress.next(&self.plan.steps)
    }

    /// Whether only its last line is missing: the arbiter may know of that end already, and nobody turns it back.
    pub fn is_done_but_for_its_end(&self) -> bool {
        self.next() == Next::Close(Outcome::Completed)
    }

    /// What is left to do if nothing fails; with `back`, if it turns back now.
    pub fn rest(&self, back: bool) -> Vec<Rest> {
        let mut progress = self.progress.clone();
        let mut rest = Vec::new();
        let mut play = |entries: &[Entry]| {
            entries.iter().all(|entry| progress.apply(entry).is_ok()).then(|| progress.next(&self.plan.steps))
        };
        let turned = [Entry::TurnBack { why: String::new() }];
        let mut next =
            play(if back && !self.is_done_but_for_its_end() && !self.goes_back() { &turned } else { &[] });
        while let Some(step) = next {
            let note = String::new();
            let (one, entries) = match step {
                Next::Perform(step) | Next::Probe(step) => {
                    (Rest::Perform(step), [Entry::Started { step }, Entry::Done { step, note }])
                }
                Next::Undo(step) => {
                    (Rest::Undo(step), [Entry::UndoStarted { step }, Entry::UndoDone { step, note }])
                }
                Next::Close(_) | Next::Over(_) => break,
            };
            rest.push(one);
            next = play(&entries);
        }
        rest
    }

    /// Whether it goes back.
    pub fn goes_back(&self) -> bool {
        self.progress.goes_back()
    }

    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.progress.outcome()
    }

    /// The turn of the driver that has it in hand, or had it last.
    pub fn turn(&self) -> Option<Turn> {
        self.progress.turn()
    }

    /// The newest driver: its turn and who it is.
    pub fn driver(&self) -> Option<(Turn, &str)> {
        self.lines.iter().rev().find_map(|line| match &line.entry {
            Entry::Driver { turn, by } => Some((*turn, by.as_str())),
            _ => None,
        })
    }

    /// The checksum of its newest line: two journals with the same have the same lines.
    pub fn sum(&self) -> &str {
        &self.sum
    }

    /// Which of two copies to go on with: the newer driver's, and of one driver's the longer.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.turn(), self.lines.len()) > (other.turn(), other.lines.len())
    }

    fn write(&mut self, line: Line) -> String {
        // Serialising plain data with string keys cannot fail; an empty line would be read as damage.
        let json = serde_json::to_string(&line).unwrap_or_default();
        self.sum = checksum(&self.sum, &json);
        self.lines.push(line);
        format!("{} {json}", self.sum)
    }
}

/// The format of a header that is not in ours, if it is one whose checksum holds.
fn foreign(before: &str, raw: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Header {
        version: u32,
    }
    let (sum, json) = raw.split_at_checked(SUM)?;
    let json = json.strip_prefix(' ').filter(|json| before.is_empty() && checksum(before, json) == sum)?;
    serde_json::from_str::<Header>(json)
        .ok()
        .map(|header| header.version)
        .filter(|v| !(OLDEST..=VERSION).contains(v))
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
