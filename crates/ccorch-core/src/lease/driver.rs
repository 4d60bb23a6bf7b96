//! Who drives: a cutover belongs to one driver at a time, and every other is refused, whatever it believes.
//!
//! The arbiter's lease names the [`Owner`]; each host keeps the newest owner it has heard of. A driver takes a cutover in
//! hand by a compare-and-set at the arbiter that raises the [`Turn`], and every act on a host carries journal and turn. A
//! laptop that wakes up after another machine went on has an older turn, and no host does its bidding.
//!
//! | owner now | begins a new cutover | goes on with cutover J at turn t |
//! | --- | --- | --- |
//! | none | turn 1 | turn t + 1 (an arbiter that was made anew) |
//! | closed | next turn | refused: it is over, or a newer one has been since |
//! | open, J | next turn (its own first claim, answer lost) | next turn |
//! | open, another | refused: finish that one first | refused: replaced |

use std::fmt;

use serde::{Deserialize, Serialize};

/// The fencing token of drivers: whoever takes a cutover in hand raises it by one; it never goes back, over all cutovers
/// of a rig.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Turn(pub u64);

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What every act of a cutover carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Driver {
    /// The cutover's journal.
    pub journal: String,
    /// The driver's turn.
    pub turn: Turn,
}

/// Who drives, or drove last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The cutover's journal.
    pub journal: String,
    /// The driver's turn.
    pub turn: Turn,
    /// Who, for people: `user@machine`.
    pub by: String,
    /// Whether the cutover is under way.
    pub open: bool,
}

/// Why a driver may not act.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// Another cutover is under way.
    #[error("cutover {} is under way, driven by {} (turn {})", .0.journal, .0.by, .0.turn)]
    Taken(Owner),
    /// The cutover is over.
    #[error("cutover {} is over since turn {}, ended by {}", .0.journal, .0.turn, .0.by)]
    Over(Owner),
    /// A newer driver has it, or a newer cutover has been since.
    #[error("a newer driver has taken over: {} drives cutover {} (turn {})", .0.by, .0.journal, .0.turn)]
    Replaced(Owner),
    /// The arbiter knows of no driver at all.
    #[error("no driver has taken this cutover in hand")]
    Nobody,
}

/// Takes a cutover in hand. `held` is the turn that its journal names last, if it names one.
pub fn claim(owner: Option<&Owner>, journal: &str, by: &str, held: Option<Turn>) -> Result<Owner, Refused> {
    let last = match owner {
        Some(owner) if owner.open && owner.journal != journal => {
            let newer = held.is_some_and(|held| held < owner.turn);
            return Err(if newer { Refused::Replaced(owner.clone()) } else { Refused::Taken(owner.clone()) });
        }
        Some(owner) if !owner.open && owner.journal == journal => return Err(Refused::Over(owner.clone())),
        Some(owner) if !owner.open && held.is_some_and(|held| held <= owner.turn) => {
            return Err(Refused::Replaced(owner.clone()));
        }
        Some(owner) => owner.turn,
        None => Turn(0),
    };
    let turn = Turn(last.max(held.unwrap_or_default()).0 + 1);
    Ok(Owner { journal: journal.into(), turn, by: by.into(), open: true })
}

/// Who ended a cutover, by the arbiter's word, where its journal does not know of its end: a takeover, a newer cutover, or a
/// driver that died between telling the arbiter and writing it down. `held` is the turn that the journal names last;
/// `closing`, whether its end is all that the journal lacks, so that a close by that turn is its own. The rows of [`claim`]
/// that refuse for good are the ones that this answers.
pub fn ended_by<'a>(
    owner: Option<&'a Owner>,
    journal: &str,
    held: Option<Turn>,
    closing: bool,
) -> Option<&'a Owner> {
    let owner = owner?;
    let newer = held.is_none_or(|held| held < owner.turn);
    let over = match owner.journal == journal {
        true => !owner.open && (newer || !closing),
        false => newer && held.is_some(),
    };
    over.then_some(owner)
}

/// Whether the arbiter's owner is this very driver, so that it may change the lease.
pub fn owns(owner: Option<&Owner>, driver: &Driver) -> Result<(), Refused> {
    match owner {
        None => Err(Refused::Nobody),
        Some(owner) if owner.journal != driver.journal || owner.turn != driver.turn => {
            Err(Refused::Replaced(owner.clone()))
        }
        Some(owner) if !owner.open => Err(Refused::Over(owner.clone())),
        Some(_) => Ok(()),
    }
}

/// Whether a host lets a driver act, by the newest owner the host has heard of. A newer turn is news and is let in: only
/// the arbiter hands out turns.
pub fn admit(seen: Option<&Owner>, driver: &Driver) -> Result<(), Refused> {
    match seen {
        Some(seen) if driver.turn < seen.turn => Err(Refused::Replaced(seen.clone())),
        Some(seen) if driver.turn == seen.turn && driver.journal != seen.journal => {
            Err(Refused::Replaced(seen.clone()))
        }
        Some(seen) if driver.turn == seen.turn && !seen.open => Err(Refused::Over(seen.clone())),
        _ => Ok(()),
    }
}

