//! Which host a driver may pass over that does not answer, when it sends the journal round and when it reads the copies.
//!
//! What a driver does is in a copy before it is done, and whoever goes on reads the copies first. With two hosts that holds
//! where either all that keep copies were written to, or all are read.

use super::{SideKind, Step};
use crate::lease::Turn;

/// Whether a host may lack the newest copy. Never the only one that keeps copies: a rig of its owner's keeps the driver's turn
/// alone, and what is in no copy is not undone by the next driver, or not known to be undone. `undoes`: the step that is taken
/// back, if one is; where that lifts the fence of the owner's rig, the lifted fence tells the next driver.
pub fn may_lack_copy(other: SideKind, undoes: Option<Step>) -> bool {
    other == SideKind::Ccorch || matches!(undoes, Some(Step::Quiesce | Step::Fence))
}

/// Whether a driver that takes a cutover in hand may do so without hearing a host. `alone`: nobody else drove since this
/// machine's own journal was written, so that no copy can be newer. Never one whose rig is its owner's: nothing but the turn
/// kept there refuses the driver before, and that one may start its rig without a word to anybody else.
pub fn may_not_be_heard(host: SideKind, alone: bool) -> bool {
    host == SideKind::Ccorch && alone
}

/// Whether nobody else drove since this machine's journal was written. `held`: the turn that it names last, if it names one;
/// `foreign`: another machine wrote that; `taken`: the turn that the arbiter has given out now.
pub fn drove_alone(held: Option<Turn>, foreign: bool, taken: Turn) -> bool {
    !foreign && held.is_none_or(|held| held.0 + 1 == taken.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_keeper_of_copies_has_each_step_before_it_is_begun() {
        assert!(!may_lack_copy(SideKind::Legacy, None), "the other one keeps none");
        assert!(
            !may_lack_copy(SideKind::Legacy, Some(Step::Activate)),
            "nor does it show that the target stands down"
        );
        assert!(
            may_lack_copy(SideKind::Legacy, Some(Step::Quiesce))
                && may_lack_copy(SideKind::Legacy, Some(Step::Fence))
        );
        assert!(
            [None, Some(Step::Activate), Some(Step::Fence)]
                .iter()
                .all(|step| may_lack_copy(SideKind::Ccorch, *step))
        );
    }

    #[test]
    fn who_takes_over_from_another_hears_both_hosts() {
        assert!(may_not_be_heard(SideKind::Ccorch, true));
        assert!(!may_not_be_heard(SideKind::Ccorch, false));
        assert!(!may_not_be_heard(SideKind::Legacy, true) && !may_not_be_heard(SideKind::Legacy, false));
    }

    #[test]
    fn a_turn_between_is_somebody_elses() {
        assert!(drove_alone(None, false, Turn(5)), "a cutover that begins");
        assert!(drove_alone(Some(Turn(4)), false, Turn(5)));
        assert!(!drove_alone(Some(Turn(3)), false, Turn(5)), "somebody had turn 4");
        assert!(!drove_alone(Some(Turn(4)), true, Turn(5)), "its last lines are another machine's");
    }
}
