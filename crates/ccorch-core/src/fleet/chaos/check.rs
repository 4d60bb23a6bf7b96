//! What must hold, and what was counted.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::fleet::crash::{TOO_MANY, WINDOW};
use crate::fleet::notices::{MOST, SPAN};
use crate::fleet::{Fleet, Fleets, Millis, One, Proc, Purpose, word};
use crate::names::LoopName;
use crate::rig::Role;
use crate::watchdog::life::State;

/// Starts of one loop within [`WINDOW`], whatever the reasons: those after ends, a step of the stall ladder, a probe
/// and a start that was tried again.
const STORM: usize = TOO_MANY + 4;

/// How often things happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tally {
    pub steps: u64,
    pub starts: u64,
    pub ends: u64,
    pub crash_loops: u64,
    pub limits: u64,
    pub probes: u64,
    pub stall_restarts: u64,
    pub stalled: u64,
    pub supervisor_deaths: u64,
    pub reboots: u64,
    pub nudges: u64,
    pub given_up: u64,
    pub inbox: u64,
    pub phases: u64,
    pub notices: u64,
    pub questions: u64,
    pub unreadable: u64,
    pub logins: u64,
    pub refused: u64,
    pub limit_ends: u64,
    pub lost_drafts: u64,
    pub failed_stops: u64,
}

impl Tally {
    fn fields(&self) -> [u64; 22] {
        let first =
            [self.steps, self.starts, self.ends, self.crash_loops, self.limits, self.probes, self.stalled];
        let [a, b, c, d, e, f, g] = first;
        let [h, i, j, k] = [self.stall_restarts, self.supervisor_deaths, self.reboots, self.nudges];
        let [l, m, n, o] = [self.given_up, self.inbox, self.phases, self.notices];
        let [p, q, r, s] = [self.questions, self.unreadable, self.logins, self.refused];
        let [t, u, v] = [self.limit_ends, self.lost_drafts, self.failed_stops];
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v]
    }

    /// Whether there was some of everything.
    pub fn all_happened(&self) -> bool {
        self.fields().iter().all(|n| *n > 0)
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.starts += other.starts;
        self.ends += other.ends;
        self.crash_loops += other.crash_loops;
        self.limits += other.limits;
        self.probes += other.probes;
        self.stall_restarts += other.stall_restarts;
        self.stalled += other.stalled;
        self.supervisor_deaths += other.supervisor_deaths;
        self.reboots += other.reboots;
        self.nudges += other.nudges;
        self.given_up += other.given_up;
        self.inbox += other.inbox;
        self.phases += other.phases;
        self.notices += other.notices;
        self.questions += other.questions;
        self.unreadable += other.unreadable;
        self.logins += other.logins;
        self.refused += other.refused;
        self.limit_ends += other.limit_ends;
        self.lost_drafts += other.lost_drafts;
        self.failed_stops += other.failed_stops;
    }
}

/// The memory of the checks.
#[derive(Default)]
pub(super) struct Checks {
    pub tally: Tally,
    starts: HashMap<LoopName, VecDeque<Millis>>,
    notices: VecDeque<Millis>,
    /// Words of people that an agent must hear, give up or be refused, once.
    asked: HashSet<(LoopName, String)>,
    /// Announcements of a content or a phase, which must come once.
    announced: HashSet<(LoopName, String)>,
    phase: usize,
    /// Contents that an inbox had, and when it had the latest new one; when its agent was told to read it.
    contents: HashSet<(LoopName, u64)>,
    inbox: HashMap<LoopName, (Millis, Millis)>,
    /// The phase that each agent knows of: by its first words, or by a nudge.
    knows: HashMap<LoopName, usize>,
}

impl Checks {
    /// A start was asked for.
    pub fn start(&mut self, name: &LoopName, now: Millis) -> Result<(), String> {
        self.tally.starts += 1;
        let starts = self.starts.entry(name.clone()).or_default();
        while starts.front().is_some_and(|at| at + WINDOW <= now) {
            starts.pop_front();
        }
        starts.push_back(now);
        if starts.len() > STORM {
            return Err(format!(
                "restart storm: {} starts of {name} within {} min",
                starts.len(),
                WINDOW / 60_000
            ));
        }
        Ok(())
    }

    /// A person or a reboot: starts from here on count anew.
    pub fn forgive(&mut self, name: &LoopName) {
        self.starts.remove(name);
    }

    pub fn notice(&mut self, now: Millis) -> Result<(), String> {
        self.tally.notices += 1;
        while self.notices.front().is_some_and(|at| at + SPAN <= now) {
            self.notices.pop_front();
        }
        self.notices.push_back(now);
        if self.notices.len() > MOST {
            Err(format!("{} notices at once", self.notices.len()))
        } else {
            Ok(())
        }
    }

