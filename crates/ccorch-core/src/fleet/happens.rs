//! What happens to a loop's process, and what people want of it.

use super::crash::Follows;
use super::nudges::Purpose;
use super::steady::{Now, SECOND};
use super::{Action, End, Fact, Fleet, Found, Happens, Proc, Rung};
use crate::watchdog::Kind;
use crate::watchdog::life::{Event, State};

impl Fleet {
    pub(super) fn happens(&mut self, now: Now, i: usize, happens: Happens) {
        match happens {
            Happens::Found(found) => self.found(now, i, found),
            Happens::Wanted => self.wanted(now, i, "being started"),
            Happens::Refused(why) => self.refused(now, i, &why),
            Happens::Started => self.started(now, i),
            Happens::StartFailed(why) => self.start_failed(now, i, &why),
            Happens::Ended(end) => self.ended(now, i, &end),
            Happens::Stopped(result) => self.stopped(now, i, result),
            Happens::Looked(verdict) => self.looked(now, i, &verdict),
            Happens::Signal(signal, line) => self.signal(now, i, signal, &line),
            Happens::Inbox { hash, path } => self.inbox(i, &hash, &path),
            Happens::Says { phase, done } => self.says(i, phase, done),
            Happens::Received(id) => self.received(now, i, &id),
            Happens::NotReceived(id, why, counts) => self.not_received(now, i, &id, &why, counts),
            Happens::Hold => self.hold(now, i),
            Happens::Release => self.release(now, i),
            Happens::Restart => self.restart(now, i),
            Happens::Ask { id, text } => {
                if self.ones[i].memory.told.iter().any(|told| told.id == id) {
                    return;
                }
                if !self.nudge(i, Purpose::Asked, Some(id.clone()), text) {
                    self.event("nudge-refused", Some(i), format!("{id}: too many wait already"));
                }
            }
        }
    }

    fn found(&mut self, now: Now, i: usize, found: Found) {
        let one = &mut self.ones[i];
        let state = one.memory.state;
        one.proc = match found {
            Found::Running => Proc::Up,
            Found::Starting => Proc::Starting,
            Found::Ended | Found::Absent => Proc::Down,
        };
        if one.proc != Proc::Up {
            one.memory.turn = None;
        }
        match (found, state) {
            (Found::Running, State::Held) => {
                // The stop was cut short by the end of the supervisor.
                self.stop(i, false);
            }
            (Found::Running, _) if one.memory.again => self.stop(i, true),
            (Found::Running, _) => {
                self.event("loop-adopted", Some(i), "it runs");
                // What waits for a moment goes on waiting for it; everything else is looked at.
                if matches!(state, State::Limited(_) | State::Throttled | State::LoginNeeded) {
                    self.goes_on(now, i);
                } else if state != State::Done {
                    let one = &mut self.ones[i].memory;
                    (one.state, one.due) = (State::Working, None);
                    one.because("adopted");
                }
                self.ones[i].look = self.ones[i].spec.watched.then_some(now.steady);
            }
            (Found::Starting, _) => one.memory.began = now.steady,
            (_, State::Held | State::CrashLooping | State::Done) => {}
            (_, State::BackingOff | State::Limited(_) | State::Throttled | State::LoginNeeded) => {
                // Its pause goes on; one without an end would be for ever.
                self.goes_on(now, i);
            }
            (_, State::Stopped) => self.wanted(now, i, "being started"),
            (_, _) => {
                self.ones[i].memory.state = State::Stopped;
                self.wanted(now, i, "it did not run");
            }
        }
    }

    /// It may run here: it is started if it should.
    pub(super) fn wanted(&mut self, now: Now, i: usize, reason: &str) {
        let one = &self.ones[i];
        if one.memory.state == State::Stopped && one.proc != (Proc::Stopping { again: false }) {
            self.turn(now, i, Event::Up, reason);
            self.start(now, i, reason);
        }
    }

    fn refused(&mut self, now: Now, i: usize, why: &str) {
        // A start under way that was refused; an agent that runs is somebody else's to stop.
        if self.ones[i].proc != Proc::Up {
            self.ones[i].proc = Proc::Down;
        }
        self.ones[i].memory.due = None;
        self.turn(now, i, Event::Down, why);
    }

    /// Has it started, unless its account waits; the state says why already.
    pub(super) fn start(&mut self, now: Now, i: usize, reason: &str) {
        // Where nobody has looked yet, something may run.
        if self.ones[i].proc != Proc::Down {
            return;
        }
        if self.waits_for_account(i) {
            self.blocked(now, i);
            return;
        }
        let one = &mut self.ones[i];
        one.proc = Proc::Starting;
        (one.memory.began, one.memory.due, one.memory.again) = (now.steady, None, false);
        one.memory.because(reason);
        // Its first words have the plan.
        one.memory.drop_waiting(Purpose::Phase);
        self.out.push(Action::Start(one.name.clone()));
        self.touch(i);
    }

