//! The undo of each step: what is taken back on which kind of host.

use anyhow::Result;
use ccorch_core::cutover::SideKind;
use ccorch_core::lease::{Lease, Standing};

use super::Steps;
use crate::cutover::hosted::Start;
use crate::cutover::side::Side;
use crate::cutover::{copies, hosted, legacy};
use crate::error::Kind;
use crate::hints;
use crate::staging::{self, Pass, Uncommitted};

impl Steps<'_> {
    pub(super) fn unquiesce(&self, side: &Side) -> Result<()> {
        match side.kind {
            SideKind::Legacy => self.start_again(side),
            SideKind::Ccorch => hosted::unquiesce(side, self.journal),
        }
    }

    /// The lease goes back to the source. If it never left, or is back already, that is seen and fine.
    pub(super) fn unfence(&self, side: &Side) -> Result<()> {
        if side.kind == SideKind::Legacy {
            // It works again even while the lease remote is away: the target becomes active by the newest driver alone, which
            // is this one by the word of this host, and who takes over finds the fence lifted (see `copies::fence`) and turns
            // back as well, so nobody else runs; the lease follows when the remote answers.
            self.start_again(side)?;
            self.take_from_target()?;
        }
        hosted::write_lease(self.writer()?, side, Standing::Active, self.journal)?;
        if side.kind == SideKind::Ccorch {
            let message = "The move was taken back; you are where you were.".into();
            hosted::activate(side, self.journal, &Start { message, ..Start::default() })?;
        }
        Ok(())
    }

    /// An owner's rig works again, once: what somebody started by hand while its units were kept down is ended first.
    fn start_again(&self, side: &Side) -> Result<()> {
        if copies::admit(side, self.journal)? && !legacy::processes(side)?.is_empty() {
            legacy::quiesce(side)?;
        }
        legacy::unfence(side, self.journal)?;
        legacy::start(side)
    }

    /// The target was given up by its own word, as the arbiter was away; that may have the lease as the target's all the same, by a
    /// push whose answer was lost. What works there has its own file say so, so nothing does.
    fn take_from_target(&self) -> Result<()> {
        let (writer, to) = (self.writer()?, &self.plan.to.name);
        let theirs = |lease: Lease| lease.holder == *to && lease.state == Standing::Active;
        if hosted::lease(writer)?.arbiter.is_some_and(theirs) {
            hosted::write_lease(writer, self.to()?, Standing::Standby, self.journal)?;
        }
        Ok(())
    }

    /// What a target's work came back as, where it is not the same: in words, as nobody is kept from going back by it.
    fn came_back(&self, from: &Side, to: &Side) -> Vec<String> {
        match self.differences(from, to, Uncommitted::Rescued) {
            Ok(all) => all.into_iter().map(|one| format!("not as it was on {}: {one}", from.name)).collect(),
            Err(error) => vec![format!("what came back from {} is not proven: {error:#}", from.name)],
        }
    }

    /// Whether a target that can keep nothing, as its disk is full, has nothing of the rig to stop: by the word of the arbiter it
    /// was never made active. A command of a driver before that still makes it so is refused the lease, or this driver is.
    fn never_had_it(&self, error: &anyhow::Error, from: &Side, to: &Side) -> bool {
        let asked = if from.kind == SideKind::Ccorch { from } else { to };
        hints::of(error).0 == Kind::Unfit
            && to.kind == SideKind::Ccorch
            && hosted::lease(asked)
                .is_ok_and(|view| view.arbiter.is_some_and(|lease| lease.holder != to.name))
    }

    /// Whether the target was made active. Where the arbiter is away, the writer's own file knows of what worked on the writer
    /// alone: of an owner's rig that it wrote for it knows nothing, and of its own no push whose answer was lost. A source that is its
    /// owner's works again all the same, and [`Self::take_from_target`] looks once more; every other needs the arbiter anyway.
    fn was_given(&self, writer: &Side, from: &Side, to: &Side) -> Result<bool> {
        let view = hosted::lease(writer)?;
        let ran = view.counts().is_some_and(|lease| lease.holder == to.name);
        if ran || view.arbiter.is_some() || self.rig().lease.is_none() || from.kind == SideKind::Legacy {
            return Ok(ran);
        }
        Err(view
            .unanswered(&format!("{} was given the rig", to.name))
            .hint(format!("nothing runs on {} meanwhile; see why the remote does not answer", to.name))
            .into())
    }

    /// Stops the target and carries its work back: nothing done there is thrown away. What is gone with its host is lost by a
    /// person's word. What was rescued there, in words.
    pub(super) fn deactivate(&self) -> Result<String> {
        let mut kept = Vec::new();
        let (from, to) = (self.from()?, self.to()?);
        let reached = !to.is_gone();
        if reached {
            match self.quiesce(to, None) {
                Err(error) if self.never_had_it(&error, from, to) => {
                    eprintln!(
                        "warning: {} was never given the lease, and is passed over: {error:#}",
                        to.name
                    );
                    return Ok(String::new());
                }
                quiesced => drop(quiesced?),
            }
        }
        let writer = if to.kind == SideKind::Ccorch { to } else { from };
        let ran = self.was_given(writer, from, to)?;
        if to.kind == SideKind::Legacy {
            legacy::fence(to, self.journal)?;
        }
        if ran {
            hosted::write_lease(writer, to, Standing::Standby, self.journal)?;
            // A driver that died or was cut off may have had its owner's rig started again, after all of this: nothing is
            // carried into a rig at work.
            let runs_again = from.kind == SideKind::Legacy && !copies::admit(from, self.journal)?;
            let by_hand =
                from.kind == SideKind::Legacy && !runs_again && !legacy::processes(from)?.is_empty();
            if by_hand && reached && !self.plan.in_place() {
                // Its own work is newer than anything that would be written over it.
                kept.push(format!(
                    "nothing was carried back from {}, as the rig was started by hand on {}",
                    to.name, from.name
                ));
            } else if !self.plan.in_place() && reached && !runs_again {
                let stamp = staging::stamp(to.name.as_str(), self.journal);
                kept = staging::rescue_left(self.loaded, &to.acting(), Some(&from.acting()), &stamp);
                self.sync(to, from, Pass::Early)?;
                self.settle(from)?;
                kept.extend(self.came_back(to, from));
            }
        }
        if to.kind == SideKind::Ccorch && reached {
            // A standby by the lease from here on; the mark of a cutover that is over would outlive it.
            hosted::unquiesce(to, self.journal)?;
        }
        Ok(kept.join("; "))
    }
}
