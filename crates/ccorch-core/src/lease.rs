//! The lease: which host may run the loops. Facts in, verdict out; DESIGN of the write order and of both places is in
//! docs/state-machines.md.
//!
//! Two places hold it: a file on each host and a ref in a git remote, the arbiter. The ref's value is one [`Lease`];
//! a host's file is the same with a [`Pending`] mark, so that a crash between the push and the file is told apart from
//! another machine that acts under the same name.

mod back;
mod driver;
mod term;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use back::{give_back, given};
pub use driver::{Driver, Owner, Refused, Turn, admit, claim, ended_by, owns, supersede};
pub use term::{Term, Watch, watch};

use crate::names::{HostName, RigName};
use crate::rig::Offline;

/// The fencing token: every change of the lease raises it by one; it never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next token.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether the holder may run the loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// The holder runs the loops.
    Active,
    /// Nobody runs the loops; the holder is who had them last.
    Standby,
}

/// One value of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The rig.
    pub rig: RigName,
    /// The host.
    pub holder: HostName,
    /// The fencing token.
    pub epoch: Epoch,
    /// Whether the holder may run the loops.
    pub state: Standing,
    /// The boot for which the holder acquired it; absent until its first boot under this lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Random per change: tells apart two machines that act under one name.
    pub nonce: String,
    /// The cutover that made this change, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// Who drives the cutover that is under way, or drove the last one. Belongs to no epoch: it changes while a holder
    /// works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutover: Option<Owner>,
    /// Counts the holder's renewals of this epoch, its acquisition too, where the rig has a `lease.term`; 0: its loops stop at the
    /// end of no term.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renewal: u64,
    /// When, by the clock of who made it; for people, never compared.
    pub at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a host writes before it pushes: the change under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The nonce of the value being pushed.
    pub nonce: String,
}

/// A host's own half.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseFile {
    /// The value as this host knows it.
    pub lease: Lease,
    /// A push that may or may not have reached the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

impl LeaseFile {
    /// What a host writes before it pushes: the value that it saw and that is its own, and the one that it is about to
    /// push. Of what it saw it keeps all: an earlier boot may have pushed that and died before it wrote its file, and a
    /// file without it would take that value for another machine's.
    pub fn before_push(seen: &Lease, nonce: String) -> Self {
        Self { lease: seen.clone(), pending: Some(Pending { nonce }) }
    }
}

/// The mark of this boot's right to start loops (`/run/ccorch/lease-ok`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseOk {
    /// The epoch acquired.
    pub epoch: Epoch,
    /// Its nonce.
    pub nonce: String,
    /// The boot it was acquired for.
    pub boot_id: String,
}

/// What the arbiter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arbiter<'a> {
    /// The rig has no remote: the file alone decides.
    NotConfigured,
    /// It cannot be reached now.
    Away,
    /// The ref does not exist. An error, never "free".
    Absent,
    /// Its value.
    Holds(&'a Lease),
}

/// What a host does about the lease in this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtBoot {
    /// Acquire at this epoch, then start.
    Acquire(Epoch),
    /// Start on the word of the local file alone.
    Trust(String),
    /// Start nothing and ask again; the reason.
    Wait(String),
    /// Stay down; the reason.
    Standby(String),
    /// The same, and the own file says otherwise: from now on it says standby too, so that the arbiter's silence later on is no
    /// leave to go by what it said.
    Deposed(String),
}

/// How the reason begins when the arbiter names this host and its own file is gone: a person's word is needed, because a
/// copied disk without its file looks the same.
pub const LOST_FILE: &str = "the arbiter names this host, but its own lease file is gone; `ccorch lease acquire` takes a person's word for it";