    fn started(&mut self, now: Now, i: usize) {
        let one = &mut self.ones[i];
        if matches!(one.proc, Proc::Stopping { .. }) {
            // The stop comes next, and its report after it.
            return;
        }
        (one.proc, one.memory.refusals, one.keyboard) = (Proc::Up, 0, false);
        (one.dialog, one.memory.unclear_since, one.memory.dismissed) = (None, None, 0);
        one.memory.turn = None;
        (one.memory.began, one.memory.failed) = (now.steady, None);
        self.tells("loop-started", Some(i), "it runs", Some(Fact::Up));
        self.tell_missed(i);
        let one = &mut self.ones[i];
        match one.memory.state {
            // Somebody started it by hand.
            State::Stopped | State::BackingOff => {
                (one.memory.state, one.memory.since) = (State::Starting, now.wall)
            }
            State::Held => return self.stop(i, false),
            _ => {}
        }
        let one = &mut self.ones[i];
        one.memory.because("started");
        if one.spec.watched {
            one.look = Some(now.steady + 5 * SECOND);
        } else if one.memory.state == State::Starting {
            // Nothing more is ever known of it than that it runs.
            self.turn(now, i, Event::SeenWorking, "started");
        }
    }

    fn start_failed(&mut self, now: Now, i: usize, why: &str) {
        let one = &mut self.ones[i];
        one.proc = Proc::Down;
        let pause = one.memory.retry();
        let again = one.memory.failed.replace(why.into()).is_some_and(|earlier| earlier == why);
        one.memory.due = Some(now.steady + pause);
        // Retried for ever: the same failure is told once.
        if !again {
            self.event("loop-start-failed", Some(i), why);
        }
        self.turn(now, i, Event::Exited, why.lines().next().unwrap_or_default());
        let state = self.ones[i].memory.state;
        if matches!(state, State::Held | State::Stopped | State::CrashLooping | State::Done) {
            self.ones[i].memory.due = None;
        }
    }

    fn ended(&mut self, now: Now, i: usize, end: &End) {
        if self.ones[i].proc == Proc::Down {
            // Old news.
            return;
        }
        if let Some(verdict) = end.verdict.as_ref().filter(|v| {
            matches!(v.verdict, Kind::Limited | Kind::Throttled | Kind::LoginNeeded) || v.account_wide
        }) {
            self.looked(now, i, verdict);
        }
        let one = &mut self.ones[i];
        let stopping = matches!(one.proc, Proc::Stopping { .. });
        one.memory.nudges.again();
        (one.look, one.keyboard, one.memory.turn) = (None, false, None);
        if stopping {
            // The report of the stop follows, and whatever that says, it is gone.
            one.gone = true;
            return;
        }
        one.proc = Proc::Down;
        let state = one.memory.state;
        if one.memory.again {
            // Of a restart that an earlier supervisor began.
            self.event("loop-stopped", Some(i), "as asked");
            return self.start_again(now, i);
        }
        if end.asked && !matches!(state, State::Held | State::Done) {
            self.turn(now, i, Event::Down, "stopped by hand");
            self.ones[i].memory.due = None;
            return self.event("loop-ended", Some(i), said(&end.words, "stopped by hand", &end.screen));
        }
        match state {
            State::Held | State::Stopped => {}
            State::CrashLooping | State::Done => {
                self.event("loop-ended", Some(i), said(&end.words, "it stays down", &end.screen));
            }
            State::Limited(_) | State::Throttled | State::LoginNeeded => {
                let follows = format!("no crash: {}", self.ones[i].memory.reason);
                self.event("loop-ended", Some(i), said(&end.words, &follows, &end.screen));
                self.goes_on(now, i);
            }
            _ => self.crashed(now, i, end),
        }
    }

    fn crashed(&mut self, now: Now, i: usize, end: &End) {
        self.crash(now, i, end);
        // At once or not, the last thing it showed is why it is so.
        let last = end.screen.lines().rev().find(|line| !line.trim().is_empty());
        let memory = &mut self.ones[i].memory;
        if let Some(last) = last.filter(|_| matches!(memory.state, State::BackingOff | State::CrashLooping)) {
            memory.evidence = last.trim().into();
        }
    }

    fn crash(&mut self, now: Now, i: usize, end: &End) {
        let (seed, name) = (self.plan.seed, self.ones[i].name.clone());
        let memory = &mut self.ones[i].memory;
        let first = end.words.lines().next().unwrap_or_default();
        match memory.crashes.ended(memory.began, now.steady, end.ran, seed, name.as_str()) {
            Follows::Again(pause) => {
                memory.restarts += 1;
                memory.due = Some(now.steady + pause);
                let when = if pause == 0 { "at once".to_owned() } else { format!("in {} s", pause / SECOND) };
                let follows = format!("starts again {when}");
                let fact = Fact::Crash { row: memory.crashes.row(), restarts: memory.restarts, pause };
                self.turn(now, i, Event::Exited, &format!("{first}; {follows}"));
                self.tells("loop-ended", Some(i), said(&end.words, &follows, &end.screen), Some(fact));
                if pause == 0 && self.ones[i].memory.state == State::BackingOff {
                    self.turn(now, i, Event::Due, "being started");
                    self.start(now, i, "being started");
                }
            }
            Follows::No => {
                memory.due = None;
                let reason =
                    format!("crash loop: {} ends within 15 minutes; {first}", super::crash::TOO_MANY);
                self.turn(now, i, Event::ExitedTooOften, &reason);
                let hint = format!("let it run again with `ccorch loops start {name}`");
                let said = said(&reason, &hint, &end.screen);
                self.tells("loop-crash-looping", Some(i), said, Some(Fact::CrashLoop));
                self.notify(now, &format!("crash-looping:{name}"), format!("{name}: {reason}; {hint}"));
            }
        }
    }

