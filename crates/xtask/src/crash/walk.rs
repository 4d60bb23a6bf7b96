//! The walk: which fault at which moment, and what has to follow.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::cells::{self, At};
use super::driver::Drivers;
use super::{adopt, itself, unsaved};
use crate::bed::{Bed, Instance};
use crate::matrix::cell::Cell;
use crate::rehearse::judge;
use crate::rehearse::operator::Operator;
use crate::report::Report;
use crate::scenario::{REFERENCES, Scenario};
use crate::wait;

pub(super) const CUTOVER: &[&str] = &["cutover"];
pub(super) const ROLLBACK: &[&str] = &["rollback"];
/// Boots and starts take a few seconds; a loaded machine gets far more.
const PATIENCE: Duration = Duration::from_secs(180);

/// Everything that takes part.
pub(super) struct Stage<'a, 'b> {
    pub(super) scenario: &'a Scenario,
    pub(super) operator: &'a Operator,
    pub(super) drivers: &'a mut Drivers<'b>,
    pub(super) pi: &'a Instance,
    pub(super) vm: Instance,
}

/// One walk: what it proved, in words.
type Walk<'a, 'b> = fn(&mut Stage<'a, 'b>) -> Result<String>;

/// What is played.
pub(super) struct Wanted<'a> {
    /// The walks, or the one of that name; none when cells alone are wanted.
    pub(super) walks: bool,
    pub(super) only: Option<&'a str>,
    /// Afterwards, these cells.
    pub(super) cells: Vec<Cell>,
}

/// All of it.
pub fn all(
    bed: &Bed,
    scenario: &Scenario,
    operator: &Operator,
    drivers: &mut Drivers<'_>,
    agent: &Path,
    wanted: Wanted<'_>,
    report: &mut Report,
) -> Result<()> {
    let mut stage = Stage { scenario, operator, drivers, pi: &scenario.pi, vm: bed.instance("vm") };
    report.step("prepare", || Ok(((), stage.prepare(agent)?)))?;
    report.step("no lease", || Ok(((), stage.without_a_lease()?)))?;
    // Each begins with the pi at work, but "in steps", which brings the rig back there.
    let walks: [(&str, Walk<'_, '_>); 10] = [
        ("remote away", Stage::without_the_remote),
        ("step starts", Stage::killed_at_each_start),
        ("in steps", Stage::killed_in_the_middle),
        ("abort", Stage::aborted),
        ("second machine", Stage::gone_on_with_elsewhere),
        ("not saved", unsaved::not_saved),
        ("in place", adopt::in_place),
        ("by itself", itself::by_itself),
        ("disk full", Stage::disk_full),
        ("cut off", Stage::cut_off),
    ];
    let by_name = |(name, _): &(&str, Walk<'_, '_>)| wanted.only.is_none_or(|only| *name == only);
    let mut walks = walks.into_iter().filter(|walk| wanted.walks && by_name(walk));
    walks.try_for_each(|(name, walk)| report.step(name, || Ok(((), walk(&mut stage)?))))?;
    // The last walk leaves the rig on the vm.
    let mut at = if wanted.walks && wanted.only.is_none() { At::Vm } else { At::Pi };
    for cell in wanted.cells {
        report.step(&cell.name(), || {
            let (now, said) = cells::play(&mut stage, cell, at)?;
            at = now;
            Ok(((), said))
        })?;
    }
    Ok(())
}

impl Stage<'_, '_> {
    fn prepare(&mut self, agent: &Path) -> Result<String> {
        let program = std::fs::read(agent).with_context(|| format!("cannot read {}", agent.display()))?;
        self.scenario.git.push_file(&program, "/usr/local/bin/claude", "0755", "root:root")?;
        self.drivers.runs(&["provision", "vm"])?;
        self.vm.push_file(&program, "/usr/local/bin/claude", "0755", "root:root")?;
        self.drivers.runs(&["host", "install", "vm"])?;
        self.drivers.runs(&["stage", "vm"])?;
        Ok("provisioned, installed, staged".into())
    }

    fn without_a_lease(&mut self) -> Result<String> {
        let hint = "hint: run `ccorch lease init --holder pi --host vm` once";
        self.drivers.run(CUTOVER)?.expect(6, &["no lease: the ref does not exist", hint])?;
        self.drivers.runs(&["lease", "init", "--holder", "pi", "--host", "vm"])?;
        Ok("refused with the right hint".into())
    }

