//! The scenario proves itself: who gets in where, and that its pi survives a reboot.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::pi::{LOOPS, work_of};
use super::rig::WORKSPACE;
use super::{Place, Scenario};
use crate::report::Report;
use crate::run::{Run, tail};
use crate::wait;

/// Runs every check; the scenario is at work before and after.
pub fn run(scenario: &Scenario, report: &mut Report) -> Result<()> {
    report.step("logins", || Ok(((), logins(scenario)?)))?;
    report.step("lease key", || Ok(((), lease(scenario)?)))?;
    report.step("identities", || Ok(((), identities(scenario)?)))?;
    report.step("pi reboots", || {
        let before = total_work(scenario)?;
        scenario.pi.restart()?;
        let more =
            || Ok(total_work(scenario)?.iter().zip(&before).all(|(now, before)| now > before).then_some(()));
        wait::until("work of every loop after the reboot", Duration::from_secs(120), more)?;
        Ok(((), "its loops came back and push".to_owned()))
    })?;
    report.step("numbering", || Ok(((), numbering(scenario)?)))
}

/// The operator gets in by key, with sudo; nobody by password; nobody as another host.
fn logins(scenario: &Scenario) -> Result<String> {
    let place = &scenario.place;
    for host in [&scenario.git, &scenario.pi] {
        let name = ssh(place, &host.name, &[], &["hostname"])?;
        ensure!(name.status.success() && name.stdout.starts_with(host.name.as_bytes()), "{}", tail(&name));
    }
    let sudo = ssh(place, "pi", &["User=pi"], &["sudo", "-n", "id", "-u"])?;
    ensure!(sudo.stdout == b"0\n", "no sudo for pi: {}", tail(&sudo));
    let password = ssh(place, "pi", &["PubkeyAuthentication=no"], &["true"])?;
    ensure!(tail(&password).contains("Permission denied (publickey)"), "{}", tail(&password));
    let other = ssh(place, "pi", &[&format!("HostKeyAlias={}", place.git_address)], &["true"])?;
    ensure!(tail(&other).contains("Host key verification failed"), "{}", tail(&other));
    Ok("by key alone, pi with sudo, host keys pinned".to_owned())
}

fn ssh(place: &Place, host: &str, options: &[&str], command: &[&str]) -> Result<Output> {
    let run = Run::new(&["ssh", "-F"]).arg(&place.ssh_config).arg("-o").arg("BatchMode=yes");
    let run = options.iter().fold(run, |run, option| run.arg("-o").arg(option));
    command.iter().fold(run.arg(host), |run, word| run.arg(word)).output()
}

/// The lease's key opens its repository, the agents' key does not, and it opens no shell.
fn lease(scenario: &Scenario) -> Result<String> {
    let (pi, place) = (&scenario.pi, &scenario.place);
    let own = format!("ssh -F {} -i {}", place.ssh_config.display(), place.keys.lease.private.display());
    Run::new(&["git", "ls-remote", &place.lease()]).env("GIT_SSH_COMMAND", own).run()?;
    let as_loops = |argv: &[&str]| pi.exec(&[&["runuser", "-u", "loops", "--"], argv].concat());
    let reach = |url: &str| as_loops(&["git", "-C", "/", "ls-remote", url]);
    let work = reach(&place.repository("cc-ci"))?;
    ensure!(work.status.success(), "the agents' key does not open their repository: {}", tail(&work));
    let past = place.lease().replace("lease@", "git@");
    for url in [place.lease(), past] {
        ensure!(!reach(&url)?.status.success(), "the agents' key opens {url}");
    }
    let shell = as_loops(&["ssh", &format!("git@{}", place.git_address), "id"])?;
    ensure!(!shell.status.success(), "the agents' key opens a shell: {}", tail(&shell));
    Ok("opens the lease; the agents' key does not".to_owned())
}

/// Nothing that must be an instance's own came from the image.
fn identities(scenario: &Scenario) -> Result<String> {
    ensure!(scenario.git.host_key()? != scenario.pi.host_key()?, "both have the same host key");
    let id = ["cat", "/etc/machine-id"];
    ensure!(scenario.git.read(&id)? != scenario.pi.read(&id)?, "both have the same machine id");
    ensure!(scenario.git.boot_id()? != scenario.pi.boot_id()?, "both have the same boot_id");
    Ok("host keys, machine ids and boot_ids differ".to_owned())
}

fn total_work(scenario: &Scenario) -> Result<Vec<usize>> {
    LOOPS.iter().map(|(name, repository)| work_of(&scenario.git, name, repository)).collect()
}

/// The stub's own judgement on what reached the repositories.
fn numbering(scenario: &Scenario) -> Result<String> {
    for (name, clone) in [("builder", "cc-ci"), ("adversary", "cc-ci-adv"), ("orchestrator", ".")] {
        let clone = format!("{WORKSPACE}/{clone}");
        let verify = ["claude", "verify-numbering", "--git", &clone, "--ref", "origin/main", "--label", name];
        let argv = [&["runuser", "-u", "loops", "--"], &verify[..]].concat();
        scenario.pi.read(&argv).with_context(|| format!("the numbering of {name} is broken"))?;
    }
    Ok("no gap, no repeat".to_owned())
}