    pub fn asks(&mut self, name: &LoopName, id: &str) {
        self.asked.insert((name.clone(), id.to_owned()));
    }

    /// Typed into an agent's terminal.
    pub fn typed(
        &mut self,
        now: Millis,
        name: &LoopName,
        id: &str,
        purpose: Purpose,
        text: &str,
    ) -> Result<(), String> {
        self.tally.nudges += 1;
        match purpose {
            Purpose::Inbox => self.inbox.entry(name.clone()).or_default().1 = now,
            Purpose::Phase => {
                let index =
                    text.split("(index ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
                self.knows.insert(name.clone(), index.ok_or_else(|| format!("no phase in: {text}"))?);
            }
            _ => {}
        }
        self.asked.remove(&(name.clone(), id.to_owned()));
        let once = match purpose {
            Purpose::Inbox | Purpose::Asked => id.to_owned(),
            Purpose::Phase => text.to_owned(),
            _ => return Ok(()),
        };
        if self.announced.insert((name.clone(), once.clone())) {
            return Ok(());
        }
        Err(format!("told twice: {name}, {once}"))
    }

    /// A loop's inbox has this content.
    pub fn content(&mut self, name: &LoopName, now: Millis, content: u64) {
        if self.contents.insert((name.clone(), content)) {
            self.inbox.entry(name.clone()).or_default().0 = now;
        }
    }

    /// An agent begins, and has the phase among its first words.
    pub fn begins(&mut self, name: &LoopName, phase: usize) {
        self.knows.insert(name.clone(), phase);
    }

    /// Given up or refused, aloud; people see to it. `more`: whether news of the inbox waits that is not.
    pub fn said_lost(&mut self, now: Millis, name: &LoopName, id: &str, more: bool) {
        self.tally.given_up += 1;
        self.asked.remove(&(name.clone(), id.to_owned()));
        if id.starts_with("inbox-") && !more {
            self.inbox.entry(name.clone()).or_default().1 = now;
        }
    }

    pub fn phase(&mut self, index: usize) -> Result<(), String> {
        if index < self.phase {
            return Err(format!("the phase index went back from {} to {index}", self.phase));
        }
        self.tally.phases += u64::from(index > self.phase);
        self.phase = index;
        Ok(())
    }

    /// A loop that is down has a moment at which it goes on, or a reason to stay down that people were told.
    pub fn not_lost(fleet: &Fleet, i: usize) -> Result<(), String> {
        let One { name, memory, proc, .. } = &fleet.ones[i];
        let parked = matches!(memory.state, State::Held | State::Stopped | State::CrashLooping | State::Done);
        let waits = matches!(
            memory.state,
            State::Limited(_) | State::Throttled | State::LoginNeeded | State::Stalled
        );
        if *proc != Proc::Down && !(waits && *proc == Proc::Up) || parked || fleet.due_at(i).is_some() {
            return Ok(());
        }
        Err(format!("lost: {name} is {} ({}), and nothing ever starts it", word(memory.state), memory.reason))
    }

    /// After hours without trouble: whoever should run runs, and nobody waits for an answer.
    pub fn at_rest(&self, fleet: &Fleet, plan: &Fleets, names: &[LoopName]) -> Result<(), String> {
        for name in names {
            let (Some(memory), Some(proc)) = (fleet.memory(name), fleet.proc(name)) else { continue };
            let parked = matches!(memory.state, State::Held | State::CrashLooping | State::Done);
            if proc != Proc::Up && !parked {
                return Err(format!("{name} is down at rest: {} ({})", word(memory.state), memory.reason));
            }
            let deaf = parked && memory.state != State::Done || proc != Proc::Up;
            let waiting = memory.nudges.len();
            let unheard = self.asked.iter().filter(|(who, _)| who == name).count();
            if !deaf && unheard > waiting {
                return Err(format!("{name} never heard {unheard} things ({waiting} wait)"));
            }
            let spec = &plan.loops[name];
            let (came, told) = self.inbox.get(name).copied().unwrap_or_default();
            if !deaf && spec.watched && came > told && !memory.nudges.has(Purpose::Inbox) {
                return Err(format!("{name} was never told of its inbox: new at {came}, told at {told}"));
            }
            let knows = self.knows.get(name).copied();
            let concerned = spec.watched && spec.role == Role::Worker && self.phase < plan.phases.len();
            if !deaf && concerned && knows != Some(self.phase) && !memory.nudges.has(Purpose::Phase) {
                return Err(format!("{name} was never told of phase {}: it knows {knows:?}", self.phase));
            }
            // The end of the simulation may fall on the very moment at which one is told something.
            if !deaf && memory.state == State::Idle && waiting > 0 && !memory.nudges.under_way() {
                return Err(format!("{name} is idle at rest and {waiting} nudges wait"));
            }
        }
        Ok(())
    }
}
