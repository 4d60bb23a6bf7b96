//! This host's half of the lease: the question every start asks, the heartbeat, and the writes of a cutover.
//!
//! Write order: to standby the file first, then the ref; to active the ref first, then the file.

use anyhow::{Context, Result};
use ccorch_core::lease::{
    Arbiter, AtBoot, Change, Epoch, Heartbeat, Lease, LeaseFile, LeaseOk, Pending, Standing, StartFacts,
    Wanted, at_boot, at_heartbeat, change, may_start,
};
use ccorch_core::names::HostName;
use ccorch_core::rig::Offline;
use ccorch_io::lease_ref::{Commit, LeaseRef, Seen, Swap};
use ccorch_io::lock::{self, Lock};
use ccorch_io::ssh::Ssh;
use ccorch_io::{clock, durable};

use super::runtime::Runtime;
use super::{Here, events};
use crate::error::{Kind, Problem};

/// The event that says why this boot has not acquired the lease yet.
pub const WAITING: &str = "lease-waiting";

/// Whether a loop may start now.
pub fn check(here: &Here) -> Result<Epoch> {
    let (file, ok, boot_id) = (file(here)?, ok_mark(here)?, clock::boot_id()?);
    let quiesced = here.quiesced_by();
    let facts = StartFacts {
        me: &here.name,
        boot_id: &boot_id,
        file: file.as_ref(),
        ok: ok.as_ref(),
        quiesced_by: quiesced.as_deref(),
    };
    may_start(&facts)
        .map_err(|reason| Problem::new(Kind::Conflict, format!("no loop may start here: {reason}")).into())
}

/// The host's own file.
pub fn file(here: &Here) -> Result<Option<LeaseFile>> {
    durable::read_json(&here.paths.lease())
}

/// The mark of this boot.
pub fn ok_mark(here: &Here) -> Result<Option<LeaseOk>> {
    durable::read_json(&here.paths.lease_ok())
}

/// The arbiter's ref; absent when the rig names no remote.
pub fn arbiter(here: &Here) -> Option<LeaseRef> {
    let config = here.rig.lease.as_ref()?;
    let ssh = Ssh {
        identity: config.identity_on_host().map(Into::into),
        known_hosts: Some(here.paths.known_hosts()),
        ..Ssh::default()
    };
    Some(LeaseRef {
        cache: here.paths.lease_git(),
        remote: config.remote.clone(),
        name: config.ref_name(&here.rig.rig),
        ssh,
    })
}

/// What the arbiter says now; `None` when the rig names no remote.
pub fn look(here: &Here) -> Result<Option<Seen>> {
    arbiter(here).map(|arbiter| arbiter.read()).transpose()
}

/// What one tick came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// This boot holds the lease.
    Held(Epoch),
    /// Nothing may start yet; why.
    Waiting(String),
    /// This host is standby; why.
    Standby(String),
}

/// One heartbeat: acquires once per boot, and stops the loops when the lease went elsewhere.
pub fn tick(here: &Here) -> Result<Tick> {
    let _turn = turn(here)?;
    let (file, ok, boot_id) = (file(here)?, ok_mark(here)?, clock::boot_id()?);
    let seen = look(here)?;
    match ok.filter(|ok| ok.boot_id == boot_id) {
        Some(ok) => match at_heartbeat(&here.name, file.as_ref(), &ok, &view(seen.as_ref())) {
            Heartbeat::Held => Ok(Tick::Held(ok.epoch)),
            Heartbeat::Unknown(why) => {
                events::record(here, "lease-unknown", None, format!("{why}; running loops go on"));
                Ok(Tick::Held(ok.epoch))
            }
            Heartbeat::Demote(why) => demote(here, file, why),
        },
        None => boot(here, file, seen.as_ref(), &boot_id),
    }
}

