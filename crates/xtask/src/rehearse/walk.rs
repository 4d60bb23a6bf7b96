//! The walk itself, step by step, as a person would do it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::operator::Operator;
use super::{adopt, everyday, faults, first, judge, standby};
use crate::bed::{Bed, Instance};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::wait;

/// From power-on to every loop at work; a loaded machine gets far more than it takes.
const BACK: Duration = Duration::from_secs(120);
/// Reboots of the vm that were a part of its first cutover.
const PROVEN: u64 = 1;

/// All of it.
pub fn all(
    bed: &Bed,
    scenario: &Scenario,
    operator: &Operator,
    agent: &Path,
    report: &mut Report,
) -> Result<()> {
    let vm = bed.instance("vm").announced();
    let pi = scenario.pi.announced();
    prepare(scenario, operator, agent, &vm, report)?;
    report.step("judges", || Ok(((), faults::on_the_pi(scenario)?)))?;
    report.step("refused", || Ok(((), first::refused(&pi, operator)?)))?;
    report.step("cutover", || Ok(((), first::cutover(&pi, &vm, operator)?)))?;
    report.step("at work", || Ok(((), judge::at_work(scenario)?)))?;
    report.step("judges", || Ok(((), faults::on_the_vm(operator, PROVEN)?)))?;
    survive(scenario, operator, &vm, report)?;
    report.step("every day", || Ok(((), everyday::all(operator, PROVEN + 2)?)))?;
    report.step("pi reboots", || {
        let said = standby::stays_down(&pi)?;
        standby::read_only(&pi, operator)?;
        Ok(((), said))
    })?;
    report.step("rollback", || {
        operator.runs(&["rollback", "--dry-run"])?;
        operator.runs(&["rollback"])?;
        judge::silent(&vm)?;
        Ok(((), judge::at_work(scenario)?))
    })?;
    adopt::there_and_back(scenario, operator, report)?;
    report.step("pi reboots", || {
        pi.restart()?;
        Ok(((), judge::at_work(scenario)?))
    })?;
    report.step("uninstall", || {
        let would = operator.reads(&["host", "uninstall", "vm", "--dry-run"])?;
        ensure!(would.contains("would stop ccorch.target"), "{would}");
        Ok(((), "looked at: it can be taken off the vm".into()))
    })?;
    report.step("cutover", || {
        operator.runs(&["cutover", "--from", "pi", "--to", "vm"])?;
        Ok(((), "pi to vm, both named".into()))
    })?;
    report.step("at work", || {
        judge::well(operator, PROVEN + 2)?;
        judge::silent(&scenario.pi)?;
        Ok(((), judge::at_work(scenario)?))
    })?;
    report.step("standby", || {
        standby::read_only(&pi, operator)?;
        Ok(((), "the pi keeps what it has, and runs nothing".into()))
    })?;
    report.step("forget", || Ok(((), standby::forgotten(scenario, &vm, operator, PROVEN + 2)?)))
}

/// Check, provision, install, stage, and the lease: what comes before a first cutover.
pub fn prepare(
    scenario: &Scenario,
    operator: &Operator,
    agent: &Path,
    vm: &Instance,
    report: &mut Report,
) -> Result<()> {
    let program = std::fs::read(agent).with_context(|| format!("cannot read {}", agent.display()))?;
    scenario.git.push_file(&program, "/usr/local/bin/claude", "0755", "root:root")?;
    report.step("check", || {
        operator.runs(&["check"])?;
        operator.runs(&["check", "--files"])?;
        Ok(((), "the rig file, and the files that it names".into()))
    })?;
    report.step("provision", || {
        operator.runs(&["provision", "vm", "--dry-run"])?;
        operator.runs(&["provision", "vm"])?;
        Ok(((), "a fresh instance".into()))
    })?;
    report.step("again", || {
        let again = operator.reads(&["provision", "vm"])?;
        ensure!(again.contains("nothing"), "a second provision does not say that nothing changed");
        Ok(((), "a second run changes nothing".into()))
    })?;
    report.step("install", || {
        // The agent program is the operator's to install.
        vm.push_file(&program, "/usr/local/bin/claude", "0755", "root:root")?;
        operator.runs(&["host", "install", "vm"])?;
        judge::silent(vm)?;
        Ok(((), "ccorch, its units and the rig".into()))
    })?;
    report.step("stage", || {
        operator.runs(&["stage", "vm"])?;
        judge::silent(vm)?;
        Ok(((), "clones, copies, agents' state; nothing started".into()))
    })?;
    report.step("lease", || {
        operator.runs(&["lease", "init", "--holder", "pi", "--host", "vm"])?;
        operator.runs(&["lease", "show", "--host", "vm"])?;
        Ok(((), "the pi holds it".into()))
    })
}

/// A restart of the supervisor is not a reboot; a clean and a hard reboot are, and everything comes back.
fn survive(scenario: &Scenario, operator: &Operator, vm: &Instance, report: &mut Report) -> Result<()> {
    report.step("supervisor", || {
        let pids = |vm: &Instance| vm.read(&["pgrep", "-x", "claude"]);
        let before = pids(vm)?;
        vm.does(&["systemctl", "restart", "ccorch-supervisor.service"])?;
        wait::until("the supervisor after its restart", BACK, || Ok(judge::well(operator, PROVEN).ok()))?;
        ensure!(pids(vm)? == before, "agents did not outlive a restart of the supervisor");
        Ok(((), "restarted; every agent lives on".into()))
    })?;
    for (number, clean) in [(PROVEN + 1, true), (PROVEN + 2, false)] {
        let name = if clean { "reboot" } else { "power cut" };
        report.step(name, || {
            let before = vm.boot_id()?;
            if clean {
                vm.restart()?;
            } else {
                vm.stop_force()?;
                vm.start()?;
            }
            ensure!(vm.boot_id()? != before, "the boot_id did not change");
            judge::receipt(vm)?;
            judge::well(operator, number)?;
            judge::reboots(operator, usize::try_from(number)?, clean)?;
            judge::told(vm, usize::try_from(number)?)?;
            Ok(((), judge::at_work(scenario)?))
        })?;
    }
    Ok(())
}
