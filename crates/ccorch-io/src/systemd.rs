//! systemd, through systemctl and the notify socket: what starts, what runs, and telling it that we are alive.

mod bus;
mod message;

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::command::{Command, CommandError};

/// Starting a loop runs conditions and an agent's first steps; stopping one waits for its safe point.
const JOB_DEADLINE: Duration = Duration::from_secs(120);

/// How long telling systemd something may take.
const NOTIFY: Duration = Duration::from_secs(5);

/// Whether systemd is pid 1 of this machine. Source: sd_booted(3).
pub fn is_pid_1() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// What systemd knows of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// The finer state, for example `running` or `dead`.
    pub sub: String,
    /// Main process, 0 for none.
    pub main_pid: u32,
    /// Why it ended last: `success`, `exit-code`, `signal`, `oom-kill`, `exec-condition` and so on.
    pub result: String,
    /// Random per start.
    pub invocation: String,
}

impl UnitState {
    /// Whether it is up.
    pub fn is_active(&self) -> bool {
        self.active == "active"
    }
}

/// Starts a unit and waits until that is done, as `systemctl start` does.
pub fn start(unit: &str) -> Result<()> {
    let started = bus::Bus::open().and_then(|bus| bus.start(unit, JOB_DEADLINE));
    match started {
        Ok(()) => Ok(()),
        // The slow way still works, or says why not.
        Err(bus::Failure::Away(_)) => Ok(systemctl(&["start", "--", unit])?),
        Err(bus::Failure::Silent(why)) => Err(silent(&why)),
        Err(bus::Failure::Refused(why)) => bail!("systemd does not start {unit}: {why}"),
        Err(bus::Failure::Job(result)) => bail!("the start of {unit} ended with `{result}`"),
    }
}

/// Runs `systemctl` with these arguments.
pub fn systemctl<S: AsRef<str>>(args: &[S]) -> Result<(), CommandError> {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    Command::new("systemctl").args(args).deadline(JOB_DEADLINE).run().map(drop)
}

/// Whether a unit is started at boot; no when that cannot be found out.
pub fn is_enabled(unit: &str) -> bool {
    let output = Command::new("systemctl").args(["is-enabled", "--quiet", "--", unit]).output();
    output.is_ok_and(|output| output.status.success())
}

/// The states of several units in one call, by unit name.
pub fn states<S: AsRef<str>>(units: &[S]) -> Result<BTreeMap<String, UnitState>, CommandError> {
    if units.is_empty() {
        return Ok(BTreeMap::new());
    }
    let units: Vec<&str> = units.iter().map(AsRef::as_ref).collect();
    let properties = "--property=Id,ActiveState,SubState,MainPID,Result,InvocationID";
    let text = Command::new("systemctl").args(["show", properties, "--"]).args(units).read()?;
    Ok(parse_states(&text))
}

/// Whether a service is up, and its main process, 0 for none.
pub fn main_process(unit: &str) -> Result<(bool, u32)> {
    let asked = bus::Bus::open().and_then(|bus| {
        let active = bus.text(unit, "Unit", "ActiveState")?;
        Ok((active == "active", bus.number(unit, "Service", "MainPID")?))
    });
    if let Some(found) = heard(asked)? {
        return Ok(found);
    }
    let state = states(&[unit])?.remove(unit).unwrap_or_default();
    Ok((state.is_active(), state.main_pid))
}

/// What the bus answered; nothing when it has to be asked for the slow way, which a systemd that does not answer would not
/// answer either.
fn heard<T>(asked: Result<T, bus::Failure>) -> Result<Option<T>> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(bus::Failure::Silent(why)) => Err(silent(&why)),
        Err(_) => Ok(None),
    }
}

fn silent(why: &str) -> Error {
    anyhow!("systemd does not answer: {why}")
}

fn parse_states(text: &str) -> BTreeMap<String, UnitState> {
    let mut states = BTreeMap::new();
    for block in text.split("\n\n") {
        let value = |key: &str| {
            block.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default().to_owned()
        };
        let state = UnitState {
            active: value("ActiveState"),
            sub: value("SubState"),
            main_pid: value("MainPID").parse().unwrap_or(0),
            result: value("Result"),
            invocation: value("InvocationID"),
        };
        states.insert(value("Id"), state);
    }
    states
}

/// Whether the machine is on its way down. `is-system-running` does not always tell: while the first boot's jobs are not
/// all done it says `starting` even then (seen), so the shutdown's own job is asked for.
pub fn is_shutting_down() -> Result<bool> {
    let asked = bus::Bus::open().and_then(|bus| {
        let active = bus.text("shutdown.target", "Unit", "ActiveState")?;
        Ok(active == "active" || bus.number("shutdown.target", "Unit", "Job")? != 0)
    });
    if let Some(down) = heard(asked)? {
        return Ok(down);
    }
    let show = ["show", "--property=Job,ActiveState", "--", "shutdown.target"];
    let command = Command::new("systemctl").args(show).deadline(Duration::from_secs(5));
    Ok(has_job_or_is_active(&command.read()?))
}

/// An idle unit has no `Job=` line.
fn has_job_or_is_active(properties: &str) -> bool {
    properties.lines().any(|line| line.starts_with("Job=") && line != "Job=" || line == "ActiveState=active")
}

/// Tells systemd about this service (`READY=1`, `WATCHDOG=1`, `STATUS=...`). Does nothing without `NOTIFY_SOCKET`.
/// Source: sd_notify(3).
pub fn notify(state: &str) -> Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let name = name.to_string_lossy().into_owned();
    let address = match name.strip_prefix('@') {
        Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name),
        None => SocketAddr::from_pathname(&name),
    };
    let send = || {
        let socket = UnixDatagram::unbound()?;
        // A systemd that hangs reads nothing, and its queue is full one day.
        socket.set_write_timeout(Some(NOTIFY))?;
        socket.send_to_addr(state.as_bytes(), &address?)
    };
    send().map(drop).with_context(|| format!("notify systemd at {name}"))
}

/// How often to send `WATCHDOG=1`: half of what the unit allows, as sd_watchdog_enabled(3) advises.
pub fn watchdog_interval() -> Option<Duration> {
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    Some(Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_is_known_by_its_job() {
        assert!(has_job_or_is_active("ActiveState=inactive\nJob=758"));
        assert!(has_job_or_is_active("ActiveState=active"));
        assert!(!has_job_or_is_active("ActiveState=inactive"));
    }

    #[test]
    fn units_are_told_apart() {
        let text = "Id=a.service\nMainPID=7\nResult=success\nActiveState=active\nSubState=running\n\n\
                    Id=b.service\nMainPID=0\nResult=exec-condition\nActiveState=inactive\nSubState=dead";
        let states = parse_states(text);
        assert_eq!(states["a.service"].main_pid, 7);
        assert!(states["a.service"].is_active() && !states["b.service"].is_active());
        assert_eq!(states["b.service"].result, "exec-condition");
    }
}