fn boot(here: &Here, file: Option<LeaseFile>, seen: Option<&Seen>, boot_id: &str) -> Result<Tick> {
    let offline = here.rig.lease.as_ref().map_or(Offline::Wait, |l| l.offline);
    match (at_boot(&here.name, file.as_ref(), &view(seen), offline), file) {
        (AtBoot::Acquire(epoch), Some(file)) => acquire(here, file, seen, epoch, boot_id),
        (AtBoot::Trust(why), Some(file)) => {
            events::record(here, "lease-trusted", None, why);
            mark(here, &file.lease, boot_id)
        }
        (AtBoot::Wait(why), _) => Ok(Tick::Waiting(why)),
        (AtBoot::Standby(why), _) => Ok(Tick::Standby(why)),
        (AtBoot::Acquire(_) | AtBoot::Trust(_), None) => {
            Ok(Tick::Standby("this host has no lease file".into()))
        }
    }
}

fn acquire(here: &Here, file: LeaseFile, seen: Option<&Seen>, epoch: Epoch, boot_id: &str) -> Result<Tick> {
    let lease = Lease {
        epoch,
        boot_id: Some(boot_id.into()),
        nonce: nonce(),
        at: clock::now(),
        ..file.lease.clone()
    };
    if let (Some(arbiter), Some(Seen::Holds(old, _))) = (arbiter(here), seen) {
        let pending = Some(Pending { nonce: lease.nonce.clone() });
        write_file(here, &LeaseFile { pending, ..file })?;
        match arbiter.swap(Some(old), &lease)? {
            Swap::Done(_) => {}
            Swap::Lost => return Ok(Tick::Waiting("the lease changed while it was being acquired".into())),
            Swap::Unknown(why) => return Ok(Tick::Waiting(why)),
        }
    }
    write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    events::record(here, "lease-acquired", None, format!("epoch {epoch} for boot {boot_id}"));
    mark(here, &lease, boot_id)
}

fn mark(here: &Here, lease: &Lease, boot_id: &str) -> Result<Tick> {
    let ok = LeaseOk { epoch: lease.epoch, nonce: lease.nonce.clone(), boot_id: boot_id.into() };
    durable::replace_json(&here.paths.lease_ok(), &ok, 0o644)?;
    Ok(Tick::Held(lease.epoch))
}

fn demote(here: &Here, file: Option<LeaseFile>, why: String) -> Result<Tick> {
    // The mark first: nothing starts while the stop is under way.
    durable::remove(&here.paths.lease_ok())?;
    if let Some(file) = file {
        let lease = Lease { state: Standing::Standby, ..file.lease };
        write_file(here, &LeaseFile { lease, pending: None })?;
    }
    events::record(here, "lease-lost", None, format!("{why}; stopping every loop"));
    Runtime::of(here).stop_all(here)?;
    Ok(Tick::Standby(why))
}

