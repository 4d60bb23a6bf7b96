//! The decision: what has to be done on a host so that it is as wanted.

use std::collections::BTreeSet;
use std::fmt;

use super::{BINARY, Facts, UNIT_DIR};

/// The list of all files that an installation wrote, so that a later one knows which are stale.
pub const MANIFEST: &str = "/etc/ccorch/installed";
/// The manifest's first line while an installation is under way.
pub const UNFINISHED: &str = "unfinished";
/// How an entry of the manifest begins that is no path: a user that an installation made.
pub const USER_ENTRY: &str = "user:";
/// The oldest systemd whose behaviour the units rely on (Debian 11, Raspberry Pi OS of 2021).
const OLDEST_SYSTEMD: u32 = 247;
/// What stays free beside a new binary, in KiB: the old one is only replaced once the new one has proved itself.
const SLACK_KIB: u64 = 16 * 1024;

/// A file to be on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Mode in octal, for example `644`.
    pub mode: &'static str,
    /// Content.
    pub content: Vec<u8>,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: String,
}

/// What is wanted on the host.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The workspace's user.
    pub user: String,
    /// Users of loops that have one of their own.
    pub loop_users: BTreeSet<String>,
    /// The workspace's root.
    pub workspace: String,
    /// SHA-256 of the binary, hexadecimal.
    pub binary: String,
    /// Size of the binary in bytes.
    pub binary_size: u64,
    /// Programs that have to be there, by command name.
    pub programs: Vec<String>,
    /// Whether missing programs may be installed.
    pub install_packages: bool,
    /// All files, the manifest excepted.
    pub files: Vec<File>,
}

/// One thing to do, in the order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `apt-get install` these packages.
    InstallPackages(Vec<String>),
    /// Create the workspace's user, with a home, bash, and no password.
    CreateUser(String),
    /// Create a loop's user, with a home, in the group of the workspace's user.
    CreateLoopUser {
        /// The loop's user.
        user: String,
        /// The workspace's user.
        beside: String,
    },
    /// Create the workspace's root, or give it to its user.
    OwnWorkspace {
        /// The folder.
        path: String,
        /// The user.
        user: String,
    },
    /// Write a file.
    Write(File),
    /// Remove a file that an earlier installation wrote.
    Remove(String),
    /// Copy the binary beside its place and execute it there.
    TryBinary,
    /// Switch to the binary that was tried.
    SwitchBinary,
    /// Note in the manifest that an installation is under way, and all files it may leave.
    Begin(BTreeSet<String>),
    /// Note in the manifest what is installed.
    Finish(BTreeSet<String>),
    /// `systemd-analyze verify` of these unit files.
    Verify(Vec<String>),
    /// `systemctl daemon-reload`.
    Reload,
    /// `systemctl enable ccorch.target`.
    Enable,
    /// Restart the supervisor; loops keep running.
    RestartSupervisor,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstallPackages(packages) => write!(f, "install packages {}", packages.join(" ")),
            Self::CreateUser(user) => write!(f, "create user {user} (home, bash, no password)"),
            Self::CreateLoopUser { user, beside } => {
                write!(f, "create system user {user} (home, bash, no password, group of {beside})")
            }
            Self::OwnWorkspace { path, user } => write!(f, "create {path}, owned by {user}"),
            Self::Write(file) => write!(f, "write {}", file.path),
            Self::Remove(path) => write!(f, "remove {path}"),
            Self::TryBinary => write!(f, "copy the binary and try it"),
            Self::SwitchBinary => write!(f, "switch {BINARY} to it"),
            Self::Begin(_) => write!(f, "note in {MANIFEST} that an installation is under way"),
            Self::Finish(_) => write!(f, "note in {MANIFEST} that it is complete"),
            Self::Verify(_) => write!(f, "verify the units"),
            Self::Reload => write!(f, "reload systemd"),
            Self::Enable => write!(f, "enable ccorch.target"),
            Self::RestartSupervisor => write!(f, "restart ccorch-supervisor (loops keep running)"),
        }
    }
}

