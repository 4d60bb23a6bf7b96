//! A target that is gone for good: this machine stands in for it towards the arbiter, so that a cutover can be taken back
//! with the same lease, turns and refusals as ever. By a person's word alone, and never while the target gives a sign of life.

use anyhow::Result;
use ccorch_core::cutover::{Plan, SideKind};
use ccorch_core::install::host_rig;
use ccorch_core::names::HostName;
use ccorch_io::durable;

use super::side::Side;
use super::steps::Steps;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::{dead, person};

/// What a person says of the target.
#[derive(Debug, Clone)]
pub struct Gone {
    /// It is this host.
    pub target: HostName,
    /// Its name once more, where nobody is asked for it.
    pub word: Option<HostName>,
}

/// Has this machine stand in for the target, by a person's word.
pub fn stand_in(steps: &Steps<'_>, gone: &Gone) -> Result<()> {
    let (plan, target) = (steps.plan(), &steps.plan().to.name);
    if gone.target != *target || plan.in_place() || plan.to.kind != SideKind::Ccorch {
        let message =
            format!("{} is no target of cutover {} that can be done without", gone.target, steps.journal());
        return Err(Problem::new(Kind::Conflict, message).hint(way_without(plan)).into());
    }
    dead::must_not_answer(steps.loaded(), target)?;
    let question = format!("{target} is gone: it runs nothing of the rig, and what was done there is lost");
    person::confirm(&question, target, gone.word.as_ref())?;
    steps.target_is_gone(prepared(steps.loaded(), plan, steps.journal())?);
    Ok(())
}

/// What to do when a host of a cutover never comes back.
pub fn way_without(plan: &Plan) -> String {
    let (from, to) = (&plan.from.name, &plan.to.name);
    format!(
        "see that both hosts answer and run the same command again; when {to} is gone for good, `ccorch cutover --abort \
         --target-is-dead {to}` has {from} run the rig again; when {from} is, `ccorch takeover --source-is-dead {from} --to {to}`"
    )
}

/// A root of the target's name in the operator's folder, one a cutover: what it has heard of drivers outlives this run.
fn prepared(loaded: &LoadedRig, plan: &Plan, journal: &str) -> Result<Side> {
    let root = loaded.operator()?.dir().join("stand-in").join(journal);
    let etc = root.join("etc/ccorch");
    durable::create_dir(&etc, 0o700)?;
    let mut rig = host_rig(&loaded.rig);
    if let (Some(lease), Some(ours)) = (&mut rig.lease, &loaded.rig.lease) {
        // The key where the operator has it; else the operator's own ssh configuration decides.
        lease.identity = ours.key.as_deref().map(|key| loaded.resolve(key).display().to_string());
    }
    durable::replace_json(&etc.join("rig.json"), &rig, 0o600)?;
    durable::replace(&etc.join("host"), format!("{}\n", plan.to.name).as_bytes(), 0o600)?;
    let side = Side::stand_in(loaded, &plan.to, root.clone());
    if rig.lease.is_none() && !root.join("var/lib/ccorch/lease.json").exists() {
        // Without an arbiter there is only what each host says of itself, and nobody has said anything here yet.
        side.ccorch(&["lease", "init", "--holder", plan.from.name.as_str()]).run()?;
    }
    Ok(side)
}
