//! The term's decisions in a table, and every schedule of a small world with two clocks that run at one speed.

use std::collections::HashSet;

use jiff::Timestamp;

use super::*;
use crate::lease::{Epoch, Owner, Turn};
use crate::names::RigName;

const TERM: Term =
    Term { term: Duration::from_secs(8), stop: Duration::from_secs(2), heartbeat: Duration::from_secs(2) };

fn lease(holder: &str, state: Standing) -> Lease {
    Lease {
        rig: RigName::new("r").unwrap(),
        holder: HostName::new(holder).unwrap(),
        epoch: Epoch(3),
        state,
        boot_id: None,
        nonce: "n".into(),
        journal: None,
        cutover: None,
        renewal: 1,
        at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_standby_waits_for_the_whole_term_and_the_margin() {
    let me = HostName::new("b").unwrap();
    let look = |lease: &Lease, same: Option<u64>, term: Option<&Term>| {
        watch(&me, lease, same.map(Duration::from_secs), term)
    };
    let theirs = lease("a", Standing::Active);
    assert_eq!(look(&theirs, None, Some(&TERM)), Watch::Renewed);
    assert_eq!(look(&theirs, Some(11), Some(&TERM)), Watch::Waiting(Duration::from_secs(1)));
    assert_eq!(look(&theirs, Some(12), Some(&TERM)), Watch::TakeOver);
    let mut moving = theirs.clone();
    moving.cutover = Some(Owner { journal: "j".into(), turn: Turn(1), by: "x".into(), open: true });
    // Scripts and units of its owner's run the rig there, or a ccorch that knows of no term.
    let never_renewed = Lease { renewal: 0, ..theirs.clone() };
    for (lease, term) in [
        (&theirs, None),
        (&lease("a", Standing::Standby), Some(&TERM)),
        (&lease("b", Standing::Active), Some(&TERM)),
        (&moving, Some(&TERM)),
        (&never_renewed, Some(&TERM)),
    ] {
        assert!(matches!(look(lease, Some(99), term), Watch::Idle(_)), "{lease:?}");
    }
}

/// One moment of the small world: a holder that may be cut off, a standby, and a remote; a second passes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    /// Renewals that the remote has.
    remote: u8,
    /// Renewals of the holder's that are under way: started so many seconds ago.
    pushing: Option<u8>,
    /// Seconds since the start of the last renewal the holder knows to have arrived.
    since_renewal: u8,
    /// The holder's loops: seconds since their stop began, while they run.
    stopping: Option<u8>,
    runs: bool,
    /// A look of the standby's under way: what the remote showed it.
    looking: Option<u8>,
    /// The renewal the standby saw last, and for how long.
    seen: Option<(u8, u8)>,
    taken: bool,
}

fn seconds(duration: Duration) -> u8 {
    u8::try_from(duration.as_secs()).unwrap()
}

/// Everything that can happen next. A stop may take any time up to the budget; pushes and looks any time at all.
fn after(world: World) -> Vec<World> {
    let mut next = Vec::new();
    // A second passes. The guard's timer fires on time; the stop ends within its budget.
    let mut later = world;
    later.since_renewal = (world.since_renewal + 1).min(60);
    later.pushing = world.pushing.map(|age| (age + 1).min(60));
    later.seen = world.seen.map(|(renewal, same)| (renewal, (same + 1).min(60)));
    later.stopping = world.stopping.map(|age| age + 1);
    if later.runs && later.stopping.is_none() && later.since_renewal >= seconds(TERM.stop_after()) {
        later.stopping = Some(0);
    }
    if later.stopping.is_some_and(|age| age >= seconds(TERM.stop)) {
        later.runs = false;
        later.stopping = None;
    }
    next.push(later);
    if world.runs && world.pushing.is_none() && world.remote < 4 && !world.taken {
        next.push(World { pushing: Some(0), ..world });
    }
    if let Some(age) = world.pushing {
        // Lost on the way, or its answer lost, or all well.
        next.push(World { pushing: None, ..world });
        if !world.taken {
            next.push(World { pushing: None, remote: world.remote + 1, ..world });
            let known = World { pushing: None, remote: world.remote + 1, since_renewal: age, ..world };
            // A stop that began is not taken back.
            next.push(known);
        }
    }
    match world.looking {
        None if !world.taken => next.push(World { looking: Some(world.remote), ..world }),
        Some(shown) => {
            let me = HostName::new("b").unwrap();
            let same =
                world.seen.filter(|(r, _)| *r == shown).map(|(_, same)| Duration::from_secs(u64::from(same)));
            let mut done = World { looking: None, ..world };
            match watch(&me, &lease("a", Standing::Active), same, Some(&TERM)) {
                Watch::Renewed => done.seen = Some((shown, 0)),
                // The compare-and-set lets it through only against the renewal that was judged.
                Watch::TakeOver if shown == world.remote => done.taken = true,
                _ => {}
            }
            next.push(done);
        }
        None => {}
    }
    next
}

/// Every order of renewals, lost answers, looks and delays: a standby takes over only when the holder's loops are down,
/// and it does take over from one that is gone.
#[test]
fn a_standby_never_takes_over_from_loops_that_run() {
    let first = World {
        remote: 0,
        pushing: None,
        since_renewal: 0,
        stopping: None,
        runs: true,
        looking: None,
        seen: None,
        taken: false,
    };
    let (mut known, mut open) = (HashSet::from([first]), vec![first]);
    let mut taken_over = 0;
    while let Some(world) = open.pop() {
        assert!(!(world.taken && world.runs), "{world:?}");
        taken_over += u32::from(world.taken);
        for next in after(world) {
            if known.insert(next) {
                open.push(next);
            }
        }
    }
    println!("{} states of the term, {taken_over} after a takeover", known.len());
    assert!(known.len() > 10_000 && taken_over > 0);
}
