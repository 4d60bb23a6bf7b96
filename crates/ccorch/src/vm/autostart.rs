//! A machine as a systemd unit, so that it comes back with the operator's machine.

use std::env;
use std::fs;
use std::path::{PathBuf, absolute};

use anyhow::{Context as _, Result};
use ccorch_core::qemu::{Unit, unit, unit_name};
use ccorch_io::command::Command;
use ccorch_io::{durable, systemd};
use rustix::process::geteuid;

use super::Machine;
use crate::command::provision::progress::Progress;

/// The systemd that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The machine's own, for root.
    System,
    /// The user's.
    User,
}

impl Manager {
    fn systemctl(self) -> Command {
        let command = Command::new("systemctl");
        if self == Self::User { command.arg("--user") } else { command }
    }

    fn folder(self) -> PathBuf {
        let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".config");
        match self {
            Self::System => "/etc/systemd/system".into(),
            Self::User => {
                env::var_os("XDG_CONFIG_HOME").map_or_else(home, PathBuf::from).join("systemd/user")
            }
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::System => "multi-user.target",
            Self::User => "default.target",
        }
    }
}

/// The systemd that can run a machine of this user, if there is one.
pub fn manager() -> Option<Manager> {
    if !systemd::is_pid_1() {
        return None;
    }
    if geteuid().is_root() {
        return Some(Manager::System);
    }
    let runtime = PathBuf::from(env::var_os("XDG_RUNTIME_DIR")?);
    runtime.join("systemd/private").exists().then_some(Manager::User)
}

/// Has the unit in place and starts the machine through it.
pub fn start(machine: &Machine, manager: Manager, progress: &Progress) -> Result<()> {
    let name = unit_name(&machine.loaded.rig.rig, &machine.name);
    let file = manager.folder().join(&name);
    let text = text(machine, manager)?;
    if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
        progress.say(format!("writing {}", file.display()));
        let folder = manager.folder();
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        durable::replace(&file, text.as_bytes(), 0o644)?;
        manager.systemctl().arg("daemon-reload").run()?;
    }
    manager.systemctl().args(["--quiet", "enable", &name]).run()?;
    if manager == Manager::User {
        let linger = Command::new("loginctl").arg("enable-linger").run();
        if linger.is_err() {
            progress.say("the machine stops when you log out: `loginctl enable-linger` was refused");
        }
    }
    progress.say(format!("starting {name}"));
    // A failed start that is still counted would be refused.
    manager.systemctl().args(["reset-failed", &name]).output()?;
    manager.systemctl().args(["start", &name]).deadline(progress.left()).run()?;
    Ok(())
}

fn text(machine: &Machine, manager: Manager) -> Result<String> {
    let binary = env::current_exe().context("find this program's own path")?;
    let rig_file = absolute(&machine.loaded.file).context("find the working directory")?;
    // A service of the system has no HOME, and the operator's state is found through it.
    let environment: Vec<(&str, String)> = ["HOME", "XDG_STATE_HOME"]
        .into_iter()
        .filter_map(|name| Some((name, env::var(name).ok()?)))
        .collect();
    Ok(unit(&Unit {
        rig: &machine.loaded.rig.rig,
        host: &machine.name,
        binary: &binary.to_string_lossy(),
        rig_file: &rig_file.to_string_lossy(),
        pid_file: &machine.files.pid().to_string_lossy(),
        environment: &environment,
        wanted_by: manager.target(),
    }))
}
