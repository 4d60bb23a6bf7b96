//! One host of a world: booted, rebooted without a word, cut off, filled up.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::WORLD;
use crate::wait;

const BOOT: &str = include_str!("../../local/boot.sh");
/// Everything here takes a fraction of a second; a loaded machine gets far more.
const PATIENCE: Duration = Duration::from_secs(60);

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Its name in the rig.
    pub name: &'static str,
    /// Its address in the world's own network.
    pub address: &'static str,
    child: Option<Child>,
}

impl Host {
    /// A host whose disk is there and that is switched off.
    pub fn new(name: &'static str, address: &'static str) -> Self {
        Self { name, address, child: None }
    }

    /// Its disk as seen from outside.
    pub fn disk(&self) -> PathBuf {
        Path::new(WORLD).join(self.name)
    }

    /// A path of the host as seen from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.disk().join(inside.trim_start_matches('/'))
    }

    /// Switches it on and waits until its sshd answers.
    pub fn boot(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.path("var/log/boot"))?;
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--uts", "--propagation", "private"])
            .args(["sh", "-c", BOOT, "boot", WORLD, self.name, self.address])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot run unshare")?;
        self.child = Some(child);
        self.answers()
    }

    /// Takes its power away: every process of it is gone when this returns.
    pub fn power_off(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let namespace = self.namespace_of(child.id());
        child.kill()?;
        child.wait()?;
        let Some(namespace) = namespace else { return Ok(()) };
        wait::until("a host without power to be silent", PATIENCE, || {
            Ok(processes()?.iter().all(|one| one.namespace != namespace).then_some(()))
        })
    }

    /// Power off and on.
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off()?;
        self.boot()
    }

    /// Ends its sshd with all connections; what runs through them loses its other end.
    pub fn cut_off(&self) -> Result<()> {
        File::create(self.path("var/no-ssh"))?;
        for one in self.processes()?.iter().filter(|one| one.name.starts_with("sshd")) {
            // It may be over by itself.
            let _ = kill_process(one.pid, Signal::KILL);
        }
        Ok(())
    }

    /// Its sshd answers again.
    pub fn reconnect(&self) -> Result<()> {
        remove(&self.path("var/no-ssh"))?;
        self.answers()
    }

    /// Has the nth command from now on that comes over ssh killed: before it did anything, or when all is done.
    pub fn kill_command(&self, nth: usize, when: &str) -> Result<()> {
        remove(&self.path("var/kill-count"))?;
        fs::write(self.path("var/kill"), format!("{when} {nth}\n")).context("arm the kill")
    }

    /// Whether a command was killed so.
    pub fn killed_one(&self) -> bool {
        self.path("var/killed").exists()
    }

    /// Nothing more is killed.
    pub fn spare(&self) -> Result<()> {
        ["var/kill", "var/kill-count", "var/killed"].iter().try_for_each(|file| remove(&self.path(file)))
    }

    /// How many commands came over ssh so far.
    pub fn commands(&self) -> usize {
        self.lines_of("var/commands")
    }

    /// How many of them were a driver's acts, which bear its turn.
    pub fn acts(&self) -> usize {
        self.lines_of("var/acts")
    }

    /// Has the nth act from now on stand still before it does anything.
    pub fn hold_act(&self, nth: usize) -> Result<()> {
        remove(&self.path("var/hold-count"))?;
        fs::write(self.path("var/hold"), format!("{nth}\n")).context("arm the hold")
    }

    /// Whether an act stands still.
    pub fn holds_one(&self) -> bool {
        self.path("var/held").exists()
    }

    /// Lets it go on.
    pub fn let_go(&self) -> Result<()> {
        remove(&self.path("var/hold"))
    }

    /// Each is an empty line.
    fn lines_of(&self, file: &str) -> usize {
        fs::metadata(self.path(file)).map_or(0, |file| usize::try_from(file.len()).unwrap_or(0))
    }

    /// Its processes.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let Some(namespace) = self.namespace() else { return Ok(Vec::new()) };
        Ok(processes()?.into_iter().filter(|one| one.namespace == namespace).collect())
    }

    /// Its process namespace while it is on.
    pub fn namespace(&self) -> Option<u64> {
        self.child.as_ref().and_then(|child| self.namespace_of(child.id()))
    }

    /// Its agents.
    pub fn agents(&self) -> Result<Vec<Pid>> {
        let Some(namespace) = self.namespace() else { return Ok(Vec::new()) };
        Ok(agents()?.into_iter().filter(|one| one.namespace == namespace).map(|one| one.pid).collect())
    }

    fn answers(&self) -> Result<()> {
        let answered = wait::until(&format!("the sshd of {}", self.name), PATIENCE, || {
            Ok(TcpStream::connect((self.address, 22)).is_ok().then_some(()))
        });
        answered.with_context(|| {
            let log = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
            format!("{}: {}{}", self.name, log("var/log/boot"), log("var/log/sshd"))
        })
    }

    /// The process namespace of the host whose `unshare` has this pid.
    fn namespace_of(&self, unshare: u32) -> Option<u64> {
        let link = format!("/proc/{unshare}/ns/pid_for_children");
        fs::metadata(link).ok().map(|file| file.ino())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.power_off();
    }
}

/// Fills the file system that a folder lies on.
pub fn fill(folder: &Path) -> Result<()> {
    let mut file = File::create(folder.join("fill"))?;
    let block = [0; 64 << 10];
    for size in [block.len(), 1024, 1] {
        while file.write_all(&block[..size]).is_ok() {}
    }
    Ok(())
}

/// Makes room again.
pub fn empty(folder: &Path) -> Result<()> {
    remove(&folder.join("fill"))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A process as the world sees it.
#[derive(Debug)]
pub struct Process {
    /// Its pid in the world.
    pub pid: Pid,
    /// Its name, as in `/proc/PID/comm`.
    pub name: String,
    /// Its process namespace.
    pub namespace: u64,
}

/// Every process of the world that is not over.
pub fn processes() -> Result<Vec<Process>> {
    named(|_| true)
}

/// The agents of the world that are not over.
pub fn agents() -> Result<Vec<Process>> {
    named(|name| name == "claude")
}

fn named(wanted: impl Fn(&str) -> bool) -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        // It may be over by now.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // `PID (NAME) STATE ...`, proc_pid_stat(5); a zombie runs no more.
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else {
            continue;
        };
        if !wanted(name) || rest.starts_with(['Z', 'X']) {
            continue;
        }
        let Ok(namespace) = fs::metadata(entry.path().join("ns/pid")) else { continue };
        all.push(Process { pid, name: name.to_owned(), namespace: namespace.ino() });
    }
    Ok(all)
}
