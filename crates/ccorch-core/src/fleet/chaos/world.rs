//! The simulated host: agents, accounts, disk, people and the supervisor that may die between any two lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::{SignedDuration, Timestamp};

use super::Size;
use super::agent::{Agent, Doing, Outcome};
use super::check::{Checks, Tally};
use super::random::Random;
use crate::fleet::{
    Action, End, Fleet, Fleets, Found, HOUR, Happens, Input, MINUTE, Memory, Millis, Purpose, SECOND, Shared,
    Signal, Steady,
};
use crate::names::LoopName;
use crate::watchdog::life::State;
use crate::watchdog::{DialogKind, Kind, Verdict};

/// What comes up at a time.
#[derive(Debug, Clone)]
enum Up {
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
    BackUp,
    Ask(u64),
    Flood(u64),
    Person,
    SaysDone,
    Break,
}

pub(super) struct World {
    size: Size,
    plan: Fleets,
    names: Vec<LoopName>,
    dice: Random,
    queue: BinaryHeap<Reverse<(Millis, u64)>>,
    what: BTreeMap<u64, Up>,
    serial: u64,
    /// True time since the beginning.
    now: Millis,
    booted: Millis,
    boots: u64,
    /// How wrong the wall clock is, in milliseconds.
    skew: i64,
    agents: Vec<Agent>,
    /// Until when each account is used up.
    limits: Vec<Millis>,
    fleet: Option<Fleet>,
    generation: u64,
    steady: Steady,
    disk: BTreeMap<LoopName, Memory>,
    disk_shared: Shared,
    disk_steady: Steady,
    phase: usize,
    checks: Checks,
    /// No more trouble: the end of the run.
    calm: bool,
    /// The latest inputs and actions, for whoever reads the error.
    trail: std::collections::VecDeque<(Millis, String)>,
    /// The loop whose trail is kept.
    trailed: Option<LoopName>,
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

