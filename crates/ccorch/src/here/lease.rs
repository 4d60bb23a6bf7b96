//! This host's half of the lease: the question every start asks, and the heartbeat. Changes are in `lease/change.rs`.
//!
//! Write order: to standby the file first, then the ref; to active the ref first, then the file.

pub mod change;
pub mod term;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use ccorch_core::lease::{
    Arbiter, AtBoot, Epoch, Heartbeat, Lease, LeaseFile, LeaseOk, Standing, StartFacts, at_boot,
    at_heartbeat, may_start,
};
use ccorch_core::names::HostName;
use ccorch_core::rig::Offline;
use ccorch_io::lease_ref::{LeaseRef, Seen, Swap};
use ccorch_io::lock::{self, Lock};
use ccorch_io::paths::HostPaths;
use ccorch_io::ssh::Ssh;
use ccorch_io::{clock, durable, systemd};

use super::runtime::Runtime;
use super::{Here, driver, events, letters, standby, start};
use crate::error::{Kind, Problem};

/// The event that says why this boot has not acquired the lease yet.
pub const WAITING: &str = "lease-waiting";

/// Whether a loop may start now.
pub fn check(here: &Here) -> Result<Epoch> {
    check_at(&here.paths, &here.name)
}

/// The same without the rig, which decides nothing of it.
pub fn check_at(paths: &HostPaths, me: &HostName) -> Result<Epoch> {
    let file: Option<LeaseFile> = durable::read_json(&paths.lease())?;
    let ok: Option<LeaseOk> = durable::read_json(&paths.lease_ok())?;
    let (boot_id, quiesced) = (clock::boot_id()?, super::quiesced_by(paths));
    let facts = StartFacts {
        me,
        boot_id: &boot_id,
        file: file.as_ref(),
        ok: ok.as_ref(),
        quiesced_by: quiesced.as_deref(),
    };
    may_start(&facts)
        .map_err(|reason| Problem::new(Kind::Conflict, format!("no loop may start here: {reason}")).into())
}

/// Whether this process shares its connection to the lease's remote with those before and after it.
static SHARES: AtomicBool = AtomicBool::new(false);

