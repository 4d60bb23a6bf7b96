//! What must be true at each moment of the rehearsal; whatever is not ends it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::agents::Agents;
use super::operator::Operator;
use crate::bed::Instance;
use crate::scenario::{LOOPS, Scenario, WORKSPACE, work_of};
use crate::wait;

/// The legacy rig is at phase index 2; it must stay there.
const PHASE: u64 = 2;
/// A loop that works commits every two seconds; a loaded machine gets far more.
const WORK: Duration = Duration::from_secs(180);
/// A boot takes about three seconds; a loaded machine gets far more.
const BOOT: Duration = Duration::from_secs(120);

/// How much work of each loop has reached the remote.
pub fn work(scenario: &Scenario) -> Result<Vec<usize>> {
    LOOPS.iter().map(|(name, repository)| work_of(&scenario.git, name, repository)).collect()
}

/// Every loop pushes new work from now on.
pub fn at_work(scenario: &Scenario) -> Result<String> {
    let before = work(scenario)?;
    wait::until("new work of every loop", WORK, || {
        Ok(work(scenario)?.iter().zip(&before).all(|(now, then)| now > then).then_some(()))
    })?;
    numbering(scenario)?;
    let numbers: Vec<String> =
        LOOPS.iter().zip(work(scenario)?).map(|((name, _), count)| format!("{name} {count}")).collect();
    Ok(numbers.join(", "))
}

/// On the remote, every loop's numbers go on without a gap or a repeat.
pub fn numbering(scenario: &Scenario) -> Result<()> {
    LOOPS.iter().try_for_each(|(name, repository)| numbering_of(&scenario.git, name, repository))
}

/// One loop's numbers in one repository of the git host.
pub fn numbering_of(git: &Instance, name: &str, repository: &str) -> Result<()> {
    let folder = format!("/srv/git/ci/{repository}.git");
    let verify = ["claude", "verify-numbering", "--git", &folder, "--ref", "main", "--label", name];
    git.read(&[&["runuser", "-u", "git", "--"], &verify[..]].concat())
        .with_context(|| format!("the numbering of {name} is broken"))
        .map(drop)
}

/// The target's own status: nothing degraded, the right phase, every loop running, so many reboots.
pub fn well(operator: &Operator, reboots: u64) -> Result<()> {
    is_well(&operator.looks(&["status", "--host", "vm", "--json"])?, reboots)
}

fn is_well(status: &Value, reboots: u64) -> Result<()> {
    let degraded = status["degraded"].as_array().context("the status has no list of what is degraded")?;
    ensure!(degraded.is_empty(), "degraded: {degraded:?}");
    ensure!(status["phase"]["index"] == PHASE, "the phase is {}", status["phase"]);
    ensure!(status["reboots"] == reboots, "{} reboots are recorded, not {reboots}", status["reboots"]);
    let loops = status["loops"].as_array().context("the status has no loops")?;
    for (name, _) in LOOPS {
        let one = loops.iter().find(|one| one["name"] == name);
        let one = one.with_context(|| format!("loop {name} is missing: {loops:?}"))?;
        ensure!(one["state"] == "running", "loop {name} does not run: {one}");
    }
    ensure!(loops.len() == LOOPS.len(), "{} loops: {loops:?}", loops.len());
    Ok(())
}

/// The receipt of this boot proves that every part came back.
pub fn receipt(vm: &Instance) -> Result<()> {
    let path = format!("/var/lib/ccorch/receipts/{}.json", vm.boot_id()?);
    let text = wait::until("the receipt of this boot", WORK, || {
        let there = vm.exec(&["test", "-e", &path])?.status.success();
        if there { vm.read(&["cat", &path]).map(Some) } else { Ok(None) }
    })?;
    let receipt: Value = serde_json::from_str(&text).context("the receipt is no JSON")?;
    ensure!(receipt["complete"] == true, "the receipt is not complete: {receipt}");
    ensure!(receipt["reboot"]["boot_id"].is_string(), "the receipt does not name the reboot");
    Ok(())
}

