//! What each step does to which kind of host. One row a step: this file reads like the plan.

use anyhow::Result;
use ccorch_core::cutover::{Plan, SideKind, Step};
use ccorch_core::lease::{Standing, Turn};
use ccorch_core::rig::Rig;
use ccorch_core::safepoint::UnsavedPolicy;

use super::hosted::Start;
use super::side::Side;
use super::verify::{self, Trial};
use super::{decommission, hosted, legacy, preflight};
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::staging::{self, Cache, How, Mode, Pass};

/// Both hosts, and what is to be done with them.
#[derive(Debug)]
pub struct Steps<'a> {
    loaded: &'a LoadedRig,
    plan: &'a Plan,
    journal: &'a str,
    trial: Trial,
    unsaved: UnsavedPolicy,
    cache: Cache,
    /// The source.
    pub from: Side,
    /// The target.
    pub to: Side,
}

impl<'a> Steps<'a> {
    /// Reaches both hosts.
    pub fn connect(
        loaded: &'a LoadedRig,
        plan: &'a Plan,
        journal: &'a str,
        trial: Trial,
        unsaved: UnsavedPolicy,
    ) -> Result<Self> {
        let (from, to) = (Side::connect(loaded, &plan.from)?, Side::connect(loaded, &plan.to)?);
        Ok(Self { loaded, plan, journal, trial, unsaved, cache: Cache::default(), from, to })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.plan
    }

    /// The rig.
    pub fn rig(&self) -> &Rig {
        &self.loaded.rig
    }

    /// The cutover's id.
    pub fn journal(&self) -> &str {
        self.journal
    }

    /// What the target has to show.
    pub fn trial(&self) -> Trial {
        self.trial
    }

    /// The rig and the operator's folder for it.
    pub fn loaded(&self) -> &LoadedRig {
        self.loaded
    }

    /// The host that writes the lease: the one it is about where that runs ccorch, else the other.
    pub fn writer(&self) -> &Side {
        if self.from.kind == SideKind::Ccorch { &self.from } else { &self.to }
    }

    /// The host that takes cutovers in hand: any that runs ccorch where there is an arbiter, else always the same of the two.
    pub fn claimer(&self) -> &Side {
        match (self.rig().lease.is_some(), self.from.kind, self.to.kind) {
            (false, SideKind::Ccorch, SideKind::Ccorch) if self.to.name < self.from.name => &self.to,
            _ => self.writer(),
        }
    }

    /// The driver has its turn; every act carries it from here on.
    pub fn set_turn(&self, turn: Turn) {
        self.from.set_turn(turn);
        self.to.set_turn(turn);
    }

    /// Performs a step; what it did, in one line. Repeatable.
    pub fn perform(&self, step: Step) -> Result<String> {
        match step {
            Step::Preflight => preflight::check(self),
            Step::Presync => self.presync(),
            Step::FinalSync => self.sync(&self.from, &self.to, Pass::Last),
            Step::Quiesce => self.safe_point(),
            Step::Fence => self.fence(&self.from),
            Step::Prove => self.prove(&self.from, &self.to),
            Step::Activate => self.activate(&self.from, &self.to),
            Step::Verify => verify::wait(self, &self.to),
            Step::Decommission => decommission::perform(self, &self.from, &self.to),
        }
    }

    /// Whether a step that was begun is done: what it came to, or nothing when it has to be performed again. Every
    /// step is repeatable, so only one whose repetition would cost something looks first.
    pub fn probe(&self, step: Step) -> Result<Option<String>> {
        match step {
            Step::Fence | Step::Activate => {
                let (about, state) = match step {
                    Step::Fence => (&self.from.name, Standing::Standby),
                    _ => (&self.to.name, Standing::Active),
                };
                let view = hosted::lease(self.writer())?;
                let written = view.counts().is_some_and(|l| {
                    l.holder == *about && l.state == state && l.journal.as_deref() == Some(self.journal)
                });
                // The lease is only half of the step; the other half is repeated.
                Ok(if written { Some(self.perform(step)?) } else { None })
            }
            _ => Ok(None),
        }
    }

    /// Undoes a step, whether it was done, half done or not done. Repeatable.
    pub fn undo(&self, step: Step) -> Result<()> {
        match step {
            Step::Quiesce => self.unquiesce(&self.from),
            Step::Fence => self.unfence(&self.from),
            Step::Activate => self.deactivate(),
            Step::Decommission => decommission::undo(&self.from),
            Step::Preflight | Step::Presync | Step::FinalSync | Step::Prove | Step::Verify => Ok(()),
        }
    }

    /// What is not saved on the source now; its loops are at work, so it is not the proof.
    pub fn not_saved_yet(&self) -> Result<usize> {
        Ok(staging::look(self.loaded, &self.from.host)?.len())
    }

    fn presync(&self) -> Result<String> {
        let carried = self.sync(&self.from, &self.to, Pass::Early)?;
        staging::learn(self.loaded, &self.from.host, &self.to.host, &self.cache)?;
        Ok(carried)
    }

    fn safe_point(&self) -> Result<String> {
        let stopped = self.quiesce(&self.from)?;
        let stamp = staging::stamp(self.from.name.as_str(), self.journal);
        let (from, to) = (&self.from.host, &self.to.host);
        let proof = staging::safe_point(self.loaded, from, to, self.unsaved, &stamp)?;
        Ok(format!("{stopped}; {proof}"))
    }

