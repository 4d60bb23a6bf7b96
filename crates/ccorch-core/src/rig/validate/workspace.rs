//! The workspace and the phases: paths that are whole, inside, and told apart.

use std::collections::BTreeMap;

use super::Report;
use crate::rig::finding::shown;
use crate::rig::{Rig, rules};

pub(super) fn check(rig: &Rig, report: &mut Report) {
    let workspace = &rig.workspace;
    report.must(&["workspace", "root"], rules::absolute_path(&workspace.root));
    report.must(&["workspace", "user"], rules::user(&workspace.user));
    if workspace.user == "root" {
        report.warn(
            &["workspace", "user"],
            "the agents would run as root; expected a user of their own (Claude Code refuses to skip permissions as root)",
        );
    }
    repositories(rig, report);
    copies(rig, report);
    for (index, path) in workspace.carry.iter().enumerate() {
        report.must(&["workspace", "carry", &index.to_string()], rules::path_below(path));
    }
    report.must(&["workspace", "phase_file"], rules::path_below(&workspace.phase_file));
    report.must(&["workspace", "reboot_log"], rules::path_below(&workspace.reboot_log));
    if workspace.phase_file == workspace.reboot_log {
        report.error(
            &["workspace", "reboot_log"],
            "is the phase file too; expected two files (the phase file holds one number and nothing else)",
        );
    }
    phases(rig, report);
}

fn repositories(rig: &Rig, report: &mut Report) {
    for (path, repository) in &rig.workspace.repositories {
        let at = |key| ["workspace", "repositories", path, key];
        report.must(&["workspace", "repositories", path], rules::path_in(path));
        report.must(&at("url"), rules::git_remote(&repository.url));
        report.must(&at("branch"), rules::ref_name(&repository.branch));
    }
}

fn copies(rig: &Rig, report: &mut Report) {
    let root = &rig.workspace.root;
    for (name, copy) in &rig.workspace.copies {
        let keys = ["workspace", "copies", name, "from"];
        report.must(&keys, rules::absolute_path(&copy.from));
        if rules::absolute_path(root).is_err() {
            continue;
        }
        if rules::is_within(&copy.from, root) {
            report.error(&keys, "is inside the workspace; expected a folder outside (use `workspace.carry` for what git does not hold)");
        } else if rules::is_within(root, &copy.from) {
            report.error(
                &keys,
                format!("holds the workspace itself; expected a folder outside {}", shown(root)),
            );
        }
    }
}

fn phases(rig: &Rig, report: &mut Report) {
    if rig.phases.is_empty() {
        report.error(&["phases"], "expected at least one phase");
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, phase) in rig.phases.iter().enumerate() {
        let number = index.to_string();
        report.must(&["phases", &number, "id"], rules::line(&phase.id));
        report.must(&["phases", &number, "plan"], rules::path_below(&phase.plan));
        if let Some(first) = seen.insert(&phase.id, index) {
            report.error(
                &["phases", &number, "id"],
                format!(
                    "{} is the id of phases[{first}] already; expected one that is not taken",
                    shown(&phase.id)
                ),
            );
        }
    }
}
