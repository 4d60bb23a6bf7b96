//! A cutover that is driven from one of its own hosts: what would end the driver with the rig, and how the target takes the
//! driving over.
//!
//! A driver in a loop's unit, in a unit of the owner's, or below a process that works in the owner's rig would be ended by the
//! very stop it asks for. It begins anew in a unit of its own first. With the activation it leaves the target what that needs to
//! go on, and looks on from there: the target drives as soon as it has judged itself, whatever becomes of the source.
//!
//! Who drives is as ever the newest turn at the arbiter. The target takes nothing out of the hands of anybody but the driver
//! that handed over, by the turn that the hand-over names. A driver of its own that died is started anew at the next heartbeat or
//! boot, until it has come to the end.
//!
//! | onlooker sees | does |
//! | --- | --- |
//! | the end in the target's copy | ends |
//! | a newer turn in it that says something now and then | looks on |
//! | a newer turn that has said nothing for ten minutes | leaves it to a person |
//! | no newer turn, and no verdict yet | looks on |
//! | no newer turn three minutes after the verdict | goes on itself, with a turn of its own |

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::confirm::{Verdict, Window};
use super::{Journal, Plan, SideKind, Status, Step};
use crate::lease::{Owner, Turn};
use crate::names::HostName;

/// How long a target may take to begin driving once it has judged itself: a start and a few connections, and both once more at
/// its next heartbeat if that driver dies.
const TAKE_UP: Duration = Duration::from_secs(3 * 60);
/// The longest that a driver at work says nothing: what it may wait for in one step is less.
const SILENCE: Duration = Duration::from_secs(10 * 60);

/// So many drivers that came to nothing are a person's to look at: one a heartbeat at most is started anew.
pub const MOST_DRIVERS: u32 = 10;

/// What would end a process with the rig of a host, in words; nothing where it stays. `cgroups`: the lines of its
/// `/proc/PID/cgroup`; `units`: those that run the rig of its owner's; `at_work`: the process, itself or one above it, that has
/// to do with that rig's workspace.
pub fn ended_with(cgroups: &str, kind: SideKind, units: &[String], at_work: Option<u32>) -> Option<String> {
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut parts = paths.flat_map(|path| path.split('/'));
    let is_of_rig = |part: &&str| match kind {
        SideKind::Ccorch => part.starts_with("ccorch-loop@"),
        SideKind::Legacy => units.iter().any(|unit| unit == part),
    };
    if let Some(unit) = parts.find(is_of_rig) {
        return Some(unit.to_owned());
    }
    let pid = at_work.filter(|_| kind == SideKind::Legacy)?;
    Some(format!("a session of the rig's (process {pid} works in the workspace)"))
}

/// Whether a journal says that everything of the rig on a host is being stopped, whoever looks on there. `before`: the checksum
/// of the newest line when nobody drove yet, for what was stopped by an earlier run says nothing of this session.
pub fn stops(journal: &Journal, host: &HostName, before: Option<&str>) -> bool {
    if journal.outcome().is_some() || before == Some(journal.sum()) {
        return false;
    }
    let begun = |step| !matches!(journal.status(step), Status::Pending | Status::Undone);
    (journal.plan.from.name == *host && begun(Step::Quiesce))
        || (journal.plan.to.name == *host && journal.goes_back() && begun(Step::Activate))
}

/// Whether the target is to drive what remains once it runs the rig: a driver on the source is no good one any more.
pub fn may_hand_over(plan: &Plan) -> bool {
    !plan.in_place() && plan.to.kind == SideKind::Ccorch
}

/// What a target keeps of the driver that hands over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The cutover.
    pub journal: String,
    /// The turn of the driver that hands over.
    pub turn: Turn,
    /// The source.
    pub from: HostName,
    /// The target.
    pub to: HostName,
    /// The target's user that drives from there.
    pub user: String,
    /// Where that user finds the operator's rig file.
    pub rig: String,
    /// Drivers that were started there so far.
    #[serde(default)]
    pub started: u32,
}