    /// Away at the preflight, nothing is changed.
    fn without_the_remote(&mut self) -> Result<String> {
        let work = judge::work(self.scenario)?;
        self.reach_lease(false)?;
        let ran = self.drivers.run(CUTOVER);
        self.reach_lease(true)?;
        ran?.expect(4, &["on vm: no lease: away", "hint: see that vm reaches the lease remote"])?;
        judge::at_work(self.scenario)?;
        ensure!(judge::work(self.scenario)? != work);
        Ok("refused; the pi works on".into())
    }

    /// The driver dies at the start of each step, hosts reboot in between, a second run meets the first.
    fn killed_at_each_start(&mut self) -> Result<String> {
        self.drivers.killed_at(CUTOVER, "preflight")?;
        let mut second = None;
        let (operator, drivers) = (self.operator, &mut *self.drivers);
        let killed = drivers.meanwhile(CUTOVER, "presync", |pid| {
            let output = operator.command(CUTOVER).stderr(std::process::Stdio::piped()).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let told = format!("error: another run is at work: ccorch cutover, pid {pid}, since ");
            ensure!(output.status.code() == Some(6) && said.starts_with(&told), "{said}");
            second = Some(said);
            // Now the first may end; it is killed at once, somewhere in the presync.
            crate::run::Run::new(&["kill", "-s", "KILL", &pid.to_string()]).run()
        })?;
        ensure!(killed.status.is_none() && second.is_some(), "{killed:?}");
        for step in ["quiesce", "fence", "final-sync", "prove", "activate", "verify", "decommission"] {
            self.drivers.killed_at(CUTOVER, step)?;
            match step {
                // Quiesced, and its lease still says active: a reboot must not start what was just stopped.
                "fence" => self.pi_reboots().context("after quiesce")?,
                "final-sync" => self.pi_reboots().context("after fence")?,
                "verify" => self.vm.restart()?,
                _ => {}
            }
        }
        self.drivers.runs(CUTOVER)?;
        self.works_on_the_vm()?;
        Ok("9 kills, 3 reboots, one run refused: completed".into())
    }

    /// On the way back the driver dies in the middle of steps, with its ssh connections still at work.
    fn killed_in_the_middle(&mut self) -> Result<String> {
        let (pi, vm) = (self.pi.clone(), self.vm.clone());
        let there =
            |instance: &Instance, path: &str| Ok(instance.exec(&["test", "-e", path])?.status.success());
        let gone = |instance: &Instance, path: &str| there(instance, path).map(|yes: bool| !yes);
        self.drivers.killed(ROLLBACK, "quiesce", || there(&vm, "/var/lib/ccorch/quiesced"))?;
        self.drivers.killed(ROLLBACK, "fence", || gone(&vm, "/run/ccorch/lease-ok"))?;
        self.drivers.killed(ROLLBACK, "final-sync", || child_named("ssh"))?;
        self.drivers.killed(ROLLBACK, "activate", || gone(&pi, "/var/lib/ccorch/fenced"))?;
        self.drivers
            .killed(ROLLBACK, "verify", || Ok(pi.exec(&["pgrep", "-x", "claude"])?.status.success()))?;
        self.drivers.runs(ROLLBACK)?;
        self.works_on_the_pi()?;
        Ok("5 kills: the pi runs again".into())
    }

    fn aborted(&mut self) -> Result<String> {
        self.drivers.killed_at(CUTOVER, "final-sync")?;
        judge::silent(self.pi)?;
        self.drivers
            .run(&["rollback"])?
            .expect(6, &["is not finished", "`--resume` goes on with it, `--abort` takes it back"])?;
        self.drivers
            .run(&["cutover", "--abort"])?
            .expect(8, &["the cutover was taken back; pi runs the rig"])?;
        self.works_on_the_pi()?;
        self.drivers.run(&["cutover", "--abort"])?.expect(6, &["no cutover is unfinished"])?;
        Ok("after a killed driver: the pi runs as before".into())
    }

