//! The term on this host: a holder renews and arms the guard that stops its loops; a standby watches and takes over.

use std::time::Duration;

use anyhow::Result;
use ccorch_core::lease::{Lease, LeaseFile, Pending, Standing, Term, Watch, supersede, watch as decide};
use ccorch_io::lease_ref::{Commit, Seen, Swap};
use ccorch_io::{clock, durable, lock, systemd};
use serde::{Deserialize, Serialize};

use super::{arbiter, nonce, write_file};
use crate::here::runtime::Runtime;
use crate::here::{Here, driver, events, letters, start};

/// The unit that waits for the end of the term.
const GUARD: &str = "ccorch-term.service";

/// Between two looks at loops that are to end.
const LOOK: Duration = Duration::from_millis(200);

/// When this boot's loops have to stop.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Deadline {
    /// By [`clock::since_boot`].
    stop_at: Duration,
}

/// What a standby saw last.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watched {
    /// The arbiter's commit.
    commit: String,
    /// By [`clock::since_boot`], at the end of the look that first showed it.
    since: Duration,
    boot_id: String,
}

fn term(here: &Here) -> Option<Term> {
    here.rig.lease.as_ref().and_then(Term::of)
}

/// The count of renewals with which this host acquires the lease: with a term, the acquisition is the first.
pub fn first(here: &Here) -> u64 {
    u64::from(term(here).is_some())
}

/// Renews a lease that is held, counted from `began`. A renewal that does not arrive is none.
pub fn renew(here: &Here, seen: Option<&Seen>, began: Duration) -> Result<()> {
    let (Some(_), Some(arbiter), Some(Seen::Holds(old, now))) = (term(here), arbiter(here), seen) else {
        return Ok(());
    };
    let next = Lease { renewal: now.renewal + 1, ..*now.clone() };
    match arbiter.swap(Some(old), &next)? {
        Swap::Done(_) => arm(here, began),
        Swap::Lost => Ok(()),
        Swap::Unknown(why) => {
            events::record(here, "lease-not-renewed", None, why);
            Ok(())
        }
    }
}

/// Arms the guard: the loops stop when the term that began then is over, unless it is armed anew.
pub fn arm(here: &Here, began: Duration) -> Result<()> {
    let Some(term) = term(here) else { return Ok(()) };
    let deadline = Deadline { stop_at: began + term.stop_after() };
    let lock = lock::wait(&here.paths.run().join("term.lock"))?;
    durable::replace_json(&here.paths.term(), &deadline, 0o644)?;
    drop(lock);
    if Runtime::of(here) == Runtime::Systemd {
        systemd::systemctl(&["start", GUARD])?;
    }
    Ok(())
}

/// The guard: sleeps until the term is over, looks whether it was renewed meanwhile, and stops every loop when it was not.
/// Ends when there is nothing to guard.
pub fn guard(here: &Here) -> Result<()> {
    while let Some(deadline) = deadline(here)? {
        if clock::since_boot() < deadline.stop_at {
            clock::sleep_until(deadline.stop_at);
        } else if let Some(first) = over(here)? {
            stop(here, first)?;
            if Runtime::of(here).is_down(here)? {
                forget(here)?;
            } else {
                clock::sleep_until(clock::since_boot() + LOOK);
            }
        }
    }
    Ok(())
}

fn deadline(here: &Here) -> Result<Option<Deadline>> {
    durable::read_json(&here.paths.term())
}

/// Ends the term if it is over: nothing starts from here on. In one piece with [`arm`], so that no renewal falls in
/// between. Whether it is the first to say so: one before may have died at its stop.
fn over(here: &Here) -> Result<Option<bool>> {
    let _lock = lock::wait(&here.paths.run().join("term.lock"))?;
    if !is_over(here)? {
        return Ok(None);
    }
    let mark = here.paths.lease_ok();
    let first = mark.exists();
    durable::remove(&mark)?;
    Ok(Some(first))
}

fn is_over(here: &Here) -> Result<bool> {
    Ok(deadline(here)?.is_some_and(|deadline| clock::since_boot() >= deadline.stop_at))
}

