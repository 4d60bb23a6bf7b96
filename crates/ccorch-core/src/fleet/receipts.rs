//! What came of telling an agent something.

use super::memory::Told;
use super::nudges::{Failed, LONG, Purpose};
use super::steady::{HOUR, MINUTE, Now, SECOND};
use super::{Fact, Fleet, Proc};
use crate::watchdog::life::{Event, State};

impl Fleet {
    pub(super) fn received(&mut self, now: Now, i: usize, id: &str) {
        let Some(nudge) = self.ones[i].memory.nudges.received(id) else { return };
        let memory = &mut self.ones[i].memory;
        let fact = match nudge.purpose {
            Purpose::Asked => {
                let told = Told::of(id, &nudge.text);
                memory.was_told(told.clone());
                Some(Fact::Told(told))
            }
            // What came since it was typed is told by another one that waits.
            Purpose::Inbox if !memory.nudges.has(Purpose::Inbox) => {
                Some(Fact::Inbox(memory.newest_contents()))
            }
            _ => None,
        };
        self.tells("nudge-received", Some(i), format!("{id}: {}", first_line(&nudge.text)), fact);
        let one = &mut self.ones[i];
        one.memory.limit = None;
        self.tell_missed(i);
        let one = &mut self.ones[i];
        // A receipt that comes behind the verdict on the very turn that it began is old news.
        let waits = matches!(one.memory.state, State::Limited(_) | State::Throttled | State::LoginNeeded);
        if !waits && one.proc == Proc::Up && (nudge.purpose == Purpose::Probe || !self.waits_for_account(i)) {
            let one = &mut self.ones[i];
            one.memory.probing = false;
            one.look = one.spec.watched.then_some(now.steady + one.spec.pace().min(10 * SECOND));
            self.turn(now, i, Event::SeenWorking, &format!("has the nudge {id}"));
        }
    }

    /// An agent that shows a sign of life is told again what it did not take.
    pub(super) fn tell_missed(&mut self, i: usize) {
        for nudge in std::mem::take(&mut self.ones[i].memory.missed) {
            self.ones[i].memory.nudges.add(nudge.id, nudge.purpose, nudge.text);
            self.touch(i);
        }
    }

    pub(super) fn not_received(&mut self, now: Now, i: usize, id: &str, why: &str, counts: bool) {
        match self.ones[i].memory.nudges.failed(id, why, now.steady, counts) {
            Failed::Unknown => {}
            Failed::Again { news, long } => {
                // What holds the keyboard is seen by a look.
                if self.ones[i].proc == Proc::Up && self.ones[i].spec.watched {
                    self.ones[i].look = Some(now.steady);
                }
                if news {
                    self.event("nudge-retried", Some(i), format!("{id}: {why}"));
                }
                if long && !counts {
                    let name = self.ones[i].name.clone();
                    let text = format!("{name}: {id} waits for {} minutes or more: {why}", LONG / MINUTE);
                    self.notify(now, &format!("nudge-waits:{name}"), text);
                }
            }
            Failed::GivenUp(nudge) => {
                let name = self.ones[i].name.clone();
                let detail = format!("{id} was not received after {} tries: {why}", nudge.tries);
                self.event("nudge-given-up", Some(i), format!("{detail}\n{}", nudge.text));
                self.notify(now, &format!("nudge:{name}:{}", now.steady / HOUR), format!("{name}: {detail}"));
                if nudge.purpose == Purpose::Stall {
                    self.stall_restart(now, i, "the nudge after a stall was not received");
                }
                if nudge.purpose == Purpose::Probe {
                    self.ones[i].memory.probing = false;
                }
                // News that nobody tells a second time.
                if matches!(nudge.purpose, Purpose::Inbox | Purpose::Phase | Purpose::Report) {
                    let missed = &mut self.ones[i].memory.missed;
                    missed.retain(|other| other.purpose != nudge.purpose);
                    missed.push(nudge);
                }
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