/// Shares the connection to the lease's remote from here on. A change is three calls (look, push, look again), most of each is
/// the login, and a cutover makes several changes. Never in the lease's own unit, whose end would take the connection from
/// others; and a root elsewhere is a trial, which leaves no process behind.
pub fn share_connection(here: &Here) {
    SHARES.store(here.paths.root() == Path::new("/"), Ordering::Relaxed);
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
        control_dir: SHARES.load(Ordering::Relaxed).then(|| here.paths.run().join("ssh")),
        identity: config.identity_on_host().map(Into::into),
        known_hosts: Some(here.paths.known_hosts()),
        ..Ssh::default()
    };
    Some(LeaseRef {
        cache: here.paths.lease_git(),
        spare: Some(here.paths.run()),
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
    // A renewal counts from here: whatever the look and the push take is taken off it.
    let began = clock::since_boot();
    let seen = look(here)?;
    hear(here, seen.as_ref());
    match ok.filter(|ok| ok.boot_id == boot_id) {
        Some(ok) => match at_heartbeat(&here.name, file.as_ref(), &ok, &view(seen.as_ref())) {
            Heartbeat::Held => {
                if let Some(file) = file.filter(|f| f.pending.is_none() && f.lease.nonce != ok.nonce) {
                    // A person's word gave this running holder a new one.
                    return mark(here, &file.lease, &boot_id);
                }
                term::renew(here, seen.as_ref(), began)?;
                Ok(Tick::Held(ok.epoch))
            }
            Heartbeat::Unknown(why) => {
                events::record(here, "lease-unknown", None, format!("{why}; running loops go on"));
                Ok(Tick::Held(ok.epoch))
            }
            Heartbeat::Demote(why) => demote(here, file, why),
        },
        None => {
            let tick = boot(here, file, seen.as_ref(), &boot_id, began);
            // Without a mark of this boot nothing may run, whatever else went wrong; a look before may have died at its stop.
            if !matches!(tick, Ok(Tick::Held(_))) && !Runtime::of(here).is_down(here)? {
                events::record(here, "lease-lost", None, "loops run without the lease; stopping every loop");
                Runtime::of(here).stop_all(here)?;
            }
            tick
        }
    }
}

/// Who drives a cutover, and that it is over, is heard from the arbiter too: a host that was away at its end, or whose disk
/// was full, was not told.
fn hear(here: &Here, seen: Option<&Seen>) {
    let Some(Seen::Holds(_, lease)) = seen else { return };
    if let Some(Err(error)) = lease.cutover.as_ref().map(|owner| driver::learn(here, owner)) {
        eprintln!("warning: who drives the cutover could not be noted: {error:#}");
    }
}

fn boot(
    here: &Here,
    file: Option<LeaseFile>,
    seen: Option<&Seen>,
    boot_id: &str,
    began: Duration,
) -> Result<Tick> {
    let offline = here.rig.lease.as_ref().map_or(Offline::Wait, |l| l.offline);
    match (at_boot(&here.name, file.as_ref(), &view(seen), offline), file) {
        (AtBoot::Acquire(epoch), Some(file))
            if file.lease.state == Standing::Standby || file.lease.holder != here.name =>
        {
            take_up(here, file, seen, epoch, boot_id, began)
        }
        (AtBoot::Acquire(epoch), Some(file)) => {
            let tick = acquire(here, file, seen, epoch, boot_id, began)?;
            if matches!(tick, Tick::Held(_)) && here.is_decommissioned() {
                // It took over, and died before it had stopped being a standby.
                start::rig_from_lease_unit(here)?;
            }
            Ok(tick)
        }
        (AtBoot::Trust(why), Some(file)) => {
            events::record(here, "lease-trusted", None, why);
            mark(here, &file.lease, boot_id)
        }
        (AtBoot::Wait(why), _) => Ok(Tick::Waiting(why)),
        (AtBoot::Deposed(why), file) => demote(here, file, why),
        (AtBoot::Standby(why), _) => match term::watch(here, seen)? {
            Some(news) => Ok(Tick::Waiting(news)),
            None => Ok(Tick::Standby(why)),
        },
        (AtBoot::Acquire(_) | AtBoot::Trust(_), None) => {
            Ok(Tick::Standby("this host has no lease file".into()))
        }
    }
}

fn acquire(
    here: &Here,
    file: LeaseFile,
    seen: Option<&Seen>,
    epoch: Epoch,
    boot_id: &str,
    began: Duration,
) -> Result<Tick> {
    // The arbiter's value is this host's own; who drives belongs to no epoch and no host.
    let now = if let Some(Seen::Holds(_, now)) = seen { now } else { &file.lease };
    let lease = Lease {
        epoch,
        boot_id: Some(boot_id.into()),
        nonce: nonce(),
        renewal: term::first(here),
        at: clock::now(),
        ..now.clone()
    };
    if let (Some(arbiter), Some(Seen::Holds(old, now))) = (arbiter(here), seen) {
        write_file(here, &LeaseFile::before_push(now, lease.nonce.clone()))?;
        match arbiter.swap(Some(old), &lease)? {
            Swap::Done(_) => {}
            Swap::Lost => return Ok(Tick::Waiting("the lease changed while it was being acquired".into())),
            Swap::Unknown(why) => return Ok(Tick::Waiting(why)),
        }
    }
    write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    acquired(here, &lease, boot_id, began)
}

/// The lease is this boot's, at the arbiter and in the file.
fn acquired(here: &Here, lease: &Lease, boot_id: &str, began: Duration) -> Result<Tick> {
    events::record(here, "lease-acquired", None, format!("epoch {} for boot {boot_id}", lease.epoch));
    // Before anything may start: without the guard nothing would end the term.
    term::arm(here, began)?;
    mark(here, lease, boot_id)
}

/// A standby that the arbiter says is active: the target of a cutover has given the lease back to this host, its source; or this
/// host took over after the term. The loops go on here. What a cutover stopped may start before the lease is acquired;
/// nothing does without it.
fn take_up(
    here: &Here,
    file: LeaseFile,
    seen: Option<&Seen>,
    epoch: Epoch,
    boot_id: &str,
    began: Duration,
) -> Result<Tick> {
    let by = match seen {
        Some(Seen::Holds(_, now)) => now.cutover.as_ref().map_or("this host", |owner| owner.by.as_str()),
        _ => return Ok(Tick::Waiting("the lease remote is away".into())),
    };
    let given_back = file.pending.is_none();
    if given_back {
        start::tell(here, &format!("The move was taken back by {by}; you are where you were."))?;
        standby::catch_up_from_lease_unit(here);
    }
    // The mark of a cutover that began since is not this one's to lift.
    if !given_back || super::quiesced_by(&here.paths) == file.lease.journal {
        here.set_quiesced(None)?;
    }
    let tick = acquire(here, file, seen, epoch, boot_id, began)?;
    if let Tick::Held(epoch) = tick {
        if given_back {
            let said = format!(
                "the move was taken back by {by}: {} runs the rig again, at epoch {epoch}",
                here.name
            );
            events::record(here, "lease-taken-up", None, &said);
            letters::tell(here, &said);
        }
        start::rig_from_lease_unit(here)?;
    }
    Ok(tick)
}

/// Starts the lease's own unit where there is one, else ticks here; returns at once.
pub fn nudge(here: &Here) -> Result<()> {
    if Runtime::of(here) == Runtime::Systemd {
        systemd::systemctl(&["start", "--no-block", "ccorch-lease.service"])?;
    } else {
        tick(here)?;
    }
    Ok(())
}

fn mark(here: &Here, lease: &Lease, boot_id: &str) -> Result<Tick> {
    let ok = LeaseOk { epoch: lease.epoch, nonce: lease.nonce.clone(), boot_id: boot_id.into() };
    durable::replace_json(&here.paths.lease_ok(), &ok, 0o644)?;
    Ok(Tick::Held(lease.epoch))
}

/// This host is standby by its own files. The mark first: nothing starts while a stop is under way.
fn stand_down(here: &Here, file: Option<LeaseFile>) -> Result<()> {
    durable::remove(&here.paths.lease_ok())?;
    write_standby(here, file)
}

fn write_standby(here: &Here, file: Option<LeaseFile>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let lease = Lease { state: Standing::Standby, ..file.lease };
    write_file(here, &LeaseFile { lease, pending: None })
}

/// The loops end whatever becomes of the file, whose disk may be full or hang; and the file says so before the last of them is
/// down, as this boot may end meanwhile.
fn demote(here: &Here, file: Option<LeaseFile>, why: String) -> Result<Tick> {
    let runtime = Runtime::of(here);
    let unmarked = durable::remove(&here.paths.lease_ok());
    let begun = runtime.begin_stop();
    let noted = write_standby(here, file);
    let stopped = runtime.stop_all(here);
    events::record(here, "lease-lost", None, format!("{why}; every loop is stopped"));
    letters::tell(here, &format!("fenced: {why}; every loop is stopped"));
    unmarked.and(begun).and(stopped).and(noted)?;
    Ok(Tick::Standby(why))
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
