//! What a look at an agent, or its own signals, mean for its loop.

use super::account::{retry, wait};
use super::memory::FirstSeen;
use super::nudges::Purpose;
use super::steady::{HOUR, MINUTE, Millis, Now, SECOND};
use super::{Action, Fleet, Proc, Rung, Signal, jitter, word};
use crate::watchdog::life::{Event, State};
use crate::watchdog::{DialogKind, Kind, Verdict};

/// The first pause after a throttle; each further one is twice as long.
const THROTTLE: Millis = 30 * SECOND;
/// No pause after a throttle is longer.
const LONGEST_THROTTLE: Millis = 10 * MINUTE;
/// A stalled loop is tried again after this long: it may have been the network.
const STALLED: Millis = HOUR;
/// How soon to look again at what was just answered.
const SOON: Millis = 5 * SECOND;
/// So many looks in a row may find a turn that its agent says has failed.
const DOUBT: u8 = 6;

impl Fleet {
    pub(super) fn looked(&mut self, now: Now, i: usize, verdict: &Verdict) {
        let one = &mut self.ones[i];
        let old = one.memory.state;
        one.keyboard = verdict.keyboard.is_some();
        let kind = match (verdict.verdict, verdict.keyboard) {
            (Kind::Dialog, Some(DialogKind::LimitMenu)) => Kind::Limited,
            (Kind::Dialog, Some(DialogKind::Login)) => Kind::LoginNeeded,
            (kind, _) => kind,
        };
        if kind != Kind::Unknown {
            one.memory.evidence = verdict.evidence.clone();
        }
        match kind {
            Kind::Working => {
                self.working(now, i, &verdict.reason);
                // The agent told of a failure while it still drew the turn: a look at the usual pace would be late.
                let one = &mut self.ones[i];
                if one.doubt > 0 && one.proc == Proc::Up {
                    (one.doubt, one.look) = (one.doubt - 1, Some(now.steady + SOON));
                }
            }
            Kind::Idle => self.idle(now, i, &verdict.reason),
            Kind::Limited => self.limited(now, i, verdict),
            Kind::LoginNeeded => {
                self.block(now, i, true, None, &verdict.reason);
            }
            Kind::Throttled => self.throttled(now, i, verdict),
            Kind::Stalled => self.stalled(now, i, &verdict.reason),
            Kind::Dialog => {
                self.turn(now, i, Event::SeenWorking, &verdict.reason);
                let name = self.ones[i].name.clone();
                if verdict.keyboard != Some(DialogKind::PressEnter) {
                    let text =
                        format!("{name}: {}; answer it with `ccorch loops attach {name}`", verdict.reason);
                    self.notify(now, &format!("dialog:{name}"), text);
                }
            }
            Kind::Unknown => {}
        }
        if let Some(menu @ (DialogKind::LimitMenu | DialogKind::PressEnter)) = verdict.keyboard
            && self.ones[i].proc == Proc::Up
        {
            self.out.push(Action::Dismiss(self.ones[i].name.clone(), menu));
            self.ones[i].look = Some(now.steady + SOON);
        }
        self.changed_by(i, old, verdict);
    }

    /// A change that a look or a signal brought, with what decided.
    fn changed_by(&mut self, i: usize, old: State, verdict: &Verdict) {
        let new = self.ones[i].memory.state;
        if word(old) != word(new) {
            let evidence = if verdict.evidence.is_empty() {
                String::new()
            } else {
                format!("\nevidence: {}", verdict.evidence)
            };
            self.event(&format!("loop-{}", word(new)), Some(i), format!("{}{evidence}", verdict.reason));
        }
    }

    pub(super) fn signal(&mut self, now: Now, i: usize, signal: Signal) {
        if self.ones[i].proc != Proc::Up {
            return;
        }
        let old = word(self.ones[i].memory.state);
        match signal {
            Signal::TurnOpen => {
                self.ones[i].doubt = 0;
                self.working(now, i, "a turn runs");
            }
            Signal::TurnEnded => {
                self.ones[i].doubt = 0;
                self.works(now, i, true);
                self.idle(now, i, "the turn ended");
            }
            Signal::TurnFailed => (self.ones[i].doubt, self.ones[i].look) = (DOUBT, Some(now.steady)),
            Signal::Session | Signal::Look => self.ones[i].look = Some(now.steady),
        }
        let new = self.ones[i].memory.state;
        if old != word(new) {
            self.event(&format!("loop-{}", word(new)), Some(i), format!("hook: {signal:?}"));
        }
    }

    fn working(&mut self, now: Now, i: usize, reason: &str) {
        if self.ones[i].proc != Proc::Up {
            return;
        }
        // The old limit is still on the screen of one that was not asked yet; that it "works" is its spinner.
        self.turn(now, i, Event::SeenWorking, reason);
        // Who tries for others is looked at soon: they wait for it.
        let tries = self.tries_for_account(i);
        let one = &mut self.ones[i];
        let pace = if tries { one.spec.pace().min(MINUTE + SECOND) } else { one.spec.pace() };
        one.look = one.spec.watched.then_some(now.steady + pace);
        let stood = match one.memory.rung {
            Rung::None => None,
            Rung::Nudged(at) | Rung::Restarted(at) => Some(at),
        };
        if stood.is_some_and(|at| now.steady >= at + one.spec.stall_after + one.spec.grace()) {
            one.memory.rung = Rung::None;
        }
        one.memory.probing = false;
        self.works(now, i, false);
    }

