//! The simulated host: agents, accounts, disk, people and the supervisor that may die between any two lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::{SignedDuration, Timestamp};

use super::Size;
use super::agent::{Agent, Doing, Outcome};
use super::check::{Checks, Tally};
use super::random::Random;
use crate::fleet::{
    End, Fleet, Fleets, Found, HOUR, Happens, Input, MINUTE, Memory, Millis, Shared, Signal, Steady,
};
use crate::names::LoopName;

/// What comes up at a time.
#[derive(Debug, Clone)]
pub(super) enum Up {
    /// Something is reported to the supervisor of this generation; a later one never hears it.
    Report(u64, usize, Happens),
    /// A start is over: the process is there.
    Booted(usize, u64),
    /// A process is gone, as the supervisor of this generation wanted.
    Down(usize, u64, u64),
    TurnEnds(usize, u64, Outcome),
    LimitBegins(usize),
    Trouble,
    SupervisorDies,
    SupervisorStarts,
    Reboot,
    Power,
    Ask(u64),
    Flood(u64),
    Person,
    SaysDone,
    Break,
}

pub(super) struct World {
    pub(super) size: Size,
    pub(super) plan: Fleets,
    pub(super) names: Vec<LoopName>,
    pub(super) dice: Random,
    pub(super) queue: BinaryHeap<Reverse<(Millis, u64)>>,
    pub(super) what: BTreeMap<u64, Up>,
    pub(super) serial: u64,
    /// True time since the beginning.
    pub(super) now: Millis,
    pub(super) booted: Millis,
    pub(super) boots: u64,
    /// How wrong the wall clock is, in milliseconds.
    pub(super) skew: i64,
    pub(super) agents: Vec<Agent>,
    /// Until when each account is used up.
    pub(super) limits: Vec<Millis>,
    pub(super) fleet: Option<Fleet>,
    pub(super) generation: u64,
    pub(super) steady: Steady,
    pub(super) disk: BTreeMap<LoopName, Memory>,
    pub(super) disk_shared: Shared,
    pub(super) disk_steady: Steady,
    /// Engine time less true time.
    pub(super) ahead: Millis,
    pub(super) boot_id: String,
    pub(super) phase: usize,
    pub(super) checks: Checks,
    /// No more trouble: the end of the run.
    pub(super) calm: bool,
    /// The latest inputs and actions, for whoever reads the error.
    pub(super) trail: std::collections::VecDeque<(Millis, String)>,
    /// The loop whose trail is kept.
    pub(super) trailed: Option<LoopName>,
}

/// An arbitrary Monday.
const EPOCH: i64 = 1_780_272_000;

impl World {
    pub fn new(seed: u64, plan: Fleets, size: Size) -> Self {
        let names: Vec<LoopName> = plan.loops.keys().cloned().collect();
        let steady = Steady::begin("boot-0", 0, Timestamp::from_second(EPOCH).unwrap_or_default());
        Self {
            size,
            agents: names.iter().map(|_| Agent::new()).collect(),
            names,
            plan,
            dice: Random::new(seed),
            queue: BinaryHeap::new(),
            what: BTreeMap::new(),
            serial: 0,
            now: 0,
            booted: 0,
            boots: 0,
            skew: 0,
            limits: vec![0; 5],
            fleet: None,
            generation: 0,
            disk_steady: steady.clone(),
            steady,
            disk: BTreeMap::new(),
            ahead: 0,
            boot_id: "boot-0".into(),
            disk_shared: Shared::default(),
            phase: 0,
            checks: Checks::default(),
            calm: false,
            trail: std::collections::VecDeque::new(),
            trailed: None,
        }
    }

    pub fn tally(&self) -> Tally {
        self.checks.tally.clone()
    }

    /// Keeps the trail of one loop.
    pub fn follow(&mut self, name: LoopName) {
        self.trailed = Some(name);
    }

    /// What happened to it last.
    pub fn trail(&self) -> String {
        self.trail.iter().map(|(at, what)| format!("{:.3} h {what}\n", *at as f64 / HOUR as f64)).collect()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        self.trail.push_back((self.now, what()));
        if self.trail.len() > 60 {
            self.trail.pop_front();
        }
    }

    pub fn passed(&self) -> String {
        format!("{} d {:.2} h", self.now / (24 * HOUR), (self.now % (24 * HOUR)) as f64 / HOUR as f64)
    }

