//! A login that cannot work: every loop on it waits, one of them tries, and the rest follows when that works.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::nudges::Purpose;
use super::steady::{HOUR, MINUTE, Millis, Now, SECOND};
use super::{Fact, Fleet, Proc, jitter};
use crate::names::LoopName;
use crate::rig::Role;
use crate::watchdog::Verdict;
use crate::watchdog::life::{Event, State};

/// Without a reset time: the first try after this long, then ever later.
const FIRST_RETRY: Millis = 5 * MINUTE;
/// No retry is later.
const LONGEST_RETRY: Millis = HOUR;
/// After a reset, so that a clock that is a little ahead does not read the old limit as tomorrow's.
const MARGIN: Millis = 10 * SECOND;
/// Loops wake within this span.
const SPREAD: Millis = MINUTE;
/// A probe that worked this long works.
const PROOF: Millis = MINUTE;
/// How soon a try is due again that nobody can make at the moment.
const SOON: Millis = 5 * SECOND;
/// A probe of which nothing is known after this long is another loop's turn.
const PROBE: Millis = 10 * MINUTE;

/// Why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// A person has to log in; else the plan is used up.
    pub login: bool,
    /// When it ends, resolved when it was first seen.
    pub until: Option<Timestamp>,
    /// When it was found out, or a try failed last.
    #[serde(default)]
    pub noted: Millis,
    /// When the next try is due.
    pub due: Millis,
    /// Tries without a reset time, in a row.
    pub tries: u32,
    /// What was said of its reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// The loop that tries, and since when.
    pub probe: Option<(LoopName, Millis)>,
    /// In words.
    pub reason: String,
    /// The line or signal that showed it, and at which loop.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

/// The pause before the n-th try in a row, counted from 0.
pub(super) fn retry(nth: u32, seed: u64, who: &str) -> Millis {
    let base = FIRST_RETRY.saturating_mul(1 << nth.min(10)).min(LONGEST_RETRY);
    let jitter = jitter::below(base / 10, seed, who, u64::from(nth));
    if base == LONGEST_RETRY { base - jitter } else { base + jitter }
}

/// The wait until a moment by the wall clock, with margin and jitter; absent when it is past.
pub(super) fn wait(until: Option<Timestamp>, now: Now, seed: u64, who: &str) -> Option<Millis> {
    let until = until?;
    let left = (until.as_nanosecond() - now.wall.as_nanosecond()) / 1_000_000;
    let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
    Some(left + soon(until, seed, who))
}

/// How long after a moment it counts as reached, with margin and jitter.
fn soon(until: Timestamp, seed: u64, who: &str) -> Millis {
    MARGIN + jitter::below(SPREAD, seed, who, until.as_second().unsigned_abs())
}

impl Fleet {
    /// The account of loop `i` cannot work, as that loop shows. A reset that is past is nothing to wait for.
    pub(super) fn block(
        &mut self,
        now: Now,
        i: usize,
        login: bool,
        until: Option<Timestamp>,
        verdict: &Verdict,
    ) {
        let reason = &verdict.reason;
        let account = self.ones[i].spec.account.clone();
        let seed = self.plan.seed;
        let name = self.ones[i].name.clone();
        let old = self.shared.blocks.remove(&account);
        let past = until.filter(|until| *until <= now.wall);
        let until = until.filter(|_| past.is_none());
        let probing = old.as_ref().is_some_and(|b| b.probe.as_ref().is_some_and(|(who, _)| *who == name));
        // Another loop that runs into the same limit tells nothing new, unless it lasts longer.
        if let Some(old) = old.clone().filter(|old| !probing && old.login == login && old.until >= until) {
            self.shared.blocks.insert(account.clone(), old);
        } else {
            let tries = old.as_ref().map_or(0, |old| old.tries + u32::from(probing));
            let at_once = past.filter(|past| !probing && self.is_untried(&account, *past));
            let (due, tries) = match (wait(until, now, seed, &account), at_once) {
                (Some(left), _) => (now.steady + left, 0),
                (None, Some(past)) => {
                    self.shared.tried.insert(account.clone(), past);
                    (now.steady + soon(past, seed, &account), 0)
                }
                (None, None) => (now.steady + retry(tries, seed, &account), tries),
            };
            let evidence = format!("at loop {name}: {}", verdict.evidence);
            let block = Block {
                login,
                until,
                noted: now.steady,
                due,
                tries,
                words: None,
                probe: None,
                reason: reason.into(),
                evidence,
            };
            let news = old.is_none_or(|old| old.login != login || old.until != until);
            self.shared.blocks.insert(account.clone(), block);
            if news {
                let what = if login { "account-login-needed" } else { "account-limited" };
                let said = format!("account {account}, seen at loop {name}: {reason}");
                let words =
                    (!login).then(|| verdict.reset.clone().unwrap_or_else(|| verdict.evidence.clone()));
                let fact = Fact::Blocked { account: account.clone(), login, until, words };
                self.tells(what, None, said, Some(fact));
                self.notify(now, &format!("{what}:{account}"), format!("{name}: {reason}"));
            }
        }
        for j in self.members(&account) {
            self.blocked(now, j);
        }
        self.shared_changed = true;
    }

