//! The rig's own orchestrator drives the cutover, in its own session on the source: undisturbed once in each direction, once with
//! its driver killed after the activation, once with the source rebooted then, once with the target's driver killed that took it
//! over. The end is that of one driven from outside.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::walk::{CUTOVER, ROLLBACK, Stage};
use crate::bed::Instance;
use crate::scenario::WORKSPACE;
use crate::wait;

/// Where the loops' user keeps rig file and keys: in what is carried, so that the target has them too.
const FOLDER: &str = "/home/loops/.ssh/rig";
/// Where that user's driver keeps its journals.
const JOURNALS: &str = "/home/loops/.local/state/ccorch/cc-ci/journal";
/// What the session's command printed, and its exit status once it has one.
const SAID: &str = "/home/loops/said.txt";
const STATUS: &str = "/home/loops/status.txt";
/// A cutover takes some ten seconds and a boot three; a loaded machine gets far more.
const PATIENCE: Duration = Duration::from_secs(240);

/// The state of a host that a cutover leaves or takes the rig to, without what differs from run to run.
const STATE: &str = r#"
say() { if "$@" > /dev/null 2>&1; then echo "yes: $*"; else echo "no: $*"; fi; }
say systemctl is-enabled --quiet cc-ci-loops.service
say systemctl is-enabled --quiet ccorch.target
say systemctl is-active --quiet ccorch.target
say test -e /var/lib/ccorch/fenced
say test -e /var/lib/ccorch/quiesced
say test -e /var/lib/ccorch/standby.json
say test -e /var/lib/ccorch/STANDBY.txt
say runuser -u loops -- test -w /srv/cc-ci
say pgrep -x claude
ls /etc/systemd/system/cc-ci-loops.service.d 2> /dev/null || echo no drop-in
sed -n 's/.*"verdict": *"\([^"]*\)".*/verdict \1/p' /var/lib/ccorch/confirm.json 2> /dev/null || echo no verdict
sed -n 's/.*"open": *\([a-z]*\).*/driver open: \1/p' /var/lib/ccorch/driver.json 2> /dev/null || echo no driver
systemctl list-units --plain --no-legend 'ccorch-cutover-*' | cut -d ' ' -f 1
"#;

/// The walk; it begins and ends with the pi at work.
pub fn by_itself(stage: &mut Stage<'_, '_>) -> Result<String> {
    set_up(stage)?;
    stage.drivers.runs(CUTOVER)?;
    let there = state(stage)?;
    stage.drivers.runs(ROLLBACK)?;
    let back = state(stage)?;

    let (pi, vm) = (stage.pi.clone(), stage.vm.clone());
    undisturbed(stage, &pi, "cutover", &there)?;
    stage.works_on_the_vm()?;
    undisturbed(stage, &vm, "rollback", &back)?;
    stage.works_on_the_pi()?;

    let before = in_session(stage, &pi, "cutover")?;
    activated(&pi)?;
    pi.script("systemctl kill --signal=KILL 'ccorch-cutover-*'")?;
    ended(stage, &before, &there)?;
    stage.drivers.runs(ROLLBACK)?;

    // The killed one's journal has no end here: who begins anew hears it first, by the status that the session's command has.
    in_session(stage, &pi, "cutover")?;
    let status = wait::until("the session's command to end", PATIENCE, || Ok(read(&pi, STATUS)))?;
    let said = read(&pi, SAID).unwrap_or_default();
    ensure!(status == "6" && said.contains("was brought to its end by loops@vm"), "status {status}: {said}");
    let before = in_session(stage, &pi, "cutover")?;
    activated(&pi)?;
    pi.restart()?;
    ended(stage, &before, &there)?;
    stage.works_on_the_vm()?;

    stage.drivers.runs(ROLLBACK)?;
    in_session(stage, &pi, "cutover")?;
    wait::until("the session's command to end", PATIENCE, || Ok(read(&pi, STATUS)))?;
    let before = in_session(stage, &pi, "cutover")?;
    killed_with_the_cutover_in_hand(&vm)?;
    ended(stage, &before, &there)?;
    stage.works_on_the_vm()?;
    stage.drivers.runs(ROLLBACK)?;
    stage.works_on_the_pi()?;
    Ok("5 by the rig's own session, 2 kills, 1 reboot: each as from outside".into())
}

/// The target's driver is killed as soon as the host has heard that it drives; nobody runs a command after it.
fn killed_with_the_cutover_in_hand(target: &Instance) -> Result<()> {
    let script = r#"
began=$(date +%s)
until unit=$(systemctl list-units --plain --no-legend --state=active 'ccorch-cutover-*' | grep -v asks | cut -d ' ' -f 1) &&
    [ "$unit" ] && grep -q '"by": *"loops@vm"' /var/lib/ccorch/driver.json; do
    [ $(($(date +%s) - began)) -lt 240 ] || { echo "it does not drive" >&2; exit 1; }
    sleep 0.01
done
systemctl kill --signal=KILL "$unit"
grep -q '"open": *true' /var/lib/ccorch/driver.json || { echo "it was over already" >&2; exit 1; }
"#;
    target.script(script).map(drop).context("kill the target's driver")
}

