//! Start, stop and "what runs" of loops: through systemd where it is pid 1, else tmux started directly. Both are real;
//! the second is for developers' containers and quick trials.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use ccorch_core::names::LoopName;
use ccorch_core::units::{LOOPS_SLICE, loop_unit};
use ccorch_io::command::{Command, Failure};
use ccorch_io::paths::HostPaths;
use ccorch_io::tmux::Tmux;
use ccorch_io::{durable, process, systemd};

use super::{Here, exits, isolation, leave};

/// How long a tmux server may take to end.
const SERVER: Duration = Duration::from_secs(10);
/// Between two starts of a unit whose end systemd has not heard of yet.
const UNHEARD: Duration = Duration::from_millis(2);
/// How long a tmux server may take to follow its agent, or an agent its terminal.
const HANGUP: Duration = Duration::from_secs(3);
/// How every failure for want of tmux begins.
pub const NO_TMUX: &str = "tmux could not be started";

/// What runs the loops on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// One instance of `ccorch-loop@.service` each.
    Systemd,
    /// A tmux server each, started by the supervisor itself.
    Direct,
}

/// How a start went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It runs; the pid of its tmux server.
    Running(u32),
    /// The lease refused it.
    Refused,
    /// It started and is over already.
    Over {
        /// The machine is on its way down.
        down: bool,
    },
}

/// What is to be seen of the loops' processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Those that run, with the pid of their tmux server.
    pub up: BTreeMap<LoopName, u32>,
    /// Those whose start is under way. Without systemd only the supervisor starts them.
    pub starting: BTreeSet<LoopName>,
}

impl Runtime {
    /// What this machine has. A root of its own is a trial, never the machine's systemd.
    pub fn of(here: &Here) -> Self {
        Self::at(&here.paths)
    }

    /// The same without the rig.
    pub fn at(paths: &HostPaths) -> Self {
        let whole_machine = paths.root() == Path::new("/");
        if whole_machine && systemd::is_pid_1() { Self::Systemd } else { Self::Direct }
    }

    /// Starts a loop. The lease is asked by what the unit starts, or here where there is no unit.
    pub fn start(self, here: &Here, name: &LoopName) -> Result<Started> {
        match self {
            Self::Systemd => {
                let unit = loop_unit(name);
                isolation::prepare(here, name)?;
                let (active, main_pid) = start_unit(here, name, &unit)?;
                Ok(if active && main_pid != 0 {
                    Started::Running(main_pid)
                } else if super::lease::check(here).is_err() {
                    // Nothing else tells: a start that the lease refuses leaves nothing behind, and no failure.
                    Started::Refused
                } else {
                    Started::Over { down: self.is_going_down() }
                })
            }
            Self::Direct => start_directly(here, name),
        }
    }

