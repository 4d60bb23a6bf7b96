//! A cutover as data: its steps in order, what each does to which kind of host, and what undoes it.
//!
//! A linear saga after Garcia-Molina and Salem, "Sagas" (1987): every step can be performed, probed and undone.

mod asked;
pub mod confirm;
pub mod handoff;
pub mod itself;
mod journal;
pub mod page;
pub mod passed;
mod progress;
pub mod standby;
mod timeline;
pub mod work;

use serde::{Deserialize, Serialize};

pub use asked::{Asked, Said};
pub use journal::{Damage, Entry, Journal, Line, Origin, Outcome, Rest};
pub use progress::{Illegal, Next, Progress, Status, after};
pub use timeline::{Timed, timeline};

use crate::names::HostName;
use crate::rig::Rig;

/// The steps, in the order they are performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Look at both hosts; change nothing.
    Preflight,
    /// Carry what can be carried while the source works.
    Presync,
    /// Stop the source's loops at their safe point and keep them down.
    Quiesce,
    /// Make the source standby, in its own file and at the arbiter.
    Fence,
    /// Carry what changed since the presync.
    FinalSync,
    /// Compare both sides before anything starts.
    Prove,
    /// Give the target the lease and start it.
    Activate,
    /// Wait until every loop works on the target.
    Verify,
    /// Leave the source as a tidy standby.
    Decommission,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 9] = [
        Self::Preflight,
        Self::Presync,
        Self::Quiesce,
        Self::Fence,
        Self::FinalSync,
        Self::Prove,
        Self::Activate,
        Self::Verify,
        Self::Decommission,
    ];

    /// Those of a cutover in place: there is nothing to carry and nothing to compare.
    pub const IN_PLACE: [Self; 6] =
        [Self::Preflight, Self::Quiesce, Self::Fence, Self::Activate, Self::Verify, Self::Decommission];

    /// The name people and journals use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Presync => "presync",
            Self::Quiesce => "quiesce",
            Self::Fence => "fence",
            Self::FinalSync => "final-sync",
            Self::Prove => "prove",
            Self::Activate => "activate",
            Self::Verify => "verify",
            Self::Decommission => "decommission",
        }
    }

    /// Whether a failure turns the cutover back. Once the target has proven itself, tidying the source must not.
    pub fn failure_turns_back(self) -> bool {
        self != Self::Decommission
    }

    /// Whether the step changes a host at all, so that only the newest driver may perform it.
    pub fn changes_a_host(self) -> bool {
        !matches!(self, Self::Preflight | Self::Prove | Self::Verify)
    }

    /// Whether the step changes a host, so that it may have to be undone.
    pub fn has_undo(self) -> bool {
        matches!(self, Self::Quiesce | Self::Fence | Self::Activate | Self::Decommission)
    }
}

/// How a host runs the rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SideKind {
    /// By scripts and units of its owner's.
    Legacy,
    /// By ccorch.
    Ccorch,
}

/// One of the two hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The host.
    pub name: HostName,
    /// How it runs the rig.
    pub kind: SideKind,
}

/// Everything a driver needs to know; it leaves no meaningful choice to who performs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Where the rig runs.
    pub from: Side,
    /// Where it goes.
    pub to: Side,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// Why there can be no such cutover.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// A host the rig does not have.
    #[error("the rig has no host `{0}`")]
    UnknownHost(HostName),
    /// Both are the same.
    #[error("source and target are both `{0}`")]
    SameHost(HostName),
    /// Neither can speak to the arbiter.
    #[error("neither `{0}` nor `{1}` runs ccorch, so nobody could move the lease")]
    NoCcorch(HostName, HostName),
    /// There is nothing to adopt, and nothing to go back to.
    #[error("`{0}` has no rig of its owner's: its entry in the rig file has no `runs`")]
    NotLegacy(HostName),
}

