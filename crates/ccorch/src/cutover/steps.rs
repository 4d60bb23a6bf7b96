//! What each step does to which kind of host. One row a step: this file reads like the plan. The way back is in `steps/back.rs`.

mod back;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use ccorch_core::cutover::{Asked, Plan, SideKind, Step};
use ccorch_core::lease::{Standing, Turn};
use ccorch_core::rig::Rig;
use ccorch_core::safepoint::UnsavedPolicy;
use ccorch_core::seconds::Seconds;

use super::hosted::Start;
use super::itself::{self, Able};
use super::side::{Lazy, Side};
use super::{decommission, hosted, legacy, loop_states, preflight, verify};
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::staging::{self, Cache, How, Mode, Pass, Uncommitted};

/// Arguments: the workspace's user, and the folders besides its home. Each file system is done once, and quickly the second time.
const SETTLE: &str = r#"
home=$(getent passwd "$1" | cut -d : -f 6); shift
for dir in /var/lib/ccorch "$home" "$@"; do if [ -e "$dir" ]; then sync -f -- "$dir" || exit 1; fi; done"#;

/// Both hosts, and what is to be done with them.
#[derive(Debug)]
pub struct Steps<'a> {
    loaded: &'a LoadedRig,
    plan: &'a Plan,
    journal: &'a str,
    asked: Asked,
    cache: Cache,
    from: Lazy<'a>,
    to: Lazy<'a>,
    /// Who could drive on the target, once it is known.
    able: OnceLock<Option<Able>>,
    /// Whether this run had the target started with that.
    handed: AtomicBool,
}

impl<'a> Steps<'a> {
    /// The steps of a plan; no host is asked yet.
    pub fn new(loaded: &'a LoadedRig, plan: &'a Plan, journal: &'a str, asked: Asked) -> Self {
        let (from, to) = (Lazy::new(loaded, &plan.from), Lazy::new(loaded, &plan.to));
        let (cache, able, handed) = (Cache::default(), OnceLock::new(), AtomicBool::new(false));
        Self { loaded, plan, journal, asked, cache, from, to, able, handed }
    }

    /// The source.
    pub fn from(&self) -> Result<&Side> {
        self.from.get()
    }

    /// The target.
    pub fn to(&self) -> Result<&Side> {
        self.to.get()
    }

    /// From here on another one stands for the target, which is gone.
    pub fn target_is_gone(&self, stand_in: Side) {
        self.to.replace(stand_in);
    }

    /// Reaches the hosts that the undo of a step needs.
    pub fn reach_for_undo(&self, step: Step) -> Result<()> {
        match step {
            Step::Quiesce | Step::Decommission => drop(self.from()?),
            Step::Fence => drop((self.from()?, self.writer()?)),
            Step::Activate => drop((self.from()?, self.to()?)),
            Step::Preflight | Step::Presync | Step::FinalSync | Step::Prove | Step::Verify => {}
        }
        Ok(())
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.plan
    }

    /// Whether this run has handed what remains to the target.
    pub fn handed_over(&self) -> bool {
        self.handed.load(Ordering::Relaxed)
    }

    /// This driver drives again, whatever it handed over.
    pub fn take_back(&self) {
        self.handed.store(false, Ordering::Relaxed);
    }

    /// Who could drive on the target; asked once.
    fn able(&self) -> Option<&Able> {
        self.able.get_or_init(|| itself::able(self)).as_ref()
    }

    /// The rig.
    pub fn rig(&self) -> &Rig {
        &self.loaded.rig
    }

    /// The cutover's id.
    pub fn journal(&self) -> &str {
        self.journal
    }

    /// What was asked of the cutover.
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// The rig and the operator's folder for it.
    pub fn loaded(&self) -> &LoadedRig {
        self.loaded
    }

    /// The host that writes the lease: the one it is about where that runs ccorch, else the other.
    pub fn writer(&self) -> Result<&Side> {
        if self.plan.from.kind == SideKind::Ccorch { self.from() } else { self.to() }
    }

