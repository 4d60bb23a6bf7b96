//! The term: for how long a renewal is worth something, so that a standby may take over by itself.
//!
//! Only durations on one machine's clock are compared, never two machines' times. The holder counts from the start of
//! the look that renewed: its loops are down a term after that, whatever happens. A standby counts from the end of the
//! look that first showed it that renewal, which is later; it takes over when a term and a margin have passed. A machine
//! that is paused counts while it sleeps (CLOCK_BOOTTIME), and stops its loops as the first thing when it wakes: until
//! then, and only then, two may overlap. A holder that never renewed counts nothing: nobody takes over from it by time.

use std::time::Duration;

use crate::lease::{Lease, Standing};
use crate::names::HostName;
use crate::rig::LeaseConfig;

/// The durations of a rig that has a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// How long a renewal is good for.
    pub term: Duration,
    /// How long the stop of all loops may take at the end of a term.
    pub stop: Duration,
    /// How often the holder renews, and a standby looks.
    pub heartbeat: Duration,
}

impl Term {
    /// The rig's own, if it has one.
    pub fn of(config: &LeaseConfig) -> Option<Self> {
        let (stop, heartbeat) = (config.stop.duration(), config.heartbeat.duration());
        Some(Self { term: config.term?.duration(), stop, heartbeat })
    }

    /// When the holder begins to stop its loops, counted from the start of the renewal: so early that they are down when
    /// the term ends.
    pub fn stop_after(&self) -> Duration {
        self.term.saturating_sub(self.stop)
    }

    /// When a standby takes over, counted from the end of the look that first showed the renewal. The margin covers a
    /// stop that took its whole time-out and one heartbeat.
    pub fn take_over_after(&self) -> Duration {
        self.term + self.stop + self.heartbeat
    }
}

/// What a standby does about a lease that it watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// Nothing to take over, and why.
    Idle(&'static str),
    /// A new renewal: remember it, with the time of this look.
    Renewed,
    /// The same renewal as before; so long until it may be taken over.
    Waiting(Duration),
    /// Its term and the margin are over: take over, by compare-and-set against that very renewal.
    TakeOver,
}

/// Decides after a look at the arbiter. `same_for`: for how long, on this machine's clock and in this boot, the arbiter
/// has shown the very same commit; `None` when it is a new one.
pub fn watch(me: &HostName, lease: &Lease, same_for: Option<Duration>, term: Option<&Term>) -> Watch {
    let Some(term) = term else { return Watch::Idle("the rig has no `lease.term`") };
    if lease.state == Standing::Standby {
        return Watch::Idle("the lease is given up: a cutover or a person goes on");
    }
    if lease.holder == *me {
        return Watch::Idle("this host holds it");
    }
    if lease.cutover.as_ref().is_some_and(|owner| owner.open) {
        return Watch::Idle("a cutover is under way: a person goes on with it");
    }
    if lease.renewal == 0 {
        // Its rig is its owner's, or it has none yet, or it knows of no term: its loops stop for nothing that is counted here.
        return Watch::Idle("its holder never renewed it: a person takes over");
    }
    match same_for {
        None => Watch::Renewed,
        Some(same) if same >= term.take_over_after() => Watch::TakeOver,
        Some(same) => Watch::Waiting(term.take_over_after() - same),
    }
}

#[cfg(test)]
#[path = "term_tests.rs"]
mod tests;
