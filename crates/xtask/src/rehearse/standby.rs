//! The pi after its cutover: it starts nothing by whatever hand, takes no writes, and is forgotten when its time has come.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::judge;
use super::operator::Operator;
use crate::bed::Instance;
use crate::scenario::{Scenario, WORKSPACE};
use crate::wait;

/// What starts the legacy rig on the pi.
const LEGACY_UNIT: &str = "cc-ci-loops.service";
/// A loaded machine gets far more than a boot takes.
const BACK: Duration = Duration::from_secs(120);

/// The fenced pi starts nothing, neither at boot nor by hand; its unit is skipped, which is no failure.
pub fn stays_down(pi: &Instance) -> Result<String> {
    unit_stays_down(pi)?;
    let typed = format!("cd {WORKSPACE} && cc-ci-plan/launch.sh start");
    let typed = pi.exec(&["runuser", "-u", "loops", "--", "sh", "-c", &typed])?;
    ensure!(!typed.status.success(), "the rig's own start command does as if it started it");
    judge::silent(pi)?;
    Ok("fenced: nothing starts, by boot, by its unit or by its own command".into())
}

fn unit_stays_down(pi: &Instance) -> Result<()> {
    pi.restart()?;
    judge::booted(pi)?;
    judge::silent(pi)?;
    pi.does(&["systemctl", "start", LEGACY_UNIT])?;
    let state = pi.read(&["systemctl", "show", "-p", "ActiveState,ConditionResult", LEGACY_UNIT])?;
    ensure!(
        state.contains("ActiveState=inactive") && state.contains("ConditionResult=no"),
        "the pi's unit was to be skipped: {state}"
    );
    judge::silent(pi)
}

/// Its workspace takes no writes, not even root's, and says why.
pub fn read_only(pi: &Instance, operator: &Operator) -> Result<()> {
    let options = pi.read(&["findmnt", "-no", "OPTIONS", WORKSPACE])?;
    ensure!(options.split(',').any(|option| option == "ro"), "{WORKSPACE} is mounted {options}");
    for user in ["loops", "root"] {
        let write = pi.exec(&["runuser", "-u", user, "--", "touch", &format!("{WORKSPACE}/written")])?;
        ensure!(!write.status.success(), "{user} can write to the workspace of the standby");
    }
    for note in ["/var/lib/ccorch/STANDBY.txt".to_owned(), format!("{WORKSPACE}/STANDBY.txt")] {
        let text = pi.read(&["cat", &note])?;
        ensure!(text.starts_with("Rig `cc-ci` runs on vm since "), "{note}: {text}");
    }
    operator.runs(&["standby-status", "--host", "pi"])
}

/// Not before its time, not before the vm has shown that it comes back, not without its name; then for good.
pub fn forgotten(scenario: &Scenario, vm: &Instance, operator: &Operator, reboots: u64) -> Result<String> {
    let pi = scenario.pi.announced();
    let kept = operator.reads(&["forget-source", "--host", "pi", "--dry-run"])?;
    ensure!(kept.contains("not yet: it is standby for 0 of 7 days"), "{kept}");
    let forget = ["forget-source", "--host", "pi", "--days", "0"];
    let early = operator.fails(&forget, 6)?;
    ensure!(early.contains("vm has not come back from a reboot in order since"), "{early}");
    vm.restart()?;
    judge::receipt(vm)?;
    wait::until("the vm to be well", BACK, || Ok(judge::well(operator, reboots + 1).ok()))?;
    for name in [&[][..], &["--really", "vm"]] {
        let said = operator.fails(&[&forget[..], name].concat(), 6)?;
        ensure!(said.contains("nothing was removed"), "{said}");
    }
    pi.does(&["test", "-e", &format!("{WORKSPACE}/cc-ci/.git")])?;
    operator.runs(&[&forget[..], &["--really", "pi"]].concat())?;
    pi.does(&[
        "sh",
        "-c",
        &format!("! [ -e {WORKSPACE} ] && ! ls -d /home/loops/.claude/projects/-srv-cc-ci*"),
    ])?;
    let again = operator.reads(&forget)?;
    ensure!(again.contains("nothing is kept on pi"), "{again}");
    unit_stays_down(&pi)?;
    Ok("forgotten after a clean reboot of the vm, by its name; its fence holds".into())
}
