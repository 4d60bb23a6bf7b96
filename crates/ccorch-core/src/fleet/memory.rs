//! What the engine keeps, a part for each loop and a part for all; both survive supervisor and host.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::Block;
use super::crash::Crashes;
use super::notices::Notices;
use super::nudges::{Nudge, Nudges, Purpose};
use super::steady::{HOUR, Millis, SECOND};
use crate::names::LoopName;
use crate::watchdog::life::State;

/// A start or stop that could not even be made is tried again after this long, twice as long each time.
const RETRY: Millis = 5 * SECOND;
/// No such pause is longer.
const LONGEST_RETRY: Millis = 60 * SECOND;

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
    /// What was said of its reset; the line that told it, where that is not understood.
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
    /// Starts or stops in a row that could not be made.
    pub refusals: u32,
    /// How the latest start or stop could not be made; the same failure is told once.
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
    /// Since when nothing tells what it does.
    pub unclear_since: Option<Millis>,
    /// How often in a row a menu was closed that came back or stayed.
    pub dismissed: u32,
    /// Its stop was asked for so that it starts again, which the next supervisor has to see through.
    pub again: bool,
    /// The end of its last turn, if none followed.
    pub idle_since: Option<Millis>,
    /// When its open turn began, 0 where nobody heard it begin; none while none is known to be open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<Millis>,
    /// What it is to be told.
    pub nudges: Nudges,
    /// What it was to be told and did not take, told again when it shows a sign of life; the newest of each purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<Nudge>,
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
            unclear_since: None,
            dismissed: 0,
            again: false,
            idle_since: None,
            turn: None,
            nudges: Nudges::default(),
            missed: Vec::new(),
            told: Vec::new(),
            numbered: 0,
            inbox: Vec::new(),
            limit: None,
        }
    }
}

impl Memory {
    /// Says why it is so from now on; what decided before did not decide this.
    pub fn because(&mut self, reason: &str) {
        if self.reason != reason {
            self.reason = reason.into();
            self.evidence.clear();
        }
    }

    /// The pause after one more start or stop that could not be made.
    pub fn retry(&mut self) -> Millis {
        let pause = RETRY.saturating_mul(1 << self.refusals.min(10)).min(LONGEST_RETRY);
        self.refusals = self.refusals.saturating_add(1);
        pause
    }

    /// Forgets what it is to be told for this reason, but for what is under way: it is no longer true.
    pub fn drop_waiting(&mut self, purpose: Purpose) {
        self.nudges.drop_waiting(purpose);
        self.missed.retain(|nudge| nudge.purpose != purpose);
    }

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
        let short = content(hash);
        let known = self.inbox.contains(&short);
        self.knows_of(short);
        known
    }

    /// From now on this content was announced.
    pub(super) fn knows_of(&mut self, content: u64) {
        if !self.inbox.contains(&content) {
            self.inbox.push(content);
            let extra = self.inbox.len().saturating_sub(Self::INBOX);
            self.inbox.drain(..extra);
        }
    }

    /// Contents that an event tells of.
    const NEWEST: usize = 16;

    /// The newest of those that were announced.
    pub(super) fn newest_contents(&self) -> Vec<u64> {
        self.inbox[self.inbox.len().saturating_sub(Self::NEWEST)..].to_vec()
    }

    /// No pause outlasts what the engine ever gives: a state file from elsewhere must not hold a loop for years.
    pub fn sane(&mut self, now: Millis) {
        let latest = now + 8 * 24 * HOUR;
        self.due = self.due.map(|due| due.min(latest));
        self.idle_since = self.idle_since.map(|at| at.min(now));
        self.turn = self.turn.map(|at| at.min(now));
        self.began = self.began.min(now);
        self.unclear_since = self.unclear_since.map(|at| at.min(now));
    }
}

/// What is remembered of an inbox's content with this hash.
pub(super) fn content(hash: &str) -> u64 {
    u64::from_str_radix(&crate::sha256(hash.as_bytes())[..16], 16).unwrap_or_default()
}

/// What is kept about all loops together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shared {
    /// Accounts that cannot work at the moment.
    pub blocks: BTreeMap<String, Block>,
    /// The latest reset of each account that was past when it was heard of, and was tried for at once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tried: BTreeMap<String, Timestamp>,
    /// The phase the loops were told of.
    pub phase: Option<usize>,
    /// The loops that say that this phase is done.
    pub done: BTreeSet<LoopName>,
    /// What people were told.
    pub notices: Notices,
    /// A reboot the orchestrators have not had the report of, and when it was noticed.
    pub reboot: Option<(Millis, String)>,
}
