//! The pi's own rig becomes one of ccorch's on the pi itself, survives a reboot, and goes back to its owner's scripts.

use anyhow::{Result, ensure};

use super::judge;
use super::operator::Operator;
use crate::report::Report;
use crate::scenario::{LOOPS, Scenario};

/// From the legacy rig at work to the legacy rig at work.
pub fn there_and_back(scenario: &Scenario, operator: &Operator, report: &mut Report) -> Result<()> {
    let pi = scenario.pi.announced();
    let runs =
        |unit: &str| Ok::<_, anyhow::Error>(pi.exec(&["systemctl", "is-active", unit])?.status.success());
    report.step("install pi", || {
        operator.runs(&["host", "install", "pi"])?;
        ensure!(!runs("ccorch-loop@builder.service")?, "an installation starts no loop");
        Ok(((), "ccorch beside its owner's rig, which works on".into()))
    })?;
    report.step("adopt pi", || {
        operator.runs(&["adopt", "pi", "--dry-run"])?;
        operator.runs(&["adopt", "pi"])?;
        ensure!(!runs("cc-ci-loops.service")?, "the owner's unit still runs");
        Ok(((), judge::at_work(scenario)?))
    })?;
    report.step("pi reboots", || {
        pi.restart()?;
        judge::receipt(&pi)?;
        let status = operator.looks(&["status", "--host", "pi", "--json"])?;
        let loops = status["loops"].as_array().map_or(0, Vec::len);
        ensure!(loops == LOOPS.len() && status["degraded"] == serde_json::json!([]), "{status}");
        ensure!(!runs("cc-ci-loops.service")?, "the owner's unit came back");
        Ok(((), judge::at_work(scenario)?))
    })?;
    report.step("give back", || {
        operator.runs(&["adopt", "pi", "--back"])?;
        ensure!(!runs("ccorch-loop@builder.service")?, "a loop of ccorch still runs");
        ensure!(runs("cc-ci-loops.service")?, "the owner's unit does not run");
        Ok(((), judge::at_work(scenario)?))
    })
}
