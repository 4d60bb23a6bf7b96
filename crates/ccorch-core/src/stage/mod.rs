//! What staging carries from one host to another, and what it leaves: decided from the rig alone.

mod agents;
mod config;
pub mod routine;

use std::collections::BTreeSet;

use crate::rig::{Repository, Rig};

pub use agents::{AgentState, Base, agent_state, apart, merge_claude_json};
pub use config::{Carry, config_to_carry, has_credentials};

/// A path of the rig file that leads out of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a path inside the workspace")]
pub struct Outside(pub String);

/// The repositories, outer ones first: a nested clone needs the folder that the outer one makes.
pub fn repositories(rig: &Rig) -> Result<Vec<(String, &Repository)>, Outside> {
    let mut all: Vec<(String, &Repository)> = Vec::new();
    for (path, repository) in &rig.workspace.repositories {
        all.push((inside(path)?, repository));
    }
    all.sort_by_key(|(path, _)| (depth(path), path.clone()));
    Ok(all)
}

fn depth(path: &str) -> usize {
    if path == "." { 0 } else { path.split('/').count() }
}

/// Files that the rig itself writes while it works: exempt from "clean", always carried. Relative to the workspace.
pub fn own_files(rig: &Rig) -> Result<BTreeSet<String>, Outside> {
    let workspace = &rig.workspace;
    let inboxes = rig.loops.values().filter_map(|l| l.inbox.as_ref().map(|i| format!("{}/{i}", l.workdir)));
    let all = [workspace.phase_file.clone(), workspace.reboot_log.clone()].into_iter().chain(inboxes);
    all.map(|path| inside(&path)).collect()
}

/// Paths that git ignores and the rig needs all the same. Relative to the workspace.
pub fn carry(rig: &Rig) -> Result<BTreeSet<String>, Outside> {
    rig.workspace.carry.iter().map(|path| inside(path)).collect()
}

/// The path without `.` and doubled or final slashes; `.` is the workspace itself.
pub fn inside(path: &str) -> Result<String, Outside> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if path.starts_with('/') || path.is_empty() || path.contains('\0') || parts.contains(&"..") {
        return Err(Outside(path.into()));
    }
    Ok(if parts.is_empty() { ".".into() } else { parts.join("/") })
}

/// A path below a folder, where either may be `.`.
pub fn join(dir: &str, path: &str) -> String {
    match (dir, path) {
        (".", path) => path.into(),
        (dir, ".") => dir.into(),
        (dir, path) => format!("{}/{path}", dir.trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::parse;

    const RIG: &str = indoc::indoc! {r#"
        rig: demo
        workspace:
          root: /srv/w
          user: loops
          repositories:
            a/deep: { url: u, branch: main }
            z: { url: u, branch: main }
            ".": { url: u, branch: main }
          carry: [logs, .env]
        phases: [{ id: "1", plan: p.md }]
        loops:
          one: { agent: claude, workdir: z, inbox: docs/INBOX.md }
          two: { agent: command, workdir: ., inbox: IN.md, command: [x] }
        hosts: { pi: { ssh: pi } }
    "#};

    #[test]
    fn outer_clones_come_first() {
        let rig = parse(RIG).unwrap();
        let paths: Vec<String> = repositories(&rig).unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [".", "z", "a/deep"]);
    }

    #[test]
    fn what_the_rig_writes_itself_is_known_by_exact_path() {
        let rig = parse(RIG).unwrap();
        let own: Vec<String> = own_files(&rig).unwrap().into_iter().collect();
        assert_eq!(own, [".ccorch/phase", "IN.md", "REBOOTS.md", "z/docs/INBOX.md"]);
        assert_eq!(carry(&rig).unwrap().into_iter().collect::<Vec<_>>(), [".env", "logs"]);
    }

    #[test]
    fn a_path_that_leaves_the_workspace_is_refused() {
        for bad in ["..", "a/../../etc", "/etc", "", "a/.."] {
            assert_eq!(inside(bad), Err(Outside(bad.into())), "{bad}");
        }
        for (given, path) in [("a//b/./c/", "a/b/c"), ("./", "."), ("..a", "..a"), ("-rf", "-rf")] {
            assert_eq!(inside(given).as_deref(), Ok(path));
        }
    }
}
