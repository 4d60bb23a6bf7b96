//! The first cutover: refused while something would start the rig again on the pi; then done, with a reboot of the vm as
//! part of its proof, and told in figures, journal and report.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail, ensure};

use super::operator::Operator;
use crate::bed::Instance;
use crate::scenario::WORKSPACE;

/// A start past the fence of the rig's unit, where cron finds it.
const CRONTAB: &str = "/var/spool/cron/crontabs/loops";

/// A start of the rig that no fence holds is named before anything stops, and is its owner's to take away.
pub fn refused(pi: &Instance, operator: &Operator) -> Result<String> {
    let line = format!("@reboot {WORKSPACE}/cc-ci-plan/launch.sh start");
    pi.push_file(format!("{line}\n").as_bytes(), CRONTAB, "0600", "loops:root")?;
    let said = operator.fails(&["cutover"], 7)?;
    ensure!(said.contains(&format!("{CRONTAB}: {line}")), "the crontab is not named");
    pi.does(&["rm", CRONTAB])?;
    Ok("a crontab that would start the rig again: named, taken away".into())
}

/// pi to vm.
pub fn cutover(pi: &Instance, vm: &Instance, operator: &Operator) -> Result<String> {
    operator.runs(&["cutover", "--dry-run"])?;
    let before = vm.boot_id()?;
    let said = operator.reads(&["cutover", "--prove-reboot"])?;
    ensure!(vm.boot_id()? != before, "the vm did not reboot");
    let dark = downtime(&said)?;
    report(operator)?;
    let journal = operator.reads(&["journal", "show"])?;
    ensure!(journal.contains("also after a reboot"), "the journal does not tell of the reboot");
    let list = operator.reads(&["journal", "list"])?;
    ensure!(list.lines().any(|line| line.contains("completed")), "the journal is not in the list");
    let note = vm.read(&["cat", "/var/lib/ccorch/HANDOFF.md"])?;
    ensure!(note.starts_with("The rig moved from pi to this host, vm"), "the handoff note: {note}");
    let carried = rescues(pi, vm)?;
    Ok(format!("pi to vm, proven by a reboot; {dark:.1} s dark; {carried} rescues there"))
}

/// `downtime: 3.2 s, from ...`
fn downtime(said: &str) -> Result<f64> {
    let line =
        said.lines().find_map(|line| line.strip_prefix("downtime: ")).context("no downtime is said")?;
    let number =
        line.split_once(" s, from the last sign of work on pi").map(|(number, _)| number.parse::<f64>());
    match number {
        Some(Ok(seconds)) if seconds > 0.0 => Ok(seconds),
        _ => bail!("the downtime is no number: {line}"),
    }
}

/// The page beside the newest completed journal: a picture with the leases of both.
fn report(operator: &Operator) -> Result<()> {
    let folder = operator.journals();
    let pages = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let pages: BTreeSet<_> = pages
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "html"))
        .collect();
    let newest = pages.last().context("there is no report beside the journal")?;
    let page = fs::read_to_string(newest)?;
    for part in ["<svg", "</svg>", "lease: pi", "lease: vm", "class=\"dark\""] {
        ensure!(page.contains(part), "the report has no `{part}`: {}", newest.display());
    }
    Ok(())
}

/// Every rescue of the pi is on the vm under the same name; how many there are.
fn rescues(pi: &Instance, vm: &Instance) -> Result<usize> {
    let look = format!(
        "cd {WORKSPACE}; for at in . cc-ci cc-ci-adv; do \
         runuser -u loops -- git -C $at for-each-ref --format=\"$at %(objectname) %(refname)\" refs/ccorch/rescue; done"
    );
    let of = |host: &Instance| -> Result<BTreeSet<String>> {
        Ok(host.read(&["sh", "-euc", &look])?.lines().map(ToOwned::to_owned).collect())
    };
    let (ours, theirs) = (of(pi)?, of(vm)?);
    let lost: Vec<&String> = ours.difference(&theirs).collect();
    ensure!(lost.is_empty(), "rescues that the vm lacks: {lost:?}");
    Ok(ours.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_downtime() {
        assert_eq!(
            downtime("x\ndowntime: 3.2 s, from the last sign of work on pi to the first on vm\n").unwrap(),
            3.2
        );
        for wrong in [
            "",
            "downtime: not known",
            "downtime: 0.0 s, from the last sign of work on pi to the first on vm",
        ] {
            assert!(downtime(wrong).is_err(), "{wrong}");
        }
    }
}