    /// Has it stopped, and then perhaps started.
    pub(super) fn stop(&mut self, i: usize, again: bool) {
        let one = &mut self.ones[i];
        one.memory.again = again && !matches!(one.proc, Proc::Down | Proc::Unknown);
        match one.proc {
            Proc::Stopping { .. } => one.proc = Proc::Stopping { again },
            Proc::Down | Proc::Unknown => {}
            // The stop of a start that is under way comes after it.
            Proc::Up | Proc::Starting => {
                (one.proc, one.gone) = (Proc::Stopping { again }, false);
                // What is being told may still be heard, or the stop may fail: that try has its own end.
                (one.look, one.keyboard) = (None, false);
                self.out.push(Action::Stop(one.name.clone()));
            }
        }
        self.touch(i);
    }

    fn stopped(&mut self, now: Now, i: usize, result: Result<(), String>) {
        let Proc::Stopping { again } = self.ones[i].proc else { return };
        let gone = std::mem::take(&mut self.ones[i].gone);
        if let Some(why) = result.err().filter(|_| !gone) {
            let one = &mut self.ones[i];
            // What was asked for may still come, and then it is the restart that was wished.
            (one.proc, one.memory.again) = (Proc::Up, again);
            one.look = one.spec.watched.then_some(now.steady + 30 * SECOND);
            if one.memory.state == State::Held {
                // A person wants it down, and it is down in the end.
                one.memory.due = Some(now.steady + one.memory.retry());
            }
            if one.memory.failed.replace(why.clone()).is_none_or(|earlier| earlier != why) {
                self.event("loop-stop-failed", Some(i), why);
            }
            return;
        }
        (self.ones[i].memory.refusals, self.ones[i].memory.failed) = (0, None);
        self.ones[i].memory.nudges.again();
        self.event("loop-stopped", Some(i), "as asked");
        self.ones[i].proc = Proc::Down;
        if again {
            self.start_again(now, i);
        }
    }

    /// The second half of a restart.
    fn start_again(&mut self, now: Now, i: usize) {
        let memory = &mut self.ones[i].memory;
        memory.again = false;
        if matches!(memory.state, State::Held | State::Stopped) {
            return;
        }
        let reason = if memory.rung == Rung::None { "being started" } else { "restarted after a stall" };
        (memory.state, memory.since, memory.idle_since) = (State::Starting, now.wall, None);
        self.start(now, i, reason);
    }

    fn hold(&mut self, now: Now, i: usize) {
        self.ones[i].memory.due = None;
        self.turn(now, i, Event::Hold, "held by `ccorch loops stop`");
        self.stop(i, false);
    }

    fn release(&mut self, now: Now, i: usize) {
        let one = &mut self.ones[i];
        let state = one.memory.state;
        (one.memory.rung, one.memory.refusals, one.memory.pauses) = (Rung::None, 0, 0);
        let name = one.name.clone();
        for what in ["crash-looping", "stalled"] {
            self.over(&format!("{what}:{name}"));
        }
        let one = &mut self.ones[i];
        // A person who starts a loop whose account waits has reason to believe that it works.
        let block = self.shared.blocks.get_mut(&one.spec.account);
        if let Some(block) = block.filter(|block| block.probe.is_none()) {
            block.probe = Some((one.name.clone(), now.steady));
            self.shared_changed = true;
        }
        self.turn(now, i, Event::Release, "being started");
        match self.ones[i].proc {
            Proc::Down | Proc::Unknown => {
                if state == State::Done {
                    self.ones[i].memory.state = State::Starting;
                }
                self.turn(now, i, Event::Due, "being started");
                self.start(now, i, "being started");
            }
            Proc::Stopping { .. } => self.stop(i, true),
            Proc::Starting => {}
            Proc::Up => {
                let waited = matches!(state, State::Limited(_) | State::Throttled | State::LoginNeeded);
                if waited {
                    self.wake_up(now, i);
                }
                self.ones[i].look = self.ones[i].spec.watched.then_some(now.steady);
            }
        }
    }

    fn restart(&mut self, now: Now, i: usize) {
        if matches!(self.ones[i].proc, Proc::Down | Proc::Unknown) {
            return self.release(now, i);
        }
        self.release(now, i);
        self.stop(i, true);
    }
}

/// How it ended, what follows, and the last screen.
fn said(words: &str, follows: &str, screen: &str) -> String {
    let screen = if screen.is_empty() { String::new() } else { format!("\n{screen}") };
    format!("{words}; {follows}{screen}")
}
