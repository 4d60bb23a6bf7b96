//! A lease that goes back without a driver: from a target that has not proven itself to the source, which a cutover has made
//! standby. The target writes it at the arbiter, in one piece with the end of the cutover; the source takes it up by its own
//! next look. Every driver that wakes later has an older turn.

use super::{Change, Epoch, Lease, LeaseFile, Refused, Standing, supersede};
use crate::names::HostName;

/// What a target writes that gives back what cutover `journal` brought it.
pub fn give_back(current: &Lease, me: &HostName, source: &HostName, journal: &str) -> Change {
    let Some(owner) = &current.cutover else { return Change::Stale(Refused::Nobody) };
    let held = |by: &HostName| current.holder == *by && current.state == Standing::Active;
    match owner.journal == journal {
        // Its own word, whose answer was lost.
        true if !owner.open && held(source) => Change::Done,
        true if !owner.open => Change::Stale(Refused::Over(owner.clone())),
        true if held(me) => Change::Write(current.epoch.next()),
        // A driver that takes it back has made this host standby by now.
        true => Change::Refused(format!("`{}` holds the lease at epoch {}", current.holder, current.epoch)),
        false => Change::Stale(Refused::Replaced(owner.clone())),
    }
}

/// The value itself: the source's, for no boot of it yet, and with a turn that no driver has.
pub fn given(current: &Lease, source: &HostName, epoch: Epoch, journal: &str, by: &str) -> Lease {
    Lease {
        holder: source.clone(),
        epoch,
        state: Standing::Active,
        boot_id: None,
        journal: Some(journal.into()),
        cutover: supersede(current.cutover.as_ref(), by),
        renewal: 0,
        ..current.clone()
    }
}

/// Whether the arbiter gives the lease back to this host: by the very cutover that made it standby, and to no boot yet. While any
/// cutover is under way it is its driver's business; one that began since and changed nothing is in nobody's way.
pub(super) fn is_given_back(me: &HostName, file: &LeaseFile, theirs: &Lease) -> bool {
    let mine = &file.lease;
    let over = theirs.cutover.as_ref().is_some_and(|owner| !owner.open);
    let same = theirs.journal.is_some() && mine.journal == theirs.journal;
    over && same
        && mine.holder == *me
        && mine.state == Standing::Standby
        && theirs.holder == *me
        && theirs.state == Standing::Active
        && theirs.boot_id.is_none()
        && theirs.epoch > mine.epoch
}

#[cfg(test)]
mod tests {
    use super::super::tests::{self, host};
    use super::super::{Arbiter, AtBoot, Owner, Turn, at_boot};
    use super::*;
    use crate::rig::Offline;

    /// What is held in cutover `j`, which is open.
    fn lease(holder: &str, epoch: u64, state: Standing) -> Lease {
        let owner = Owner { journal: "j".into(), turn: Turn(4), by: "ann@desk".into(), open: true };
        let held = tests::lease(holder, epoch, state, &format!("n{epoch}"));
        Lease { journal: Some("j".into()), cutover: Some(owner), ..held }
    }

    fn at_source(file: &Lease, arbiter: &Lease) -> AtBoot {
        let file = LeaseFile { lease: file.clone(), pending: None };
        at_boot(&host("a"), Some(&file), &Arbiter::Holds(arbiter), Offline::Wait)
    }

    #[test]
    fn a_target_gives_back_what_it_holds_and_the_source_takes_that_up() {
        let (a, b) = (host("a"), host("b"));
        let mine = lease("b", 7, Standing::Active);
        assert_eq!(give_back(&mine, &b, &a, "j"), Change::Write(Epoch(8)));
        let given = given(&mine, &a, Epoch(8), "j", "b itself");
        assert_eq!(give_back(&given, &b, &a, "j"), Change::Done);
        assert_eq!(at_source(&lease("a", 6, Standing::Standby), &given), AtBoot::Acquire(Epoch(9)));
        // A cutover that began before the source had a look, and was closed without a change of the lease.
        let after = |open| Lease {
            cutover: Some(Owner { journal: "k".into(), turn: Turn(6), by: "bob@lap".into(), open }),
            ..given.clone()
        };
        let fenced = lease("a", 6, Standing::Standby);
        assert_eq!(at_source(&fenced, &after(false)), AtBoot::Acquire(Epoch(9)));
        assert!(
            matches!(at_source(&fenced, &after(true)), AtBoot::Standby(_)),
            "its driver is about to stop it"
        );
        // Taken up by one boot, it is no other machine's of that name.
        let taken = Lease { boot_id: Some("1".into()), ..given };
        assert!(matches!(at_source(&lease("a", 6, Standing::Standby), &taken), AtBoot::Standby(_)));
    }

    #[test]
    fn nothing_is_given_back_that_a_driver_or_another_cutover_has_in_hand() {
        let (a, b) = (host("a"), host("b"));
        let refused = |now: &Lease| !matches!(give_back(now, &b, &a, "j"), Change::Done | Change::Write(_));
        assert!(refused(&lease("b", 7, Standing::Standby)) && refused(&lease("a", 8, Standing::Active)));
        let mut other = lease("b", 7, Standing::Active);
        other.cutover.as_mut().unwrap().journal = "k".into();
        assert!(refused(&other));
        let ended = Lease {
            cutover: supersede(lease("b", 7, Standing::Active).cutover.as_ref(), "ann"),
            ..lease("b", 7, Standing::Active)
        };
        assert!(refused(&ended));
    }

    #[test]
    fn a_lease_that_a_driver_brings_back_waits_for_the_driver() {
        let fenced = lease("a", 6, Standing::Standby);
        assert!(matches!(at_source(&fenced, &lease("a", 8, Standing::Active)), AtBoot::Standby(_)));
        let given = given(&lease("b", 7, Standing::Active), &host("a"), Epoch(8), "j", "b itself");
        let other = Lease { journal: Some("k".into()), ..fenced };
        assert!(matches!(at_source(&other, &given), AtBoot::Standby(_)));
    }
}
