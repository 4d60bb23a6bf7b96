//! Changes of the lease: a cutover's, a person's. Write order: to standby the file first, then the ref; to active the
//! ref first, then the file.

use anyhow::Result;
use ccorch_core::lease::{
    self as rules, Change, Driver, Epoch, Lease, LeaseFile, LeaseOk, Owner, Refused, Standing, Turn, Wanted,
    supersede,
};
use ccorch_core::names::HostName;
use ccorch_io::lease_ref::{Commit, Seen, Swap};
use ccorch_io::{clock, durable};

use super::{arbiter, file, look, nonce, term, turn, write_file};
use crate::error::{Kind, Problem};
use crate::here::runtime::Runtime;
use crate::here::{Here, driver, events};
use crate::hints;

/// What a cutover makes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Nothing runs there.
    Standby,
    /// Its ccorch runs the rig.
    Active,
    /// Scripts and units of its owner's run the rig; a ccorch on that host stays down.
    ActiveForItsOwner,
}

/// A cutover's change of the lease: about this host, or written on behalf of one whose rig ccorch does not run. Repeatable.
pub fn write(here: &Here, about: &HostName, to: To, by: &Driver) -> Result<Lease> {
    let state = if to == To::Standby { Standing::Standby } else { Standing::Active };
    let _act = driver::admit(here, by, "an unknown driver")?;
    let _turn = turn(here)?;
    let (began, boot_id, about_me) = (clock::since_boot(), clock::boot_id()?, *about == here.name);
    let acquires = about_me && to == To::Active;
    let (old, current) = match current(here) {
        Err(away) if acquires && hints::of(&away).0 == Kind::Unreachable => {
            return never_left(here)?.ok_or(away);
        }
        current => current?,
    };
    let lease = match rules::change(&current, &Wanted { host: about, state, driver: by }) {
        Change::Done => current.clone(),
        // What a host writes of itself, it acquires with that for this boot.
        Change::Write(epoch) => Lease {
            boot_id: acquires.then(|| boot_id.clone()),
            renewal: if acquires { term::first(here) } else { 0 },
            ..next(&current, about, state, epoch, Some(by.journal.clone()))
        },
        refused => return Err(refusal(here, about, state, &refused)),
    };
    if about_me && state == Standing::Standby {
        durable::remove(&here.paths.lease_ok())?;
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    push(here, old.as_ref(), &current, &lease)?;
    match to {
        To::Active if about_me => {
            if super::check(here).is_err() {
                // A heartbeat may come before the cutover's activation, and nothing starts before that.
                here.set_quiesced(Some(&by.journal))?;
            }
            keep_active(here, &lease)?;
            if lease != current {
                // Written just now; one that was there is acquired anew by the next look, whose push begins its term.
                super::acquired(here, &lease, &boot_id, began)?;
            }
        }
        To::ActiveForItsOwner if about_me => write_file(here, &owners(&lease))?,
        _ => {}
    }
    if !about_me && arbiter(here).is_none() {
        // Without a remote this host's file is all there is to tell of the other's lease.
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    events::record(here, "lease-written", None, format!("{about} {state:?} at epoch {}", lease.epoch));
    Ok(lease)
}

/// The lease that this host holds in this boot, by all that it has itself. A fence writes this file before it tells the arbiter,
/// so a file that still says active is one that no cutover has touched: the loops may go on without the arbiter, as they would
/// if nobody had stopped them.
fn never_left(here: &Here) -> Result<Option<Lease>> {
    let (file, boot_id) = (file(here)?, clock::boot_id()?);
    let mine = file.filter(|file| {
        file.pending.is_none() && file.lease.holder == here.name && file.lease.state == Standing::Active
    });
    let (Some(file), Some(ok)) = (mine, super::ok_mark(here)?) else { return Ok(None) };
    let acquired = LeaseOk { epoch: file.lease.epoch, nonce: file.lease.nonce.clone(), boot_id };
    if ok != acquired {
        return Ok(None);
    }
    events::record(here, "lease-kept", None, format!("epoch {}: it never left this host", ok.epoch));
    Ok(Some(file.lease))
}

/// The file of a host whose rig is its owner's: the lease is this host's, and its ccorch is standby.
fn owners(lease: &Lease) -> LeaseFile {
    LeaseFile { lease: Lease { state: Standing::Standby, ..lease.clone() }, pending: None }
}

/// The file of an active host: with a mark of this boot for the same lease there is nothing to write.
fn keep_active(here: &Here, lease: &Lease) -> Result<()> {
    let same = file(here)?.is_some_and(|file| file.lease.nonce == lease.nonce && file.pending.is_none());
    if same { Ok(()) } else { write_file(here, &LeaseFile { lease: lease.clone(), pending: None }) }
}

/// Takes a cutover in hand: from here on the arbiter and this host listen to that driver alone.
pub fn claim(here: &Here, journal: &str, by: &str, held: Option<Turn>) -> Result<Owner> {
    super::share_connection(here);
    let _turn = turn(here)?;
    let (old, current) = current(here)?;
    let owner = rules::claim(current.cutover.as_ref(), journal, by, held).map_err(|r| driver::refuse(&r))?;
    let lease = Lease { cutover: Some(owner.clone()), ..current.clone() };
    push(here, old.as_ref(), &current, &lease)?;
    driver::learn(here, &owner)?;
    events::record(here, "cutover-claimed", None, format!("{journal} by {by}, turn {}", owner.turn));
    Ok(owner)
}

/// Lets go of a cutover that is over. Repeatable.
pub fn close(here: &Here, by: &Driver) -> Result<()> {
    super::share_connection(here);
    let _turn = turn(here)?;
    let (old, current) = current(here)?;
    let closed = match (rules::owns(current.cutover.as_ref(), by), current.cutover.clone()) {
        (Ok(()), Some(owner)) => Owner { open: false, ..owner },
        // Closed by this very driver, whose answer was lost.
        (Err(Refused::Over(owner)), _) => owner,
        (Err(refused), _) => return Err(driver::refuse(&refused)),
        (Ok(()), None) => return Err(driver::refuse(&Refused::Nobody)),
    };
    push(here, old.as_ref(), &current, &Lease { cutover: Some(closed.clone()), ..current.clone() })?;
    driver::learn(here, &closed)
}

/// This host, which has failed as a target, gives the lease back to the source without a driver; its loops are down by now.
/// Its own file first, as to every standby; then one value at the arbiter that is the source's and ends the cutover for every
/// driver. Repeatable.
pub fn give_back(here: &Here, source: &HostName, journal: &str) -> Result<Lease> {
    let _turn = turn(here)?;
    let (old, current) = current(here)?;
    let lease = match rules::give_back(&current, &here.name, source, journal) {
        Change::Done => current.clone(),
        Change::Write(epoch) => {
            let by = format!("{}, which did not confirm itself", here.name);
            let given = rules::given(&current, source, epoch, journal, &by);
            Lease { nonce: nonce(), at: clock::now(), ..given }
        }
        refused => return Err(refusal(here, source, Standing::Active, &refused)),
    };
    super::stand_down(here, file(here)?)?;
    push(here, old.as_ref(), &current, &lease)?;
    if let Some(owner) = &lease.cutover {
        driver::learn(here, owner)?;
    }
    Ok(lease)
}

/// This host gives up: its loops stop first, then it is standby in its file, then at the arbiter. Repeatable.
pub fn release(here: &Here) -> Result<Lease> {
    let _turn = turn(here)?;
    let (old, current) = current(here)?;
    let change = rules::release(&current, &here.name);
    let lease = match change {
        Change::Done => current.clone(),
        Change::Write(epoch) => next(&current, &here.name, Standing::Standby, epoch, None),
        refused => return Err(refusal(here, &here.name, Standing::Standby, &refused)),
    };
    // The mark first: nothing starts while the stop is under way.
    durable::remove(&here.paths.lease_ok())?;
    Runtime::of(here).stop_all(here)?;
    write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    push(here, old.as_ref(), &current, &lease)?;
    events::record(here, "lease-released", None, format!("by a person, at epoch {}", lease.epoch));
    Ok(lease)
}

/// This host becomes the holder by a person's word that `source` is dead.
pub fn take_over(here: &Here, source: &HostName) -> Result<Lease> {
    become_active(here, "a takeover by a person's word", |now| rules::take_over(now, &here.name, source))
}

/// This host becomes the holder of a lease that is its own but for a lost file, or that nobody holds.
pub fn acquire(here: &Here) -> Result<Lease> {
    become_active(here, "a person's word", |now| rules::acquire(now, &here.name))
}

fn become_active(here: &Here, by: &str, decide: impl Fn(&Lease) -> Change) -> Result<Lease> {
    // A target that failed may be about to stop its loops: it looks first whether it is still its business.
    let _act = driver::between_acts(here)?;
    let _turn = turn(here)?;
    let (old, now) = current(here)?;
    let lease = match decide(&now) {
        Change::Done => now.clone(),
        Change::Write(epoch) => Lease {
            cutover: supersede(now.cutover.as_ref(), by),
            ..next(&now, &here.name, Standing::Active, epoch, None)
        },
        refused => return Err(refusal(here, &here.name, Standing::Active, &refused)),
    };
    push(here, old.as_ref(), &now, &lease)?;
    if let Some(owner) = &lease.cutover {
        driver::learn(here, owner)?;
    }
    keep_active(here, &lease)?;
    here.set_quiesced(None)?;
    events::record(here, "lease-taken", None, format!("{by}: active at epoch {}", lease.epoch));
    Ok(lease)
}

/// The next value: who drives stays who drives.
fn next(now: &Lease, holder: &HostName, state: Standing, epoch: Epoch, journal: Option<String>) -> Lease {
    Lease {
        rig: now.rig.clone(),
        holder: holder.clone(),
        epoch,
        state,
        boot_id: None,
        nonce: nonce(),
        journal,
        cutover: now.cutover.clone(),
        renewal: 0,
        at: clock::now(),
    }
}

fn refusal(here: &Here, about: &HostName, state: Standing, change: &Change) -> anyhow::Error {
    let why = match change {
        Change::Stale(refused) => return driver::refuse(refused),
        Change::Refused(why) => why.as_str(),
        Change::Done | Change::Write(_) => "it was not refused",
    };
    Problem::new(
        Kind::Conflict,
        format!("on {}: the lease cannot become {about}'s {state:?}: {why}", here.name),
    )
    .hint("`ccorch lease show` tells who holds it")
    .into()
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
        Some(Seen::Holds(commit, lease)) => Ok((Some(commit), *lease)),
        Some(Seen::Absent) => Err(none("the lease ref does not exist").into()),
        Some(Seen::Away(why)) => Err(away(here, &why)),
        None => {
            let lease = file(here)?.ok_or_else(|| none("there is no lease file"))?.lease;
            // Without an arbiter this host's own record tells who drives.
            Ok((None, Lease { cutover: driver::seen(here)?, ..lease }))
        }
    }
}

fn away(here: &Here, why: &str) -> anyhow::Error {
    if durable::disk_refuses(why) {
        let message = format!("{} cannot keep what the lease remote says: {why}", here.name);
        return Problem::new(Kind::Unfit, message).hint(hints::of_disk(here.name.as_str())).into();
    }
    let remote = here.rig.lease.as_ref().map_or("", |l| l.remote.as_str());
    Problem::new(
        Kind::Unreachable,
        format!("on {}: the lease remote {remote} does not answer: {why}", here.name),
    )
    .hint(format!("see that {} reaches it: network, key (`lease.identity`) and known host key", here.name))
    .into()
}

/// Moves the ref from what it was to what it becomes; that is nothing when they are the same.
fn push(here: &Here, old: Option<&Commit>, now: &Lease, lease: &Lease) -> Result<()> {
    let Some(arbiter) = arbiter(here).filter(|_| old.is_none() || now != lease) else { return Ok(()) };
    match arbiter.swap(old, lease)? {
        Swap::Done(_) => Ok(()),
        Swap::Lost => Err(Problem::new(Kind::Conflict, "somebody else changed the lease at the same moment")
            .hint("`ccorch lease show` tells who holds it; then run this again")
            .into()),
        Swap::Unknown(why) => Err(away(here, &why)),
    }
}

/// Proves that the arbiter takes what a cutover will ask of it, before anything is stopped.
pub fn probe(here: &Here) -> Result<()> {
    let Some(arbiter) = arbiter(here) else { return Ok(()) };
    let (_, lease) = current(here)?;
    // A name of its own: what a killed run left is in nobody's way.
    let lease = Lease { nonce: nonce(), ..lease };
    arbiter.probe(&lease).map_err(|error| unfit(here, &error))
}

fn unfit(here: &Here, error: &anyhow::Error) -> anyhow::Error {
    let hint = "some forges keep other refs than branches to themselves: `lease.ref: refs/heads/ccorch-lease/RIG` does \
                everywhere; see also the rights of the lease's key";
    let message = format!("on {}: the lease's remote does not take a lease: {error:#}", here.name);
    Problem::new(Kind::Unfit, message).hint(hint).into()
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
        cutover: None,
        renewal: 0,
        at: clock::now(),
    };
    match look(here)? {
        Some(Seen::Holds(_, lease)) => return refuse_init(&lease),
        Some(Seen::Away(why)) => return Err(away(here, &why)),
        Some(Seen::Absent) => {
            if let Some(arbiter) = arbiter(here) {
                arbiter.probe(&lease).map_err(|error| unfit(here, &error))?;
            }
            push(here, None, &lease, &lease)?;
        }
        None => {
            if let Some(file) = file(here)? {
                return refuse_init(&file.lease);
            }
        }
    }
    let its_owner_s = here.rig.hosts.get(holder).is_some_and(|host| host.runs.is_some());
    if *holder == here.name && its_owner_s {
        // Started here as well, the rig would run twice.
        write_file(here, &owners(&lease))?;
    } else if *holder == here.name || here.rig.lease.is_none() {
        write_file(here, &LeaseFile { lease: lease.clone(), pending: None })?;
    }
    Ok(lease)
}

fn refuse_init(lease: &Lease) -> Result<Lease> {
    let message = format!("the lease exists: `{}` holds it at epoch {}", lease.holder, lease.epoch);
    Err(Problem::new(Kind::Conflict, message).hint("a cutover moves it; it is never created twice").into())
}
