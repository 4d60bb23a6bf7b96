//! The simulated host: agents, accounts, disk, people and the supervisor that may die between any two lines.

use jiff::Timestamp;

use super::Size;
use super::agent::{Agent, Doing, Outcome};
use super::check::{Checks, Tally};
use super::disk::Disk;
use super::perform::number;
use super::queue::Queue;
use super::random::Random;
use crate::fleet::{
    Action, Fleet, Fleets, Found, HOUR, Happens, Input, MINUTE, Millis, Purpose, Spec, Steady,
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
    /// The supervisor of this generation has the phase index on disk.
    PhaseWritten(u64),
    Break,
    /// A nudge is submitted.
    Enter(Box<Letter>),
    /// A person answers the question of this turn.
    Answer(usize, u64),
    /// An account is logged out, and somebody logs in again some time later.
    LoggedOut(usize),
    /// The lease goes, and comes back.
    LeaseGoes,
    LeaseComes,
}

/// A nudge on its way: to which agent, by whose supervisor.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub i: usize,
    pub life: u64,
    pub generation: u64,
    pub id: String,
    pub purpose: Purpose,
    pub text: String,
}

pub(super) struct World {
    pub(super) size: Size,
    pub(super) plan: Fleets,
    pub(super) names: Vec<LoopName>,
    /// What each of them is.
    pub(super) specs: Vec<Spec>,
    /// Where each stands in the order of names, by the number in its name.
    pub(super) places: Vec<usize>,
    pub(super) dice: Random,
    queue: Queue,
    /// True time since the beginning.
    pub(super) now: Millis,
    pub(super) booted: Millis,
    pub(super) boots: u64,
    /// The host is down.
    pub(super) off: bool,
    /// How wrong the wall clock is, in milliseconds.
    pub(super) skew: i64,
    pub(super) agents: Vec<Agent>,
    /// Until when each account is used up.
    pub(super) limits: Vec<Millis>,
    /// Until when nobody logs in to each account.
    pub(super) logged_out: Vec<Millis>,
    /// The lease lets no loop start.
    pub(super) fenced: bool,
    pub(super) fleet: Option<Fleet>,
    pub(super) generation: u64,
    pub(super) steady: Steady,
    disk: Disk,
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
        let specs = plan.loops.values().cloned().collect();
        let mut places = vec![0; names.len()];
        for (place, name) in names.iter().enumerate() {
            if let Some(at) = number(name).and_then(|n| places.get_mut(n)) {
                *at = place;
            }
        }
        let steady = Steady::begin("boot-0", 0, Timestamp::from_second(EPOCH).unwrap_or_default());
        Self {
            size,
            agents: names.iter().map(|_| Agent::new()).collect(),
            names,
            specs,
            places,
            plan,
            dice: Random::new(seed),
            queue: Queue::default(),
            now: 0,
            booted: 0,
            boots: 0,
            off: false,
            skew: 0,
            limits: vec![0; 5],
            logged_out: vec![0; 5],
            fenced: false,
            fleet: None,
            generation: 0,
            disk: Disk::new(size.exact),
            steady,
            ahead: 0,
            boot_id: "boot-0".into(),
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
        self.later(40 * HOUR, Up::LeaseGoes);
        let account = usize::try_from(self.dice.between(0, 5)).unwrap_or(0);
        self.later(50 * HOUR, Up::LoggedOut(account));
        self.until(end)?;
        // What is in order again stays so; then everything has to come to rest.
        self.calm = true;
        self.skew = 0;
        self.logged_out.fill(0);
        self.lease_comes()?;
        for i in 0..self.agents.len() {
            self.agents[i].broken_until = 0;
            if std::mem::take(&mut self.agents[i].held) {
                self.tell(i, Happens::Release)?;
            }
        }
        self.until(end + 30 * HOUR)?;
        match &self.fleet {
            Some(fleet) => self.checks.at_rest(fleet, &self.plan, &self.names),
            None => Err("no supervisor at the end".into()),
        }
    }

    pub(super) fn until(&mut self, end: Millis) -> Result<(), String> {
        loop {
            let queued = self.queue.next();
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
                if let Some(up) = self.queue.pop() {
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
        self.queue.push(self.now + after, up);
    }

    pub(super) fn boot(&self) -> String {
        format!("boot-{}", self.boots)
    }

    pub(super) fn wall(&self) -> Timestamp {
        wall(self.now, self.skew)
    }

    pub(super) fn wall_at(&self, at: Millis) -> Timestamp {
        wall(at, 0)
    }

    pub(super) fn tell(&mut self, i: usize, happens: Happens) -> Result<(), String> {
        self.input(Input::Loop(self.names[i].clone(), happens))
    }

    /// Has kept what changed, then does; a supervisor that dies in between leaves the rest undone.
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
        let (changed, shared) = fleet.take_places();
        if told.is_some() || !mine.is_empty() {
            self.note(|| format!("{told:?} -> {memory:?} {mine:?}"));
        }
        let Some(fleet) = &self.fleet else { return Ok(()) };
        for i in &changed {
            Checks::not_lost(fleet, *i)?;
        }
        self.disk.changes(fleet, &self.names, &changed, shared)?;
        // Where a death does the most harm it comes more often.
        let odds = match actions.iter().map(harm).max() {
            Some(odds) if !self.calm => odds,
            _ => 0,
        };
        let dies = odds > 0 && self.dice.between(0, 10_000) < odds;
        let most = if dies { self.dice.between(0, actions.len() as u64) } else { u64::MAX };
        for action in actions.into_iter().take(usize::try_from(most).unwrap_or(usize::MAX)) {
            self.perform(action)?;
        }
        if dies { self.supervisor_dies() } else { Ok(()) }
    }

    pub(super) fn start_supervisor(&mut self) -> Result<(), String> {
        self.goes();
        self.generation += 1;
        let (shared, memories) = self.disk.read(self.generation, &mut self.steady)?;
        self.boot_id = self.boot();
        let (up, wall) = (self.now - self.booted, self.wall());
        let now = self.steady.at(&self.boot_id, up, wall);
        let fleet = Fleet::new(self.plan.clone(), shared, memories, now);
        self.disk.begins(&fleet);
        self.fleet = Some(fleet);
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
        let content = self.agents[i].inbox;
        self.checks.content(&self.names[i], self.now, content);
        let hash = format!("{content:012}");
        self.tell(i, Happens::Inbox { hash, path: "INBOX.md".into() })
    }

    /// The supervisor is gone; whether there was one.
    pub(super) fn goes(&mut self) -> bool {
        let fleet = self.fleet.take();
        fleet.map(|fleet| self.disk.of(fleet)).is_some()
    }

    pub(super) fn supervisor_dies(&mut self) -> Result<(), String> {
        if self.goes() {
            self.checks.tally.supervisor_deaths += 1;
            let away = self.dice.between(100, 30 * MINUTE);
            self.later(away, Up::SupervisorStarts);
        }
        Ok(())
    }
}

/// The wall clock at `at`, wrong by `skew` milliseconds.
fn wall(at: Millis, skew: i64) -> Timestamp {
    Timestamp::from_millisecond(EPOCH * 1000 + i64::try_from(at).unwrap_or(0) + skew).unwrap_or_default()
}

/// How often, of 10,000 times, the supervisor dies when this is to be done.
fn harm(action: &Action) -> u64 {
    match action {
        Action::WritePhase(_) => 2_000,
        Action::Nudge { .. } => 20,
        Action::Start(_) | Action::Stop(_) => 10,
        _ => 2,
    }
}
