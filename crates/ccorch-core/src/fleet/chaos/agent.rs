//! One simulated agent: its process, its turn, and what it has read, which outlives every process.

use std::collections::HashSet;

use super::random::Random;
use crate::fleet::{MINUTE, Millis, SECOND};

/// What an agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Its process is gone.
    Nothing,
    /// A start is under way.
    Booting,
    /// It waits for words.
    Idle,
    /// A turn runs.
    Turn,
    /// A turn is open and nothing will ever come of it by itself.
    Hung,
    /// Its last turn ended at the plan's limit.
    Limited,
    /// Its last turn ended because the server asked for a pause.
    Throttled,
    /// Its last turn ended because a person has to log in.
    LoggedOut,
    /// A question holds the keyboard until a person answers it.
    Asks,
    /// Nobody can read its screen.
    Unreadable,
}

/// How a turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Well,
    Crash,
    Hang,
    Throttle,
    Ask,
    Blur,
}

#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub doing: Doing,
    /// Counts its turns: what was announced for an earlier one is old.
    pub turn: u64,
    /// Counts its processes.
    pub life: u64,
    /// Ids it has read, as its transcript has them.
    pub read: HashSet<String>,
    /// It crashes at once until then: a broken build, a full disk.
    pub broken_until: Millis,
    pub inbox: u64,
    pub held: bool,
    /// The lease did not let it start; it is wanted when that is back.
    pub refused: bool,
}

impl Agent {
    pub fn new() -> Self {
        Self {
            doing: Doing::Nothing,
            turn: 0,
            life: 0,
            read: HashSet::new(),
            broken_until: 0,
            inbox: 0,
            held: false,
            refused: false,
        }
    }

    pub fn runs(&self) -> bool {
        !matches!(self.doing, Doing::Nothing | Doing::Booting)
    }

    /// A turn begins: how long it takes and how it ends.
    pub fn begin(&mut self, now: Millis, dice: &mut Random, calm: bool) -> (Millis, Outcome) {
        self.turn += 1;
        self.doing = Doing::Turn;
        if now < self.broken_until {
            return (dice.between(SECOND, 20 * SECOND), Outcome::Crash);
        }
        let long = dice.between(20 * MINUTE, 300 * MINUTE);
        match dice.between(0, 1000) {
            _ if calm => (long.min(60 * MINUTE), Outcome::Well),
            0..60 => (long / 2, Outcome::Crash),
            60..90 => (long / 4, Outcome::Hang),
            90..120 => (10 * SECOND, Outcome::Throttle),
            120..126 => (long / 3, Outcome::Ask),
            126..130 => (long / 3, Outcome::Blur),
            _ => (long, Outcome::Well),
        }
    }
}
