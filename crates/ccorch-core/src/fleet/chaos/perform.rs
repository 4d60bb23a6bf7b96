//! What the simulated host does with the engine's actions, and how it goes wrong.

use super::agent::Doing;
use super::world::{Letter, Up, World};
use crate::fleet::{Action, Happens, Millis, Purpose, SECOND, Signal};
use crate::names::LoopName;
use crate::watchdog::{DialogKind, Kind, Verdict};

/// The number in a loop's name.
pub(super) fn number(name: &LoopName) -> Option<usize> {
    name.as_str().strip_prefix('l')?.parse().ok()
}

impl World {
    pub(super) fn perform(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Start(name) => {
                let i = self.place(&name)?;
                if self.agents[i].doing != Doing::Nothing {
                    return Err(format!("started twice: {name} while {:?}", self.agents[i].doing));
                }
                if self.fenced {
                    self.refuse(i, 1);
                    return Ok(());
                }
                self.checks.start(&name, self.now)?;
                self.checks.begins(&name, self.phase);
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
                let i = self.place(&name)?;
                if !self.calm && self.dice.per_mille(30) {
                    self.checks.tally.failed_stops += 1;
                    self.report(i, 25 * SECOND, Happens::Stopped(Err("it did not leave".into())));
                } else {
                    let life = self.agents[i].life;
                    self.later(5 * SECOND, Up::Down(i, life, self.generation));
                }
            }
            Action::Look(name) => {
                let i = self.place(&name)?;
                if let Some(verdict) = self.verdict(i) {
                    self.report(i, 200, Happens::Looked(verdict));
                }
            }
            Action::Nudge { name, id, purpose, text, .. } => {
                let i = self.place(&name)?;
                self.deliver(i, id, purpose, text);
            }
            Action::Dismiss(name, _) => {
                let i = self.place(&name)?;
                if self.agents[i].doing == Doing::Nothing {
                    return Err(format!("a key for {name}, which does not run"));
                }
            }
            Action::Notify { .. } => self.checks.notice(self.now)?,
            Action::WritePhase(index) => {
                self.checks.phase(index)?;
                self.phase = index;
                self.later(0, Up::PhaseWritten(self.generation));
            }
            Action::Event { what, about, detail, .. } => self.event(&what, about.as_ref(), &detail),
        }
        Ok(())
    }

    pub(super) fn event(&mut self, what: &str, about: Option<&LoopName>, detail: &str) {
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
                    let memory = self.fleet.as_ref().and_then(|fleet| fleet.memory(name));
                    let more = memory.is_some_and(|memory| memory.nudges.has(Purpose::Inbox));
                    self.checks.said_lost(self.now, name, id, more);
                }
            }
            _ => {}
        }
    }

    /// The lease lets none start.
    pub(super) fn refuse(&mut self, i: usize, after: Millis) {
        self.checks.tally.refused += 1;
        self.report(i, after, Happens::Refused("another host holds the lease".into()));
    }

    /// What a deliverer does: nothing twice for one id, whatever became of the receipt; and it takes its time.
    pub(super) fn deliver(&mut self, i: usize, id: String, purpose: Purpose, text: String) {
        if self.agents[i].read.contains(&id) {
            return self.report(i, SECOND, Happens::Received(id));
        }
        let fails = !self.calm && self.dice.per_mille(150);
        if fails || !self.agents[i].runs() {
            let counts = self.dice.per_mille(700);
            return self.report(i, 3 * SECOND, Happens::NotReceived(id, "no receipt".into(), counts));
        }
        let after = self.dice.between(SECOND / 2, 13 * SECOND);
        let (life, generation) = (self.agents[i].life, self.generation);
        self.later(after, Up::Enter(Box::new(Letter { i, life, generation, id, purpose, text })));
    }

    /// The Enter behind a paste. The draft of an agent that ended is gone with it, and a deliverer with its supervisor.
    pub(super) fn enter(&mut self, letter: Letter) -> Result<(), String> {
        let Letter { i, life, generation, id, purpose, text } = letter;
        if life != self.agents[i].life || !self.agents[i].runs() || generation != self.generation {
            self.checks.tally.lost_drafts += 1;
            return Ok(());
        }
        match self.agents[i].doing {
            Doing::Asks => self.report(i, SECOND, Happens::NotReceived(id, "a question".into(), false)),
            Doing::Unreadable => self.report(i, SECOND, Happens::NotReceived(id, "no line".into(), true)),
            doing => {
                if self.agents[i].read.contains(&id) {
                    return Err(format!("two typists at once: {}, {id}", self.names[i]));
                }
                self.checks.typed(self.now, &self.names[i].clone(), &id, purpose, &text)?;
                self.agents[i].read.insert(id.clone());
                if doing != Doing::Hung || self.dice.per_mille(500) {
                    self.turn_begins(i);
                }
                self.report(i, 2 * SECOND, Happens::Received(id));
            }
        }
        Ok(())
    }

    pub(super) fn report(&mut self, i: usize, after: Millis, happens: Happens) {
        let generation = self.generation;
        self.later(after, Up::Report(generation, i, happens));
    }

    pub(super) fn hook(&mut self, i: usize, signal: Signal) {
        // Now and then one is lost for good.
        if self.calm || !self.dice.per_mille(20) {
            self.report(i, 50, Happens::Signal(signal, String::new()));
        }
    }

    /// The place of a loop in the order of names.
    fn place(&self, name: &LoopName) -> Result<usize, String> {
        let place = number(name).and_then(|n| self.places.get(n).copied());
        place.ok_or_else(|| format!("no such loop: {name}"))
    }

    pub(super) fn account(&self, i: usize) -> usize {
        number(&self.names[i]).unwrap_or(0) % self.limits.len()
    }

    pub(super) fn turn_begins(&mut self, i: usize) {
        if !self.specs[i].watched {
            self.agents[i].doing = Doing::Turn;
            return;
        }
        if let Some(doing) = self.refused_by_account(i) {
            self.agents[i].turn += 1;
            self.agents[i].doing = doing;
            return self.hook(i, Signal::TurnFailed);
        }
        let (after, outcome) = self.agents[i].begin(self.now, &mut self.dice, self.calm);
        self.hook(i, Signal::TurnBegan { ago: 0 });
        let turn = self.agents[i].turn;
        self.later(after, Up::TurnEnds(i, turn, outcome));
    }

    /// How a turn ends whose account cannot work.
    pub(super) fn refused_by_account(&self, i: usize) -> Option<Doing> {
        let account = self.account(i);
        if self.logged_out[account] > self.now {
            return Some(Doing::LoggedOut);
        }
        (self.limits[account] > self.now).then_some(Doing::Limited)
    }

    pub(super) fn verdict(&mut self, i: usize) -> Option<Verdict> {
        let doing = self.agents[i].doing;
        (!matches!(doing, Doing::Nothing | Doing::Booting)).then(|| self.verdict_on(i, doing))
    }

    pub(super) fn verdict_on(&mut self, i: usize, doing: Doing) -> Verdict {
        let until = self.limits[self.account(i)];
        let kind = match doing {
            Doing::Nothing | Doing::Booting | Doing::Unreadable => Kind::Unknown,
            Doing::Idle => Kind::Idle,
            Doing::Turn => Kind::Working,
            Doing::Hung => Kind::Stalled,
            Doing::Limited => Kind::Limited,
            Doing::Throttled => Kind::Throttled,
            Doing::LoggedOut => Kind::LoginNeeded,
            Doing::Asks => Kind::Dialog,
        };
        let limited = kind == Kind::Limited;
        let menu = (limited && self.dice.per_mille(200)).then_some(DialogKind::LimitMenu);
        Verdict {
            verdict: kind,
            until: (limited && !until.is_multiple_of(5)).then(|| self.wall_at(until)),
            account_wide: limited || doing == Doing::LoggedOut,
            reason: String::new(),
            evidence: if limited { format!("limit until {until}") } else { String::new() },
            reset: None,
            keyboard: if doing == Doing::Asks { Some(DialogKind::Permission) } else { menu },
            quiet: None,
        }
    }
}