/// There is nothing left to guard, unless the lease was acquired anew meanwhile.
fn forget(here: &Here) -> Result<()> {
    let _lock = lock::wait(&here.paths.run().join("term.lock"))?;
    if is_over(here)? { durable::remove(&here.paths.term()) } else { Ok(()) }
}

/// What runs is asked to leave, and killed when half of the time to stop is over. People are told when that is under way: a disk
/// that hangs holds nothing up.
fn stop(here: &Here, first: bool) -> Result<()> {
    let runtime = Runtime::of(here);
    let mut stopped = runtime.begin_stop();
    if runtime == Runtime::Direct {
        stopped = runtime.stop_all(here);
    }
    if first {
        let why = "the lease could not be renewed for its whole term: stopping every loop";
        events::record(here, "lease-term-over", None, why);
        letters::tell(here, why);
    }
    stopped?;
    if runtime == Runtime::Direct {
        return Ok(());
    }
    let grace = term(here).map_or(Duration::ZERO, |term| term.stop / 2);
    let until = clock::since_boot() + grace;
    while clock::since_boot() < until {
        if runtime.is_down(here)? {
            return Ok(());
        }
        clock::sleep_until(until.min(clock::since_boot() + LOOK));
    }
    let units: Vec<String> = here.rig.loops.keys().map(ccorch_core::units::loop_unit).collect();
    let kill: Vec<&str> =
        ["kill", "--signal=KILL", "--"].into_iter().chain(units.iter().map(String::as_str)).collect();
    // A unit that is down by now refuses the signal; what is left is seen by the next look.
    let _ = systemd::systemctl(&kill);
    Ok(())
}

/// A standby's look: remembers renewals, and takes over from a holder whose term is over. What there is to tell, when the
/// next look should not wait for a whole heartbeat.
pub fn watch(here: &Here, seen: Option<&Seen>) -> Result<Option<String>> {
    let (Some(term), Some(Seen::Holds(commit, lease))) = (term(here), seen) else { return Ok(None) };
    let now = clock::since_boot();
    let boot_id = clock::boot_id()?;
    let path = here.paths.watched();
    let known: Option<Watched> = durable::read_json(&path).unwrap_or_default();
    let same = known.filter(|w| w.commit == commit.as_str() && w.boot_id == boot_id);
    let same_for = same.map(|w| now.saturating_sub(w.since));
    match decide(&here.name, lease, same_for, Some(&term)) {
        Watch::Idle(_) | Watch::Waiting(_) => Ok(None),
        Watch::Renewed => {
            let watched = Watched { commit: commit.as_str().into(), since: now, boot_id };
            durable::replace_json(&path, &watched, 0o644)?;
            Ok(None)
        }
        Watch::TakeOver => take_over(here, commit, lease),
    }
}

fn take_over(here: &Here, old: &Commit, now: &Lease) -> Result<Option<String>> {
    let by = "a takeover after the term";
    let lease = Lease {
        holder: here.name.clone(),
        epoch: now.epoch.next(),
        state: Standing::Active,
        boot_id: None,
        nonce: nonce(),
        journal: None,
        cutover: supersede(now.cutover.as_ref(), by),
        renewal: 0,
        at: clock::now(),
        ..now.clone()
    };
    let Some(arbiter) = arbiter(here) else { return Ok(None) };
    // The next look knows its own push by this, whenever this one dies; it acquires the lease and starts the rig.
    let mine = super::file(here)?.map_or_else(|| now.clone(), |file| file.lease);
    write_file(here, &LeaseFile { lease: mine, pending: Some(Pending { nonce: lease.nonce.clone() }) })?;
    if !matches!(arbiter.swap(Some(old), &lease)?, Swap::Done(_)) {
        // It renewed after all, or nothing is known: the next look tells.
        return Ok(None);
    }
    if let Some(owner) = &lease.cutover {
        driver::learn(here, owner)?;
    }
    let why = format!("`{}` did not renew for a whole term: `{}` takes over", now.holder, here.name);
    events::record(here, "lease-taken", None, &why);
    start::tell(here, &format!("{why}. What {} had not pushed is not here.", now.holder))?;
    Ok(Some(why))
}