    /// The host that takes cutovers in hand: any that runs ccorch and answers where there is an arbiter, else always the same of
    /// the two.
    pub fn claimer(&self) -> Result<&Side> {
        let (from, to) = (&self.plan.from, &self.plan.to);
        match (self.rig().lease.is_some(), from.kind, to.kind) {
            (true, SideKind::Ccorch, SideKind::Ccorch) => self.from().or_else(|_| self.to()),
            (false, SideKind::Ccorch, SideKind::Ccorch) if to.name < from.name => self.to(),
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
            Step::FinalSync => self.sync(self.from()?, self.to()?, Pass::Last),
            Step::Quiesce => self.safe_point(),
            Step::Fence => self.fence(self.from()?),
            Step::Prove => self.prove(self.from()?, self.to()?),
            Step::Activate => self.activate(self.from()?, self.to()?),
            Step::Verify => verify::wait(self, self.to()?),
            Step::Decommission => decommission::perform(self, self.from()?, self.to()?),
        }
    }

    /// Whether a step that was begun is done: what it came to, or nothing when it has to be performed again. Every
    /// step is repeatable, so only one whose repetition would cost something looks first.
    pub fn probe(&self, step: Step) -> Result<Option<String>> {
        match step {
            Step::Fence | Step::Activate => {
                let (about, state) = match step {
                    Step::Fence => (&self.plan.from.name, Standing::Standby),
                    _ => (&self.plan.to.name, Standing::Active),
                };
                let view = hosted::lease(self.writer()?)?;
                let written = view.counts().is_some_and(|l| {
                    l.holder == *about && l.state == state && l.journal.as_deref() == Some(self.journal)
                });
                // The lease is only half of the step; the other half is repeated.
                Ok(if written { Some(self.perform(step)?) } else { None })
            }
            _ => Ok(None),
        }
    }

    /// Undoes a step, whether it was done, half done or not done; what it kept, in words for the journal. Repeatable.
    pub fn undo(&self, step: Step) -> Result<String> {
        match step {
            Step::Quiesce => self.unquiesce(self.from()?)?,
            Step::Fence => self.unfence(self.from()?)?,
            Step::Activate => return self.deactivate(),
            Step::Decommission => decommission::undo(self.from()?)?,
            Step::Preflight | Step::Presync | Step::FinalSync | Step::Prove | Step::Verify => {}
        }
        Ok(String::new())
    }

    /// What is not saved on the source now; its loops are at work, so it is not the proof.
    pub fn not_saved_yet(&self) -> Result<usize> {
        Ok(staging::look(self.loaded, &self.from()?.host)?.len())
    }

    fn presync(&self) -> Result<String> {
        let (from, to) = (self.from()?, self.to()?);
        let carried = self.sync(from, to, Pass::Early)?;
        staging::learn(self.loaded, &from.host, &to.host, &self.cache)?;
        // While the source works, and with what was just carried.
        self.able();
        Ok(carried)
    }

    fn safe_point(&self) -> Result<String> {
        let (source, target) = (self.from()?, self.to()?);
        // While the loops stop, the target, where none works, is looked at for the sync in the dark.
        let ahead = || -> Result<()> {
            if !self.plan.in_place()
                && let Err(error) = staging::look_ahead(self.loaded, &target.host, &self.cache)
            {
                eprintln!("warning: {error:#}; it is asked again");
            }
            Ok(())
        };
        let within = self.rig().safe_point();
        let (stopped, ()) = staging::both(|| self.quiesce(source, Some(within)), ahead)?;
        let stamp = staging::stamp(source.name.as_str(), self.journal);
        let (from, to) = (source.acting(), target.acting());
        let proof = staging::safe_point(self.loaded, &from, &to, self.asked.unsaved, &stamp, &self.cache)?;
        Ok(format!("{stopped}; {proof}"))
    }

    fn sync(&self, from: &Side, to: &Side, pass: Pass) -> Result<String> {
        // It may be the read-only standby of an earlier cutover; the early pass has opened it for the last one.
        if pass == Pass::Early {
            decommission::reopen(to)?;
        }
        let name = staging::rescue_name(from.name.as_str(), self.journal);
        let rescue = (self.asked.unsaved == UnsavedPolicy::Rescue).then_some(name.as_str());
        let how = How { mode: Mode::Carry, pass, rescue };
        let sync = || staging::sync(self.loaded, &from.acting(), &to.acting(), how, &self.cache);
        let carry =
            || if self.plan.carries_loops() { loop_states::carry(self.rig(), from, to) } else { Ok(()) };
        Ok(staging::both(sync, carry)?.0.to_string())
    }