    fn sync(&self, from: &Side, to: &Side, pass: Pass) -> Result<String> {
        // It may be the read-only standby of an earlier cutover.
        decommission::reopen(to)?;
        let name = format!("ccorch/rescue/{}", staging::stamp(from.name.as_str(), self.journal));
        let rescue = (self.unsaved == UnsavedPolicy::Rescue).then_some(name.as_str());
        let how = How { mode: Mode::Carry, pass, rescue };
        let carried = staging::sync(self.loaded, &from.host, &to.host, how, &self.cache)?;
        if from.kind == SideKind::Ccorch && to.kind == SideKind::Ccorch {
            self.carry_sessions(from, to)?;
        }
        Ok(carried.to_string())
    }

    /// Which conversation is which loop's: a few small files of the hosts' own state.
    fn carry_sessions(&self, from: &Side, to: &Side) -> Result<()> {
        for name in self.rig().loops.keys() {
            let path = format!("/var/lib/ccorch/loops/{name}.json");
            if let Some(state) = from.host.read_file(&path)? {
                to.host.write_file(&path, &state, "0644")?;
            }
        }
        Ok(())
    }

    fn prove(&self, from: &Side, to: &Side) -> Result<String> {
        let along = self.unsaved == UnsavedPolicy::Rescue;
        let differences = staging::prove(self.loaded, &from.host, &to.host, along, &self.cache)?;
        if differences.is_empty() {
            return Ok("every branch and every carried file is the same on both sides".into());
        }
        let list: String = differences.iter().map(|difference| format!("\n  - {difference}")).collect();
        let message = format!("{} and {} differ:{list}", from.name, to.name);
        Err(Problem::new(Kind::Conflict, message).hint("see what changed them; then cut over again").into())
    }

    fn quiesce(&self, side: &Side) -> Result<String> {
        match side.kind {
            SideKind::Legacy => {
                // The fence first: a host that reboots from here on must not start what is being stopped.
                legacy::fence(side)?;
                legacy::quiesce(side)?;
            }
            SideKind::Ccorch => hosted::quiesce(side, self.journal)?,
        }
        Ok(format!("nothing of the rig runs on {}", side.name))
    }

    fn unquiesce(&self, side: &Side) -> Result<()> {
        match side.kind {
            SideKind::Legacy => {
                legacy::unfence(side)?;
                legacy::start(side)
            }
            SideKind::Ccorch => hosted::unquiesce(side, self.journal),
        }
    }

    fn fence(&self, side: &Side) -> Result<String> {
        if side.kind == SideKind::Legacy {
            legacy::fence(side)?;
        }
        let lease = hosted::write_lease(self.writer(), side, Standing::Standby, self.journal)?;
        Ok(format!("{} is standby at epoch {}", side.name, lease.epoch))
    }

    /// The lease goes back to the source. If it never left, or is back already, that is seen and fine.
    fn unfence(&self, side: &Side) -> Result<()> {
        if side.kind == SideKind::Legacy {
            // It works again even while the lease remote is away: the target cannot become active without this
            // journal, so nobody else runs; the lease follows when the remote answers.
            legacy::unfence(side)?;
            legacy::start(side)?;
        }
        hosted::write_lease(self.writer(), side, Standing::Active, self.journal)?;
        if side.kind == SideKind::Ccorch {
            let message = "The move was taken back; you are where you were.".into();
            hosted::activate(side, self.journal, &Start { message, ..Start::default() })?;
        }
        Ok(())
    }

    fn activate(&self, from: &Side, to: &Side) -> Result<String> {
        if to.kind == SideKind::Legacy {
            verify::stamp(to)?;
        }
        let writer = if to.kind == SideKind::Ccorch { to } else { from };
        let lease = hosted::write_lease(writer, to, Standing::Active, self.journal)?;
        match to.kind {
            SideKind::Legacy => {
                legacy::unfence(to)?;
                legacy::start(to)?;
            }
            SideKind::Ccorch => {
                let (adopt, back) =
                    (from.kind == SideKind::Legacy, format!("ccorch adopt {} --back", to.name));
                let in_place = self.plan.in_place();
                let what = match in_place {
                    true => format!("ccorch runs the rig on this host, {}, from here on", to.name),
                    false => format!("The rig moved from {} to this host, {}", from.name, to.name),
                };
                let message =
                    format!("{what} (cutover {}). The workspace is the same; the loops go on.", self.journal);
                let back = in_place.then_some(back.as_str());
                let start = Start { trial: Some(self.trial), adopt, message, back };
                hosted::activate(to, self.journal, &start)?;
            }
        }
        Ok(format!("{} is active at epoch {}", to.name, lease.epoch))
    }

    /// Stops the target and carries its work back: nothing done there is thrown away.
    fn deactivate(&self) -> Result<()> {
        self.quiesce(&self.to)?;
        let writer = if self.to.kind == SideKind::Ccorch { &self.to } else { &self.from };
        let view = hosted::lease(writer)?;
        let ran = view.counts().is_some_and(|lease| lease.holder == self.to.name);
        if self.to.kind == SideKind::Legacy {
            legacy::fence(&self.to)?;
        }
        if ran {
            hosted::write_lease(writer, &self.to, Standing::Standby, self.journal)?;
            if !self.plan.in_place() {
                self.sync(&self.to, &self.from, Pass::Early)?;
            }
        }
        if self.to.kind == SideKind::Ccorch {
            // A standby by the lease from here on; the mark of a cutover that is over would outlive it.
            hosted::unquiesce(&self.to, self.journal)?;
        }
        Ok(())
    }
}
