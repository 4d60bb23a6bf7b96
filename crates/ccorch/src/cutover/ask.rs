//! Who drives, by the arbiter's word: asked by a host, or from here where no host that could ask answers.

use anyhow::{Context as _, Error, Result, bail};
use ccorch_core::cutover::{Plan, Side as PlannedSide, SideKind};
use ccorch_core::lease::Owner;
use ccorch_io::lease_ref::{LeaseRef, Seen};
use ccorch_io::ssh::Ssh;

use super::hosted;
use super::side::Side;
use crate::context::LoadedRig;

/// Who drives by the arbiter, asked by any of the two hosts that runs ccorch and answers; else from here. Without an arbiter
/// each host has a record of its own, and the newest of them counts.
pub fn owner(loaded: &LoadedRig, plan: &Plan) -> Result<Option<Owner>> {
    let asks = |side: &&PlannedSide| side.kind == SideKind::Ccorch;
    let ask = |side| Ok(hosted::lease(&Side::connect(loaded, side)?)?.owner().cloned());
    let (mut newest, mut failure, mut heard): (Option<Owner>, Option<Error>, bool) = (None, None, false);
    for side in [&plan.from, &plan.to].into_iter().filter(asks) {
        match ask(side) {
            Ok(owner) => {
                heard = true;
                let known = newest.as_ref().map(|owner| (owner.turn, !owner.open));
                newest = owner.filter(|owner| Some((owner.turn, !owner.open)) > known).or(newest);
                if loaded.rig.lease.is_some() {
                    break;
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !heard => from_here(loaded).map_err(|here| error.context(format!("{here:#}"))),
        _ => Ok(newest),
    }
}

/// The same from this machine, by the operator's own key or ssh configuration.
pub fn from_here(loaded: &LoadedRig) -> Result<Option<Owner>> {
    let config = loaded.rig.lease.as_ref().context("the rig names no arbiter")?;
    let identity = config.key.as_deref().map(|key| loaded.resolve(key));
    let arbiter = LeaseRef {
        cache: loaded.operator()?.dir().join("lease.git"),
        spare: None,
        remote: config.remote.clone(),
        name: config.ref_name(&loaded.rig.rig),
        ssh: Ssh { identity, ..Ssh::default() },
    };
    match arbiter.read()? {
        Seen::Holds(_, lease) => Ok(lease.cutover.clone()),
        Seen::Absent => Ok(None),
        Seen::Away(why) => bail!("the arbiter does not answer this machine either: {why}"),
    }
}
