//! What a host can say of itself: lease, supervisor, proxy, loops, phase, reboots, and what of it is not as it should be.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use ccorch_core::cutover::confirm::{Verdict, Window};
use ccorch_core::lease::Standing;
use ccorch_core::names::{HostName, LoopName, RigName};
use ccorch_core::rig::{Backend, Role};
use ccorch_io::clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::runtime::Runtime;
use super::strangers::{self, Stranger};
use super::{Here, boot, confirm, events, exits, isolation, lease, phases};
use crate::supervisor::control::{self, Request};

/// Where a loop is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoopWord {
    /// Not started, and nothing is under way.
    Stopped,
    /// A start is under way.
    Starting,
    /// Its agent runs.
    Running,
    /// Its agent ended; the next start is due at a known time.
    BackingOff,
    /// It ended too often; a person has to look.
    CrashLooping,
    /// A person holds it down.
    Held,
    /// The lease does not let it start.
    Fenced,
}

/// One loop, as the supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopReport {
    /// Its name.
    pub name: LoopName,
    /// What it is to the rig.
    pub role: Role,
    /// Where it is in its life.
    pub state: LoopWord,
    /// Since when.
    pub since: Timestamp,
    /// The agent's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<uuid::Uuid>,
    /// Restarts since the rig came to this host.
    pub restarts: u64,
    /// Why it is in this state.
    pub reason: String,
    /// Where it is in its life: `working`, `idle`, `limited`, `throttled`, `login-needed`, `stalled`, `done` and so on;
    /// absent without a supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<String>,
    /// When a limit ends, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it goes on by itself: its next start or probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The line or signal that decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// What of its agent waits for a person's answer: a dialog, by its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialog: Option<String>,
    /// How many nudges wait for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The phase the rig is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The resume point, from 0.
    pub index: usize,
    /// Its short name.
    pub id: String,
    /// How many phases there are.
    pub of: usize,
}

/// Whether this host may run the loops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// `active` or `standby`; absent on a host that never held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Standing>,
    /// The fencing token.
    pub epoch: u64,
    /// Whether a loop may start now.
    pub may_start: bool,
    /// Why not, if not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyReport {
    /// What provides it.
    pub backend: Backend,
    /// Where it listens.
    pub listen: String,
    /// Whether something accepts connections there.
    pub answers: bool,
}

/// A host's whole account of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The rig.
    pub rig: RigName,
    /// The host.
    pub host: HostName,
    /// When this was looked at.
    pub at: Timestamp,
    /// The boot.
    pub boot_id: String,
    /// The phase; absent when all are over or the file is unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<PhaseReport>,
    /// The lease.
    pub lease: LeaseReport,
    /// Whether the supervisor answers.
    pub supervisor: bool,
    /// The proxy, where the rig has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyReport>,
    /// Every loop.
    pub loops: Vec<LoopReport>,
    /// Reboots recorded on this host.
    pub reboots: usize,
    /// What the cutover that brought the rig here waits for, while this host has not confirmed itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional: Option<String>,
    /// Entries of the deferred lists (`machine-docs/DEFERRED.md`), where there are such lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<usize>,
    /// Agents at work in the workspace that are no loop's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<Stranger>,
    /// What the supervisor and the host's own files tell of, which keeps no loop from its work: each with what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What is not as it should be; empty when all is well.
    pub degraded: Vec<String>,
}

/// Looks at everything.
pub fn collect(here: &Here) -> Result<Status> {
    let mut status = parts(here)?.with_strangers(here);
    status.degraded.extend(status.troubles.iter().cloned());
    Ok(status)
}

impl Status {
    /// Also names who is no part of the rig.
    pub fn with_strangers(mut self, here: &Here) -> Self {
        self.strangers = strangers::all(here);
        self.degraded.extend(self.strangers.iter().map(Stranger::words));
        self
    }
}

/// Looks at every part of the rig, and at nobody else: cheap enough to be asked again and again.
pub fn parts(here: &Here) -> Result<Status> {
    let account = control::account(&here.paths, &Request::Status);
    let supervisor = account.is_ok();
    let (mut loops, mut troubles) = match account {
        Ok(account) => account,
        Err(_) => (unsupervised(here)?, Vec::new()),
    };
    let reboots = match boot::log(here) {
        Ok(log) => {
            troubles.extend(log.trouble(here));
            log.count()
        }
        Err(error) => {
            troubles.push(format!(
                "the reboots are not known: {error:#}; the supervisor puts it aside when it starts"
            ));
            0
        }
    };
    for report in &mut loops {
        // A command that was killed for its loop's limit ends nothing, and is worth knowing of.
        if let Some(deed) = report.pid.and_then(|pid| isolation::deed(here, &report.name, pid)) {
            report.reason = format!("{}; {}", report.reason, deed.words());
        }
    }
    let phase = here.phase().map(|(index, phase)| PhaseReport {
        index,
        id: phase.id.clone(),
        of: here.rig.phases.len(),
    });
    let mut status = Status {
        rig: here.rig.rig.clone(),
        host: here.name.clone(),
        at: clock::now(),
        boot_id: clock::boot_id()?,
        phase,
        lease: lease_report(here)?,
        supervisor,
        proxy: proxy_report(here),
        loops,
        reboots: usize::try_from(reboots).unwrap_or(usize::MAX),
        provisional: None,
        deferred: phases::deferred(here),
        strangers: Vec::new(),
        troubles,
        degraded: Vec::new(),
    };
    status.degraded = degraded(&status, here.is_decommissioned());
    let (window, active) = (confirm::read(here)?, status.lease.state == Some(Standing::Active));
    if let Some(Window { journal, verdict: Verdict::FellBack { why }, .. }) = &window
        && !active
    {
        status
            .degraded
            .push(format!("cutover {journal} failed here ({why}): the lease was given back to its source"));
    }
    if let Some(window) = window.filter(|_| active) {
        match &window.verdict {
            Verdict::Open => status.provisional = Some(provisional(&window)),
            Verdict::Failed { why } if window.stood_down => status.degraded.push(format!(
                "cutover {} failed here ({why}) and nobody took it back: the loops were stopped; `ccorch cutover --resume` \
                 has the source run the rig again",
                window.journal
            )),
            Verdict::Failed { why } => status.degraded.push(format!(
                "cutover {} failed here ({why}); `ccorch cutover --resume` takes it back",
                window.journal
            )),
            Verdict::Confirmed | Verdict::Withdrawn | Verdict::FellBack { .. } => {}
        }
    }
    status.degraded.extend(here.phase_index().err().map(|error| format!("{error:#}")));
    Ok(status)
}

