//! The journal's copies on the hosts: sent before each act, and read back by whoever goes on.
//!
//! A host that takes a copy listens to its driver alone from then on, and a driver that was replaced is told so: this is
//! what keeps a laptop that wakes up from acting. A legacy host keeps the driver's turn, which its fence scripts ask.

use std::thread;

use anyhow::{Error, Result};
use ccorch_core::cutover::passed::{may_lack_copy, may_not_be_heard};
use ccorch_core::cutover::{Journal, Next, SideKind};
use ccorch_core::lease::{Driver, owns};
use ccorch_io::command::Command;

use super::side::Side;
use super::steps::Steps;
use super::{ask, hosted, live};
use crate::context::LoadedRig;
use crate::error::Kind;
use crate::here::driver::{STALE, is_refusal as is_stale, refuse};
use crate::{hints, reach, remote};

/// Lets in the newest driver alone, as `ccorch_core::lease::admit` says it. What follows it in a script is one act: a newer
/// driver waits until it is over. `end_acts` waits for commands that are no acts, and ends those that do not end, as
/// `crates/ccorch/src/here/driver.rs::end_acts` does.
pub const ADMIT: &str = r#"
set -eu
state=/var/lib/ccorch; turn=$1; id=$2; stale=$3; shift 3
mkdir -p "$state"
end_acts() {
  exec 8>> "$state/driver-acts.lock"
  if ! flock -w 5 8; then
    for open in /proc/[0-9]*/fd/*; do
      pid=${open#/proc/}; pid=${pid%%/*}
      if [ "$pid" != "$$" ] && [ "$open" -ef "$state/driver-acts.lock" ]; then kill -KILL "$pid" || :; fi
    done
    flock -w 60 8
  fi
  exec 8>&-
}
exec 9>> "$state/driver-turn.lock"; flock -w 120 9
file=$state/driver-turn; seen=0; by=nobody
if [ -s "$file" ]; then read -r seen by < "$file"; fi
if [ "$turn" -lt "$seen" ]; then
  echo "error: $stale: a newer driver has taken over: cutover $by (turn $seen)" >&2
  exit 6
fi
if [ "$turn" -gt "$seen" ]; then
  printf '%s %s\n' "$turn" "$id" > "$file.new"; sync "$file.new"; mv "$file.new" "$file"
  end_acts
fi
"#;

/// Whether its owner's units are kept down.
pub const IS_FENCED: &str = r#"
if [ -e "$state/fenced" ]; then echo fenced; else echo open; fi
"#;

/// Sends the journal to both hosts at once. A host that cannot be reached is passed over as long as the other takes it and keeps
/// it: what is done on it afterwards carries the turn as well. So is, on the way back, one that cannot keep it.
pub fn send(journal: &Journal, text: &str, steps: &Steps<'_>) -> Result<()> {
    let (from, to) = (steps.plan().from.kind, steps.plan().to.kind);
    let undoes = match journal.next() {
        Next::Undo(step) => Some(step),
        _ => None,
    };
    let passes = [to, from].map(|other| may_lack_copy(other, undoes));
    let told = both(steps, passes, undoes.is_some(), |side| match side.kind {
        SideKind::Ccorch => hosted::keep(side, &journal.id, text),
        SideKind::Legacy => {
            Ok(act(side, &journal.id, "end what is under way", "end_acts", &[]).run().map(drop)?)
        }
    })?;
    // Its owner's rig is about to be started, and the host that hears of a takeover did not answer.
    let unheard = told.len() == 1 && from == SideKind::Legacy && undoes.is_some();
    if unheard { not_taken_over(journal, steps) } else { Ok(()) }
}

/// Asks the arbiter itself, which may answer this machine although the target does not.
fn not_taken_over(journal: &Journal, steps: &Steps<'_>) -> Result<()> {
    let Some(turn) = journal.turn() else { return Ok(()) };
    let driver = Driver { journal: journal.id.clone(), turn };
    match ask::from_here(steps.loaded()) {
        Ok(Some(owner)) => owns(Some(&owner), &driver).map_err(|refused| refuse(&refused)),
        Ok(None) => Ok(()),
        Err(error) => {
            live::warn(format!("whether somebody took over meanwhile is not known: {error:#}"));
            Ok(())
        }
    }
}

/// What the hosts tell a driver that takes over.
#[derive(Debug)]
pub struct Heard {
    /// The newest copy of the journal, with its text.
    pub newest: Option<(Journal, String)>,
    /// Whether the units of a source whose rig is its owner's may start.
    pub unfenced: bool,
}

/// Has both hosts listen to the new driver alone, and then reads their copies: what the driver before was still doing
/// there is over or refused, so that the newest copy is its last word. `alone`: this machine was the driver before, and one host
/// that answers is enough. On the way back the other one need not be able to keep anything.
pub fn fence(journal: &Journal, by: &str, alone: bool, steps: &Steps<'_>) -> Result<Heard> {
    let (id, mut unfenced) = (journal.id.as_str(), false);
    if steps.plan().from.kind == SideKind::Legacy {
        unfenced = !admit(steps.from()?, id)?;
    }
    if steps.plan().to.kind == SideKind::Legacy {
        admit(steps.to()?, id)?;
    }
    let passes = [&steps.plan().from, &steps.plan().to].map(|side| may_not_be_heard(side.kind, alone));
    let texts = both(steps, passes, journal.goes_back(), |side| match side.kind {
        SideKind::Ccorch => hosted::fence(side, id, by),
        SideKind::Legacy => Ok(String::new()),
    })?;
    let newest = texts.iter().fold(None, |newest, text| newer(id, newest, text));
    Ok(Heard { newest, unfenced })
}

/// Has a host without ccorch listen to this driver alone, or learns that a newer one was there; whether its units are fenced.
pub fn admit(side: &Side, id: &str) -> Result<bool> {
    let text = act(side, id, "ask who drives", IS_FENCED, &[]).read()?;
    Ok(text.trim() == "fenced")
}

/// One act on a host without ccorch, in one piece with the question who drives.
pub fn act(side: &Side, id: &str, shown: &str, script: &str, args: &[&str]) -> Command {
    let turn = side.turn().to_string();
    let args: Vec<&str> = [&turn, id, STALE].into_iter().chain(args.iter().copied()).collect();
    side.script(shown, &format!("{ADMIT}{script}"), &args)
}

/// Asks both hosts at once; the answers of those that can be reached, which is one at least. `passes`: whether source and target
/// may be passed over. `unfit`: also one that answers and cannot do it, as its disk is full.
fn both<T: Send>(
    steps: &Steps<'_>,
    passes: [bool; 2],
    unfit: bool,
    one: impl Fn(&Side) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let answers = thread::scope(|scope| {
        let other = scope.spawn(|| steps.to().and_then(&one));
        let first = steps.from().and_then(&one);
        [first, other.join().unwrap_or_else(|_| Err(Error::msg("the copy's thread ended badly")))]
    });
    let passed = |error: &Error, passes: bool| match hints::of(error).0 {
        Kind::Unreachable => passes,
        Kind::Unfit => passes && unfit,
        _ => false,
    };
    match answers {
        [Ok(from), Ok(to)] => Ok(vec![from, to]),
        [Err(error), _] | [_, Err(error)] if is_stale(&error) => Err(error),
        [Err(error), Ok(answer)] if passed(&error, passes[0]) => one_host(&error, answer),
        [Ok(answer), Err(error)] if passed(&error, passes[1]) => one_host(&error, answer),
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
}

fn one_host<T>(error: &Error, answer: T) -> Result<Vec<T>> {
    live::warn(format!("one host has no copy of the journal for now: {error:#}"));
    Ok(vec![answer])
}

/// The newest copy of a journal on the hosts that have ccorch and can be reached, with its text.
pub fn newest(loaded: &LoadedRig, id: &str) -> Result<Option<(Journal, String)>> {
    let mut newest: Option<(Journal, String)> = None;
    for name in loaded.rig.hosts.keys() {
        let Ok(host) = reach::connect(loaded, name) else { continue };
        let Ok(output) = host.command(&[remote::INSTALLED, "journal", "print", id]).run() else { continue };
        newest = newer(id, newest, &output.text());
    }
    Ok(newest)
}

/// A copy that is damaged is passed over: the other host's may be whole.
pub fn newer(id: &str, known: Option<(Journal, String)>, text: &str) -> Option<(Journal, String)> {
    let text = format!("{}\n", text.trim_end_matches('\n'));
    match Journal::read(&text) {
        Ok(copy) if copy.id == id && known.as_ref().is_none_or(|(other, _)| copy.is_newer_than(other)) => {
            Some((copy, text))
        }
        _ => known,
    }
}
