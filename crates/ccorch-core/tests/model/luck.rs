//! What can go wrong with a driver: a step that fails, a person who turns back, a machine that dies, its last command late.

use std::rc::Rc;

use ccorch_core::cutover::{Status, Step};

use crate::acts::{Act, No};
use crate::driver::Doing;
use crate::world::{Copy, World};

impl World {
    /// The driver's bad luck: a step that fails, a person who turns back, a machine that dies.
    pub fn bad_luck(&self, machine: usize) -> Vec<Self> {
        let mut all = Vec::new();
        let Some(run) = self.machines[machine].run.clone() else { return all };
        let log = self.machines[machine].log.clone().unwrap();
        let back = log.progress.goes_back();
        if self.budget.fails > 0 && matches!(run, Some(Doing::Send(..) | Doing::Acts(_))) && !back {
            let (step, undo) = log.under_way();
            if !undo && step.failure_turns_back() {
                let mut next = self.clone();
                next.budget.fails -= 1;
                next.failed(machine, step);
                all.push(next);
            }
        }
        if self.budget.aborts > 0 && run.is_none() && !back && self.may_turn_back(machine, &log) {
            let mut next = self.clone();
            next.budget.aborts -= 1;
            next.log(machine).turn_back();
            all.push(next);
        }
        if self.budget.dies > 0 {
            let mut next = self.clone();
            next.budget.dies -= 1;
            next.machine(machine).run = None;
            all.push(next.clone());
            // What two hosts do over a driver's own connection ends with it; a command that one host runs does not.
            let outlives = |doing: &Doing| matches!(doing, Doing::Acts(acts) if acts.first().is_some_and(|act| !matches!(act, Act::Sync(..) | Act::Prove(..) | Act::Judge(_))));
            if let Some(doing) = run.filter(outlives) {
                next.orphan = Some(Rc::new((doing, log.driver())));
                all.push(next);
            }
        }
        all
    }

    /// A person turns back only where the hosts answer that it takes.
    fn may_turn_back(&self, machine: usize, log: &Copy) -> bool {
        let begun = |step| !matches!(log.progress.status(step), Status::Pending | Status::Undone);
        let (from, to) = (self.links[machine][log.from], self.links[machine][1 - log.from]);
        let needs_both = begun(Step::Activate) || begun(Step::Fence) && self.is_legacy(log.from);
        log.progress.outcome().is_none() && (from || !begun(Step::Quiesce)) && (to || !needs_both)
    }

    /// A host gets round to what a dead driver asked.
    pub fn orphan_acts(&self) -> Option<Self> {
        let orphan = self.orphan.clone()?;
        let (Doing::Acts(acts), driver) = &*orphan else { return None };
        let mut next = self.clone();
        next.orphan = None;
        // Only the command under way is left of a dead driver; a look-then-push is one command.
        match next.act(&acts[..1], driver, None) {
            Ok(left) if matches!(left.as_slice(), [Act::Push(..), ..]) => {
                next.orphan = Some(Rc::new((Doing::Acts(left), driver.clone())));
            }
            Err(No::Wait) => return None,
            Ok(_) | Err(_) => {}
        }
        Some(next)
    }
}
