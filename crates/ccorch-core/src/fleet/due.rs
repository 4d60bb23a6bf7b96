//! What follows from time passing: starts, probes, looks, the word to go on; and when the next of them is.

use jiff::SignedDuration;

use super::account::wait;
use super::nudges::Purpose;
use super::steady::{Millis, Now, SECOND};
use super::{Action, Fleet, Proc, Rung};
use crate::rig::Role;
use crate::watchdog::life::{Event, State};

impl Fleet {
    /// Does what is due at `now`.
    pub(super) fn due(&mut self, now: Now) {
        self.clock_set(now);
        self.accounts_due(now);
        self.report_due(now);
        self.notices_due(now);
        // What comes due while this runs is soon enough the next time.
        let due: Vec<usize> =
            self.calendar.iter().take_while(|(at, _)| *at <= now.steady).map(|(_, i)| *i).collect();
        for i in due {
            self.due_of_one(now, i);
            self.touch(i);
        }
    }

    /// The wall clock was set, and the end of a loop's own limit is a moment of it.
    fn clock_set(&mut self, now: Now) {
        let set = now.ahead() - self.ahead;
        if set.unsigned_abs() < SECOND {
            return;
        }
        self.ahead = now.ahead();
        let then = Now {
            wall: now.wall.saturating_sub(SignedDuration::from_millis(set)).unwrap_or(now.wall),
            ..now
        };
        for i in 0..self.ones.len() {
            let one = &self.ones[i];
            let (State::Limited(until @ Some(_)), Some(due)) = (one.memory.state, one.memory.due) else {
                continue;
            };
            let waits =
                |now| wait(until, now, self.plan.seed, one.name.as_str()).map(|left| now.steady + left);
            // Another moment is no reset's: its account works again, or it is tried blindly.
            if waits(then).is_some_and(|at| at.abs_diff(due) < SECOND) {
                self.ones[i].memory.due = Some(waits(now).unwrap_or(now.steady));
                self.touch(i);
            }
        }
    }

    fn due_of_one(&mut self, now: Now, i: usize) {
        let one = &mut self.ones[i];
        if one.memory.due.is_some_and(|due| due <= now.steady) {
            one.memory.due = None;
            match one.memory.state {
                State::BackingOff => {
                    let reason = one.memory.reason.clone();
                    self.turn(now, i, Event::Due, &reason);
                    self.start(now, i, "being started");
                }
                State::Limited(_) | State::Throttled | State::LoginNeeded => self.wake_up(now, i),
                // Its stop failed.
                State::Held => self.stop(i, false),
                State::Stalled => {
                    self.turn(now, i, Event::Due, "tried again after a stall");
                    // Nobody's wish; and if it does not help, the next stall is a person's at once.
                    self.ones[i].memory.rung = Rung::Restarted(now.steady);
                    self.stop(i, true);
                }
                _ => {}
            }
        }
        let one = &mut self.ones[i];
        if one.look.is_some_and(|look| look <= now.steady) {
            // The next one is set by what this one sees; a look that fails is repeated at the usual pace.
            one.look = Some(now.steady + one.spec.pace());
            if one.proc == Proc::Up {
                self.out.push(Action::Look(one.name.clone()));
            } else {
                one.look = None;
            }
        }
        self.go_on(now, i);
        if let Some(id) = self.ones[i].memory.nudges.overdue(now.steady) {
            self.happens(now, i, super::Happens::NotReceived(id, "nothing was heard of it".into(), true));
        }
    }

    /// The word to go on, when a turn ended and the phase did not.
    fn go_on(&mut self, now: Now, i: usize) {
        if self.go_on_at(i).is_none_or(|at| at > now.steady) {
            return;
        }
        let probing = self.ones[i].memory.probing;
        self.ones[i].memory.idle_since = Some(now.steady);
        let purpose = if probing { Purpose::Probe } else { Purpose::Continue };
        let text = match self.current_phase().filter(|_| self.ones[i].spec.role == Role::Worker) {
            Some((index, phase)) => {
                format!("Continue with phase {} (index {index}): {}.", phase.id, phase.plan)
            }
            None => "Continue where you were.".into(),
        };
        self.nudge(i, purpose, None, text);
    }

    /// When the word to go on is due.
    fn go_on_at(&self, i: usize) -> Option<Millis> {
        let one = &self.ones[i];
        let idle =
            one.memory.idle_since.filter(|_| one.memory.state == State::Idle && one.proc == Proc::Up)?;
        if !one.memory.nudges.is_empty() {
            return None;
        }
        if one.memory.probing {
            return Some(idle);
        }
        let open = one.spec.watched && one.spec.role == Role::Worker && self.phase_open_for(&one.name);
        open.then(|| idle + one.spec.continue_after)
    }

    /// A limit or a pause is over, as far as is known: the agent is asked, or started if it is gone.
    pub(super) fn wake_up(&mut self, now: Now, i: usize) {
        self.turn(now, i, Event::Due, "asked whether it works again");
        let one = &mut self.ones[i];
        (one.memory.probing, one.memory.due) = (true, None);
        match one.proc {
            Proc::Up => {
                // A menu that stayed is tried anew; else the old screen is no news before the answer.
                one.memory.dismissed = 0;
                one.look = one.keyboard.then_some(now.steady);
                if !one.memory.nudges.has(Purpose::Probe) {
                    self.nudge(i, Purpose::Probe, None, "The pause is over. Continue where you were.".into());
                }
            }
            Proc::Down | Proc::Unknown => self.start(now, i, "started to see whether it works again"),
            Proc::Starting | Proc::Stopping { .. } => {}
        }
    }

    /// Whether its agent can be told something. One that has just been started has no input line yet; one that runs and is asked
    /// whether it works again has.
    fn listens(&self, i: usize) -> bool {
        let one = &self.ones[i];
        let state = match one.memory.state {
            State::Idle | State::Working | State::Done => true,
            State::Starting => one.memory.probing && one.memory.nudges.has(Purpose::Probe),
            _ => false,
        };
        state && one.proc == Proc::Up && !one.keyboard && !self.waits_for_account(i)
    }

    /// Hands the next nudge to whoever delivers, if the agent can take one.
    pub(super) fn deliver(&mut self, now: Now, i: usize) {
        if !self.listens(i) {
            return;
        }
        let one = &mut self.ones[i];
        if let Some(nudge) = one.memory.nudges.take(now.steady) {
            let action = Action::Nudge {
                name: one.name.clone(),
                id: nudge.id.clone(),
                purpose: nudge.purpose,
                text: nudge.text.clone(),
                attempt: nudge.tries + 1,
                repeat: nudge.is_repeat(),
            };
            self.out.push(action);
        }
    }

    /// Puts the loop's next moment into the calendar.
    pub(super) fn remember(&mut self, i: usize) {
        let go_on = self.go_on_at(i);
        let listens = self.listens(i);
        let one = &mut self.ones[i];
        let nudge = one.memory.nudges.due().filter(|_| listens);
        let wake = [one.memory.due, one.look, go_on, nudge].into_iter().flatten().min();
        if one.wake != wake {
            if let Some(old) = one.wake {
                self.calendar.remove(&(old, i));
            }
            if let Some(new) = wake {
                self.calendar.insert((new, i));
            }
            one.wake = wake;
        }
    }
}
