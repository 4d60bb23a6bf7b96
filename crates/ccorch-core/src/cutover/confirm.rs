//! The confirm window: the target is provisional until it has confirmed itself. It alone decides; a driver opens the
//! window, reads the verdict, and may withdraw what it is about to take back.
//!
//! | verdict | event | becomes |
//! | --- | --- | --- |
//! | open | confirm | confirmed |
//! | open | fail | failed |
//! | failed | fall back | fell back |
//! | anything | withdraw | withdrawn |
//! | anything else | | stays |
//!
//! A failed window waits for a driver to take the cutover back. Without one the target does it: see [`without_driver`].
//!
//! Time is counted by the one who watches and never by comparing clocks, so a clock that is set cannot fail a window.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SideKind;
use crate::lease::{LeaseFile, Owner, Standing};
use crate::names::{HostName, LoopName};
use crate::seconds::Seconds;

/// What the target says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Not decided.
    Open,
    /// It runs the rig.
    Confirmed,
    /// It does not; whoever drives the cutover takes it back.
    Failed {
        /// Why.
        why: String,
    },
    /// It did not, nobody took the cutover back, and it has given the lease back to the source itself.
    FellBack {
        /// Why it does not run the rig.
        why: String,
    },
    /// The cutover is being taken back; nothing that is seen later counts.
    Withdrawn,
}

/// What can happen to a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything was seen.
    Confirm,
    /// It cannot become good, or not in time.
    Fail(String),
    /// The lease is given back to the source.
    FallBack,
    /// The cutover is taken back.
    Withdraw,
}

/// The table.
pub fn rule(verdict: Verdict, event: Event) -> Verdict {
    match (verdict, event) {
        (Verdict::Open, Event::Confirm) => Verdict::Confirmed,
        (Verdict::Open, Event::Fail(why)) => Verdict::Failed { why },
        (Verdict::Failed { why }, Event::FallBack) => Verdict::FellBack { why },
        (_, Event::Withdraw) => Verdict::Withdrawn,
        (verdict, Event::Confirm | Event::Fail(_) | Event::FallBack) => verdict,
    }
}

/// What is asked of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How long everything may take; the settling comes on top.
    pub timeout: Seconds,
    /// How long no loop may end.
    pub settle: Seconds,
    /// So many ends of one loop are a crash loop.
    pub crashes: u32,
    /// Whether it has to come back from a reboot too.
    pub prove_reboot: bool,
    /// How long, after it has failed, no driver has to be heard of until the target falls back by itself.
    #[serde(default = "default_fallback")]
    pub fallback: Seconds,
}

/// Where a window is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// Before a reboot, or none is asked for.
    Watching,
    /// All was seen once; now it has to be seen again after a reboot.
    Rebooting {
        /// The boot it leaves.
        from: String,
    },
}

/// How one loop is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopFacts {
    /// Its name.
    pub name: LoopName,
    /// What is not as it should be, if something is.
    pub wrong: Option<String>,
    /// Whether it has made progress; absent for one of which nothing can be known.
    pub worked: Option<bool>,
    /// How often it has ended in the window.
    pub ends: u64,
}

/// What is seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// This boot.
    pub boot_id: String,
    /// Every loop that nobody holds down.
    pub loops: Vec<LoopFacts>,
    /// Whether there are loops, and every one of them is held down: nothing can show that the rig works here.
    pub all_held: bool,
    /// What else is missing: proxy, health, hand-offs, the receipt.
    pub missing: Vec<String>,
    /// Why this host may not run the loops any more.
    pub lost: Option<String>,
    /// How long it has been watched in this stage.
    pub watched: Duration,
    /// How long no loop has ended.
    pub quiet: Duration,
}

/// What follows from what is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Look again; this is missing.
    Wait(Vec<String>),
    /// Go through a reboot now.
    Reboot,
    /// It is decided.
    Decide(Event),
}