    fn idle(&mut self, now: Now, i: usize, reason: &str) {
        if self.ones[i].proc != Proc::Up {
            return;
        }
        let one = &mut self.ones[i];
        let was_open = one.memory.state == State::Working;
        one.memory.nudges.drop_waiting(Purpose::Stall);
        self.turn(now, i, Event::SeenIdle, reason);
        let one = &mut self.ones[i];
        if one.memory.state == State::Idle {
            one.memory.idle_since.get_or_insert(now.steady);
            // An idle agent tells when it begins; until then nobody looks.
            one.look = None;
        }
        if was_open {
            (one.memory.rung, one.memory.pauses) = (Rung::None, 0);
            self.works(now, i, true);
        }
    }

    fn limited(&mut self, now: Now, i: usize, verdict: &Verdict) {
        let memory = &mut self.ones[i].memory;
        // Seen before and nothing came between: the same words still mean the same moment.
        let until = match &memory.limit {
            Some(seen) if seen.evidence == verdict.evidence => seen.until,
            _ => verdict.until,
        };
        memory.limit = Some(FirstSeen { evidence: verdict.evidence.clone(), until });
        memory.rung = Rung::None;
        self.ones[i].look = None;
        if verdict.account_wide {
            return self.block(now, i, false, until.filter(|until| *until > now.wall), &verdict.reason);
        }
        // Of this loop alone, for example of the model it uses.
        let (seed, name) = (self.plan.seed, self.ones[i].name.clone());
        let memory = &mut self.ones[i].memory;
        if matches!(memory.state, State::Limited(_)) && memory.due.is_some() {
            return;
        }
        let pause = wait(until, now, seed, name.as_str()).unwrap_or_else(|| {
            memory.pauses += 1;
            retry(memory.pauses - 1, seed, name.as_str())
        });
        self.pause(now, i, Event::SeenLimited(until), pause, &verdict.reason);
        self.notify(now, &format!("limited:{name}"), format!("{name}: {}", verdict.reason));
    }

    fn throttled(&mut self, now: Now, i: usize, verdict: &Verdict) {
        let (seed, name) = (self.plan.seed, self.ones[i].name.clone());
        self.ones[i].look = None;
        let memory = &mut self.ones[i].memory;
        if memory_waits(memory.state) && memory.due.is_some() {
            return;
        }
        let base = THROTTLE.saturating_mul(1 << memory.pauses.min(10)).min(LONGEST_THROTTLE);
        let pause = base - jitter::below(base / 5, seed, name.as_str(), u64::from(memory.pauses));
        memory.pauses = memory.pauses.saturating_add(1);
        self.pause(now, i, Event::SeenThrottled, pause, &verdict.reason);
    }

    fn pause(&mut self, now: Now, i: usize, event: Event, pause: Millis, reason: &str) {
        self.turn(now, i, event, reason);
        let memory = &mut self.ones[i].memory;
        if matches!(memory.state, State::Limited(_) | State::Throttled) {
            (memory.due, memory.probing) = (Some(now.steady + pause), false);
            memory.nudges.drop_waiting(Purpose::Probe);
        }
    }

    /// A turn is open and nothing moves, or an error ended it: nudge, restart, then a person.
    fn stalled(&mut self, now: Now, i: usize, reason: &str) {
        let one = &self.ones[i];
        let grace = one.spec.grace();
        if one.proc != Proc::Up || !matches!(one.memory.state, State::Starting | State::Working | State::Idle)
        {
            return;
        }
        self.ones[i].look = Some(now.steady + self.ones[i].spec.pace());
        match self.ones[i].memory.rung {
            Rung::None => {
                self.ones[i].memory.rung = Rung::Nudged(now.steady);
                self.event("loop-stall-nudge", Some(i), reason);
                let text = "Nothing has moved for a while. If something failed, find out why; then go on with the plan.";
                self.nudge(i, Purpose::Stall, None, text.into());
            }
            Rung::Nudged(at) if now.steady >= at + grace => self.stall_restart(now, i, reason),
            Rung::Restarted(at) if now.steady >= at + grace => {
                let name = self.ones[i].name.clone();
                self.turn(now, i, Event::SeenStalled, reason);
                let memory = &mut self.ones[i].memory;
                (memory.rung, memory.due) = (Rung::None, Some(now.steady + STALLED));
                self.ones[i].look = None;
                let text = format!("{name} is stalled: {reason}; a nudge and a restart did not help");
                self.notify(now, &format!("stalled:{name}"), text);
            }
            _ => {}
        }
    }

    pub(super) fn stall_restart(&mut self, now: Now, i: usize, reason: &str) {
        if !matches!(self.ones[i].memory.rung, Rung::Nudged(_)) || self.ones[i].proc != Proc::Up {
            return;
        }
        self.ones[i].memory.rung = Rung::Restarted(now.steady);
        self.ones[i].memory.nudges.drop_waiting(Purpose::Stall);
        self.event("loop-stall-restart", Some(i), format!("{reason}; a nudge did not help"));
        self.stop(i, true);
    }
}

fn memory_waits(state: State) -> bool {
    matches!(state, State::Limited(_) | State::Throttled | State::LoginNeeded)
}
