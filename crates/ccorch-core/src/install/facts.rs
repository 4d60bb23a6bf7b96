//! What is found on a host before an installation: one script's `key=value` lines, and their meaning.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::UNFINISHED;

/// The script, for `sh -c SCRIPT facts USER WORKSPACE "LOOP-USER ..." PROGRAM... -- FILE...`; it reads only.
pub const FACTS_SCRIPT: &str = include_str!("facts.sh");

/// A file as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// Its mode in octal, for example `644`.
    pub mode: String,
}

/// The workspace's user as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFact {
    /// Numeric id.
    pub uid: u32,
    /// Home folder.
    pub home: String,
}

/// What is found on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `uname -m`.
    pub arch: String,
    /// `ID` of os-release.
    pub os: String,
    /// `VERSION_ID` of os-release.
    pub os_version: String,
    /// `getconf GNU_LIBC_VERSION`, empty where there is no glibc.
    pub libc: String,
    /// systemd's version, when it is there.
    pub systemd: Option<u32>,
    /// Whether systemd is process 1.
    pub booted: bool,
    /// `systemctl is-system-running`.
    pub state: String,
    /// Free space where the binary goes, in KiB.
    pub free_binary_kib: Option<u64>,
    /// Free space where the workspace goes, in KiB.
    pub free_workspace_kib: Option<u64>,
    /// Whether `apt-get` is there.
    pub apt: bool,
    /// The workspace's user, when it exists.
    pub user: Option<UserFact>,
    /// Users of loops that exist, each with whether its group is that of the workspace's user.
    pub loop_users: BTreeMap<String, bool>,
    /// Owner of the workspace's root, when that exists.
    pub workspace_owner: Option<String>,
    /// Where the workspace's root really leads, when it exists.
    pub workspace_real: Option<String>,
    /// The programs asked about that are there.
    pub programs: BTreeSet<String>,
    /// SHA-256 of the installed binary.
    pub binary: Option<String>,
    /// What the installed binary says of itself.
    pub version: Option<String>,
    /// Files that exist, of those asked about and those of the manifest.
    pub files: BTreeMap<String, FileFact>,
    /// The paths that an earlier installation wrote.
    pub installed: BTreeSet<String>,
    /// Whether an earlier installation was ended half-way.
    pub unfinished: bool,
    /// Whether `ccorch.target` is enabled.
    pub enabled: bool,
    /// Whether systemd's idea of a unit is older than its file.
    pub needs_reload: bool,
    /// Whether the supervisor runs.
    pub supervisor_active: bool,
    /// Loop units that are active.
    pub loops: BTreeSet<String>,
}

impl Facts {
    /// Reads the script's output; lines of an unknown key are somebody's login noise and are passed over.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        let some = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "arch" => facts.arch = value.into(),
                "os" => facts.os = value.into(),
                "os_version" => facts.os_version = value.into(),
                "libc" => facts.libc = value.into(),
                "systemd" => facts.systemd = value.parse().ok(),
                "booted" => facts.booted = value == "yes",
                "state" => facts.state = value.into(),
                "free_binary" => facts.free_binary_kib = value.parse().ok(),
                "free_workspace" => facts.free_workspace_kib = value.parse().ok(),
                "apt" => facts.apt = value == "yes",
                "user" => facts.user = user(value),
                "loop_user" => {
                    facts.loop_users.extend(value.split_once(':').map(|(n, g)| (n.into(), g == "yes")))
                }
                "workspace_owner" => facts.workspace_owner = some(value),
                "workspace_real" => facts.workspace_real = some(value),
                "program" => drop(facts.programs.insert(value.into())),
                "binary" => facts.binary = some(value),
                "version" => facts.version = some(value),
                "file" => facts.files.extend(file(value)),
                "installed" if value == UNFINISHED => facts.unfinished = true,
                "installed" => drop(facts.installed.insert(value.into())),
                "enabled" => facts.enabled = value == "yes",
                "needs_reload" => facts.needs_reload = value == "yes",
                "supervisor" => facts.supervisor_active = value == "active",
                "loop" => drop(facts.loops.insert(value.into())),
                _ => {}
            }
        }
        facts
    }

    /// The machine in a few words, for messages.
    pub fn machine(&self) -> String {
        let libc = if self.libc.is_empty() { "no glibc" } else { &self.libc };
        format!("{} {}, {}, {libc}", self.os, self.os_version, self.arch)
    }
}

/// `uid:home`.
fn user(value: &str) -> Option<UserFact> {
    let (uid, home) = value.split_once(':')?;
    Some(UserFact { uid: uid.parse().ok()?, home: home.into() })
}

/// `sha256 mode path`.
fn file(value: &str) -> Option<(String, FileFact)> {
    let mut parts = value.splitn(3, ' ');
    let (sha256, mode) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some((parts.next()?.to_owned(), FileFact { sha256, mode }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_here_and_its_lines_are_understood() {
        let output = std::process::Command::new("sh")
            .args(["-c", FACTS_SCRIPT, "facts", "root", "/tmp/no/such/workspace", "root no-such-user"])
            .args(["sh", "no-such-program", "--", "/etc/passwd", "/no/such/file"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let facts = Facts::parse(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(facts.user.as_ref().unwrap().uid, 0);
        assert_eq!(facts.programs.iter().map(String::as_str).collect::<Vec<_>>(), ["sh"]);
        assert_eq!(facts.loop_users, [("root".to_owned(), true)].into());
        assert_eq!(facts.files["/etc/passwd"].sha256.len(), 64);
        assert!(!facts.files.contains_key("/no/such/file"));
        assert!(facts.free_workspace_kib.is_some() && facts.workspace_owner.is_none());
        assert!(!facts.arch.is_empty());
    }

    #[test]
    fn noise_of_a_login_shell_is_passed_over() {
        let facts = Facts::parse("Welcome to pi!\nfoo=bar\narch=aarch64\n");
        assert_eq!(facts, Facts { arch: "aarch64".into(), ..Facts::default() });
    }
}