/// Judges what is seen. A crash loop fails at once: no time makes it good.
pub fn judge(terms: &Terms, stage: &Stage, facts: &Facts) -> Judgement {
    let fail = |why: String| Judgement::Decide(Event::Fail(why));
    if let Some(why) = &facts.lost {
        return fail(why.clone());
    }
    if let Some(one) = facts.loops.iter().find(|one| one.ends >= u64::from(terms.crashes.max(1))) {
        return fail(format!("loop {} is in a crash loop: it ended {} times", one.name, one.ends));
    }
    let mut missing = Vec::new();
    let leaving = matches!(stage, Stage::Rebooting { from } if *from == facts.boot_id);
    if leaving {
        missing.push("the reboot has not happened yet".to_owned());
    }
    if facts.all_held {
        missing.push("every loop is held, so nothing shows that this host works; `ccorch loops start LOOP` lets one run".into());
    }
    for one in &facts.loops {
        missing.extend(one.wrong.clone());
        if one.wrong.is_none() && one.worked == Some(false) {
            missing.push(format!("loop {} has not worked yet", one.name));
        }
    }
    missing.extend(facts.missing.iter().cloned());
    let settle = terms.settle.duration();
    if missing.is_empty() && facts.quiet >= settle {
        let before = terms.prove_reboot && *stage == Stage::Watching;
        return if before { Judgement::Reboot } else { Judgement::Decide(Event::Confirm) };
    }
    if missing.is_empty() {
        let left = settle.saturating_sub(facts.quiet).as_secs_f32().ceil();
        missing.push(format!("all work; settling, {left} s left"));
    }
    // A loop that ends now and then never settles; the end of the window is an end.
    if facts.watched >= terms.timeout.duration() + settle {
        return fail(format!("not at work after {}: {}", terms.timeout, missing.join("; ")));
    }
    Judgement::Wait(missing)
}

/// A target's window, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The cutover.
    pub journal: String,
    /// When it was opened, by the target's clock; for people.
    pub opened: Timestamp,
    /// What is asked.
    pub terms: Terms,
    /// Where it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What is missing at the moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// When each loop was first seen to have worked on the target, by the target's clock.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub worked: BTreeMap<LoopName, Timestamp>,
    /// How long it was watched by processes that are gone, in milliseconds.
    #[serde(default)]
    pub spent_ms: u64,
    /// Whether it has stopped its loops because it failed and nobody took the cutover back.
    #[serde(default)]
    pub stood_down: bool,
}

/// What a target does that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// A driver may still be there.
    Wait,
    /// It stops its loops, so that it does no harm, and says so: a source whose rig is its owner's is started by a driver or a
    /// person, and without an arbiter the source would not hear of it.
    StandDown,
    /// It stops its loops and gives the lease back to the source.
    GiveBack,
}

/// Decides it: `silent` is how long nothing was heard of a driver, by this host's own clock.
pub fn without_driver(terms: &Terms, silent: Duration, source: SideKind, has_arbiter: bool) -> Alone {
    match (source, has_arbiter) {
        _ if silent < terms.fallback.duration() => Alone::Wait,
        (SideKind::Ccorch, true) => Alone::GiveBack,
        (SideKind::Ccorch, false) | (SideKind::Legacy, _) => Alone::StandDown,
    }
}

/// Whether the rig is this host's whatever its window said: the cutover is over by what the host has heard, and its lease file is
/// active, as a takeover makes it. A window that failed is then nobody's business any more.
pub fn is_its_own(me: &HostName, file: Option<&LeaseFile>, heard: Option<&Owner>, journal: &str) -> bool {
    heard.is_some_and(|owner| owner.journal != journal || !owner.open)
        && file.is_some_and(|file| file.lease.holder == *me && file.lease.state == Standing::Active)
}

/// Two minutes: a driver that is there asks twice a second.
pub fn default_fallback() -> Seconds {
    Seconds(2 * 60)
}

impl Window {
    /// The first sign of work on the target.
    pub fn first_work(&self) -> Option<Timestamp> {
        self.worked.values().min().copied()
    }
}

#[cfg(test)]
#[path = "confirm_tests.rs"]
mod tests;