/// Why a host cannot take the rig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Decides what to do, or says all that is in the way.
///
/// Between the two notes in the manifest an installation counts as under way: a run that ends there is taken up by the
/// next, which verifies, reloads and restarts once more and knows every file that may have been written.
pub fn plan(facts: &Facts, wanted: &Wanted) -> Result<Vec<Action>, Vec<Unfit>> {
    let missing: Vec<String> =
        wanted.programs.iter().filter(|p| !facts.programs.contains(*p)).cloned().collect();
    let unfit = unfit(facts, wanted, &missing);
    if !unfit.is_empty() {
        return Err(unfit);
    }
    let work = work(facts, wanted);
    let mut now: BTreeSet<String> = wanted.files.iter().map(|f| f.path.clone()).collect();
    now.extend(own_users(facts, wanted));
    let mut actions = Vec::new();
    if !missing.is_empty() {
        actions.push(Action::InstallPackages(packages(&missing)));
    }
    if work.contains(&Action::SwitchBinary) {
        actions.push(Action::TryBinary);
    }
    if !work.is_empty() || facts.unfinished || now != facts.installed {
        actions.push(Action::Begin(now.union(&facts.installed).cloned().collect()));
        actions.extend(work);
        actions.push(Action::Finish(now));
    }
    Ok(actions)
}

/// The manifest's content for a set of paths.
pub fn manifest(paths: &BTreeSet<String>, unfinished: bool) -> String {
    let first = if unfinished { format!("{UNFINISHED}\n") } else { String::new() };
    paths.iter().fold(first, |text, path| text + path + "\n")
}

/// What the manifest notes of users that an installation made. One that no loop has any more stays noted: its home holds
/// conversations, which `host uninstall` leaves to a person, too.
fn own_users(facts: &Facts, wanted: &Wanted) -> BTreeSet<String> {
    let made = wanted.loop_users.iter().filter(|user| !facts.loop_users.contains_key(*user));
    let noted = facts.installed.iter().filter(|entry| entry.starts_with(USER_ENTRY)).cloned();
    made.map(|user| format!("{USER_ENTRY}{user}")).chain(noted).collect()
}

fn work(facts: &Facts, wanted: &Wanted) -> Vec<Action> {
    let mut actions = Vec::new();
    if facts.user.is_none() {
        actions.push(Action::CreateUser(wanted.user.clone()));
    }
    for user in wanted.loop_users.iter().filter(|user| !facts.loop_users.contains_key(*user)) {
        actions.push(Action::CreateLoopUser { user: user.clone(), beside: wanted.user.clone() });
    }
    if facts.workspace_owner.as_deref() != Some(&wanted.user) {
        let (path, user) = (wanted.workspace.clone(), wanted.user.clone());
        actions.push(Action::OwnWorkspace { path, user });
    }
    let switch = facts.binary.as_ref() != Some(&wanted.binary);
    if switch {
        actions.push(Action::SwitchBinary);
    }
    let writes = wanted.files.iter().filter(|f| !is_there(facts, f)).cloned().map(Action::Write);
    let paths = facts.installed.iter().filter(|entry| !entry.starts_with(USER_ENTRY));
    let stale = paths.filter(|path| wanted.files.iter().all(|f| f.path != **path));
    let files: Vec<Action> = writes.chain(stale.cloned().map(Action::Remove)).collect();
    let touches = |path: &str| touched(&files).any(|p| p == path || p.starts_with(&format!("{path}.d/")));
    let units_changed = touched(&files).any(|path| path.starts_with(UNIT_DIR));
    let part_changed = switch
        || touches("/etc/ccorch/rig.json")
        || touches(&format!("{UNIT_DIR}/ccorch-supervisor.service"));
    actions.extend(files);
    if units_changed || facts.needs_reload || facts.unfinished {
        // Verified when all of them lie there: units name each other.
        actions.push(Action::Verify(units(wanted)));
        actions.push(Action::Reload);
    }
    if !facts.enabled {
        actions.push(Action::Enable);
    }
    if facts.supervisor_active && (part_changed || facts.unfinished) {
        actions.push(Action::RestartSupervisor);
    }
    actions
}

