//! What comes up in the life of the simulated agents: starts, turns and how they end, and what a supervisor hears of it.

use super::agent::{Doing, Outcome};
use super::world::{Up, World};
use crate::fleet::{End, HOUR, Happens, Input, MINUTE, SECOND, Signal};
use crate::watchdog::Verdict;
use crate::watchdog::life::State;

impl World {
    pub(super) fn ends(&mut self, i: usize, asked: bool) {
        self.leaves(i, asked, None);
    }

    /// An agent ends, with what its last words mean.
    pub(super) fn leaves(&mut self, i: usize, asked: bool, verdict: Option<Verdict>) {
        self.agents[i].doing = Doing::Nothing;
        self.agents[i].turn += 1;
        self.checks.tally.ends += 1;
        let asked = asked || self.fenced;
        let end = End { words: "exit status 1".into(), screen: String::new(), asked, ran: true, verdict };
        self.report(i, 30, Happens::Ended(end));
        if self.fenced {
            self.refuse(i, 31);
        }
    }

    /// The lease is here again: whoever it kept down is wanted.
    pub(super) fn lease_comes(&mut self) -> Result<(), String> {
        self.fenced = false;
        for i in 0..self.agents.len() {
            if std::mem::take(&mut self.agents[i].refused) {
                self.tell(i, Happens::Wanted)?;
            }
        }
        Ok(())
    }

    /// What is reported of a loop; an end at a limit is no crash.
    pub(super) fn hear(&mut self, i: usize, happens: Happens) -> Result<(), String> {
        let limited = matches!(&happens, Happens::Ended(end) if end.verdict.is_some());
        let crashes = |world: &Self| {
            let memory = world.fleet.as_ref().map(|fleet| &fleet.ones[i].memory);
            memory.map(|memory| (memory.restarts, memory.state == State::CrashLooping))
        };
        if matches!(happens, Happens::Refused(_)) {
            // Whoever was refused is asked after again and again.
            self.agents[i].refused = self.fenced;
            if !self.fenced {
                self.report(i, 30 * SECOND, Happens::Wanted);
            }
        }
        let before = crashes(self);
        self.tell(i, happens)?;
        if limited && self.fleet.is_some() && crashes(self) != before {
            return Err(format!("{} left at a limit, and it counts as a crash", self.names[i]));
        }
        Ok(())
    }

    pub(super) fn any(&mut self) -> usize {
        usize::try_from(self.dice.between(0, self.names.len() as u64)).unwrap_or(0)
    }

    pub(super) fn comes_up(&mut self, up: Up) -> Result<(), String> {
        match up {
            Up::Report(generation, i, happens) if generation == self.generation => self.hear(i, happens)?,
            Up::Report(..) => {}
            Up::Booted(i, life) if self.agents[i].life == life && self.agents[i].doing == Doing::Booting => {
                self.agents[i].doing = Doing::Idle;
                // Whoever supervises by now waits for the same start.
                self.report(i, 1, Happens::Started);
                if self.specs[i].role == crate::rig::Role::Worker {
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
            Up::PhaseWritten(generation) if generation == self.generation => {
                self.input(Input::Phase(self.phase))?;
            }
            Up::PhaseWritten(_) => {}
            Up::TurnEnds(i, turn, outcome) => self.turn_ends(i, turn, outcome),
            Up::Enter(letter) => self.enter(*letter)?,
            Up::Answer(i, turn) if self.agents[i].turn == turn && self.agents[i].doing == Doing::Asks => {
                self.agents[i].doing = Doing::Turn;
                self.hook(i, Signal::TurnOpen);
                self.later(10 * MINUTE, Up::TurnEnds(i, turn, Outcome::Well));
            }
            Up::Answer(..) => {}
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
        if let Some(doing) = self.refused_by_account(i).filter(|_| outcome != Outcome::Crash) {
            if self.dice.per_mille(150) {
                self.checks.tally.limit_ends += 1;
                let mut verdict = self.verdict_on(i, doing);
                verdict.keyboard = None;
                return self.leaves(i, false, Some(verdict));
            }
            self.agents[i].doing = doing;
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
            Outcome::Ask => {
                self.checks.tally.questions += 1;
                self.agents[i].doing = Doing::Asks;
                self.hook(i, Signal::Look);
                let after = self.dice.between(10 * MINUTE, 5 * HOUR);
                self.later(after, Up::Answer(i, turn));
            }
            Outcome::Blur => {
                self.checks.tally.unreadable += 1;
                self.agents[i].doing = Doing::Unreadable;
            }
        }
    }
}