    fn note(&mut self, what: impl FnOnce() -> String) {
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

    fn until(&mut self, end: Millis) -> Result<(), String> {
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

    fn engine_now(&self) -> Millis {
        self.steady.clone().at(&self.boot(), self.now - self.booted, self.wall()).steady
    }

    fn later(&mut self, after: Millis, up: Up) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + after, self.serial)));
        self.what.insert(self.serial, up);
    }

    fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn wall(&self) -> Timestamp {
        self.wall_at(self.now).checked_add(SignedDuration::from_millis(self.skew)).unwrap_or_default()
    }

    fn wall_at(&self, at: Millis) -> Timestamp {
        Timestamp::from_millisecond(EPOCH * 1000 + i64::try_from(at).unwrap_or(0)).unwrap_or_default()
    }

    fn tell(&mut self, i: usize, happens: Happens) -> Result<(), String> {
        self.input(Input::Loop(self.names[i].clone(), happens))
    }

    /// Keeps, then does; a supervisor that dies in between leaves the rest undone.
    fn input(&mut self, input: Input) -> Result<(), String> {
        let (boot, up, wall) = (self.boot(), self.now - self.booted, self.wall());
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        let now = self.steady.at(&boot, up, wall);
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
                self.disk.insert(name.clone(), memory.clone());
            }
        }
        if shared {
            self.disk_shared = fleet.shared().clone();
        }
        self.disk_steady = self.steady.clone();
        let dies = !self.calm && !actions.is_empty() && self.dice.per_mille(1) && self.dice.per_mille(200);
        let most = if dies { self.dice.between(0, actions.len() as u64) } else { u64::MAX };
        for action in actions.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            self.perform(action)?;
        }
        if dies { self.supervisor_dies() } else { Ok(()) }
    }

    fn perform(&mut self, action: Action) -> Result<(), String> {
        let index = |name: &LoopName| name.as_str()[1..].to_owned();
        let at = |names: &[LoopName], name: &LoopName| names.binary_search(name).map_err(|_| index(name));
        match action {
            Action::Start(name) => {
                let i = at(&self.names, &name)?;
                if self.agents[i].doing != Doing::Nothing {
                    return Err(format!("started twice: {name} while {:?}", self.agents[i].doing));
                }
                self.checks.start(&name, self.now)?;
                if !self.calm && self.dice.per_mille(10) {
                    self.report(i, 300, Happens::StartFailed("no room for a process".into()));
                } else {
                    self.agents[i].doing = Doing::Booting;
                    self.agents[i].life += 1;
                    let life = self.agents[i].life;
                    let after = self.dice.between(100, 4 * SECOND);
                    self.later(after, Up::Booted(i, life));
                }
            }
            Action::Stop(name) => {
                let i = at(&self.names, &name)?;
                let life = self.agents[i].life;
                self.later(5 * SECOND, Up::Down(i, life, self.generation));
            }
            Action::Look(name) => {
                let i = at(&self.names, &name)?;
                if let Some(verdict) = self.verdict(i) {
                    self.report(i, 200, Happens::Looked(verdict));
                }
            }
            Action::Nudge { name, id, purpose, text, .. } => {
                let i = at(&self.names, &name)?;
                self.deliver(i, id, purpose, &text)?;
            }
            Action::Dismiss(name, _) => {
                let i = at(&self.names, &name)?;
                if self.agents[i].doing == Doing::Nothing {
                    return Err(format!("a key for {name}, which does not run"));
                }
            }
            Action::Notify { .. } => self.checks.notice(self.now)?,
            Action::WritePhase(index) => {
                self.checks.phase(index)?;
                self.phase = index;
            }
            Action::Event { what, about, detail } => self.event(&what, about.as_ref(), &detail),
        }
        Ok(())
    }

    fn event(&mut self, what: &str, about: Option<&LoopName>, detail: &str) {
        let tally = &mut self.checks.tally;
        match what {
            "loop-crash-looping" => tally.crash_loops += 1,
            "account-limited" => tally.limits += 1,
            "account-probe" => tally.probes += 1,
            "loop-stall-restart" => tally.stall_restarts += 1,
            "loop-stalled" => tally.stalled += 1,
            "nudge-given-up" | "nudge-refused" => {
                let id = detail.split([' ', ':']).next().unwrap_or_default();
                if let Some(name) = about {
                    self.checks.said_lost(name, id);
                }
            }
            _ => {}
        }
    }

    /// What a deliverer does: nothing twice for one id, whatever became of the receipt.
    fn deliver(&mut self, i: usize, id: String, purpose: Purpose, text: &str) -> Result<(), String> {
        if self.agents[i].read.contains(&id) {
            self.report(i, SECOND, Happens::Received(id));
            return Ok(());
        }
        let fails = !self.calm && self.dice.per_mille(150);
        if fails || !self.agents[i].runs() {
            let counts = self.dice.per_mille(700);
            self.report(i, 3 * SECOND, Happens::NotReceived(id, "no receipt".into(), counts));
            return Ok(());
        }
        self.checks.typed(&self.names[i].clone(), &id, purpose, text)?;
        self.agents[i].read.insert(id.clone());
        if self.agents[i].doing != Doing::Hung || self.dice.per_mille(500) {
            self.turn_begins(i);
        }
        self.report(i, 2 * SECOND, Happens::Received(id));
        Ok(())
    }

    fn report(&mut self, i: usize, after: Millis, happens: Happens) {
        let generation = self.generation;
        self.later(after, Up::Report(generation, i, happens));
    }

    fn hook(&mut self, i: usize, signal: Signal) {
        // Now and then one is lost for good.
        if self.calm || !self.dice.per_mille(20) {
            self.report(i, 50, Happens::Signal(signal));
        }
    }

    fn account(&self, i: usize) -> usize {
        self.names[i].as_str()[1..].parse::<usize>().unwrap_or(0) % self.limits.len()
    }

    fn turn_begins(&mut self, i: usize) {
        if !self.plan.loops[&self.names[i]].watched {
            self.agents[i].doing = Doing::Turn;
            return;
        }
        if self.limits[self.account(i)] > self.now {
            self.agents[i].turn += 1;
            self.agents[i].doing = Doing::Limited;
            return self.hook(i, Signal::TurnFailed);
        }
        let (after, outcome) = self.agents[i].begin(self.now, &mut self.dice, self.calm);
        self.hook(i, Signal::TurnOpen);
        let turn = self.agents[i].turn;
        self.later(after, Up::TurnEnds(i, turn, outcome));
    }

    fn verdict(&mut self, i: usize) -> Option<Verdict> {
        let until = self.limits[self.account(i)];
        let kind = match self.agents[i].doing {
            Doing::Nothing | Doing::Booting => return None,
            Doing::Idle => Kind::Idle,
            Doing::Turn => Kind::Working,
            Doing::Hung => Kind::Stalled,
            Doing::Limited => Kind::Limited,
            Doing::Throttled => Kind::Throttled,
        };
        let limited = kind == Kind::Limited;
        let menu = limited && self.dice.per_mille(200);
        Some(Verdict {
            verdict: kind,
            until: (limited && until % 5 != 0).then(|| self.wall_at(until)),
            account_wide: limited,
            reason: String::new(),
            evidence: if limited { format!("limit until {until}") } else { String::new() },
            keyboard: menu.then_some(DialogKind::LimitMenu),
        })
    }

    fn start_supervisor(&mut self) -> Result<(), String> {
        self.generation += 1;
        // Through the files, as they are.
        let text = serde_json::to_string(&(&self.disk_shared, &self.disk, &self.disk_steady));
        let read = text.and_then(|text| serde_json::from_str(&text)).map_err(|error| error.to_string())?;
        let (shared, memories, steady): (Shared, BTreeMap<LoopName, Memory>, Steady) = read;
        self.steady = steady;
        let now = self.steady.at(&self.boot(), self.now - self.booted, self.wall());
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

    fn inbox(&mut self, i: usize) -> Result<(), String> {
        let hash = format!("{:012}", self.agents[i].inbox);
        self.tell(i, Happens::Inbox { hash, path: "INBOX.md".into() })
    }

    fn supervisor_dies(&mut self) -> Result<(), String> {
        if self.fleet.take().is_some() {
            self.checks.tally.supervisor_deaths += 1;
            let away = self.dice.between(100, 30 * MINUTE);
            self.later(away, Up::SupervisorStarts);
        }
        Ok(())
    }

    fn ends(&mut self, i: usize, asked: bool) {
        self.agents[i].doing = Doing::Nothing;
        self.agents[i].turn += 1;
        self.checks.tally.ends += 1;
        let end =
            End { words: "exit status 1".into(), screen: String::new(), asked, ran: true, verdict: None };
        self.report(i, 30, Happens::Ended(end));
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.dice.between(0, self.names.len() as u64)).unwrap_or(0)
    }

    fn comes_up(&mut self, up: Up) -> Result<(), String> {
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
            other if self.calm && !matches!(other, Up::SupervisorStarts | Up::BackUp) => {}
            other => self.trouble(other)?,
        }
        Ok(())
    }

    fn turn_ends(&mut self, i: usize, turn: u64, outcome: Outcome) {
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

    fn trouble(&mut self, up: Up) -> Result<(), String> {
        match up {
            Up::Trouble => {
                // The wall clock jumps, and is put right some other time.
                self.skew = if self.dice.per_mille(500) { 0 } else { 3_600_000 };
                if self.dice.per_mille(500) {
                    self.skew = -self.skew;
                }
                self.again(6 * HOUR, Up::Trouble);
            }
            Up::SupervisorDies => {
                self.supervisor_dies()?;
                self.again(20 * HOUR, Up::SupervisorDies);
            }
            Up::SupervisorStarts => {
                if self.fleet.is_none() {
                    self.start_supervisor()?;
                }
            }
            Up::Reboot => {
                self.checks.tally.reboots += 1;
                (self.fleet, self.generation) = (None, self.generation + 1);
                for agent in &mut self.agents {
                    agent.doing = Doing::Nothing;
                    agent.turn += 1;
                }
                let away = self.dice.between(MINUTE, 2 * HOUR);
                self.later(away, Up::BackUp);
                self.again(5 * 24 * HOUR, Up::Reboot);
            }
            Up::BackUp => {
                self.boots += 1;
                self.booted = self.now;
                for name in &self.names {
                    self.checks.forgive(name);
                }
                self.start_supervisor()?;
                self.input(Input::Rebooted("Reboot.".into()))?;
            }
            Up::Ask(n) => {
                let (i, id) = (self.any(), format!("ask-{n}"));
                if self.fleet.is_some() {
                    self.checks.asks(&self.names[i].clone(), &id);
                    self.tell(i, Happens::Ask { id, text: "Do this.".into() })?;
                }
                self.again(20 * MINUTE, Up::Ask(n + 1));
            }
            Up::Flood(n) => {
                let i = self.any();
                for _ in 0..self.dice.between(1, 40) {
                    self.agents[i].inbox = n * 1000 + self.dice.between(1, 500);
                    self.checks.tally.inbox += 1;
                    self.inbox(i)?;
                }
                self.again(3 * HOUR, Up::Flood(n + 1));
            }
            Up::Person => {
                let i = self.any();
                self.checks.forgive(&self.names[i].clone());
                let held = self.agents[i].held;
                let happens = match self.dice.between(0, 3) {
                    _ if held => Happens::Release,
                    0 => Happens::Hold,
                    1 => Happens::Restart,
                    _ => Happens::Release,
                };
                if self.fleet.is_some() {
                    self.agents[i].held = happens == Happens::Hold;
                    self.tell(i, happens)?;
                }
                // Somebody looks at what crashed too often.
                let crashed =
                    |m: &&LoopName| self.disk.get(*m).is_some_and(|m| m.state == State::CrashLooping);
                let crashed = self.names.iter().position(|name| crashed(&name));
                if let Some(i) = crashed.filter(|_| self.fleet.is_some()) {
                    self.checks.forgive(&self.names[i].clone());
                    self.agents[i].broken_until = 0;
                    self.tell(i, Happens::Release)?;
                }
                self.again(4 * HOUR, Up::Person);
            }
            Up::SaysDone => {
                let phase = self.phase;
                for name in self.plan.done_when.clone() {
                    let input = Input::Loop(name, Happens::Says { phase, done: true });
                    self.input(input)?;
                }
                self.again(5 * 24 * HOUR, Up::SaysDone);
            }
            Up::Break => {
                let i = self.any();
                self.agents[i].broken_until = self.now + self.dice.between(MINUTE, 3 * HOUR);
                if self.agents[i].runs() {
                    self.ends(i, false);
                }
                self.again(12 * HOUR, Up::Break);
            }
            _ => {}
        }
        Ok(())
    }

    fn again(&mut self, mean: Millis, up: Up) {
        let after = self.dice.between(mean / 10, mean * 2);
        self.later(after, up);
    }
}
