//! The pi's own rig becomes one of ccorch's in place, and goes back to its owner, with the driver killed in the middle and the
//! pi rebooting: the same steps on one host.

use anyhow::{Result, ensure};

use super::walk::Stage;
use crate::rehearse::judge;

const ADOPT: &[&str] = &["adopt", "pi"];
const BACK: &[&str] = &["adopt", "pi", "--back"];

/// The walk; it begins and ends with the pi at work for its owner.
pub fn in_place(stage: &mut Stage<'_, '_>) -> Result<String> {
    stage.drivers.runs(&["host", "install", "pi"])?;
    for step in ["quiesce", "fence", "activate", "verify"] {
        stage.drivers.killed_at(ADOPT, step)?;
        if step == "activate" {
            // Fenced for its owner, and not ccorch's yet: a reboot starts neither.
            stage.pi.restart()?;
            judge::booted(stage.pi)?;
            judge::silent(stage.pi)?;
        }
    }
    stage.drivers.runs(ADOPT)?;
    judge::at_work(stage.scenario)?;
    owner_s_unit(stage, false)?;
    stage.drivers.killed_at(BACK, "fence")?;
    stage.drivers.run(&["cutover", "--abort"])?.expect(8, &["the cutover was taken back; pi"])?;
    judge::at_work(stage.scenario)?;
    owner_s_unit(stage, false)?;
    for step in ["quiesce", "activate", "verify"] {
        stage.drivers.killed_at(BACK, step)?;
    }
    stage.drivers.runs(BACK)?;
    owner_s_unit(stage, true)?;
    let left = stage.pi.exec(&["systemctl", "is-active", "ccorch-lease.timer"])?.status.success();
    ensure!(!left, "the heartbeat of the lease goes on on a host that ccorch has given back");
    stage.works_on_the_pi()?;
    Ok("8 kills, 1 reboot, 1 abort: adopted and given back".into())
}

fn owner_s_unit(stage: &Stage<'_, '_>, runs: bool) -> Result<()> {
    let active = stage.pi.exec(&["systemctl", "is-active", "cc-ci-loops.service"])?.status.success();
    ensure!(active == runs, "the owner's unit is active: {active}");
    Ok(())
}
