//! A world of its own on this machine: two hosts without systemd, the git remotes, the operator. Everything in it is
//! real: sshd, git, tmux, the programs; a host is a root folder on a small disk with process, mount and host-name
//! namespaces and a boot_id of its own.
//!
//! Each world is one process in namespaces of its own (network, mounts, processes), so that every world has the same
//! paths and addresses, and nothing of it outlives that process.

pub mod host;
pub mod judge;
pub mod prepare;
pub mod state;
pub mod world;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::run::copy_program;

/// Where a world lies; in each its own file system is mounted there.
pub const WORLD: &str = "/tmp/ccorch-world";
/// Names and addresses of the hosts.
pub const HOSTS: [(&str, &str); 2] = [("one", "127.0.0.11"), ("two", "127.0.0.12")];
/// The rig's name.
pub const RIG: &str = "demo";
/// The loops: name, working directory, their remote.
pub const LOOPS: [(&str, &str); 2] = [("builder", "build"), ("judge", "judge")];
/// The workspace's path on both hosts.
pub const WORKSPACE: &str = "/srv/w";
/// No world takes longer; one that does is ended and failed.
pub const LONGEST: Duration = Duration::from_secs(400);

/// The programs that the hosts run, in one folder that worlds mount, and this very program: a build in the meantime puts
/// another file in its place.
#[derive(Debug)]
pub struct Tools {
    /// The folder; it holds `bin/ccorch`, `bin/claude` and `bin/xtask`.
    pub folder: PathBuf,
}

impl Tools {
    /// Puts them beside the build.
    pub fn of(ccorch: &Path, agent: &Path) -> Result<Self> {
        let folder = ccorch.parent().context("a program lies in a folder")?.join("local-tools");
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
        for (from, name) in [(ccorch, "ccorch"), (agent, "claude"), (Path::new("/proc/self/exe"), "xtask")] {
            // A world of another run may have the old one open.
            copy_program(from, &bin.join(name))?;
        }
        Ok(Self { folder })
    }
}

/// One process in a world of its own; what it says goes to a file.
#[derive(Debug)]
pub struct Inside {
    child: Child,
    log: PathBuf,
    began: Instant,
}

impl Inside {
    /// Starts this very program as `xtask world ARGS` in new namespaces.
    pub fn start(tools: &Tools, args: &[&str], log: PathBuf) -> Result<Self> {
        fs::create_dir_all(WORLD).with_context(|| format!("cannot make {WORLD}"))?;
        let out = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        // Nothing of a world outlives the run that started it, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "unshare"])
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["--propagation", "private", "--"])
            .arg(tools.folder.join("bin/xtask"))
            .args(["world", "--tools"])
            .arg(&tools.folder)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("cannot run unshare")?;
        Ok(Self { child, log, began: Instant::now() })
    }

    /// Whether it is over: how it went, and everything it said.
    pub fn over(&mut self) -> Result<Option<(bool, String)>> {
        let late = self.began.elapsed() > LONGEST;
        if late {
            self.child.kill()?;
        }
        let status = if late { Some(self.child.wait()?) } else { self.child.try_wait()? };
        let Some(status) = status else { return Ok(None) };
        let mut said = fs::read_to_string(&self.log)?;
        if late {
            said.push_str(&format!("ended after {} s\n", LONGEST.as_secs()));
        }
        Ok(Some((status.success() && !late, said)))
    }

    /// How long it has run.
    pub fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Runs one to its end; what it said, or an error with that in it.
pub fn inside(tools: &Tools, args: &[&str], log: PathBuf) -> Result<String> {
    let mut inside = Inside::start(tools, args, log)?;
    loop {
        match inside.over()? {
            Some((true, said)) => return Ok(said),
            Some((false, said)) => bail!("`xtask world {}` failed:\n{said}", args.join(" ")),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
