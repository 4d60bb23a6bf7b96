//! The journal's copies on the hosts: sent before each act, and read back by whoever goes on.
//!
//! A host that takes a copy listens to its driver alone from then on, and a driver that was replaced is told so: this is
//! what keeps a laptop that wakes up from acting. A legacy host keeps the driver's turn, which its fence scripts ask.

use std::thread;

use anyhow::{Error, Result};
use ccorch_core::cutover::{Journal, SideKind};

use super::side::Side;
use super::steps::Steps;
use super::{hosted, is_stale};
use crate::context::LoadedRig;
use crate::error::Kind;
use crate::here::driver::STALE;
use crate::{hints, reach, remote};

/// Lets in the newest driver alone, as `ccorch_core::lease::admit` says it.
const ADMIT: &str = r#"
set -eu
file=/var/lib/ccorch/driver-turn
mkdir -p /var/lib/ccorch
seen=0; by=nobody
if [ -s "$file" ]; then read -r seen by < "$file"; fi
if [ "$1" -lt "$seen" ]; then
  echo "error: $3: a newer driver has taken over: cutover $by (turn $seen)" >&2
  exit 6
fi
if [ "$1" -gt "$seen" ]; then
  printf '%s %s\n' "$1" "$2" > "$file.new"; sync "$file.new"; mv "$file.new" "$file"
fi
"#;

/// Sends the journal to both hosts at once. A host that cannot be reached is passed over as long as the other takes it:
/// what is done on it afterwards carries the turn as well.
pub fn send(journal: &Journal, text: &str, steps: &Steps<'_>) -> Result<()> {
    both(steps, |side| match side.kind {
        SideKind::Ccorch => hosted::keep(side, &journal.id, text),
        SideKind::Legacy => admit(side, &journal.id),
    })
    .map(drop)
}

/// Has both hosts listen to the new driver alone, and then reads their copies: what the driver before was still doing
/// there is over or refused, so that the newest copy is its last word.
pub fn fence(id: &str, by: &str, steps: &Steps<'_>) -> Result<Option<(Journal, String)>> {
    let texts = both(steps, |side| match side.kind {
        SideKind::Ccorch => hosted::fence(side, id, by),
        SideKind::Legacy => admit(side, id).map(|()| String::new()),
    })?;
    Ok(texts.iter().fold(None, |newest, text| newer(id, newest, text)))
}

fn admit(side: &Side, id: &str) -> Result<()> {
    let turn = side.turn().to_string();
    side.script("ask who drives", ADMIT, &[&turn, id, STALE]).run()?;
    Ok(())
}

/// Asks both hosts at once; the answers of those that can be reached, which is one at least.
fn both<T: Send>(steps: &Steps<'_>, one: impl Fn(&Side) -> Result<T> + Sync) -> Result<Vec<T>> {
    let answers = thread::scope(|scope| {
        let other = scope.spawn(|| one(&steps.to));
        let first = one(&steps.from);
        [first, other.join().unwrap_or_else(|_| Err(Error::msg("the copy's thread ended badly")))]
    });
    match answers {
        [Ok(from), Ok(to)] => Ok(vec![from, to]),
        [Err(error), _] | [_, Err(error)] if is_stale(&error) => Err(error),
        [Ok(answer), Err(error)] | [Err(error), Ok(answer)] if hints::of(&error).0 == Kind::Unreachable => {
            eprintln!("warning: one host has no copy of the journal for now: {error:#}");
            Ok(vec![answer])
        }
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
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
fn newer(id: &str, known: Option<(Journal, String)>, text: &str) -> Option<(Journal, String)> {
    let text = format!("{}\n", text.trim_end_matches('\n'));
    match Journal::read(&text) {
        Ok(copy) if copy.id == id && known.as_ref().is_none_or(|(other, _)| copy.is_newer_than(other)) => {
            Some((copy, text))
        }
        _ => known,
    }
}