/// A cutover's change of the lease: about this host, or written on behalf of one that has no ccorch. Repeatable.
pub fn write(here: &Here, about: &HostName, state: Standing, journal: &str) -> Result<Lease> {
    let _turn = turn(here)?;
    let (old, current) = current(here)?;
    let lease = match change(&current, &Wanted { host: about, state, journal }) {
        Change::Done => current,
        Change::Refused(why) => {
            return Err(Problem::new(
                Kind::Conflict,
                format!("the lease cannot become {about}'s {state:?}: {why}"),
            )
            .hint("`ccorch lease show` tells who holds it")
            .into());
        }
        Change::Write(epoch) => Lease {
            rig: here.rig.rig.clone(),
            holder: about.clone(),
            epoch,
            state,
            boot_id: None,
            nonce: nonce(),
            journal: Some(journal.into()),
            at: clock::now(),
        },
    };
    let about_me = *about == here.name;
    if about_me && state == Standing::Standby {
        durable::remove(&here.paths.lease_ok())?;
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    push(here, old.as_ref(), &lease)?;
    if about_me && state == Standing::Active {
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    if !about_me && arbiter(here).is_none() {
        // Without a remote this host's file is all there is to tell of the other's lease.
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    events::record(here, "lease-written", None, format!("{about} {state:?} at epoch {}", lease.epoch));
    Ok(lease)
}

/// The value that counts: the arbiter's, else this host's file.
fn current(here: &Here) -> Result<(Option<Commit>, Lease)> {
    let none = |what: &str| {
        Problem::new(
            Kind::Conflict,
            format!("{what}: nobody was ever given the lease of rig `{}`", here.rig.rig),
        )
        .hint("`ccorch lease init --holder HOST` gives it to the host that runs the loops today")
    };
    match look(here)? {
        Some(Seen::Holds(commit, lease)) => Ok((Some(commit), lease)),
        Some(Seen::Absent) => Err(none("the lease ref does not exist").into()),
        Some(Seen::Away(why)) => Err(away(here, &why)),
        None => Ok((None, file(here)?.ok_or_else(|| none("there is no lease file"))?.lease)),
    }
}

fn away(here: &Here, why: &str) -> anyhow::Error {
    let remote = here.rig.lease.as_ref().map_or("", |l| l.remote.as_str());
    Problem::new(
        Kind::Unreachable,
        format!("on {}: the lease remote {remote} does not answer: {why}", here.name),
    )
    .hint(format!("see that {} reaches it: network, key (`lease.identity`) and known host key", here.name))
    .into()
}

fn push(here: &Here, old: Option<&Commit>, lease: &Lease) -> Result<()> {
    let Some(arbiter) = arbiter(here) else { return Ok(()) };
    if let Some(Seen::Holds(_, now)) = look(here)?
        && now == *lease
    {
        return Ok(());
    }
    match arbiter.swap(old, lease)? {
        Swap::Done(_) => Ok(()),
        Swap::Lost => Err(Problem::new(Kind::Conflict, "somebody else changed the lease at the same moment")
            .hint("`ccorch lease show` tells who holds it; then run this again")
            .into()),
        Swap::Unknown(why) => Err(away(here, &why)),
    }
}

/// Creates the lease: the only way a ref comes into being.
pub fn init(here: &Here, holder: &HostName) -> Result<Lease> {
    let _turn = turn(here)?;
    let lease = Lease {
        rig: here.rig.rig.clone(),
        holder: holder.clone(),
        epoch: Epoch(1),
        state: Standing::Active,
        boot_id: None,
        nonce: nonce(),
        journal: None,
        at: clock::now(),
    };
    match look(here)? {
        Some(Seen::Holds(_, lease)) => return refuse_init(&lease),
        Some(Seen::Away(why)) => return Err(away(here, &why)),
        Some(Seen::Absent) => {
            if let Some(arbiter) = arbiter(here) {
                arbiter.probe(&lease).context("the remote does not fit for the lease")?;
            }
            push(here, None, &lease)?;
        }
        None => {
            if let Some(file) = file(here)? {
                return refuse_init(&file.lease);
            }
        }
    }
    if *holder == here.name || here.rig.lease.is_none() {
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    Ok(lease)
}

fn refuse_init(lease: &Lease) -> Result<Lease> {
    let message = format!("the lease exists: `{}` holds it at epoch {}", lease.holder, lease.epoch);
    Err(Problem::new(Kind::Conflict, message).hint("a cutover moves it; it is never created twice").into())
}

fn view(seen: Option<&Seen>) -> Arbiter<'_> {
    match seen {
        None => Arbiter::NotConfigured,
        Some(Seen::Away(_)) => Arbiter::Away,
        Some(Seen::Absent) => Arbiter::Absent,
        Some(Seen::Holds(_, lease)) => Arbiter::Holds(lease),
    }
}

/// The host's file is readable by all: every loop's user asks it before a start, and nothing in it is secret.
fn write_file(here: &Here, file: &LeaseFile) -> Result<()> {
    durable::replace_json(&here.paths.lease(), file, 0o644)
}

fn turn(here: &Here) -> Result<Lock> {
    lock::wait(&here.paths.state().join("lease.lock"))
}

fn nonce() -> String {
    uuid::Uuid::new_v4().to_string()
}