    /// A machine that did not provision the vm learns from the pi how it is reached, and goes on with what the first one left.
    fn gone_on_with_elsewhere(&mut self) -> Result<String> {
        self.drivers.killed_at(CUTOVER, "final-sync")?;
        let elsewhere = self.operator.elsewhere()?;
        let said = elsewhere.reads_all(&["cutover", "--resume"])?;
        ensure!(said.contains("how vm is reached was learnt from pi"), "{said}");
        self.works_on_the_vm()?;
        // The first one hears of it, and goes back.
        self.drivers.runs(ROLLBACK)?;
        self.works_on_the_pi()?;
        Ok("it learnt of the vm from the pi, and completed".into())
    }

    /// A full disk is a failure like any other: taken back, with what to do; then the same command goes through.
    fn disk_full(&mut self) -> Result<String> {
        self.drivers.killed_at(CUTOVER, "fence")?;
        let big = format!("{REFERENCES}/big");
        self.pi.script(&format!("head -c 8M /dev/urandom > {big}"))?;
        self.vm.script(&format!("mount -t tmpfs -o size=1m full {REFERENCES}"))?;
        let ran = self.drivers.run(CUTOVER);
        self.vm.script(&format!("umount {REFERENCES}"))?;
        ran?.expect(8, &["No space left on device", "hint: free space on vm", "the cutover was taken back"])?;
        self.works_on_the_pi()?;
        Ok("taken back, with the right hint".into())
    }

    /// Between fence and activate. First the target's sshd goes: the pi works again, as nothing was started elsewhere, and the
    /// same command ends that when the vm is back. Then the lease remote, of which a target that was told to start may have
    /// heard: nobody runs the rig, and the same command goes on.
    fn cut_off(&mut self) -> Result<String> {
        self.drivers.killed_at(CUTOVER, "fence")?;
        self.pi.script(&format!("head -c 64M /dev/urandom > {REFERENCES}/big"))?;
        let vm = self.vm.clone();
        let ran = self.drivers.meanwhile(CUTOVER, "final-sync", |_| {
            vm.script("systemctl stop ssh; for pid in $(pgrep -x sshd); do kill -s KILL $pid || true; done")
                .map(drop)
        });
        self.vm.script("systemctl start ssh")?;
        ran?.expect(4, &["on vm", "undo of step fence is not finished"])?;
        self.works_on_the_pi()?;
        self.vm.reachable()?;
        self.drivers.run(CUTOVER)?.expect(8, &["the cutover was taken back"])?;
        self.works_on_the_pi()?;
        self.drivers.killed_at(CUTOVER, "prove")?;
        self.reach_lease(false)?;
        let ran = self.drivers.run(CUTOVER);
        self.reach_lease(true)?;
        ran?.expect(
            4,
            &["step activate of cutover", "the same command goes on", "hint: see that vm reaches it"],
        )?;
        judge::silent(self.pi)?;
        judge::silent(&self.vm)?;
        self.drivers.runs(CUTOVER)?;
        self.works_on_the_vm()?;
        Ok("sshd: taken back; the lease remote: gone on with and completed".into())
    }

    /// Lets the vm reach the git host, or not.
    fn reach_lease(&self, may: bool) -> Result<()> {
        let what = if may { "del" } else { "add" };
        let route = format!("{}/32", self.scenario.place.git_address);
        self.vm.read(&["ip", "route", what, "unreachable", &route]).map(drop)
    }

    /// A fenced pi that reboots starts nothing.
    fn pi_reboots(&self) -> Result<()> {
        self.pi.restart()?;
        judge::booted(self.pi)?;
        judge::silent(self.pi)
    }

    pub(super) fn works_on_the_vm(&self) -> Result<()> {
        judge::silent(self.pi)?;
        wait::until("the vm to be well", PATIENCE, || {
            let status = self.operator.looks(&["status", "--host", "vm", "--json"])?;
            Ok(status["degraded"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })?;
        judge::at_work(self.scenario).map(drop)
    }

    pub(super) fn works_on_the_pi(&self) -> Result<()> {
        judge::silent(&self.vm)?;
        judge::at_work(self.scenario).map(drop)
    }
}

/// Whether this machine runs a program of that name now that a run of ours may have started.
fn child_named(name: &str) -> Result<bool> {
    Ok(crate::run::Run::new(&["pgrep", "-x", name]).output()?.status.success())
}