    /// Stops a loop, its agent first asked to leave.
    pub fn stop(self, here: &Here, name: &LoopName) -> Result<()> {
        match self {
            Self::Systemd => Ok(systemd::systemctl(&["stop", &loop_unit(name)])?),
            Self::Direct => {
                let agent = exits::running(&here.paths, name);
                let agent = agent.and_then(|a| Some((a.pid, process::watch(a.pid).ok()??)));
                leave::ask(&here.ground(), Some(here), name, true)?;
                end_server(here, name)?;
                match agent {
                    // Deaf to TERM and to the hangup of its terminal.
                    Some((pid, watched)) if !watched.wait(Some(HANGUP))? => {
                        process::kill(pid)?;
                        watched.wait(Some(HANGUP)).map(drop)
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Stops every loop.
    pub fn stop_all(self, here: &Here) -> Result<()> {
        match self {
            Self::Systemd => Ok(systemd::systemctl(&["stop", LOOPS_SLICE])?),
            Self::Direct => here.rig.loops.keys().try_for_each(|name| self.stop(here, name)),
        }
    }

    /// Has every loop asked to leave, and does not wait for it. Without systemd nobody is there to ask but [`Self::stop_all`].
    pub fn begin_stop(self) -> Result<()> {
        match self {
            Self::Systemd => Ok(systemd::systemctl(&["stop", "--no-block", LOOPS_SLICE])?),
            Self::Direct => Ok(()),
        }
    }

    /// Which loops run, and which are about to.
    pub fn running(self, here: &Here) -> Result<Running> {
        let names = here.rig.loops.keys();
        if self == Self::Direct {
            let pid = |name| tmux(here, name).server_pid().ok()?.parse().ok();
            let up = names.filter_map(|name| Some((name.clone(), pid(name)?))).collect();
            return Ok(Running { up, starting: BTreeSet::new() });
        }
        let states = systemd::states(&names.clone().map(loop_unit).collect::<Vec<_>>())?;
        let mut running = Running::default();
        for (name, state) in names.filter_map(|name| Some((name, states.get(&loop_unit(name))?))) {
            let server = main_of(here, name, state.is_active(), state.main_pid);
            if server != 0 {
                running.up.insert(name.clone(), server);
            } else if state.active == "activating" {
                running.starting.insert(name.clone());
            }
        }
        Ok(running)
    }

    /// Whether no loop runs. By its unit where there is one: what has no main process that is known may have others.
    pub fn is_down(self, here: &Here) -> Result<bool> {
        if self == Self::Direct {
            return Ok(self.running(here)?.up.is_empty());
        }
        let states = systemd::states(&here.rig.loops.keys().map(loop_unit).collect::<Vec<_>>())?;
        let runs = |state: &systemd::UnitState| {
            matches!(state.active.as_str(), "active" | "reloading" | "deactivating")
        };
        Ok(!states.values().any(runs))
    }

    /// Whether the machine is on its way down; no when nobody says so.
    pub fn is_going_down(self) -> bool {
        self == Self::Systemd && systemd::is_shutting_down().unwrap_or(false)
    }
}

impl Runtime {
    /// Ends what a loop left that lost its tmux server: the hangup of its terminal reaches the agent's parent alone, which
    /// is deaf to it. systemd does this with the unit's stop, which comes by itself where it knows the server.
    pub fn end_rest(self, here: &Here, name: &LoopName) -> Result<()> {
        if self == Self::Systemd {
            let unit = loop_unit(name);
            if systemd::main_process(&unit)? == (true, 0) {
                systemd::systemctl(&["stop", &unit])?;
            }
            return Ok(());
        }
        let Some(running) = exits::running(&here.paths, name) else { return Ok(()) };
        // A number from before a reboot is somebody else's by now.
        let argv = running.parent.and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
        let argv = argv.unwrap_or_default();
        let mut words = argv.split(|byte| *byte == 0).skip(1);
        if words.next() != Some(b"loop-exec") || words.next() != Some(name.as_str().as_bytes()) {
            return Ok(());
        }
        // With a server it runs, and is nobody's rest.
        if tmux(here, name).server_pid().is_ok() {
            return Ok(());
        }
        let Some(watched) = process::watch(running.pid)? else { return Ok(()) };
        leave::ask(&here.ground(), None, name, false)?;
        if !watched.wait(Some(Duration::ZERO))? {
            process::kill(running.pid)?;
            watched.wait(Some(HANGUP))?;
        }
        Ok(())
    }
}

/// Starts a unit; whether it is up, and its main process. A unit whose process has just ended is still up to systemd until
/// that has heard of it, and its start would be none.
fn start_unit(here: &Here, name: &LoopName, unit: &str) -> Result<(bool, u32)> {
    let until = Instant::now() + SERVER;
    loop {
        systemd::start(unit)?;
        let (active, main_pid) = systemd::main_process(unit)?;
        let main_pid = main_of(here, name, active, main_pid);
        let over = match process::watch(main_pid)? {
            Some(main) => main.wait(Some(Duration::ZERO))?,
            None => true,
        };
        if !active || !over || Instant::now() >= until {
            return Ok((active && !over, main_pid));
        }
        std::thread::sleep(UNHEARD);
    }
}

/// The main process of a loop's unit. systemd guesses it when the unit has started, and where what tmux forked on its way is
/// still to be reaped, it cannot tell and says 0 for good (seen, at a boot): then the server itself is asked.
fn main_of(here: &Here, name: &LoopName, active: bool, main_pid: u32) -> u32 {
    let asked = || tmux(here, name).server_pid().ok()?.parse().ok();
    if active && main_pid == 0 { asked().unwrap_or(0) } else { main_pid }
}

/// Has the loop's tmux server end, and waits until it is gone: a start that meets a dying server fails. It leaves by
/// itself when the agent's parent has recorded the agent's end, which must not fall into the next agent's time.
fn end_server(here: &Here, name: &LoopName) -> Result<()> {
    let tmux = tmux(here, name);
    let Some(server) = tmux.server_pid().ok().and_then(|pid| pid.parse().ok()) else { return Ok(()) };
    let Some(watched) = process::watch(server)? else { return Ok(()) };
    if watched.wait(Some(HANGUP))? {
        return Ok(());
    }
    let killed = tmux.kill();
    if watched.wait(Some(SERVER))? {
        return Ok(());
    }
    killed?;
    bail!("the tmux server of loop {name} (pid {server}) does not end")
}

/// The loop's tmux server, spoken to as the loop's user.
pub fn tmux(here: &Here, name: &LoopName) -> Tmux {
    let tmux = Tmux::new(here.paths.tmux_socket(name), name.as_str());
    let user = here.user_of(name);
    if is_user(user) { tmux } else { tmux.as_user(user) }
}

fn start_directly(here: &Here, name: &LoopName) -> Result<Started> {
    if super::lease::check(here).is_err() {
        return Ok(Started::Refused);
    }
    isolation::prepare(here, name)?;
    isolation::tell_without_systemd(here, name);
    let user = here.user_of(name);
    let account = account(user).with_context(|| format!("the user {user} does not exist"))?;
    for dir in [here.paths.loop_run(name), here.paths.loop_spool(name)] {
        durable::create_dir(&dir, 0o700)?;
        // On a read-only disk nothing can be done, and most often nothing has to be.
        if fs::metadata(&dir).is_ok_and(|found| (found.uid(), found.gid()) == (account.uid, account.gid)) {
            continue;
        }
        chown(&dir, Some(account.uid), Some(account.gid))
            .with_context(|| format!("chown {}", dir.display()))?;
    }
    let argv = start_argv(&here.paths, name)?;
    let command = command_as(user, &argv);
    exits::forget(&here.paths, name)?;
    let started = command.env("HOME", &account.home).run();
    // One that could not be asked after its start is there all the same.
    if started.is_err()
        && let Ok(Started::Running(pid)) = server_of(here, name)
    {
        return Ok(Started::Running(pid));
    }
    started.map_err(|error| {
        let missing = error.failure == Failure::NotFound;
        let error = anyhow::Error::from(error.clone());
        if missing { anyhow!("{NO_TMUX}: no such program") } else { error }
    })?;
    server_of(here, name)
}

/// The tmux server that was started a moment ago. Only an answer tells that it is gone: without a free descriptor nobody
/// can be asked, and no agent ended by that.
fn server_of(here: &Here, name: &LoopName) -> Result<Started> {
    let until = Instant::now() + SERVER;
    loop {
        match tmux(here, name).server_pid() {
            Ok(pid) => return Ok(pid.parse().map_or(Started::Over { down: false }, Started::Running)),
            Err(error) if matches!(error.failure, Failure::Exit(_)) => {
                return Ok(Started::Over { down: false });
            }
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => std::thread::sleep(UNHEARD * 50),
        }
    }
}

/// The argv that starts a loop's tmux server with the agent's parent in it.
pub fn start_argv(paths: &HostPaths, name: &LoopName) -> Result<Vec<std::ffi::OsString>> {
    let me = std::env::current_exe().context("find this program's own path")?;
    let inner = [me.display().to_string(), "loop-exec".into(), name.to_string()];
    Ok(Tmux::new(paths.tmux_socket(name), name.as_str()).start_argv(&inner))
}

/// A Unix account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home folder.
    pub home: PathBuf,
}

/// Looks an account up, by whatever name service the machine has; one that was found is kept in mind, as a start of all
/// loops asks for the same few again and again.
pub fn account(user: &str) -> Option<Account> {
    static FOUND: Mutex<BTreeMap<String, Account>> = Mutex::new(BTreeMap::new());
    let found = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let known = found().get(user).cloned();
    known.or_else(|| {
        let account = look_up(user)?;
        found().insert(user.to_owned(), account.clone());
        Some(account)
    })
}

fn look_up(user: &str) -> Option<Account> {
    let line = Command::new("getent").args(["passwd", user]).read().ok()?;
    let fields: Vec<&str> = line.split(':').collect();
    Some(Account {
        uid: fields.get(2)?.parse().ok()?,
        gid: fields.get(3)?.parse().ok()?,
        home: fields.get(5)?.into(),
    })
}

/// The name of a user by its id; none when there is no such user.
pub fn name_of(uid: u32) -> Option<String> {
    let line = Command::new("getent").args(["passwd", &uid.to_string()]).read().ok()?;
    line.split(':').next().map(Into::into)
}

/// The home folder of a user; `/` when there is no such user.
pub fn home_of(user: &str) -> PathBuf {
    account(user).map_or_else(|| "/".into(), |account| account.home)
}

/// A command with another user's rights; with our own where we are that user already.
pub fn command_as<S: AsRef<std::ffi::OsStr>>(user: &str, argv: &[S]) -> Command {
    let words = argv.iter().map(AsRef::as_ref);
    let become_user = ["runuser", "-u", user, "--"].map(std::ffi::OsStr::new);
    let all: Vec<&std::ffi::OsStr> =
        if is_user(user) { words.collect() } else { become_user.into_iter().chain(words).collect() };
    Command::new(all.first().copied().unwrap_or_default()).args(all.iter().skip(1))
}

/// Whether this process already is that user.
pub fn is_user(user: &str) -> bool {
    account(user).is_some_and(|account| account.uid == rustix::process::geteuid().as_raw())
}