/// A person's word or a term ended whatever was under way: a closed owner with a turn that no driver has.
pub fn supersede(owner: Option<&Owner>, by: &str) -> Option<Owner> {
    let owner = owner?;
    Some(Owner { turn: Turn(owner.turn.0 + 1), by: by.into(), open: false, ..owner.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(journal: &str, turn: u64, open: bool) -> Owner {
        Owner { journal: journal.into(), turn: Turn(turn), by: "ann@desk".into(), open }
    }

    fn driver(journal: &str, turn: u64) -> Driver {
        Driver { journal: journal.into(), turn: Turn(turn) }
    }

    #[test]
    fn a_cutover_is_taken_in_hand_as_the_table_says() {
        let claim = |owner: Option<&Owner>, held: Option<u64>| {
            claim(owner, "j", "bob@lap", held.map(Turn)).map(|owner| owner.turn.0)
        };
        let (open, other) = (owner("j", 4, true), owner("k", 4, true));
        let (closed, over) = (owner("k", 4, false), owner("j", 4, false));
        assert_eq!(claim(None, None), Ok(1));
        assert_eq!(claim(None, Some(7)), Ok(8));
        assert_eq!(claim(Some(&closed), None), Ok(5));
        assert_eq!(claim(Some(&closed), Some(3)), Err(Refused::Replaced(closed.clone())));
        assert_eq!(claim(Some(&over), None), Err(Refused::Over(over.clone())));
        assert_eq!(claim(Some(&over), Some(4)), Err(Refused::Over(over.clone())));
        assert_eq!(claim(Some(&open), None), Ok(5));
        assert_eq!(claim(Some(&open), Some(2)), Ok(5));
        assert_eq!(claim(Some(&other), None), Err(Refused::Taken(other.clone())));
        assert_eq!(claim(Some(&other), Some(3)), Err(Refused::Replaced(other.clone())));
    }

    /// What can never be taken in hand again has an end, and nothing else has.
    #[test]
    fn a_cutover_is_over_where_nobody_can_take_it_in_hand_any_more() {
        for (journal, turn, open, held) in every_owner() {
            let owner = owner(journal, turn, open);
            let claimed = claim(Some(&owner), "j", "bob@lap", held.map(Turn));
            let ended = ended_by(Some(&owner), "j", held.map(Turn), false).is_some();
            // A closed cutover of another name, older than this turn, is an arbiter that was put back; an open one is to be
            // finished first.
            let for_good = matches!(claimed, Err(Refused::Over(_) | Refused::Replaced(_)));
            let put_back = held.is_some_and(|held| journal == "k" && held >= turn);
            assert_eq!(ended, for_good && !put_back, "{journal} {turn} {open} {held:?}: {claimed:?}");
        }
        let over = owner("j", 4, false);
        assert_eq!(ended_by(Some(&over), "j", Some(Turn(4)), true), None, "its own last line is missing");
        assert_eq!(ended_by(Some(&over), "j", Some(Turn(3)), true), Some(&over));
        assert_eq!(ended_by(None, "j", Some(Turn(3)), false), None);
    }

    fn every_owner() -> Vec<(&'static str, u64, bool, Option<u64>)> {
        let mut all = Vec::new();
        for (journal, turn) in [("j", 4), ("k", 4)] {
            for held in [None, Some(3), Some(4), Some(5)] {
                all.extend([(journal, turn, true, held), (journal, turn, false, held)]);
            }
        }
        all
    }

    #[test]
    fn a_host_lets_in_the_newest_driver_and_none_after_the_end() {
        let seen = owner("j", 4, true);
        assert_eq!(admit(None, &driver("j", 1)), Ok(()));
        assert_eq!(admit(Some(&seen), &driver("j", 4)), Ok(()));
        assert_eq!(admit(Some(&seen), &driver("j", 5)), Ok(()));
        assert_eq!(admit(Some(&seen), &driver("k", 5)), Ok(()));
        assert_eq!(admit(Some(&seen), &driver("j", 3)), Err(Refused::Replaced(seen.clone())));
        assert_eq!(admit(Some(&seen), &driver("k", 4)), Err(Refused::Replaced(seen.clone())));
        let over = owner("j", 4, false);
        assert_eq!(admit(Some(&over), &driver("j", 4)), Err(Refused::Over(over.clone())));
        assert_eq!(admit(Some(&over), &driver("k", 5)), Ok(()));
    }

    #[test]
    fn only_the_arbiters_owner_owns() {
        let open = owner("j", 4, true);
        assert_eq!(owns(Some(&open), &driver("j", 4)), Ok(()));
        assert_eq!(owns(None, &driver("j", 4)), Err(Refused::Nobody));
        for (journal, turn) in [("j", 3), ("j", 5), ("k", 4)] {
            assert_eq!(owns(Some(&open), &driver(journal, turn)), Err(Refused::Replaced(open.clone())));
        }
        let ended = supersede(Some(&open), "a takeover").unwrap();
        assert!(
            owns(Some(&ended), &driver("j", 4)).is_err() && admit(Some(&ended), &driver("j", 4)).is_err()
        );
    }
}