/// Decides, once per boot and before any start, whether this host may run the loops.
pub fn at_boot(me: &HostName, file: Option<&LeaseFile>, arbiter: &Arbiter<'_>, offline: Offline) -> AtBoot {
    let Some(file) = file else {
        return AtBoot::Standby(match arbiter {
            Arbiter::Holds(theirs) if theirs.holder == *me && theirs.state == Standing::Active => {
                format!("{LOST_FILE} (epoch {})", theirs.epoch)
            }
            _ => "this host has never held the lease".into(),
        });
    };
    let mine = &file.lease;
    if let Arbiter::Holds(theirs) = arbiter
        && (back::is_given_back(me, file, theirs) || is_own_push(me, file, theirs))
    {
        return AtBoot::Acquire(theirs.epoch.next());
    }
    if mine.holder != *me || mine.state == Standing::Standby {
        // A ref that says otherwise is news from a cutover that died before it wrote the file; its driver goes on.
        return AtBoot::Standby(format!("this host is standby since epoch {}", mine.epoch));
    }
    match arbiter {
        Arbiter::NotConfigured => AtBoot::Acquire(mine.epoch.next()),
        Arbiter::Away if offline == Offline::Trust => {
            AtBoot::Trust("the lease remote is away and `offline: trust` takes the local file's word".into())
        }
        Arbiter::Away => AtBoot::Wait("the lease remote is away".into()),
        Arbiter::Absent => {
            AtBoot::Standby("the lease ref does not exist; `ccorch lease init` creates it".into())
        }
        Arbiter::Holds(theirs) => match foreign(me, file, theirs) {
            Some(reason) => AtBoot::Deposed(reason),
            None => AtBoot::Acquire(theirs.epoch.next()),
        },
    }
}

/// Whether the arbiter holds what this very machine pushed for itself before it could write its file.
fn is_own_push(me: &HostName, file: &LeaseFile, theirs: &Lease) -> bool {
    let pushed = file.pending.as_ref().is_some_and(|pending| pending.nonce == theirs.nonce);
    pushed && theirs.holder == *me && theirs.state == Standing::Active
}

/// Why the arbiter's value is not this very machine's active lease, if it is not.
fn foreign(me: &HostName, file: &LeaseFile, theirs: &Lease) -> Option<String> {
    let known = |nonce: &str| {
        file.lease.nonce == nonce || file.pending.as_ref().is_some_and(|pending| pending.nonce == nonce)
    };
    if theirs.holder != *me {
        Some(format!("`{}` holds the lease at epoch {}", theirs.holder, theirs.epoch))
    } else if theirs.state == Standing::Standby {
        Some(format!("this host was made standby at epoch {}", theirs.epoch))
    } else if !known(&theirs.nonce) {
        Some(format!(
            "another machine acts under the name `{me}` (epoch {}): a copied disk or instance",
            theirs.epoch
        ))
    } else {
        None
    }
}

/// What a running holder does after a look at the arbiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// Still ours.
    Held,
    /// Nothing is known; running loops go on.
    Unknown(String),
    /// Ours no more: stop the loops now; the reason.
    Demote(String),
}

/// Decides at each heartbeat of a boot that has acquired the lease.
pub fn at_heartbeat(
    me: &HostName,
    file: Option<&LeaseFile>,
    ok: &LeaseOk,
    arbiter: &Arbiter<'_>,
) -> Heartbeat {
    let Some(file) = file.filter(|f| f.lease.holder == *me && f.lease.state == Standing::Active) else {
        return Heartbeat::Demote("this host's own lease file says standby".into());
    };
    match arbiter {
        Arbiter::NotConfigured => Heartbeat::Held,
        Arbiter::Away => Heartbeat::Unknown("the lease remote is away".into()),
        Arbiter::Absent => Heartbeat::Unknown("the lease ref is gone from the remote".into()),
        Arbiter::Holds(theirs) => match foreign(me, file, theirs) {
            Some(reason) => Heartbeat::Demote(reason),
            // The ref went back: somebody restored an old repository. Our token is the newer one.
            None if theirs.epoch < ok.epoch => Heartbeat::Unknown(format!(
                "the lease ref went back to epoch {} while epoch {} was acquired",
                theirs.epoch, ok.epoch
            )),
            None => Heartbeat::Held,
        },
    }
}

/// What a start on this host is judged by: local files alone, so that it is fast and works offline.
#[derive(Debug, Clone, Copy)]
pub struct StartFacts<'a> {
    /// This host's name.
    pub me: &'a HostName,
    /// The kernel's id of this boot.
    pub boot_id: &'a str,
    /// The host's half of the lease.
    pub file: Option<&'a LeaseFile>,
    /// The mark of this boot.
    pub ok: Option<&'a LeaseOk>,
    /// The cutover that keeps the loops down at the moment, if one does.
    pub quiesced_by: Option<&'a str>,
}