    pub fn run(&mut self) -> Result<(), String> {
        let end = self.size.days * 24 * HOUR;
        self.start_supervisor()?;
        for up in
            [Up::Trouble, Up::SupervisorDies, Up::Reboot, Up::Ask(0), Up::Flood(0), Up::Person, Up::SaysDone]
        {
            let after = self.dice.between(HOUR, 20 * HOUR);
            self.later(after, up);
        }
        for account in 0..self.limits.len() {
            let after = self.dice.between(HOUR, 40 * HOUR);
            self.later(after, Up::LimitBegins(account));
        }
        self.later(30 * HOUR, Up::Break);
        self.until(end)?;
        // What is in order again stays so; then everything has to come to rest.
        self.calm = true;
        self.skew = 0;
        for i in 0..self.agents.len() {
            self.agents[i].broken_until = 0;
            if std::mem::take(&mut self.agents[i].held) {
                self.tell(i, Happens::Release)?;
            }
        }
        self.until(end + 30 * HOUR)?;
        match &self.fleet {
            Some(fleet) => self.checks.at_rest(fleet, &self.names),
            None => Err("no supervisor at the end".into()),
        }
    }

    pub(super) fn until(&mut self, end: Millis) -> Result<(), String> {
        loop {
            let queued = self.queue.peek().map(|Reverse((at, _))| *at);
            let wake = self.fleet.as_ref().and_then(Fleet::next_wake).map(|at| {
                // Engine time and true time differ by what reboots added.
                self.now + at.saturating_sub(self.engine_now()).max(1)
            });
            let Some(next) = [queued, wake].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = next.max(self.now);
            self.checks.tally.steps += 1;
            if queued.is_some_and(|at| at <= self.now) {
                let Some(Reverse((_, serial))) = self.queue.pop() else { continue };
                if let Some(up) = self.what.remove(&serial) {
                    self.comes_up(up)?;
                }
            } else {
                self.input(Input::Tick)?;
            }
        }
    }

    /// Engine time: true time, and what reboots added.
    pub(super) fn engine_now(&self) -> Millis {
        self.now + self.ahead
    }

