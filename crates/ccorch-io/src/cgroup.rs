//! The kernel's counters of a unit's cgroup, version 1 or 2, read as files.

use std::fs;
use std::path::{Path, PathBuf};

use ccorch_core::kernel::Counters;

use crate::process;

/// Where the hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// What cgroup v1 says for "no limit": the largest multiple of a page.
const UNLIMITED: u64 = i64::MAX as u64 - 0xffff;

/// The counters of the cgroup that a process is in, where that cgroup is the unit's own: a controller that is not on for
/// the unit counts in a cgroup shared with others, and says nothing about this one.
pub fn counters(pid: u32, unit: &str) -> Counters {
    let memberships =
        process::about(&Path::new("/proc").join(pid.to_string()).join("cgroup")).unwrap_or_default();
    read(Path::new(ROOT), &memberships, unit)
}

/// Every process of the unit that a process is in, without those in cgroups that it made below; `None` where it made some,
/// or is in no such unit.
pub fn processes(pid: u32, unit: &str) -> Option<Vec<u32>> {
    let memberships = process::about(&Path::new("/proc").join(pid.to_string()).join("cgroup")).ok()?;
    members(Path::new(ROOT), &memberships, unit)
}

fn members(root: &Path, memberships: &str, unit: &str) -> Option<Vec<u32>> {
    // systemd's own hierarchy, which has every unit: that of version 1, or the one of version 2.
    let folder = folder(root, memberships, "name=systemd", unit)
        .or_else(|| folder(root, memberships, "", unit))
        .filter(|folder| folder.join("cgroup.procs").exists())?;
    let below = fs::read_dir(&folder).ok()?.flatten().any(|entry| entry.path().is_dir());
    let all = fs::read_to_string(folder.join("cgroup.procs")).ok().filter(|_| !below)?;
    all.lines().map(|line| line.trim().parse().ok()).collect()
}

fn read(root: &Path, memberships: &str, unit: &str) -> Counters {
    let mut found = Counters::default();
    let number = |folder: &Path, file: &str| -> Option<u64> {
        fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
    };
    if let Some(folder) = folder(root, memberships, "", unit) {
        found.oom_kills = keyed(&folder.join("memory.events"), "oom_kill");
        found.at_memory_limit = keyed(&folder.join("memory.events"), "max");
        found.memory_limit = number(&folder, "memory.max");
        // `pids.events.local` tells this cgroup's own limit from its slice's; older kernels count both in one.
        let local = keyed(&folder.join("pids.events.local"), "max");
        found.tasks_refused = local.or_else(|| keyed(&folder.join("pids.events"), "max"));
        found.tasks_limit = number(&folder, "pids.max");
    }
    if let Some(folder) = folder(root, memberships, "memory", unit) {
        found.oom_kills = keyed(&folder.join("memory.oom_control"), "oom_kill");
        found.at_memory_limit = number(&folder, "memory.failcnt");
        found.memory_limit = number(&folder, "memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED);
    }
    if let Some(folder) = folder(root, memberships, "pids", unit) {
        found.tasks_refused = keyed(&folder.join("pids.events"), "max");
        found.tasks_limit = number(&folder, "pids.max");
    }
    found
}

/// The folder of a controller (empty: of cgroup v2) in which the process is. Lines are `ID:CONTROLLERS:PATH`.
fn folder(root: &Path, memberships: &str, controller: &str, unit: &str) -> Option<PathBuf> {
    let path = memberships.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(',').any(|one| one == controller).then_some(path)
    })?;
    // An agent may make cgroups of its own below, where it is allowed to.
    let mut up = Path::new(path).ancestors();
    let own = up.find(|path| path.file_name().is_some_and(|name| name == unit))?;
    let hybrid = if root.join("unified").is_dir() { "unified" } else { "" };
    let mount =
        root.join(if controller.is_empty() { hybrid } else { controller.trim_start_matches("name=") });
    Some(mount.join(own.strip_prefix("/").ok()?))
}

/// The value of one `KEY VALUE` line.
fn keyed(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    const UNIT: &str = "ccorch-loop@one.service";

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let root = tempfile::tempdir().unwrap();
        let folder = "ccorch.slice/ccorch-loops.slice/ccorch-loop@one.service";
        put(
            root.path(),
            &format!("memory/{folder}/memory.oom_control"),
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        );
        put(root.path(), &format!("memory/{folder}/memory.failcnt"), "17\n");
        put(root.path(), &format!("memory/{folder}/memory.limit_in_bytes"), "209715200\n");
        put(root.path(), &format!("pids/{folder}/pids.events"), "max 5\n");
        put(root.path(), &format!("pids/{folder}/pids.max"), "max\n");
        let lines = format!("9:memory:/{folder}\n4:pids:/{folder}\n3:cpu,cpuacct:/\n0::/{folder}\n");
        let found = read(root.path(), &lines, UNIT);
        let expected = Counters {
            oom_kills: Some(3),
            at_memory_limit: Some(17),
            memory_limit: Some(200 << 20),
            tasks_refused: Some(5),
            tasks_limit: None,
        };
        assert_eq!(found, expected);
        // Where the controller is not on for the unit, the counters are those of others.
        let shared = "9:memory:/ccorch.slice\n4:pids:/ccorch.slice\n";
        assert_eq!(read(root.path(), shared, UNIT), Counters::default());
    }

    #[test]
    fn the_processes_of_a_unit_are_those_of_its_own_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        let folder = "ccorch-loops.slice/ccorch-loop@one.service";
        let first = format!("4:pids:/\n1:name=systemd:/{folder}\n0::/\n");
        assert_eq!(members(root.path(), &first, UNIT), None);
        put(root.path(), &format!("systemd/{folder}/cgroup.procs"), "12\n7\n");
        assert_eq!(members(root.path(), &first, UNIT), Some(vec![12, 7]));
        assert_eq!(members(root.path(), "1:name=systemd:/other.service\n", UNIT), None);
        let second = format!("0::/{folder}\n");
        put(root.path(), &format!("{folder}/cgroup.procs"), "3\n");
        assert_eq!(members(root.path(), &second, UNIT), Some(vec![3]));
        // Nobody knows what is in those that it made itself.
        put(root.path(), &format!("{folder}/own/cgroup.procs"), "9\n");
        assert_eq!(members(root.path(), &second, UNIT), None);
    }

    #[test]
    fn version_2_has_one_and_an_agent_may_be_deeper() {
        let root = tempfile::tempdir().unwrap();
        let folder = "ccorch.slice/ccorch-loop@one.service";
        put(
            root.path(),
            &format!("{folder}/memory.events"),
            "low 0\nhigh 2\nmax 31\noom 2\noom_kill 1\noom_group_kill 7\n",
        );
        put(root.path(), &format!("{folder}/memory.max"), "max\n");
        put(root.path(), &format!("{folder}/pids.events"), "max 4\n");
        put(root.path(), &format!("{folder}/pids.max"), "64\n");
        let found = read(root.path(), &format!("0::/{folder}/own\n"), UNIT);
        let expected = Counters {
            oom_kills: Some(1),
            at_memory_limit: Some(31),
            memory_limit: None,
            tasks_refused: Some(4),
            tasks_limit: Some(64),
        };
        assert_eq!(found, expected);
    }
}
