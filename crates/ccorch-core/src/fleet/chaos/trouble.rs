//! What befalls the simulated host: clocks, deaths, reboots, people, floods.

use super::agent::Doing;
use super::world::{Up, World};
use crate::fleet::{HOUR, Happens, Input, MINUTE, Millis};
use crate::watchdog::life::State;

impl World {
    pub(super) fn trouble(&mut self, up: Up) -> Result<(), String> {
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
            Up::SupervisorStarts if self.fleet.is_none() && !self.off => self.start_supervisor()?,
            Up::Reboot => {
                self.checks.tally.reboots += 1;
                self.goes();
                self.off = true;
                self.generation += 1;
                for agent in &mut self.agents {
                    agent.doing = Doing::Nothing;
                    agent.turn += 1;
                }
                let away = self.dice.between(MINUTE, 2 * HOUR);
                self.later(away, Up::Power);
                self.again(5 * 24 * HOUR, Up::Reboot);
            }
            Up::Power => {
                self.off = false;
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
                let fleet = self.fleet.as_ref();
                let state = |name| fleet?.memory(name).map(|memory| memory.state);
                if let Some(i) = self.names.iter().position(|name| state(name) == Some(State::CrashLooping)) {
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
            Up::LoggedOut(account) => {
                self.checks.tally.logins += 1;
                self.logged_out[account] = self.now + self.dice.between(HOUR, 20 * HOUR);
                let next = usize::try_from(self.dice.between(0, 5)).unwrap_or(0);
                self.again(6 * 24 * HOUR, Up::LoggedOut(next));
            }
            Up::LeaseGoes => {
                self.fenced = true;
                let away = self.dice.between(MINUTE, 4 * HOUR);
                self.later(away, Up::LeaseComes);
                self.again(4 * 24 * HOUR, Up::LeaseGoes);
            }
            Up::LeaseComes => self.lease_comes()?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn again(&mut self, mean: Millis, up: Up) {
        let after = self.dice.between(mean / 10, mean * 2);
        self.later(after, up);
    }
}
