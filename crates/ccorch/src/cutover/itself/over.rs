//! Can the target drive what remains? A driver on the source finds out while the source still works.

use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::itself::may_hand_over;
use ccorch_core::cutover::plan_hash;

use super::super::steps::Steps;
use super::{Able, is_this_machine};
use crate::here::runtime::name_of;
use crate::remote::INSTALLED;

/// It logs in to both hosts from there.
const ASK: Duration = Duration::from_secs(60);

/// Who could drive on the target, where this driver runs on the source. A target that cannot leaves all of it to this driver.
pub fn able(steps: &Steps<'_>) -> Option<Able> {
    match ask(steps) {
        Ok(able) => able,
        Err(error) => {
            let (from, to) = (&steps.plan().from.name, &steps.plan().to.name);
            eprintln!(
                "warning: {to} cannot drive this cutover to its end when {from} cannot; should {from} fail, \
                 `ccorch cutover --resume` on another machine does: {error:#}"
            );
            None
        }
    }
}

fn ask(steps: &Steps<'_>) -> Result<Option<Able>> {
    let plan = steps.plan();
    if !may_hand_over(plan) {
        return Ok(None);
    }
    let (from, to) = (steps.from()?, steps.to()?);
    // Two names of one machine have nothing to hand over.
    if !is_this_machine(&from.host)? || is_this_machine(&to.host)? {
        return Ok(None);
    }
    let user = rustix::process::geteuid().as_raw();
    let user = name_of(user).with_context(|| format!("user {user} has no name"))?;
    let rig = std::path::absolute(&steps.loaded().file).context("find the rig file")?;
    let rig = rig.to_str().context("the rig file's path is no UTF-8")?.to_owned();
    let hash = plan_hash(steps.rig(), plan);
    let (from_name, to_name) = (plan.from.name.as_str(), plan.to.name.as_str());
    let argv =
        [INSTALLED, "--rig", &rig, "can-drive", "--from", from_name, "--to", to_name, "--plan-hash", &hash];
    to.host.command_as(&user, "/", &argv).deadline(ASK).run()?;
    Ok(Some(Able { user, rig }))
}
