//! What the engine keeps, a part for each loop and a part for all; both survive supervisor and host.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::Block;
use super::crash::Crashes;
use super::notices::Notices;
use super::nudges::Nudges;
use super::steady::{HOUR, Millis};
use crate::names::LoopName;
use crate::watchdog::life::State;

/// How far a stall has been answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Not at all.
    #[default]
    None,
    /// A nudge, at that time.
    Nudged(Millis),
    /// A restart, at that time.
    Restarted(Millis),
}

/// A limit as it was first seen: read again later, the same words mean the same moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// The line that told it.
    pub evidence: String,
    /// The moment it means.
    pub until: Option<Timestamp>,
}

/// A nudge that somebody asked for and the agent has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// The beginning of its text's hash.
    pub text: String,
}

impl Told {
    /// Of a nudge.
    pub fn of(id: &str, text: &str) -> Self {
        Self { id: id.into(), text: crate::sha256(text.as_bytes())[..16].into() }
    }
}

/// What is kept about one loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Where it is in its life.
    pub state: State,
    /// Since when, by the wall clock.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
    /// The line or signal that decided, where one did.
    pub evidence: String,
    /// Restarts after an end that was nobody's wish.
    pub restarts: u64,
    /// Ends that still count.
    pub crashes: Crashes,
    /// Starts in a row that could not be made.
    pub refusals: u32,
    /// How the latest start could not be made; the same failure is told once.
    pub failed: Option<String>,
    /// When its latest start was asked for.
    pub began: Millis,
    /// The end of the pause it is in: its start, its probe.
    pub due: Option<Millis>,
    /// Pauses of the same kind in a row (throttles, limits of its own).
    pub pauses: u32,
    /// It has to show whether a limit or a pause is over.
    pub probing: bool,
    /// The stall ladder.
    pub rung: Rung,
    /// Its stop was asked for so that it starts again, which the next supervisor has to see through.
    pub again: bool,
    /// The end of its last turn, if none followed.
    pub idle_since: Option<Millis>,
    /// What it is to be told.
    pub nudges: Nudges,
    /// What people asked to be told and was received, so that asking again with the same id is no second time.
    pub told: Vec<Told>,
    /// Ids given out.
    pub numbered: u64,
    /// Contents of its inbox that were announced (the beginnings of their hashes), newest last.
    pub inbox: Vec<u64>,
    /// Its last limit; forgotten when it worked again.
    pub limit: Option<FirstSeen>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            state: State::Stopped,
            since: Timestamp::UNIX_EPOCH,
            reason: "not started yet".into(),
            evidence: String::new(),
            restarts: 0,
            crashes: Crashes::default(),
            refusals: 0,
            failed: None,
            began: 0,
            due: None,
            pauses: 0,
            probing: false,
            rung: Rung::None,
            again: false,
            idle_since: None,
            nudges: Nudges::default(),
            told: Vec::new(),
            numbered: 0,
            inbox: Vec::new(),
            limit: None,
        }
    }
}

impl Memory {
    /// Received nudges remembered.
    const TOLD: usize = 64;

    /// Takes note that the agent has what somebody asked for.
    pub fn was_told(&mut self, told: Told) {
        self.told.push(told);
        let extra = self.told.len().saturating_sub(Self::TOLD);
        self.told.drain(..extra);
    }

    /// Contents remembered; an inbox that returns to one of them is no news.
    const INBOX: usize = 64;

    /// Whether this content was announced already; from now on it was.
    pub fn announced(&mut self, hash: &str) -> bool {
        let digits = crate::sha256(hash.as_bytes());
        let short = u64::from_str_radix(&digits[..16], 16).unwrap_or_default();
        if self.inbox.contains(&short) {
            return true;
        }
        self.inbox.push(short);
        let extra = self.inbox.len().saturating_sub(Self::INBOX);
        self.inbox.drain(..extra);
        false
    }

    /// No pause outlasts what the engine ever gives: a state file from elsewhere must not hold a loop for years.
    pub fn sane(&mut self, now: Millis) {
        let latest = now + 8 * 24 * HOUR;
        self.due = self.due.map(|due| due.min(latest));
        self.idle_since = self.idle_since.map(|at| at.min(now));
        self.began = self.began.min(now);
    }
}

/// What is kept about all loops together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shared {
    /// Accounts that cannot work at the moment.
    pub blocks: BTreeMap<String, Block>,
    /// The phase the loops were told of.
    pub phase: Option<usize>,
    /// The loops that say that this phase is done.
    pub done: BTreeSet<LoopName>,
    /// What people were told.
    pub notices: Notices,
    /// A reboot the orchestrators have not had the report of, and when it was noticed.
    pub reboot: Option<(Millis, String)>,
}
