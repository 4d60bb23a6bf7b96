//! The world from inside its process: set up from a template, hosts switched on, the operator's program run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::host::Host;
use super::{HOSTS, RIG, WORLD};
use crate::run::Run;

const SET_UP: &str = include_str!("../../local/world.sh");

/// Both hosts and the operator.
#[derive(Debug)]
pub struct World {
    /// The hosts; the rig is on the first at the beginning.
    pub hosts: [Host; 2],
}

impl World {
    /// An empty one, hosts off.
    pub fn empty(tools: &Path) -> Result<Self> {
        if std::process::id() != 1 {
            bail!(
                "a world is made by `cargo xtask matrix` and `cargo xtask trials`, in namespaces of its own"
            );
        }
        Run::new(&["sh", "-c", SET_UP, "world", WORLD]).arg(tools).run()?;
        Ok(Self { hosts: HOSTS.map(|(name, address)| Host::new(name, address)) })
    }

    /// As the template has it, both hosts on.
    pub fn of(tools: &Path, template: &Path) -> Result<Self> {
        let mut world = Self::empty(tools)?;
        Run::new(&["cp", "-a", "--"]).arg(template.join(".")).arg(WORLD).run()?;
        world.hosts.iter_mut().try_for_each(Host::boot)?;
        Ok(world)
    }

    /// Switches everything off and keeps what is on the disks.
    pub fn keep(mut self, template: &Path) -> Result<()> {
        self.hosts.iter_mut().try_for_each(Host::power_off)?;
        fs::create_dir_all(template)?;
        for part in ["git", "operator", "one", "two"] {
            // Mount points of a host are empty on its disk.
            Run::new(&["cp", "-a", "--one-file-system", "--"]).arg(path(part)).arg(template).run()?;
        }
        Ok(())
    }

    /// Takes the git remotes away, or brings them back.
    pub fn git(&self, away: bool) -> Result<()> {
        for name in ["lease", "build", "judge"] {
            let (here, gone) = (path(&format!("git/{name}.git")), path(&format!("git/{name}.away")));
            let (from, to) = if away { (&here, &gone) } else { (&gone, &here) };
            if from.exists() {
                fs::rename(from, to).with_context(|| format!("cannot move {}", from.display()))?;
            }
        }
        Ok(())
    }

    /// The program in the operator's hands, not run yet.
    pub fn driver(&self, args: &[&str]) -> Command {
        let mut command = Command::new(path("tools/bin/ccorch"));
        command.args(args).current_dir(operator()).env_clear().stdin(Stdio::null());
        command.env("HOME", operator().join("home")).env("XDG_STATE_HOME", operator().join("state"));
        // Sockets of shared connections are no world's own where paths are shared.
        command.env("XDG_RUNTIME_DIR", path("runtime"));
        command.env("PATH", "/usr/sbin:/usr/bin").env("USER", "operator");
        command
    }

    /// Runs it to a good end; what it printed.
    pub fn runs(&self, args: &[&str]) -> Result<String> {
        let output = self.driver(args).output().context("cannot run ccorch")?;
        if !output.status.success() {
            bail!("`ccorch {}` failed ({})\n{}", args.join(" "), output.status, crate::run::tail(&output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The text of the newest journal; empty before there is one.
    pub fn journal(&self) -> String {
        let mut all: Vec<PathBuf> = fs::read_dir(journals())
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        all.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
        all.sort();
        all.last().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }
}

/// A path of the world.
pub fn path(rest: &str) -> PathBuf {
    Path::new(WORLD).join(rest)
}

/// The operator's folder, on a small disk of its own.
pub fn operator() -> PathBuf {
    path("operator")
}

/// Where the operator's journals lie.
pub fn journals() -> PathBuf {
    operator().join(format!("state/ccorch/{RIG}/journal"))
}
