//! What goes into the engine and what comes out of it.

use serde::{Deserialize, Serialize};

use super::facts::Fact;
use super::nudges::Purpose;
use super::steady::Millis;
use crate::names::LoopName;
use crate::watchdog::{DialogKind, Verdict};

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// To one loop.
    Loop(LoopName, Happens),
    /// The phase file holds this index; it is the truth, whoever wrote it.
    Phase(usize),
    /// The host rebooted: what the orchestrators are told once it is known what came back.
    Rebooted(String),
    /// Nothing did; time passed.
    Tick,
}

/// What happens to a loop.
#[derive(Debug, Clone, PartialEq)]
pub enum Happens {
    /// A new supervisor looked whether it runs.
    Found(Found),
    /// It may run here: the lease came.
    Wanted,
    /// It may not run here, for this reason.
    Refused(String),
    /// Its start succeeded.
    Started,
    /// Its start could not even be made.
    StartFailed(String),
    /// Its agent ended.
    Ended(End),
    /// The stop that was asked for is over; or it failed, and the agent runs on.
    Stopped(Result<(), String>),
    /// Somebody looked at its screen and signals.
    Looked(Verdict),
    /// Its agent told something of itself, by this line.
    Signal(Signal, String),
    /// Its inbox has this content (a hash; the path is for the message).
    Inbox {
        /// Of the content.
        hash: String,
        /// Where it lies.
        path: String,
    },
    /// Its state file says, or no longer says, that the phase with this index is done.
    Says {
        /// The phase it is about.
        phase: usize,
        /// What it says.
        done: bool,
    },
    /// The agent has the nudge.
    Received(String),
    /// A try failed, why, and whether it counts (a menu in the way does not).
    NotReceived(String, String, bool),
    /// A person wants it down until they say otherwise.
    Hold,
    /// A person wants it to run.
    Release,
    /// A person wants it stopped and started.
    Restart,
    /// Somebody wants it told something.
    Ask {
        /// Their own id, so that asking twice is asking once.
        id: String,
        /// The words.
        text: String,
    },
}

/// What a new supervisor finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It runs: adopted.
    Running,
    /// Its start is under way; how it went will be reported.
    Starting,
    /// It ended in this boot while nobody looked.
    Ended,
    /// It does not run, because the machine was down or it never ran.
    Absent,
}

/// How an agent ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// In a few words: exit status or signal.
    pub words: String,
    /// The last screen, bounded.
    pub screen: String,
    /// Somebody stopped it by hand.
    pub asked: bool,
    /// False when it could not even be started.
    pub ran: bool,
    /// What its last words mean; a limit, a throttle or a login is no crash.
    pub verdict: Option<Verdict>,
}

/// What an agent tells of itself by a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// A turn goes on.
    TurnOpen,
    /// Somebody's words were taken: a turn begins with them, unless one runs.
    TurnBegan {
        /// So long before this is heard, in milliseconds: a hook may come late, and what it tells of is older than a limit
        /// that was seen on the screen meanwhile.
        ago: Millis,
    },
    /// A turn came to its end.
    TurnEnded,
    /// An error ended a turn; the screen tells which.
    TurnFailed,
    /// The session began.
    Session,
    /// Something else that is worth a look.
    Look,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Have it started.
    Start(LoopName),
    /// Have it stopped at its safe point.
    Stop(LoopName),
    /// Look at its screen and signals, and report the verdict.
    Look(LoopName),
    /// Deliver this, once for its id, and report the receipt.
    Nudge {
        /// To whom.
        name: LoopName,
        /// Unique for ever.
        id: String,
        /// Why.
        purpose: Purpose,
        /// The words.
        text: String,
        /// 1 and up.
        attempt: u32,
        /// Something was in the way the last time, which did not count.
        repeat: bool,
    },
    /// Have the menu that holds the keyboard closed, and look again.
    Dismiss(LoopName, DialogKind),
    /// Tell a person.
    Notify {
        /// What it is about; the same is not told twice in an hour.
        key: String,
        /// The words.
        text: String,
    },
    /// Put it down in the events file.
    Event {
        /// A stable word.
        what: String,
        /// The loop it is about.
        about: Option<LoopName>,
        /// In words, with the evidence.
        detail: String,
        /// What a state that is lost is found out by.
        fact: Option<Fact>,
    },
    /// Write the phase index durably; that it is written is told by [`Input::Phase`].
    WritePhase(usize),
}