/// Whether a loop may start now, or why not.
pub fn may_start(facts: &StartFacts<'_>) -> Result<Epoch, String> {
    let file = facts.file.ok_or("this host has never held the lease")?;
    if file.lease.holder != *facts.me || file.lease.state == Standing::Standby {
        return Err(format!("this host is standby since epoch {}", file.lease.epoch));
    }
    if let Some(journal) = facts.quiesced_by {
        return Err(format!("cutover {journal} keeps the loops down"));
    }
    let ok = facts.ok.ok_or("the lease is not acquired in this boot yet")?;
    if ok.boot_id != facts.boot_id {
        return Err("the lease was acquired in another boot".into());
    }
    if ok.epoch != file.lease.epoch || ok.nonce != file.lease.nonce {
        return Err("the lease changed since it was acquired".into());
    }
    Ok(ok.epoch)
}

/// A change of the lease: from the arbiter's value to the next, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Already so, by this very cutover.
    Done,
    /// Write this epoch.
    Write(Epoch),
    /// Refused; the reason.
    Refused(String),
    /// This driver may change nothing.
    Stale(Refused),
}

/// What a cutover asks of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The host the change is about.
    pub host: &'a HostName,
    /// What it becomes.
    pub state: Standing,
    /// Who asks.
    pub driver: &'a Driver,
}

/// Decides a cutover's change. To standby is only the active holder's; to active only from standby, whoever held it; and
/// both only for the driver that the arbiter names, so that two drivers never take turns with one lease.
pub fn change(current: &Lease, wanted: &Wanted<'_>) -> Change {
    if let Err(refused) = owns(current.cutover.as_ref(), wanted.driver) {
        return Change::Stale(refused);
    }
    match (current.state, wanted.state) {
        // Its boot may have acquired anew since; nothing else happens to a lease that a driver owns.
        _ if current.holder == *wanted.host && current.state == wanted.state => Change::Done,
        (Standing::Active, Standing::Standby) if current.holder == *wanted.host => {
            Change::Write(current.epoch.next())
        }
        (Standing::Standby, Standing::Active) => Change::Write(current.epoch.next()),
        _ => Change::Refused(format!("`{}` holds the lease at epoch {}", current.holder, current.epoch)),
    }
}

/// A holder gives up by a person's word: standby at the next epoch.
pub fn release(current: &Lease, me: &HostName) -> Change {
    match &current.cutover {
        Some(owner) if owner.open => Change::Stale(Refused::Taken(owner.clone())),
        _ if current.holder != *me => {
            Change::Refused(format!("`{}` holds the lease at epoch {}", current.holder, current.epoch))
        }
        _ if current.state == Standing::Standby => Change::Done,
        _ => Change::Write(current.epoch.next()),
    }
}

/// A host takes, by a person's word, a lease that is its own but for a lost file, or that nobody holds.
pub fn acquire(current: &Lease, me: &HostName) -> Change {
    match (&current.cutover, current.state) {
        (Some(owner), _) if owner.open => Change::Stale(Refused::Taken(owner.clone())),
        (_, Standing::Active) if current.holder != *me => {
            Change::Refused(format!("`{}` holds the lease at epoch {}", current.holder, current.epoch))
        }
        // Anew even where it is ours: another machine under this name finds a nonce it does not know, and stops.
        _ => Change::Write(current.epoch.next()),
    }
}

/// A takeover by a person's word that `source` is dead. It ends a cutover that was under way: see [`supersede`].
pub fn take_over(current: &Lease, me: &HostName, source: &HostName) -> Change {
    let under_way = current.cutover.as_ref().is_some_and(|owner| owner.open);
    match (current.holder == *me, current.state) {
        (true, Standing::Active) if !under_way => Change::Done,
        (true, Standing::Active) => Change::Write(current.epoch.next()),
        (true, Standing::Standby) => Change::Write(current.epoch.next()),
        (false, _) if current.holder == *source => Change::Write(current.epoch.next()),
        (false, _) => Change::Refused(format!(
            "`{source}` does not hold the lease: `{}` does, at epoch {}",
            current.holder, current.epoch
        )),
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