    pub(super) fn later(&mut self, after: Millis, up: Up) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial)));
        self.what.insert(self.serial, up);
    }

    pub(super) fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.wall_at(self.now).checked_add(SignedDuration::from_millis(self.skew)).unwrap_or_default()
    }

    pub(super) fn wall_at(&self, at: Millis) -> Timestamp {
        Timestamp::from_millisecond(EPOCH * 1000 + i64::try_from(at).unwrap_or(0)).unwrap_or_default()
    }

    pub(super) fn tell(&mut self, i: usize, happens: Happens) -> Result<(), String> {
        self.input(Input::Loop(self.names[i].clone(), happens))
    }

    /// Keeps, then does; a supervisor that dies in between leaves the rest undone.
    pub(super) fn input(&mut self, input: Input) -> Result<(), String> {
        let (up, wall) = (self.now - self.booted, self.wall());
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        let now = self.steady.at(&self.boot_id, up, wall);
        self.ahead = now.steady - self.now;
        let follow = self.trailed.clone();
        let told = follow.as_ref().filter(|who| matches!(&input, Input::Loop(name, _) if name == *who));
        let told = told.map(|_| format!("{input:?}"));
        let actions = fleet.handle(now, input);
        let memory = follow.as_ref().and_then(|who| Some((fleet.memory(who)?.state, fleet.proc(who)?)));
        let mine: Vec<String> = match &follow {
            Some(who) => {
                let quoted = format!("{who:?}");
                actions
                    .iter()
                    .map(|action| format!("{action:?}"))
                    .filter(|text| text.contains(&quoted))
                    .collect()
            }
            None => Vec::new(),
        };
        let (changed, shared) = fleet.take_changed();
        if told.is_some() || !mine.is_empty() {
            self.note(|| format!("{told:?} -> {memory:?} {mine:?}"));
        }
        let Some(fleet) = &self.fleet else { return Ok(()) };
        for name in &changed {
            if let Some(memory) = fleet.memory(name) {
                Checks::not_lost(fleet, name)?;
                if self.disk.get(name) != Some(memory) {
                    self.disk.insert(name.clone(), memory.clone());
                }
            }
        }
        if shared {
            self.disk_shared = fleet.shared().clone();
        }
        self.disk_steady.clone_from(&self.steady);
        let dies = !self.calm && !actions.is_empty() && self.dice.per_mille(1) && self.dice.per_mille(200);
        let most = if dies { self.dice.between(0, actions.len() as u64) } else { u64::MAX };
        for action in actions.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            self.perform(action)?;
        }
        if dies { self.supervisor_dies() } else { Ok(()) }
    }

    pub(super) fn start_supervisor(&mut self) -> Result<(), String> {
        self.generation += 1;
        // Through the files, as they are.
        let text = serde_json::to_string(&(&self.disk_shared, &self.disk, &self.disk_steady));
        let read = text.and_then(|text| serde_json::from_str(&text)).map_err(|error| error.to_string())?;
        let (shared, memories, steady): (Shared, BTreeMap<LoopName, Memory>, Steady) = read;
        self.steady = steady;
        self.boot_id = self.boot();
        let (up, wall) = (self.now - self.booted, self.wall());
        let now = self.steady.at(&self.boot_id, up, wall);
        self.fleet = Some(Fleet::new(self.plan.clone(), shared, memories, now));
        self.input(Input::Phase(self.phase))?;
        for i in 0..self.names.len() {
            let found = match self.agents[i].doing {
                Doing::Nothing => Found::Absent,
                Doing::Booting => Found::Starting,
                _ => Found::Running,
            };
            self.tell(i, Happens::Found(found))?;
            if self.agents[i].inbox > 0 {
                self.inbox(i)?;
            }
        }
        Ok(())
    }

    pub(super) fn inbox(&mut self, i: usize) -> Result<(), String> {
        let hash = format!("{:012}", self.agents[i].inbox);
        self.tell(i, Happens::Inbox { hash, path: "INBOX.md".into() })
    }

    pub(super) fn supervisor_dies(&mut self) -> Result<(), String> {
        if self.fleet.take().is_some() {
            self.checks.tally.supervisor_deaths += 1;
            let away = self.dice.between(100, 30 * MINUTE);
            self.later(away, Up::SupervisorStarts);
        }
        Ok(())
    }

    pub(super) fn ends(&mut self, i: usize, asked: bool) {
        self.agents[i].doing = Doing::Nothing;
        self.agents[i].turn += 1;
        self.checks.tally.ends += 1;
        let end =
            End { words: "exit status 1".into(), screen: String::new(), asked, ran: true, verdict: None };
        self.report(i, 30, Happens::Ended(end));
    }

    pub(super) fn any(&mut self) -> usize {
        usize::try_from(self.dice.between(0, self.names.len() as u64)).unwrap_or(0)
    }

    pub(super) fn comes_up(&mut self, up: Up) -> Result<(), String> {
        match up {
            Up::Report(generation, i, happens) if generation == self.generation => self.tell(i, happens)?,
            Up::Report(..) => {}
            Up::Booted(i, life) if self.agents[i].life == life && self.agents[i].doing == Doing::Booting => {
                self.agents[i].doing = Doing::Idle;
                // Whoever supervises by now waits for the same start.
                self.report(i, 1, Happens::Started);
                if self.plan.loops[&self.names[i]].role == crate::rig::Role::Worker {
                    self.turn_begins(i);
                } else {
                    self.hook(i, Signal::Session);
                }
            }
            Up::Down(i, life, generation) => {
                let runs = self.agents[i].life == life && self.agents[i].doing != Doing::Nothing;
                if runs && generation != self.generation {
                    // The next supervisor only sees it end.
                    self.ends(i, true);
                } else if runs {
                    self.agents[i].doing = Doing::Nothing;
                    self.agents[i].turn += 1;
                }
                if generation == self.generation {
                    self.report(i, 10, Happens::Stopped(Ok(())));
                }
            }
            Up::Booted(..) => {}
            Up::TurnEnds(i, turn, outcome) => self.turn_ends(i, turn, outcome),
            Up::LimitBegins(account) => {
                let long = self.dice.between(HOUR, 6 * HOUR);
                if !self.calm {
                    self.limits[account] = self.now + long;
                }
                let next = long + self.dice.between(4 * HOUR, 60 * HOUR);
                self.later(next, Up::LimitBegins(account));
            }
            other if self.calm && !matches!(other, Up::SupervisorStarts | Up::Power) => {}
            other => self.trouble(other)?,
        }
        Ok(())
    }

    pub(super) fn turn_ends(&mut self, i: usize, turn: u64, outcome: Outcome) {
        if self.agents[i].turn != turn || self.agents[i].doing != Doing::Turn {
            return;
        }
        if self.limits[self.account(i)] > self.now && outcome != Outcome::Crash {
            self.agents[i].doing = Doing::Limited;
            return self.hook(i, Signal::TurnFailed);
        }
        match outcome {
            Outcome::Well => {
                self.agents[i].doing = Doing::Idle;
                self.hook(i, Signal::TurnEnded);
            }
            Outcome::Crash => self.ends(i, false),
            Outcome::Hang => self.agents[i].doing = Doing::Hung,
            Outcome::Throttle => {
                self.agents[i].doing = Doing::Throttled;
                self.hook(i, Signal::TurnFailed);
            }
        }
    }
}