/// Plans a cutover.
pub fn plan(rig: &Rig, from: &HostName, to: &HostName) -> Result<Plan, NoPlan> {
    let side = |name: &HostName| {
        let host = rig.hosts.get(name).ok_or_else(|| NoPlan::UnknownHost(name.clone()))?;
        let kind = if host.runs.is_some() { SideKind::Legacy } else { SideKind::Ccorch };
        Ok(Side { name: name.clone(), kind })
    };
    let (from, to) = (side(from)?, side(to)?);
    if from.name == to.name {
        return Err(NoPlan::SameHost(from.name));
    }
    if from.kind == SideKind::Legacy && to.kind == SideKind::Legacy {
        return Err(NoPlan::NoCcorch(from.name, to.name));
    }
    Ok(Plan { from, to, steps: Step::ALL.into() })
}

/// Plans a cutover in place: the rig that a host's owner runs becomes one that ccorch runs on the same host, or `back`.
pub fn adoption(rig: &Rig, host: &HostName, back: bool) -> Result<Plan, NoPlan> {
    let entry = rig.hosts.get(host).ok_or_else(|| NoPlan::UnknownHost(host.clone()))?;
    if entry.runs.is_none() {
        return Err(NoPlan::NotLegacy(host.clone()));
    }
    let side = |kind| Side { name: host.clone(), kind };
    let (from, to) = (side(SideKind::Legacy), side(SideKind::Ccorch));
    let (from, to) = if back { (to, from) } else { (from, to) };
    Ok(Plan { from, to, steps: Step::IN_PLACE.into() })
}

/// What a cutover rests on, in one hash: the plan, the workspace, the lease's place, how legacy sides run, the loops.
/// Addresses and keys of hosts are not in it: a person may have to correct them before a cutover can go on.
pub fn plan_hash(rig: &Rig, plan: &Plan) -> String {
    let runs = |side: &Side| rig.hosts.get(&side.name).and_then(|host| host.runs.clone());
    let lease = rig.lease.as_ref().map(|lease| (&lease.remote, lease.ref_name(&rig.rig)));
    let loops: Vec<_> = rig.loops.iter().map(|(name, spec)| (name, &spec.workdir)).collect();
    let facts = (&rig.rig, plan, &rig.workspace, lease, runs(&plan.from), runs(&plan.to), loops);
    // Plain data with string keys: it cannot fail.
    let json = serde_json::to_string(&facts).unwrap_or_default();
    crate::sha256(json.as_bytes())[..16].to_owned()
}

impl Plan {
    /// Whether source and target are one host, run by its owner's scripts on one side and by ccorch on the other.
    pub fn in_place(&self) -> bool {
        self.from.name == self.to.name
    }

    /// Whether both hosts keep the loops' states, which then go along.
    pub fn carries_loops(&self) -> bool {
        !self.in_place() && self.from.kind == SideKind::Ccorch && self.to.kind == SideKind::Ccorch
    }

    /// What a step does, in one line for people.
    pub fn describe(&self, step: Step) -> String {
        let (from, to) = (&self.from.name, &self.to.name);
        let legacy = |side: &Side| side.kind == SideKind::Legacy;
        match step {
            Step::Preflight if self.in_place() => format!("look at {from} and the lease; change nothing"),
            Step::Preflight => format!("look at {from}, {to} and the lease; change nothing"),
            Step::Presync => {
                format!("carry clones, copies and agents' state from {from} to {to} while {from} works")
            }
            Step::Quiesce if legacy(&self.from) => {
                format!(
                    "fence the units on {from} by a condition, stop them, run the rig's stop command, end what is left in the workspace; prove that git has everything"
                )
            }
            Step::Quiesce => format!(
                "stop every loop on {from} at its safe point and keep it down; prove that git has everything"
            ),
            Step::Fence if legacy(&self.from) => {
                format!("lease to standby at the arbiter, on behalf of {from}")
            }
            Step::Fence => format!("lease to standby: the file on {from}, then the arbiter"),
            Step::FinalSync => format!("carry what changed since from {from} to {to}"),
            Step::Prove if self.carries_loops() => {
                "compare commits of every branch, hashes of every carried file and of what is kept of each loop on both sides".into()
            }
            Step::Prove => {
                "compare commits of every branch and hashes of every carried file on both sides".into()
            }
            Step::Activate if legacy(&self.to) => {
                format!("lease to {to} at the arbiter; lift its fence, start its units")
            }
            Step::Activate => format!("lease to {to}: the arbiter, then its file; start ccorch.target there"),
            Step::Verify if legacy(&self.to) => {
                format!("wait until every loop on {to} runs and has worked since, and settled")
            }
            Step::Verify => {
                format!(
                    "wait until {to} has confirmed itself: every loop works and has settled, proxy and health answer"
                )
            }
            Step::Decommission if self.in_place() => match self.from.kind {
                SideKind::Legacy => format!("switch off the units that ran the rig on {from} before"),
                SideKind::Ccorch => format!("switch off ccorch on {from}"),
            },
            // A proxy that its owner runs is none of the rig file's.
            Step::Decommission => {
                let off = if legacy(&self.from) { "the rig's units" } else { "ccorch and its proxy" };
                format!("switch off {off} on {from}, make its workspace read-only, leave a note")
            }
        }
    }