    /// Whether a reset that is past is news. One that was tried for is not, whatever became of that, nor one that words without a
    /// date mean a little later: who ends its turns as if it worked would be asked again and again.
    fn is_untried(&self, account: &str, past: Timestamp) -> bool {
        let tried = self.shared.tried.get(account);
        let pause = i128::from(FIRST_RETRY) * 1_000_000;
        tried.is_none_or(|tried| past.as_nanosecond() - tried.as_nanosecond() >= pause)
    }

    /// Applies the block of its account to a loop that is wanted.
    pub(super) fn blocked(&mut self, now: Now, i: usize) {
        let Some(block) = self.shared.blocks.get(&self.ones[i].spec.account) else { return };
        let state = self.ones[i].memory.state;
        if matches!(state, State::Held | State::Stopped | State::CrashLooping | State::Done) {
            return;
        }
        let event = if block.login { Event::SeenLoginNeeded } else { Event::SeenLimited(block.until) };
        let (reason, evidence) = (block.reason.clone(), block.evidence.clone());
        let one = &mut self.ones[i].memory;
        (one.due, one.probing) = (None, false);
        one.nudges.drop_waiting(Purpose::Probe);
        self.turn(now, i, event, &reason);
        let one = &mut self.ones[i].memory;
        if one.evidence.is_empty() && one.reason == reason {
            one.evidence = evidence;
        }
        self.touch(i);
    }

    fn waits_for_login(&self, i: usize) -> bool {
        matches!(self.ones[i].memory.state, State::Limited(_) | State::LoginNeeded)
    }

    /// What waits has a moment at which it goes on, its own or its account's; else that is now.
    pub(super) fn goes_on(&mut self, now: Now, i: usize) {
        let account = self.shared.blocks.contains_key(&self.ones[i].spec.account);
        let memory = &mut self.ones[i].memory;
        if memory.due.is_none() && !account {
            memory.due = Some(now.steady);
        }
    }

    fn members(&self, account: &str) -> Vec<usize> {
        self.members.get(account).cloned().unwrap_or_default()
    }

    /// Whether its account cannot work, and it is not the one that tries.
    pub(super) fn waits_for_account(&self, i: usize) -> bool {
        let one = &self.ones[i];
        let block = self.shared.blocks.get(&one.spec.account);
        block.is_some_and(|block| block.probe.as_ref().is_none_or(|(who, _)| *who != one.name))
    }

    /// The account that a loop waits for and how that stands, where the loop's own state does not say so: it could work, and
    /// is told nothing.
    pub fn held_up(&self, name: &LoopName) -> Option<(&str, &Block)> {
        let i = *self.index.get(name)?;
        let one = &self.ones[i];
        let could = matches!(one.memory.state, State::Idle | State::Working | State::Done);
        if one.proc != Proc::Up || !could || !self.waits_for_account(i) {
            return None;
        }
        let block = self.shared.blocks.get(&one.spec.account)?;
        Some((&one.spec.account, block))
    }

    /// Whether it is the one that tries for its account.
    pub(super) fn tries_for_account(&self, i: usize) -> bool {
        let one = &self.ones[i];
        let probe = self.shared.blocks.get(&one.spec.account).and_then(|block| block.probe.as_ref());
        probe.is_some_and(|(who, _)| *who == one.name)
    }

    /// The loop tries for its account.
    pub(super) fn probe(&mut self, now: Now, i: usize) {
        let name = self.ones[i].name.clone();
        if let Some(block) = self.shared.blocks.get_mut(&self.ones[i].spec.account) {
            block.probe = Some((name.clone(), now.steady));
            self.shared_changed = true;
            self.event("account-probe", Some(i), "asked whether it works again");
        }
        self.wake_up(now, i);
    }

