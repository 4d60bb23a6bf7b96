//! The drivers this host has heard of: it does the bidding of the newest one alone, one act at a time.

use std::time::Duration;

use anyhow::Result;
use ccorch_core::lease::{Driver, Owner, Refused, admit as decide};
use ccorch_io::durable;
use ccorch_io::lock::{self, Lock};

use super::Here;
use crate::error::{Kind, Problem};

/// How a refusal of a driver begins; the driver knows it by this, through ssh too.
pub const STALE: &str = "this driver may not act";

/// How long a command of a driver's may take to end by itself.
const ACTS: Duration = Duration::from_secs(5);

/// The newest driver this host has heard of.
pub fn seen(here: &Here) -> Result<Option<Owner>> {
    durable::read_json(&here.paths.driver())
}

/// Lets a driver act, or refuses it. The lock is held for the length of the act: a newer driver waits until what an older
/// one began here is over.
pub fn admit(here: &Here, driver: &Driver, by: &str) -> Result<Lock> {
    enter(here, driver, by, false)
}

/// The same for the copy of a journal that has its last line: it comes when this host may know already that the cutover
/// is over, and is no act.
pub fn admit_end(here: &Here, driver: &Driver, by: &str) -> Result<Lock> {
    enter(here, driver, by, true)
}

/// What this host does by itself with a cutover is no driver's act, and waits for those.
pub fn between_acts(here: &Here) -> Result<Lock> {
    let lock = acts(here)?;
    end_acts(here)?;
    Ok(lock)
}

/// Waits for a driver's commands that are no acts of this ccorch (`crates/ccorch/src/cutover/side.rs::GATE`), and ends those that
/// do not end: their driver is replaced, or asks again as it was not answered. One that sleeps may have left a transfer that waits
/// for its next word. Every step is repeatable.
pub fn end_acts(here: &Here) -> Result<()> {
    lock::wait_or_end(&here.paths.state().join("driver-acts.lock"), ACTS).map(drop)
}

fn acts(here: &Here) -> Result<Lock> {
    lock::wait(&here.paths.state().join("driver.lock"))
}

fn enter(here: &Here, driver: &Driver, by: &str, at_its_end: bool) -> Result<Lock> {
    super::lease::share_connection(here);
    let lock = acts(here)?;
    let _record = record_lock(here)?;
    let seen = seen(here)?;
    match decide(seen.as_ref(), driver) {
        Err(Refused::Over(owner)) if at_its_end && owner.journal == driver.journal => {}
        decided => decided.map_err(|refused| refuse(&refused))?,
    }
    if seen.is_none_or(|seen| seen.turn < driver.turn) {
        let owner = Owner { journal: driver.journal.clone(), turn: driver.turn, by: by.into(), open: true };
        record(here, &owner)?;
        end_acts(here)?;
    }
    Ok(lock)
}

/// Takes what the arbiter says for news.
pub fn learn(here: &Here, owner: &Owner) -> Result<()> {
    let _record = record_lock(here)?;
    if seen(here)?.is_none_or(|seen| (seen.turn, !seen.open) < (owner.turn, !owner.open)) {
        record(here, owner)?;
    }
    Ok(())
}

/// The cutover is over: its driver, whose act this is, may do nothing more here.
pub fn over(here: &Here, driver: &Driver) -> Result<()> {
    let _record = record_lock(here)?;
    match seen(here)? {
        Some(seen) if seen.turn == driver.turn && seen.open => record(here, &Owner { open: false, ..seen }),
        _ => Ok(()),
    }
}

/// For the short look-and-write of the record. Apart from the lock of an act, which may last minutes and takes the lease's
/// lock after it, while news from the arbiter are learnt under the lease's lock.
fn record_lock(here: &Here) -> Result<Lock> {
    lock::wait(&here.paths.state().join("driver-record.lock"))
}

fn record(here: &Here, owner: &Owner) -> Result<()> {
    durable::replace_json(&here.paths.driver(), owner, 0o600)
}

/// Whether somebody was refused because another one drives, or none does any more.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains(STALE)
}

/// What a driver is told that may not act: who may, and what to do.
pub fn refuse(refused: &Refused) -> anyhow::Error {
    let hint = match refused {
        Refused::Taken(_) => {
            "`ccorch cutover --resume` goes on with that one, `--abort` takes it back".into()
        }
        Refused::Over(owner) | Refused::Replaced(owner) => format!(
            "there is nothing left to do here: `ccorch journal show {}` tells how it went; only if {} cannot go on, \
             `ccorch cutover --resume` takes it in hand again",
            owner.journal, owner.by
        ),
        Refused::Nobody => "`ccorch cutover --resume` takes it in hand".into(),
    };
    Problem::new(Kind::Conflict, format!("{STALE}: {refused}")).hint(hint).into()
}