/// The loops' user becomes an operator: program, rig file, keys, and where the vm is.
fn set_up(stage: &Stage<'_, '_>) -> Result<()> {
    let place = &stage.scenario.place;
    let file = |path: &std::path::Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    stage.pi.push_file(&file(stage.operator.program())?, "/usr/local/bin/ccorch", "0755", "root:root")?;
    let vm = format!("{}/../hosts/vm.json", JOURNALS);
    stage.pi.script(&format!(
        "install -d -m 700 -o loops -g loops {FOLDER} /home/loops/.local /home/loops/.local/state \
         /home/loops/.local/state/ccorch /home/loops/.local/state/ccorch/cc-ci {JOURNALS} {JOURNALS}/../hosts"
    ))?;
    stage.pi.push_file(&file(&stage.operator.knows("vm"))?, &vm, "0600", "loops:loops")?;
    for (path, name, mode) in [
        (&place.rig_file, "ccorch.yaml", "0644"),
        (&place.keys.operator.private, "operator_ed25519", "0600"),
        (&place.keys.lease.private, "lease_ed25519", "0600"),
    ] {
        stage.pi.push_file(&file(path)?, &format!("{FOLDER}/{name}"), mode, "loops:loops")?;
    }
    Ok(())
}

fn undisturbed(stage: &Stage<'_, '_>, source: &Instance, verb: &str, expected: &str) -> Result<()> {
    let before = in_session(stage, source, verb)?;
    ended(stage, &before, expected)?;
    let said = read(source, SAID).unwrap_or_default();
    ensure!(said.contains("the driver goes on in ccorch-cutover-"), "it stayed in its session: {said}");
    // A session that is stopped may not get as far as to write it down.
    let status = read(source, STATUS);
    ensure!(status.as_deref() != Some("0"), "what had only begun was called done: {said}");
    Ok(())
}

/// Types a verb in a window of the orchestrator's session; the newest cutover before.
fn in_session(stage: &Stage<'_, '_>, source: &Instance, verb: &str) -> Result<String> {
    let before = newest(stage)?.0;
    let line = format!(
        "cd {WORKSPACE} && ccorch --rig {FOLDER}/ccorch.yaml {verb} > {SAID} 2>&1; echo $? > {STATUS}"
    );
    let socket = if source.name == stage.vm.name { "-S /run/ccorch-loops/orchestrator/tmux" } else { "" };
    source.script(&format!(
        "rm -f {SAID} {STATUS}\nrunuser -u loops -- tmux {socket} new-window -d '{line}'"
    ))?;
    println!("  $ ccorch {verb}  (in the orchestrator's session on {})", source.name);
    Ok(before)
}

/// The newest cutover by the vm's copies: its id, and how it is.
fn newest(stage: &Stage<'_, '_>) -> Result<(String, String)> {
    let all = stage.operator.looks(&["journal", "list", "--host", "vm", "--json"])?;
    let last = all.as_array().and_then(|all| all.last());
    let word = |key: &str| last.and_then(|last| last[key].as_str()).unwrap_or_default().to_owned();
    Ok((word("id"), word("state")))
}

/// The source's driver knows that the target was started.
fn activated(source: &Instance) -> Result<()> {
    let script = format!(
        r#"newest=$(ls {JOURNALS}/*.jsonl | tail -n 1)
        grep -qs '"entry":"done","step":"activate"' "$newest" && ! grep -qs '"entry":"end"' "$newest""#
    );
    wait::until("the target to be activated", PATIENCE, || {
        Ok(source.exec(&["sh", "-c", &script])?.status.success().then_some(()))
    })
}

/// A cutover after `before` is over, and everything is as after one from outside.
fn ended(stage: &Stage<'_, '_>, before: &str, expected: &str) -> Result<()> {
    wait::until("the end of the cutover", PATIENCE, || {
        let (id, state) = newest(stage)?;
        Ok((id != before && state == "completed").then_some(()))
    })?;
    let mut seen = String::new();
    let same = wait::until("the state that one from outside leaves", Duration::from_secs(60), || {
        seen = state(stage)?;
        Ok((seen == expected).then_some(()))
    });
    same.with_context(|| format!("expected:\n{expected}\nfound:\n{seen}"))
}

fn state(stage: &Stage<'_, '_>) -> Result<String> {
    let lease = stage.operator.looks(&["lease", "show", "--host", "vm", "--json"])?;
    let arbiter = &lease["arbiter"];
    let of = |host: &Instance| Ok::<_, anyhow::Error>(format!("{}:\n{}\n", host.name, host.script(STATE)?));
    let lease = format!(
        "{} is {}, a cutover is open: {}",
        arbiter["holder"], arbiter["state"], arbiter["cutover"]["open"]
    );
    Ok([of(stage.pi)?, of(&stage.vm)?, lease].concat())
}

fn read(host: &Instance, path: &str) -> Option<String> {
    host.read(&["cat", path]).ok().filter(|text| !text.is_empty())
}