/// The reboot log: so many, each with a plausible downtime, the last one clean or not.
pub fn reboots(operator: &Operator, count: usize, last_clean: bool) -> Result<()> {
    let reboots = operator.looks(&["reboots", "--host", "vm", "--json"])?;
    let reboots = reboots.as_array().context("the reboot log is no list")?;
    ensure!(reboots.len() == count, "{} reboots are logged, not {count}", reboots.len());
    let last = reboots.last().context("no reboot is logged")?;
    ensure!(last["clean"] == last_clean, "the last shutdown is called clean: {}", last["clean"]);
    let away = last["downtime_ms"].as_u64().context("no downtime")?;
    ensure!(away < 300_000, "a downtime of {away} ms");
    Ok(())
}

/// People find each reboot in the workspace, and the orchestrator session was told.
pub fn told(vm: &Instance, count: usize) -> Result<()> {
    let log = vm.read(&["cat", &format!("{WORKSPACE}/REBOOTS.md")])?;
    let lines = log.lines().filter(|line| line.starts_with("- Reboot ")).count();
    ensure!(lines == count, "REBOOTS.md has {lines} reboots, not {count}:\n{log}");
    let find = format!("grep -l 'Reboot {count}:' /home/loops/.claude/projects/-srv-cc-ci/*.jsonl");
    wait::until("the orchestrator to be told of the reboot", WORK, || {
        Ok(vm.exec(&["sh", "-c", &find])?.status.success().then_some(()))
    })
}

/// No agent runs there, by pgrep's own word; a host that boots is asked until it answers.
pub fn silent(instance: &Instance) -> Result<()> {
    let agents = wait::until(&format!("{} to say which agents it runs", instance.name), BOOT, || {
        Ok(match Agents::on(instance) {
            Agents::Unknown(_) => None,
            known => Some(known),
        })
    })?;
    match agents {
        Agents::AtWork(list) => bail!("agents run on {}: {list}", instance.name),
        Agents::None | Agents::Unknown(_) => Ok(()),
    }
}

/// Its boot is over, and left the rig's own unit alone or up: `running`, or `degraded` by a unit of the system's, which a
/// loaded machine may bring about. Any other state is no end of a boot, and waited for.
pub fn booted(instance: &Instance) -> Result<()> {
    // The status says the same as the word; before the bus is there the word is another, and asked again.
    let ask = ["sh", "-c", "systemctl is-system-running --wait || :"];
    wait::until(&format!("the end of the boot of {}", instance.name), BOOT, || {
        let state = instance.read(&ask)?;
        Ok(["running", "degraded"].contains(&state.as_str()).then_some(()))
    })?;
    let failed = instance.read(&["systemctl", "list-units", "--failed", "--no-legend", "--plain"])?;
    ensure!(!failed.contains("cc-ci"), "units of {} failed: {failed}", instance.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        let running = |(name, _): &(&str, &str)| json!({ "name": name, "state": "running" });
        let loops: Vec<Value> = LOOPS.iter().map(running).collect();
        json!({ "degraded": [], "phase": { "index": PHASE }, "reboots": 1, "loops": loops })
    }

    #[test]
    fn each_fault_in_a_status_is_found() {
        is_well(&status(), 1).unwrap();
        let faults: [(&str, Value, &str); 6] = [
            ("/degraded", json!(["the supervisor does not answer"]), "degraded: "),
            ("/phase/index", json!(PHASE + 1), "the phase is"),
            ("/reboots", json!(2), "2 reboots are recorded, not 1"),
            ("/loops/1/state", json!("held"), "loop adversary does not run"),
            ("/loops/1/name", json!("somebody"), "loop adversary is missing"),
            ("/loops", Value::Null, "has no loops"),
        ];
        for (place, fault, found) in faults {
            let mut status = status();
            *status.pointer_mut(place).unwrap() = fault;
            let error = format!("{:#}", is_well(&status, 1).unwrap_err());
            assert!(error.contains(found), "{place}: {error}");
        }
        let mut fewer = status();
        fewer["loops"].as_array_mut().unwrap().pop();
        assert!(is_well(&fewer, 1).unwrap_err().to_string().contains("loop orchestrator is missing"));
    }
}
