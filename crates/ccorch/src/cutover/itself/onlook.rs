//! A driver on the source that has handed over: it looks on, and drives again only where the target does not.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::cutover::Journal;
use ccorch_core::cutover::confirm::Verdict;
use ccorch_core::cutover::itself::{Onlooker, Sight, onlooker};
use ccorch_core::lease::Turn;

use super::super::meanwhile::Meanwhile;
use super::super::steps::Steps;
use super::super::{Log, copies, hosted, live, signs, verify};
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);

/// Who drives from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drives {
    /// Nobody: the journal is at its end.
    Nobody,
    /// This driver again.
    This,
}

/// Looks on until the target has driven the cutover to its end, and takes its journal for this machine's own.
pub fn look_on(loaded: &LoadedRig, log: &mut Log, steps: &Steps<'_>) -> Result<Drives> {
    let (id, target) = (log.journal.id.clone(), steps.to()?);
    live::begin("handed over", &format!("{} judges itself and drives what remains", target.name));
    let should_be_judged = Instant::now() + verify::longest(steps.asked());
    let (mut judged, mut changed, mut seen) = (None, Instant::now(), None);
    let mut source = Meanwhile::of(steps);
    loop {
        let text = hosted::copy(target, &id).unwrap_or_default();
        let copy = copies::newer(&id, None, &text);
        let sum = copy.as_ref().map(|(copy, _)| copy.sum().to_owned());
        if sum.is_some() && sum != seen {
            (seen, changed) = (sum, Instant::now());
        }
        match verify::view(target).ok().flatten().filter(|window| window.journal == id) {
            Some(window) if window.verdict == Verdict::Open => {
                live::tell(&window.missing.join("; "));
                source.look();
            }
            Some(window) if judged.is_none() => {
                judged = Some(Instant::now());
                if window.verdict == Verdict::Confirmed {
                    signs::measure(steps, window.first_work());
                }
            }
            Some(_) => {}
            None if judged.is_none() && Instant::now() >= should_be_judged => judged = Some(Instant::now()),
            None => live::tell(&format!("{} does not answer", target.name)),
        }
        let sight = sight(log, copy.as_ref().map(|(copy, _)| copy), judged, changed);
        match (onlooker(&sight), copy) {
            (Onlooker::Ends, Some((copy, text))) => {
                let by = copy.driver().map_or("another machine", |(_, by)| by).to_owned();
                live::end(&format!("handed over   {by} drove it to its end"));
                *log = Log::adopt(loaded, copy, text)?;
                return Ok(Drives::Nobody);
            }
            (Onlooker::GoesOn, _) => {
                live::end(&format!("handed over   {} does not drive: this driver goes on", target.name));
                return Ok(Drives::This);
            }
            (Onlooker::Leaves, _) => {
                let message = format!("{} took cutover {id} in hand and has long said nothing", target.name);
                return Err(Problem::new(Kind::Unreachable, message)
                    .hint(
                        "see `systemctl status 'ccorch-cutover-*'` there; `ccorch cutover --resume` goes on",
                    )
                    .into());
            }
            (Onlooker::LooksOn | Onlooker::Ends, _) => thread::sleep(LOOK),
        }
    }
}

fn sight(log: &Log, copy: Option<&Journal>, judged: Option<Instant>, changed: Instant) -> Sight {
    Sight {
        ours: log.journal.turn().unwrap_or(Turn(0)),
        theirs: copy.and_then(Journal::turn),
        over: copy.is_some_and(|copy| copy.outcome().is_some()),
        judged: judged.map(|since| since.elapsed()),
        silent: changed.elapsed(),
    }
}
