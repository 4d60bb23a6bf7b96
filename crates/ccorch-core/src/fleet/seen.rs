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
/// A menu that stays is answered no more often.
const DISMISSALS: u32 = 3;
/// So many looks in a row may find a turn that its agent says has failed.
const DOUBT: u8 = 6;
/// A tool that has shown nothing but its seconds for so many times `stall_after` may hang.
const QUIET: Millis = 6;

impl Fleet {
    pub(super) fn looked(&mut self, now: Now, i: usize, verdict: &Verdict) {
        let one = &mut self.ones[i];
        let old = one.memory.state;
        one.keyboard = verdict.keyboard.is_some();
        one.dialog = None;
        if verdict.keyboard.is_none() {
            one.memory.dismissed = 0;
        }
        let kind = match (verdict.verdict, verdict.keyboard) {
            (Kind::Dialog, Some(DialogKind::LimitMenu)) => Kind::Limited,
            (Kind::Dialog, Some(DialogKind::Login)) => Kind::LoginNeeded,
            (kind, _) => kind,
        };
        if kind != Kind::Unknown {
            one.memory.unclear_since = None;
        }
        if verdict.keyboard.is_none() && matches!(kind, Kind::Working | Kind::Idle) {
            let key = format!("dialog:{}", one.name);
            self.over(&key);
        }
        let over = match kind {
            Kind::Limited | Kind::LoginNeeded | Kind::Throttled => true,
            // Somebody stopped it. What may show that an account works ends by its own word.
            Kind::Idle => !self.may_show(i),
            _ => false,
        };
        if over {
            self.ones[i].memory.turn = None;
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
                self.block(now, i, true, None, verdict);
            }
            Kind::Throttled => self.throttled(now, i, verdict),
            Kind::Stalled => self.stalled(now, i, &verdict.reason),
            Kind::Dialog => {
                self.turn(now, i, Event::SeenWorking, &verdict.reason);
                if verdict.keyboard != Some(DialogKind::PressEnter) {
                    let what = verdict.keyboard.map(|kind| kind.to_string());
                    self.waits_for_person(now, i, what.unwrap_or_else(|| verdict.reason.clone()));
                }
            }
            Kind::Unknown => self.unclear(now, i, &verdict.reason),
        }
        self.quiet(now, i, verdict);
        if let Some(menu @ (DialogKind::LimitMenu | DialogKind::PressEnter)) = verdict.keyboard
            && self.ones[i].proc == Proc::Up
        {
            self.dismiss(now, i, menu);
        }
        let memory = &mut self.ones[i].memory;
        // What stays as it was for another reason was not decided by this.
        if word(memory.state) != word(old) || memory.reason == verdict.reason {
            memory.evidence.clone_from(&verdict.evidence);
        }
        self.changed_by(i, old, &verdict.reason, &verdict.evidence);
    }

    /// A tool may run for as long as it likes, but one that hangs for ever is no work: somebody hears of it, and nothing is done.
    fn quiet(&mut self, now: Now, i: usize, verdict: &Verdict) {
        let one = &mut self.ones[i];
        let quiet = verdict.quiet.and_then(|quiet| Millis::try_from(quiet.as_millis()).ok());
        let quiet = quiet.filter(|quiet| {
            verdict.verdict == Kind::Working && *quiet >= one.spec.stall_after.saturating_mul(QUIET)
        });
        let (known, name) = (std::mem::replace(&mut one.quiet, quiet.is_some()), one.name.clone());
        let key = format!("quiet:{name}");
        match quiet {
            Some(quiet) if !known => {
                let minutes = quiet / MINUTE;
                let text = format!(
                    "{name}: a tool has shown nothing but its seconds for {minutes} minutes; it is left alone, look at it with \
                     `ccorch loops attach {name}`"
                );
                self.notify(now, &key, text);
            }
            None if known => self.over(&key),
            _ => {}
        }
    }

    /// Something holds the keyboard that only a person answers.
    fn waits_for_person(&mut self, now: Now, i: usize, what: String) {
        let name = self.ones[i].name.clone();
        let text = format!("{name}: {what} waits for an answer; give it with `ccorch loops attach {name}`");
        self.ones[i].dialog = Some(what);
        self.notify(now, &format!("dialog:{name}"), text);
    }

    /// Has a menu closed that says nothing new; one that stays is a person's.
    fn dismiss(&mut self, now: Now, i: usize, menu: DialogKind) {
        let one = &mut self.ones[i];
        if one.memory.dismissed >= DISMISSALS {
            return self.waits_for_person(now, i, menu.to_string());
        }
        one.memory.dismissed += 1;
        one.look = Some(now.steady + SOON);
        self.out.push(Action::Dismiss(one.name.clone(), menu));
    }

    /// Nothing tells what it does: for as long as an open turn may stand still that is no news, and then a stall, but for the
    /// nudge, which could not be typed.
    fn unclear(&mut self, now: Now, i: usize, reason: &str) {
        let one = &mut self.ones[i];
        if one.proc != Proc::Up || !matches!(one.memory.state, State::Starting | State::Working | State::Idle)
        {
            return;
        }
        let since = *one.memory.unclear_since.get_or_insert(now.steady);
        one.look = Some(now.steady + one.spec.pace());
        if now.steady < since + one.spec.stall_after {
            return;
        }
        let minutes = (now.steady - since) / MINUTE;
        let reason = format!("what it does could not be told for {minutes} minutes: {reason}");
        match one.memory.rung {
            Rung::None => {
                one.memory.rung = Rung::Nudged(now.steady);
                self.stall_restart(now, i, &reason);
            }
            _ => self.stalled(now, i, &reason),
        }
    }

    /// A change that a look or a signal brought, with what decided.
    fn changed_by(&mut self, i: usize, old: State, reason: &str, evidence: &str) {
        let new = self.ones[i].memory.state;
        if word(old) != word(new) {
            let evidence =
                if evidence.is_empty() { String::new() } else { format!("\nevidence: {evidence}") };
            self.event(&format!("loop-{}", word(new)), Some(i), format!("{reason}{evidence}"));
        }
    }

    pub(super) fn signal(&mut self, now: Now, i: usize, signal: Signal, line: &str) {
        if self.ones[i].proc != Proc::Up {
            return;
        }
        let (old, before) = (self.ones[i].memory.state, self.ones[i].memory.reason.clone());
        if signal != Signal::Look {
            self.tell_missed(i);
        }
        match signal {
            Signal::TurnOpen | Signal::TurnBegan { .. } => {
                let one = &mut self.ones[i];
                one.doubt = 0;
                let began = match signal {
                    Signal::TurnBegan { ago } => now.steady.saturating_sub(ago),
                    _ => 0,
                };
                one.memory.turn.get_or_insert(began);
                self.working(now, i, "a turn runs");
            }
            Signal::TurnEnded => {
                (self.ones[i].doubt, self.ones[i].memory.limit) = (0, None);
                let began = self.ones[i].memory.turn.take();
                self.works(now, i, true);
                self.worked(now, i, began);
                self.idle(now, i, "the turn ended");
            }
            Signal::TurnFailed => {
                let one = &mut self.ones[i];
                (one.doubt, one.look, one.memory.turn) = (DOUBT, Some(now.steady), None);
            }
            Signal::Session => (self.ones[i].look, self.ones[i].memory.turn) = (Some(now.steady), None),
            Signal::Look => self.ones[i].look = Some(now.steady),
        }
        let memory = &mut self.ones[i].memory;
        // The first line that said so: a turn has one for each tool, and none of them is worth a write.
        if memory.reason != before || word(memory.state) != word(old) {
            memory.evidence = line.into();
        }
        let reason = memory.reason.clone();
        self.changed_by(i, old, &reason, line);
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
        // What is said of a limit from here on is another one.
        (one.memory.probing, one.memory.limit) = (false, None);
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
            // An idle agent tells when it begins; until then nobody looks, but for what held its keyboard.
            one.look = one.keyboard.then_some(now.steady + SOON);
        }
        if was_open {
            (one.memory.rung, one.memory.pauses) = (Rung::None, 0);
            self.works(now, i, true);
        }
    }

    fn limited(&mut self, now: Now, i: usize, verdict: &Verdict) {
        // Another supervisor reads from the screen what a hook told the one before.
        let words = verdict.reset.clone().unwrap_or_else(|| verdict.evidence.clone());
        let block = self.shared.blocks.get(&self.ones[i].spec.account);
        let told = block.filter(|block| verdict.account_wide && block.words.as_ref() == Some(&words));
        let memory = &mut self.ones[i].memory;
        // Seen before and nothing came between: the same words still mean the same moment, here and for the account.
        let until = match &memory.limit {
            Some(seen) if seen.evidence == words => seen.until,
            _ => told.map_or(verdict.until, |block| block.until),
        };
        memory.limit = Some(FirstSeen { evidence: words.clone(), until });
        memory.rung = Rung::None;
        self.ones[i].look = None;
        if verdict.account_wide {
            self.block(now, i, false, until, verdict);
            let until = until.filter(|until| *until > now.wall);
            if let Some(block) = self.shared.blocks.get_mut(&self.ones[i].spec.account) {
                // The moment it stands for may be past, and its words on another loop's screen are no news.
                block.words = block.words.take().filter(|_| until.is_none()).or(Some(words));
            }
            return;
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
            Rung::Nudged(at) if now.steady >= at + grace => {
                self.stall_restart(now, i, &format!("{reason}; a nudge did not help"));
            }
            Rung::Restarted(at) if now.steady >= at + grace => {
                let name = self.ones[i].name.clone();
                self.turn(now, i, Event::SeenStalled, reason);
                let memory = &mut self.ones[i].memory;
                (memory.rung, memory.due) = (Rung::None, Some(now.steady + STALLED));
                self.ones[i].look = None;
                let text = format!("{name} is stalled: {reason}; a restart did not help");
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
        self.event("loop-stall-restart", Some(i), reason);
        self.stop(i, true);
    }
}

fn memory_waits(state: State) -> bool {
    matches!(state, State::Limited(_) | State::Throttled | State::LoginNeeded)
}