    fn prove(&self, from: &Side, to: &Side) -> Result<String> {
        let changes = match self.asked.unsaved {
            UnsavedPolicy::Rescue => Uncommitted::Carried,
            UnsavedPolicy::Refuse => Uncommitted::None,
        };
        // Nobody is to work with what a power cut could still take back.
        let (differences, ()) = staging::both(|| self.differences(from, to, changes), || self.settle(to))?;
        if differences.is_empty() {
            let kept = if self.plan.carries_loops() { ", and what is kept of each loop," } else { "" };
            return Ok(format!("every branch and every carried file{kept} is the same on both sides"));
        }
        let list: String = differences.iter().map(|difference| format!("\n  - {difference}")).collect();
        let message = format!("{} and {} differ:{list}", from.name, to.name);
        Err(Problem::new(Kind::Conflict, message).hint("see what changed them; then cut over again").into())
    }

    /// Has a host write to its disks what was carried there.
    fn settle(&self, side: &Side) -> Result<()> {
        if self.plan.in_place() {
            return Ok(());
        }
        let copies = side.workspace.copies.values().map(|copy| copy.from.as_str());
        let places = [side.workspace.user.as_str(), &side.workspace.root].into_iter().chain(copies);
        side.act("write what was carried to the disks", SETTLE, &places.collect::<Vec<_>>()).run()?;
        Ok(())
    }

    fn differences(&self, from: &Side, to: &Side, changes: Uncommitted) -> Result<Vec<String>> {
        let work = || staging::prove(self.loaded, &from.host, &to.host, changes, &self.cache);
        let both = self.plan.carries_loops();
        let loops = || if both { loop_states::differences(from, to) } else { Ok(Vec::new()) };
        let (work, loops) = staging::both(work, loops)?;
        Ok(work.iter().map(ToString::to_string).chain(loops).collect())
    }

    fn quiesce(&self, side: &Side, safe_point: Option<Seconds>) -> Result<String> {
        let said = match side.kind {
            SideKind::Legacy => {
                let said = safe_point.and_then(|within| legacy::safe_point(side, within));
                // The fence first: a host that reboots from here on must not start what is being stopped.
                legacy::fence(side, self.journal)?;
                legacy::quiesce(side)?;
                said
            }
            SideKind::Ccorch => hosted::quiesce(side, self.journal, safe_point)?,
        };
        let down = format!("nothing of the rig runs on {}", side.name);
        Ok(said.into_iter().chain([down]).collect::<Vec<_>>().join("; "))
    }

    fn fence(&self, side: &Side) -> Result<String> {
        if side.kind == SideKind::Legacy {
            legacy::fence(side, self.journal)?;
        }
        let lease = hosted::write_lease(self.writer()?, side, Standing::Standby, self.journal)?;
        Ok(format!("{} is standby at epoch {}", side.name, lease.epoch))
    }

    fn activate(&self, from: &Side, to: &Side) -> Result<String> {
        if to.kind == SideKind::Legacy {
            verify::stamp(to)?;
        }
        let writer = if to.kind == SideKind::Ccorch { to } else { from };
        let lease = || hosted::write_lease(writer, to, Standing::Active, self.journal);
        let moves = from.kind == SideKind::Legacy && !self.plan.in_place();
        // It costs no time beside the push.
        let still_down = || if moves { legacy::still_down(from) } else { Ok(()) };
        let (lease, ()) = staging::both(lease, still_down)?;
        match to.kind {
            SideKind::Legacy => {
                legacy::unfence(to, self.journal)?;
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
                let mut message =
                    format!("{what} (cutover {}). The workspace is the same; the loops go on.", self.journal);
                if self.able().is_some() {
                    message.push_str(" It was driven from there; this host drives what remains of it.");
                }
                let back = in_place.then_some(back.as_str());
                let drives_on = self.able();
                let start = Start { trial: Some(self.asked), adopt, message, back, drives_on };
                hosted::activate(to, self.journal, &start)?;
                self.handed.store(drives_on.is_some(), Ordering::Relaxed);
            }
        }
        Ok(format!("{} is active at epoch {}", to.name, lease.epoch))
    }
}