    /// The loop worked: if it tried for its account, the others follow, each at its own moment.
    pub(super) fn works(&mut self, now: Now, i: usize, turn_over: bool) {
        let (name, account) = (self.ones[i].name.clone(), self.ones[i].spec.account.clone());
        let Some(block) = self.shared.blocks.get(&account) else { return };
        let Some((who, since)) = &block.probe else { return };
        let asked = self.ones[i].proc == Proc::Up && !self.ones[i].memory.probing;
        if *who == name && asked && (turn_over || now.steady >= since + PROOF) {
            self.lift(now, i);
        }
    }

    /// A turn of the loop's that began then ended well: where that was behind the block, somebody brought the account back.
    pub(super) fn worked(&mut self, now: Now, i: usize, began: Option<Millis>) {
        if self.began_behind(i, began) {
            self.lift(now, i);
        }
    }

    /// Whether its open turn shows that its account works, if that ends well.
    pub(super) fn may_show(&self, i: usize) -> bool {
        self.began_behind(i, self.ones[i].memory.turn)
    }

    fn began_behind(&self, i: usize, began: Option<Millis>) -> bool {
        let block = self.shared.blocks.get(&self.ones[i].spec.account);
        block.zip(began).is_some_and(|(block, began)| began >= block.noted)
    }

    /// The account works, as the loop shows: who waits for it follows.
    fn lift(&mut self, now: Now, i: usize) {
        let (name, account) = (self.ones[i].name.clone(), self.ones[i].spec.account.clone());
        self.shared.blocks.remove(&account);
        self.over(&format!("account-limited:{account}"));
        self.over(&format!("account-login-needed:{account}"));
        self.shared_changed = true;
        let said = format!("account {account}, shown by loop {name}");
        self.tells("account-works", None, said, Some(Fact::Works(account.clone())));
        for j in self.members(&account) {
            if matches!(self.ones[j].memory.state, State::Limited(_) | State::LoginNeeded) {
                let jitter =
                    jitter::below(SPREAD, self.plan.seed, self.ones[j].name.as_str(), now.steady / HOUR);
                self.ones[j].memory.due = Some(now.steady + 2 * SECOND + jitter);
            }
            // Nudges of those that did not wait themselves may go out now.
            self.touch(j);
        }
    }

    /// Accounts whose next try is due.
    pub(super) fn accounts_due(&mut self, now: Now) {
        let seed = self.plan.seed;
        let mut put_right = false;
        let due = |(account, block): (&String, &mut Block)| {
            // The reset is a moment of the wall clock, which may have been put right meanwhile.
            let due = wait(block.until, now, seed, account).map(|left| now.steady + left);
            if let Some(due) = due.filter(|due| due.abs_diff(block.due) >= SECOND) {
                (block.due, put_right) = (due, true);
            }
            let due = block.probe.as_ref().map_or(block.due, |(_, since)| since + PROBE);
            (due <= now.steady).then(|| account.clone())
        };
        let accounts: Vec<String> = self.shared.blocks.iter_mut().filter_map(due).collect();
        self.shared_changed |= put_right;
        for account in accounts {
            let members = self.members(&account);
            let probe = self.shared.blocks.get(&account).and_then(|block| block.probe.clone());
            if let Some((who, _)) = probe {
                let Some(block) = self.shared.blocks.get_mut(&account) else { continue };
                block.tries += 1;
                (block.probe, block.due) = (None, now.steady + retry(block.tries, seed, &account));
                self.shared_changed = true;
                if let Some(i) = self.index.get(&who).copied() {
                    self.blocked(now, i);
                }
                continue;
            }
            let waits = |i: &&usize| {
                self.waits_for_login(**i) && matches!(self.ones[**i].proc, Proc::Up | Proc::Down)
            };
            // A worker that runs shows it soonest; and not always the same one.
            let rank = |i: &&usize| {
                let one = &self.ones[**i];
                (one.spec.role == Role::Orchestrator, one.proc != Proc::Up, one.memory.numbered)
            };
            match members.iter().filter(waits).min_by_key(rank).copied() {
                Some(i) => self.probe(now, i),
                // Nobody can try just now: it comes up, goes down, or was not looked at by a new supervisor yet.
                None if members.iter().any(|i| self.waits_for_login(*i)) => {
                    if let Some(block) = self.shared.blocks.get_mut(&account) {
                        block.due = now.steady + SOON;
                        self.shared_changed = true;
                    }
                }
                None => {
                    // Nobody waits for it; whoever is told something next finds out.
                    self.shared.blocks.remove(&account);
                    self.shared_changed = true;
                    members.iter().for_each(|i| self.touch(*i));
                }
            }
        }
    }

    /// When an account is due.
    pub(super) fn next_account(&self) -> Option<Millis> {
        self.shared.blocks.values().map(|b| b.probe.as_ref().map_or(b.due, |(_, since)| since + PROBE)).min()
    }
}
