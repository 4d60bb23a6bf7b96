//! `cargo xtask testbed selftest`: the bed proves itself, crash included.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::bed::{self, Bed, Layout};
use crate::report::Report;
use crate::scenario::{self, Scenario};
use crate::wait;

const USER_DATA: &str = "#cloud-config\nwrite_files:\n  - { path: /etc/proof, content: from user-data }\n";

/// Takes the bed down, and then through its whole life; the scenario's loops run `agent`.
pub fn run(layout: &Layout, agent: &Path, report: &mut Report) -> Result<()> {
    Bed::down(layout, false, report)?;
    nothing_left(layout, report)?;

    let bed = Bed::up(layout, report)?;
    report.step("status", || {
        let status = bed::status(layout)?;
        ensure!(status.running && status.instances.is_empty(), "not as it must be: {status:?}");
        ensure!(status.bed.as_ref() == Some(&bed.state), "the state file differs from what `up` returned");
        Ok(((), "up, no instance".to_owned()))
    })?;
    let instance =
        report.step("launch", || Ok((bed.launch("self-test", Some(USER_DATA))?, "ready".to_owned())))?;
    report.step("inside", || {
        let proof = instance.read(&["cat", "/etc/proof"])?;
        ensure!(proof == "from user-data", "cloud-init did not apply the user-data: {proof}");
        instance.push_file(b"pushed", "/srv/some/file", "0640", "daemon:daemon")?;
        let seen = instance.read(&["sh", "-c", "stat -c '%a %U' /srv/some/file; cat /srv/some/file"])?;
        ensure!(seen == "640 daemon\npushed", "the pushed file is not as asked: {seen}");
        ensure!(instance.exec(&["false"])?.status.code() == Some(1), "exit statuses are lost");
        let found = instance.read(&["getent", "hosts", "self-test.incus"])?;
        let address = instance.address()?.context("no address")?.to_string();
        ensure!(found.starts_with(&address), "the name resolves to {found}");
        let failed = instance.read(&["systemctl", "list-units", "--failed", "--no-legend", "--plain"])?;
        ensure!(failed.is_empty(), "units failed in a fresh instance:\n{failed}");
        Ok(((), "user-data, files, names, units".to_owned()))
    })?;
    let first = instance.boot_id()?;
    report.step("restart", || Ok((instance.restart()?, "sshd answers again".to_owned())))?;
    let second = instance.boot_id()?;
    ensure!(first != second, "a restart gave no new boot_id");
    report.step("power cut", || {
        instance.stop_force()?;
        instance.start()?;
        Ok(((), "sshd answers again".to_owned()))
    })?;
    let third = instance.boot_id()?;
    ensure!(second != third, "a power cut gave no new boot_id");

    crash(&bed, report)?;
    let bed = Bed::up(layout, report)?;
    let instance = bed.instance("self-test");
    ensure!(instance.boot_id()? == third, "the repair rebooted the instance");
    report.step("again", || Ok((instance.restart()?, "the repaired bed restarts it".to_owned())))?;
    report.step("second up", || {
        let before = bed.state.clone();
        let after = Bed::up(layout, &mut Report::default())?;
        ensure!(before == after.state, "a second `up` changed the bed");
        Ok(((), "changed nothing".to_owned()))
    })?;

    let scenario = Scenario::set_up(&bed, agent, report)?;
    scenario::check::run(&scenario, report)?;

    // And down from the worst: a daemon killed with its containers running.
    let before = Bed::remains(layout)?;
    ensure!(before.iter().any(|line| line.contains("lxc.payload")), "no control group in {before:?}");
    crash(&bed, report)?;
    Bed::down(layout, false, report)?;
    nothing_left(layout, report)?;
    println!("\n{} steps passed in {:.1} s", report.steps().len(), report.total().as_secs_f64());
    Ok(())
}

fn crash(bed: &Bed, report: &mut Report) -> Result<()> {
    report.step("crash", || {
        let pid = rustix::process::Pid::from_raw(bed.state.pid).context("no daemon")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        wait::until("the daemon's end", Duration::from_secs(10), || {
            Ok((!bed::status(&bed.layout)?.running).then_some(()))
        })?;
        Ok(((), format!("daemon {} killed", bed.state.pid)))
    })
}

fn nothing_left(layout: &Layout, report: &mut Report) -> Result<()> {
    report.step("nothing left", || {
        let left = Bed::remains(layout)?;
        ensure!(left.is_empty(), "`down` left behind:\n{}", left.join("\n"));
        Ok(((), "no process, mount, bridge, folder, cgroup".to_owned()))
    })
}