fn provisional(window: &Window) -> String {
    let missing = if window.missing.is_empty() { "being watched".into() } else { window.missing.join("; ") };
    format!("cutover {}: {missing}", window.journal)
}

fn lease_report(here: &Here) -> Result<LeaseReport> {
    let file = lease::file(here)?;
    let check = lease::check(here);
    Ok(LeaseReport {
        state: file.as_ref().map(|f| f.lease.state),
        epoch: file.map_or(0, |f| f.lease.epoch.0),
        may_start: check.is_ok(),
        reason: check.err().map(|e| format!("{e}{}", waiting(here))).unwrap_or_default(),
    })
}

/// What the acquisition of this boot waits for, in brackets.
fn waiting(here: &Here) -> String {
    let booted = clock::boot_time().unwrap_or_default();
    let about_lease = |event: &events::Event| event.what.starts_with("lease-") && event.at >= booted;
    let last = events::last(here, 1, about_lease)
        .unwrap_or_default()
        .pop()
        .filter(|event| event.what == lease::WAITING);
    last.map(|event| format!(" ({})", event.detail)).unwrap_or_default()
}

fn proxy_report(here: &Here) -> Option<ProxyReport> {
    let proxy = &here.rig.proxy;
    let answers = |listen: &str| {
        let address: Option<SocketAddr> = listen.parse().ok();
        address.is_some_and(|a| TcpStream::connect_timeout(&a, Duration::from_secs(2)).is_ok())
    };
    (!proxy.is_none()).then(|| ProxyReport {
        backend: proxy.backend,
        listen: proxy.listen.clone(),
        answers: answers(&proxy.listen),
    })
}

/// What can be seen of the loops while the supervisor does not answer.
fn unsupervised(here: &Here) -> Result<Vec<LoopReport>> {
    let running = Runtime::of(here).running(here)?.up;
    let report = |(name, spec): (&LoopName, &ccorch_core::rig::Loop)| {
        let agent = exits::running(&here.paths, name).filter(|_| running.contains_key(name));
        LoopReport {
            name: name.clone(),
            role: spec.role,
            state: if running.contains_key(name) { LoopWord::Running } else { LoopWord::Stopped },
            since: agent.as_ref().map_or_else(clock::now, |a| a.started),
            pid: agent.as_ref().map(|a| a.pid),
            session: agent.and_then(|a| a.session),
            restarts: 0,
            reason: "seen without the supervisor".into(),
            life: None,
            until: None,
            next: None,
            evidence: String::new(),
            dialog: None,
            waiting: 0,
        }
    };
    Ok(here.rig.loops.iter().map(report).collect())
}

/// A standby host is well when its loops are down; an active one when everything is up.
fn degraded(status: &Status, decommissioned: bool) -> Vec<String> {
    let mut found = Vec::new();
    let active = status.lease.state == Some(Standing::Active);
    // A decommissioned standby has none, so that nothing of the rig runs there.
    if !status.supervisor && (active || !decommissioned) {
        found.push("the supervisor does not answer".to_owned());
    }
    if active && !status.lease.may_start {
        found.push(status.lease.reason.clone());
    }
    for report in &status.loops {
        let expected = match (active, report.state) {
            (true, LoopWord::Held) => true,
            (true, LoopWord::Running) => !matches!(report.life.as_deref(), Some("stalled" | "login-needed")),
            (true, _) => report.life.as_deref() == Some("done"),
            (false, state) => state != LoopWord::Running,
        };
        if !expected {
            let life = report.life.as_deref().filter(|_| report.state == LoopWord::Running);
            let is = life.unwrap_or(word(report.state));
            found.push(format!("loop {} is {is}: {}", report.name, report.reason));
        }
        if let Some(dialog) = report.dialog.as_ref().filter(|_| active && expected) {
            let name = &report.name;
            found.push(format!("loop {name} waits for an answer: {dialog}; `ccorch loops attach {name}`"));
        }
    }
    if let Some(proxy) = status.proxy.as_ref().filter(|p| active && !p.answers) {
        found.push(format!("the proxy does not answer on {}", proxy.listen));
    }
    found
}

/// The word people read.
pub fn word(state: LoopWord) -> &'static str {
    match state {
        LoopWord::Stopped => "stopped",
        LoopWord::Starting => "starting",
        LoopWord::Running => "running",
        LoopWord::BackingOff => "backing-off",
        LoopWord::CrashLooping => "crash-looping",
        LoopWord::Held => "held",
        LoopWord::Fenced => "fenced",
    }
}
