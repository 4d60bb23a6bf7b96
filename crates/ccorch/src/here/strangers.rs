//! Agents at work in the workspace that no loop's unit holds: a person's, or what another supervisor started. No lease
//! stops them, so they are named.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ccorch_io::process;
use serde::{Deserialize, Serialize};

use super::Here;
use super::runtime::{Runtime, command_as, name_of};

/// What every loop's cgroup has in its path.
pub(super) const OURS: &str = "/ccorch-loop@";
/// The agent's program.
pub(super) const AGENT: &str = "claude";

/// One such process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    /// Its number.
    pub pid: u32,
    /// Where it works.
    pub workdir: PathBuf,
}

impl Stranger {
    /// For people.
    pub fn words(&self) -> String {
        format!(
            "agent process {} in {} is no loop's: no lease holds it back",
            self.pid,
            self.workdir.display()
        )
    }
}

/// All of them. Without systemd loops have no cgroups of their own, and nobody can be told apart.
pub fn all(here: &Here) -> Vec<Stranger> {
    match Runtime::of(here) {
        Runtime::Systemd => in_workspace(Path::new(&here.rig.workspace.root)),
        Runtime::Direct => Vec::new(),
    }
}

fn in_workspace(root: &Path) -> Vec<Stranger> {
    let mut found: Vec<Stranger> =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|p| look(&p.path(), root)).collect();
    found.sort_by_key(|stranger| stranger.pid);
    found
}

/// A process that ends meanwhile is none.
fn look(process: &Path, root: &Path) -> Option<Stranger> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let argv = fs::read(process.join("cmdline")).ok()?;
    let program = argv.split(|byte| *byte == 0).next()?;
    let named = program.rsplit(|byte| *byte == b'/').next() == Some(AGENT.as_bytes())
        || fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == AGENT);
    if !named || process::about(&process.join("cgroup")).ok()?.contains(OURS) {
        return None;
    }
    let workdir = works_in(process)?;
    workdir.starts_with(root).then_some(Stranger { pid, workdir })
}

/// A process's folder. The kernel tells it to whoever may trace it: its own user, and no root that was left without that.
pub(super) fn works_in(process: &Path) -> Option<PathBuf> {
    let link = process.join("cwd");
    match fs::read_link(&link) {
        Ok(folder) => Some(folder),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let user = name_of(fs::metadata(process).ok()?.uid())?;
            let text =
                command_as(&user, &["readlink".as_ref(), "--".as_ref(), link.as_os_str()]).read().ok()?;
            Some(text.trim_end_matches('\n').into())
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_person_s_agent_in_the_workspace_is_found_and_nobody_else_s() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (inside, outside) = (root.join("workspace/clone"), root.join("workspace-of-others"));
        let program = root.join(AGENT);
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let start =
            |program: &Path, dir: &Path| Command::new(program).arg("60").current_dir(dir).spawn().unwrap();
        let mut all =
            [start(&program, &inside), start(&program, &outside), start(Path::new("/bin/sleep"), &inside)];
        let found = in_workspace(&root.join("workspace"));
        all.iter_mut().for_each(|child| drop((child.kill(), child.wait())));
        assert_eq!(found, [Stranger { pid: all[0].id(), workdir: inside }]);
    }
}