/// Whether a target begins to drive: it has judged itself, and nobody took the cutover in hand since, but for a driver of its own
/// that may be gone. `heard`: the newest driver that it knows of; `machine`: what this host is called by its drivers.
pub fn takes_up(handed: &HandOver, window: &Window, heard: Option<&Owner>, machine: &str) -> bool {
    let judged = matches!(window.verdict, Verdict::Confirmed | Verdict::Failed { .. });
    let ours = format!("{}@{machine}", handed.user);
    let nobody_elses = |owner: &Owner| owner.turn == handed.turn || (handed.started > 0 && owner.by == ours);
    let unclaimed =
        heard.is_some_and(|owner| owner.open && owner.journal == handed.journal && nobody_elses(owner));
    judged && unclaimed && window.journal == handed.journal && handed.started <= MOST_DRIVERS
}

/// What a driver sees that has handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Its own turn.
    pub ours: Turn,
    /// The turn in the target's copy of the journal.
    pub theirs: Option<Turn>,
    /// Whether that copy has its last line.
    pub over: bool,
    /// How long the target has had a verdict on itself, or should have one.
    pub judged: Option<Duration>,
    /// How long the copy has been the same.
    pub silent: Duration,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onlooker {
    /// It looks again.
    LooksOn,
    /// The cutover is over.
    Ends,
    /// Nobody drives: it does.
    GoesOn,
    /// Somebody drives, or died driving: that is for a person to find out.
    Leaves,
}

/// Decides it.
pub fn onlooker(sight: &Sight) -> Onlooker {
    let driven = sight.theirs.is_some_and(|theirs| theirs > sight.ours);
    match (sight.over, driven) {
        (true, _) => Onlooker::Ends,
        (false, true) if sight.silent >= SILENCE => Onlooker::Leaves,
        (false, false) if sight.judged.is_some_and(|since| since >= TAKE_UP) => Onlooker::GoesOn,
        (false, _) => Onlooker::LooksOn,
    }
}

/// What the unit of a cutover's driver is called.
pub fn unit_name(id: &str) -> String {
    format!("ccorch-cutover-{id}.service")
}

/// A unit of a driver's own, which ends with nothing of the rig.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// The cutover or the run, which the unit is named after.
    pub id: &'a str,
    /// Who drives: a user's name or number.
    pub user: &'a str,
    /// Environment, none of it secret.
    pub environment: &'a [(&'a str, String)],
    /// Files for what it prints and for what it reports; the system's journal where there are none.
    pub files: Option<(&'a str, &'a str)>,
    /// The program and its arguments.
    pub argv: &'a [String],
}

impl Unit<'_> {
    /// Its name.
    pub fn name(&self) -> String {
        unit_name(self.id)
    }

    /// The `systemd-run` that starts it, without options on how to wait. Connections are not shared with anybody: whoever opened
    /// one before may be ended with the rig. So the runtime folder, where they lie, is the unit's own.
    pub fn start(&self) -> Vec<String> {
        // Short: the path of a socket has to fit, and ids end in what is random.
        let folder = format!("ccorch-cutover/{}", self.id.rsplit('-').next().unwrap_or(self.id));
        let mut argv: Vec<String> =
            ["systemd-run", "--quiet", "--collect", "--working-directory=/"].map(Into::into).into();
        argv.push(format!("--unit={}", self.name()));
        argv.push(format!("--uid={}", self.user));
        argv.push("--description=ccorch: the driver of a cutover".into());
        argv.push(format!("--property=RuntimeDirectory={folder}"));
        argv.push("--property=RuntimeDirectoryMode=0700".into());
        if let Some((printed, reported)) = self.files {
            argv.push(format!("--property=StandardOutput=append:{printed}"));
            argv.push(format!("--property=StandardError=append:{reported}"));
        }
        let environment = self.environment.iter().map(|(name, value)| format!("--setenv={name}={value}"));
        argv.extend(environment);
        argv.push(format!("--setenv=XDG_RUNTIME_DIR=/run/{folder}"));
        argv.push("--".into());
        argv.extend(self.argv.iter().cloned());
        argv
    }
}

#[cfg(test)]
#[path = "itself_tests.rs"]
mod tests;
