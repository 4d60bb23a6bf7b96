//! What the events carry besides their words, so that a state that is lost is found out again: ends that count, what an
//! agent was told, accounts that wait. Every moment is the event's own, by the wall clock.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::{Block, retry};
use super::crash::Crashes;
use super::memory::{Memory, Shared, Told};
use super::steady::{Millis, Now};
use crate::watchdog::life::State;

/// What one event tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// An end of the loop's agent that counts.
    Crash {
        /// Such ends in a row, this one included.
        row: u32,
        /// Restarts so far.
        restarts: u64,
        /// Until its next start, in milliseconds.
        pause: Millis,
    },
    /// The loop's agent ended too often; whoever lets it run again starts from nothing.
    CrashLoop,
    /// The loop runs.
    Up,
    /// The loop's agent has what somebody asked for.
    Told(Told),
    /// The loop's agent was told of these contents of its inbox (the beginnings of their hashes).
    Inbox(Vec<u64>),
    /// An account cannot work.
    Blocked {
        /// Which.
        account: String,
        /// A person has to log in; else the plan is used up.
        login: bool,
        /// When it ends.
        until: Option<Timestamp>,
        /// What was said of its reset.
        words: Option<String>,
    },
    /// An account works again.
    Works(String),
}

/// An event's time and fact.
pub type Dated = (Timestamp, Fact);

/// The engine time of a moment by the wall clock; none is after now.
fn steady(at: Timestamp, now: Now) -> Millis {
    let ago = now.wall.as_millisecond().saturating_sub(at.as_millisecond());
    now.steady.saturating_sub(u64::try_from(ago).unwrap_or(0))
}

impl Memory {
    /// That of a loop of which only its events are left, oldest first; and what is known by them, in words.
    pub fn of_facts(facts: &[Dated], now: Now) -> (Self, Vec<String>) {
        // Ids are given out once: these are beyond all of before.
        let numbered = now.wall.as_second().unsigned_abs();
        let mut memory = Self { since: now.wall, numbered, ..Self::default() };
        for (at, fact) in facts {
            let steady = steady(*at, now);
            match fact {
                Fact::Crash { row, restarts, pause } => {
                    memory.crashes.happened(*row, steady);
                    (memory.state, memory.restarts) = (State::BackingOff, *restarts);
                    (memory.since, memory.due) = (*at, Some(steady.saturating_add(*pause)));
                    memory.because("its agent ended, by the events");
                }
                Fact::CrashLoop => memory.crashes = Crashes::default(),
                Fact::Up => {
                    (memory.state, memory.due, memory.began) = (State::Stopped, None, steady);
                    memory.since = *at;
                    memory.because("it ran, by the events");
                }
                Fact::Told(told) => {
                    memory.told.retain(|other| other.id != told.id);
                    memory.was_told(told.clone());
                }
                Fact::Inbox(contents) => contents.iter().for_each(|content| memory.knows_of(*content)),
                Fact::Blocked { .. } | Fact::Works(_) => {}
            }
        }
        memory.crashes.forget_old(now.steady);
        memory.sane(now.steady);
        let known = [
            (memory.crashes.recent(), "ends within 15 minutes"),
            (memory.told.len(), "nudges that it has"),
            (memory.inbox.len(), "contents of its inbox that it was told of"),
        ];
        let known = known.iter().filter(|(count, _)| *count > 0);
        let known = known.map(|(count, what)| format!("{count} {what} by the events")).collect();
        (memory, known)
    }
}