fn touched(actions: &[Action]) -> impl Iterator<Item = &str> {
    actions.iter().filter_map(|action| match action {
        Action::Write(file) => Some(file.path.as_str()),
        Action::Remove(path) => Some(path.as_str()),
        _ => None,
    })
}

fn is_there(facts: &Facts, file: &File) -> bool {
    facts.files.get(&file.path).is_some_and(|f| f.sha256 == file.sha256 && f.mode == file.mode)
}

/// The unit files proper: drop-ins are verified with the unit they belong to.
fn units(wanted: &Wanted) -> Vec<String> {
    let prefix = format!("{UNIT_DIR}/");
    let unit = |path: &str| path.strip_prefix(&prefix).is_some_and(|name| !name.contains('/'));
    wanted.files.iter().map(|f| f.path.clone()).filter(|path| unit(path)).collect()
}

fn unfit(facts: &Facts, wanted: &Wanted, missing: &[String]) -> Vec<Unfit> {
    let mut all = Vec::new();
    let mut say = |what: String, hint: &str| all.push(Unfit { what, hint: hint.to_owned() });
    if facts.os == "nixos" {
        say(
            "it runs NixOS, whose units come from its configuration".into(),
            "use the NixOS module (`services.ccorch`) there instead",
        );
        return all;
    }
    match facts.systemd {
        Some(version) if facts.booted && version < OLDEST_SYSTEMD => say(
            format!("its systemd is version {version}"),
            &format!("systemd {OLDEST_SYSTEMD} or newer is needed: Debian 11 and later have it"),
        ),
        Some(_) if facts.booted => {}
        _ => say("systemd is not its process 1".into(), "ccorch needs a host that systemd boots"),
    }
    let needed = wanted.binary_size / 1024 + SLACK_KIB;
    let switch = facts.binary.as_ref() != Some(&wanted.binary);
    if let Some(free) = facts.free_binary_kib.filter(|free| switch && *free < needed) {
        say(
            format!("/usr/local/bin has {} MiB free, {} MiB are needed", free / 1024, needed / 1024),
            "free space there, then run this again",
        );
    }
    if let Some(real) = facts.workspace_real.as_ref().filter(|real| **real != wanted.workspace) {
        say(
            format!("the workspace {} is a symbolic link to {real}", wanted.workspace),
            "agents key their transcripts by path: make it a real folder, or put its real path in the rig file",
        );
    }
    let strangers =
        facts.loop_users.iter().filter(|(user, beside)| !**beside && wanted.loop_users.contains(*user));
    for (user, _) in strangers.filter(|_| facts.user.is_some()) {
        say(
            format!("{user}, whom a loop is to run as, is not of the group of {}", wanted.user),
            &format!(
                "run `usermod --gid \"$(id -gn {})\" {user}` there, or name another user in the rig file",
                wanted.user
            ),
        );
    }
    let command = format!("apt-get install --no-install-recommends {}", packages(missing).join(" "));
    let programs = missing.join(", ");
    if !missing.is_empty() && !facts.apt {
        say(format!("programs are missing: {programs}"), "install them with the host's package manager");
    } else if !missing.is_empty() && !wanted.install_packages {
        let hint = format!("run `{command}` there, or give `--install-packages`");
        say(format!("programs are missing: {programs}"), &hint);
    }
    all
}

/// The Debian packages of some programs; most are named like their program.
fn packages(programs: &[String]) -> Vec<String> {
    let package = |program: &String| match program.as_str() {
        "ssh" | "ssh-keygen" => "openssh-client".into(),
        "runuser" | "flock" => "util-linux".into(),
        "node" => "nodejs".into(),
        "pip" | "pip3" => "python3-pip".into(),
        "rg" => "ripgrep".into(),
        "fd" | "fdfind" => "fd-find".into(),
        "tailscaled" => "tailscale".into(),
        "git-lfs" => "git-lfs".into(),
        "ps" | "pgrep" => "procps".into(),
        "ip" | "ss" => "iproute2".into(),
        "nc" => "netcat-openbsd".into(),
        "dig" => "dnsutils".into(),
        _ => program.clone(),
    };
    programs.iter().map(package).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