    /// What undoes a step, in one line for people.
    pub fn describe_undo(&self, step: Step) -> String {
        let (from, to) = (&self.from.name, &self.to.name);
        match step {
            Step::Quiesce => format!("lift the fence on {from}; start its loops again"),
            Step::Fence => format!("lease back to {from}; lift its fence"),
            Step::Activate if self.in_place() => format!("stop what was started on {to}, lease to standby"),
            Step::Activate => format!("stop {to}, lease to standby, carry its work back to {from}"),
            Step::Decommission if self.in_place() => {
                "nothing here: the other undos enable again what was enabled".into()
            }
            Step::Decommission => format!("make the workspace on {from} writable, remove the note"),
            _ => "nothing to undo".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rig() -> Rig {
        let yaml = indoc::indoc! {"
            rig: r
            workspace: { root: /srv/r, user: u, repositories: {} }
            phases: []
            loops: {}
            hosts:
              pi: { ssh: pi, runs: { stop: [x], start: [y] } }
              old: { ssh: old, runs: { stop: [x], start: [y] } }
              vm: { ssh: vm }
        "};
        serde_yaml::from_str(yaml).unwrap()
    }

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn a_plan_knows_both_sides() {
        let plan = plan(&rig(), &host("pi"), &host("vm")).unwrap();
        assert_eq!((plan.from.kind, plan.to.kind), (SideKind::Legacy, SideKind::Ccorch));
        assert_eq!(plan.steps, Step::ALL);
        let back = super::plan(&rig(), &host("vm"), &host("pi")).unwrap();
        for (plan, off) in [(&plan, "the rig's units on pi"), (&back, "ccorch and its proxy on vm")] {
            let words = plan.describe(Step::Decommission);
            assert!(words.starts_with(&format!("switch off {off}, ")), "{words}");
        }
    }

    #[test]
    fn an_adoption_is_a_cutover_in_place_that_carries_nothing() {
        let there = adoption(&rig(), &host("pi"), false).unwrap();
        assert!(there.in_place());
        assert_eq!((there.from.kind, there.to.kind), (SideKind::Legacy, SideKind::Ccorch));
        let back = adoption(&rig(), &host("pi"), true).unwrap();
        assert_eq!((back.from.kind, back.to.kind), (SideKind::Ccorch, SideKind::Legacy));
        for plan in [there, back] {
            let carries = |step: &Step| matches!(step, Step::Presync | Step::FinalSync | Step::Prove);
            assert!(!plan.steps.iter().any(carries), "{:?}", plan.steps);
            let left_out = Step::ALL.iter().filter(|step| !plan.steps.contains(step));
            assert!(left_out.copied().all(|step| carries(&step)), "a new step is in both");
        }
        assert_eq!(adoption(&rig(), &host("vm"), false), Err(NoPlan::NotLegacy(host("vm"))));
        assert_eq!(adoption(&rig(), &host("no"), false), Err(NoPlan::UnknownHost(host("no"))));
    }

    #[test]
    fn senseless_pairs_are_refused() {
        assert_eq!(plan(&rig(), &host("no"), &host("vm")), Err(NoPlan::UnknownHost(host("no"))));
        assert_eq!(plan(&rig(), &host("vm"), &host("vm")), Err(NoPlan::SameHost(host("vm"))));
        assert_eq!(plan(&rig(), &host("pi"), &host("old")), Err(NoPlan::NoCcorch(host("pi"), host("old"))));
    }
}