impl Shared {
    /// That of a rig of which only the events are left, oldest first; and what is known by them, in words.
    pub fn of_facts(facts: &[Dated], now: Now, seed: u64) -> (Self, Vec<String>) {
        let mut shared = Self::default();
        for (at, fact) in facts {
            match fact {
                Fact::Blocked { account, login, until, words } => {
                    let block = Block {
                        login: *login,
                        until: *until,
                        noted: steady(*at, now),
                        due: now.steady + retry(0, seed, account),
                        tries: 0,
                        words: words.clone(),
                        probe: None,
                        reason: format!("account {account} waits, by the events"),
                        evidence: words.clone().unwrap_or_default(),
                    };
                    shared.blocks.insert(account.clone(), block);
                }
                Fact::Works(account) => drop(shared.blocks.remove(account)),
                _ => {}
            }
        }
        // One whose moment is past is found out by the loop that works next.
        shared.blocks.retain(|_, block| block.until.is_none_or(|until| until > now.wall));
        let known = shared.blocks.iter().map(|(account, block)| match block.until {
            Some(until) => format!("account {account} waits until {until} by the events"),
            None => format!("account {account} waits by the events"),
        });
        let known = known.collect();
        (shared, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::crash::{Follows, TOO_MANY, WINDOW};
    use crate::fleet::{HOUR, MINUTE, SECOND};

    const NOW: Millis = 100 * HOUR;

    fn now() -> Now {
        Now { wall: Timestamp::from_second(1_780_000_000).unwrap(), steady: NOW }
    }

    fn ago(millis: Millis, fact: Fact) -> Dated {
        let at = now().wall.as_millisecond() - i64::try_from(millis).unwrap();
        (Timestamp::from_millisecond(at).unwrap(), fact)
    }

    fn crash(row: u32) -> Fact {
        Fact::Crash { row, restarts: u64::from(row), pause: 8 * SECOND }
    }

    #[test]
    fn ends_of_before_count_and_the_pause_behind_the_last_goes_on() {
        let facts = [ago(WINDOW, crash(1)), ago(3 * SECOND, crash(2)), ago(2 * SECOND, crash(3))];
        let (mut memory, known) = Memory::of_facts(&facts, now());
        assert_eq!((memory.state, memory.due), (State::BackingOff, Some(NOW + 6 * SECOND)));
        assert_eq!((memory.restarts, known.len()), (3, 1), "{known:?}");
        let mut end = |n: u64| memory.crashes.ended(NOW + n, NOW + n, true, 1, "a");
        assert!((3..TOO_MANY).all(|n| matches!(end(n as u64), Follows::Again(_))));
        assert_eq!(end(9), Follows::No);
        // One that came up since is not held back, and a crash loop is an end of its own.
        let up = [ago(3 * SECOND, crash(1)), ago(SECOND, Fact::Up)];
        let (memory, _) = Memory::of_facts(&up, now());
        assert_eq!((memory.state, memory.due, memory.began), (State::Stopped, None, NOW - SECOND));
        let over = [ago(3 * SECOND, crash(4)), ago(2 * SECOND, Fact::CrashLoop), ago(SECOND, Fact::Up)];
        assert_eq!(Memory::of_facts(&over, now()).0.crashes, Crashes::default());
    }

    #[test]
    fn a_clock_that_was_set_holds_nothing_for_years() {
        let year = 365 * 24 * HOUR;
        let ahead = (now().wall + jiff::SignedDuration::from_hours(24 * 365), crash(2));
        let (memory, _) = Memory::of_facts(&[ahead], now());
        assert_eq!(memory.due, Some(NOW + 8 * SECOND));
        let (memory, _) =
            Memory::of_facts(&[ago(1, Fact::Crash { row: 1, restarts: 1, pause: year })], now());
        assert!(memory.due.is_some_and(|due| due <= NOW + 8 * 24 * HOUR));
    }

    #[test]
    fn of_accounts_those_wait_whose_moment_is_to_come() {
        let blocked = |account: &str, left: i64| Fact::Blocked {
            account: account.into(),
            login: false,
            until: Some(now().wall + jiff::SignedDuration::from_secs(left)),
            words: Some("resets 5pm".into()),
        };
        let login = Fact::Blocked { account: "d".into(), login: true, until: None, words: None };
        let facts = [blocked("a", 60), blocked("b", 60), blocked("c", -60), Fact::Works("b".into()), login];
        let facts = facts.map(|fact| ago(MINUTE, fact));
        let (shared, known) = Shared::of_facts(&facts, now(), 1);
        assert_eq!(shared.blocks.keys().collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(shared.blocks["a"].words.as_deref(), Some("resets 5pm"));
        assert!(shared.blocks["d"].due > NOW && known.len() == 2, "{known:?}");
    }

    #[test]
    fn what_was_told_is_bounded_and_known() {
        let told = |n: u32| ago(SECOND, Fact::Told(Told::of(&n.to_string(), "x")));
        let facts: Vec<Dated> =
            (0..1000).map(told).chain([ago(1, Fact::Inbox((0..500).collect()))]).collect();
        let (memory, _) = Memory::of_facts(&facts, now());
        assert!(memory.numbered > 1_000_000_000, "no id of before is given out again");
        assert!(memory.told.len() < 100 && memory.inbox.len() < 100);
        assert!(memory.told.iter().any(|told| told.id == "999") && memory.inbox.contains(&499));
    }
}
