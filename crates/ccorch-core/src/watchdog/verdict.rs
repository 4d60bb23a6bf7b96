//! One decision over all the evidence: structured signals first, the live part of the screen last.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::dialog::DialogKind;
use super::limit::{self, Message};
use super::screen::{self, Live};
use super::signals::{self, Signal, Told, Turn};

/// What state an agent is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A turn runs.
    Working,
    /// A turn is over, nothing is asked.
    Idle,
    /// The plan is used up.
    Limited,
    /// The server asks for a pause.
    Throttled,
    /// A person has to log in.
    LoginNeeded,
    /// A turn is open and nothing moves, or an error ended it.
    Stalled,
    /// A menu or question holds the keyboard.
    Dialog,
    /// The evidence does not tell.
    Unknown,
}

/// All that is known of an agent at one moment.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Hook payloads, one JSON object a line, with the time of each where known.
    pub hooks: &'a str,
    /// The end of the transcript, one JSON object a line.
    pub transcript: &'a str,
    /// The screen, as the terminal shows it.
    pub screen: &'a str,
    /// Now.
    pub now: Timestamp,
    /// When the screen was first seen as it is; none when that is now, or not known.
    pub seen_at: Option<Timestamp>,
    /// The agent's time zone, for times written without one.
    pub zone: TimeZone,
    /// How long an open turn may show no change.
    pub stall_after: SignedDuration,
    /// How long nothing has changed, as whoever looked all the while knows; none where only the times in the evidence tell.
    pub still: Option<SignedDuration>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The state.
    pub verdict: Kind,
    /// When it ends, if that is known. At or before "now": the reset is past, probe now.
    pub until: Option<Timestamp>,
    /// Every loop on the same account is in it.
    pub account_wide: bool,
    /// Why, in words.
    pub reason: String,
    /// The line or signal that decided.
    pub evidence: String,
    /// What was said of the reset, whatever the source and its wording: the same again means the same moment.
    #[serde(skip)]
    pub reset: Option<String>,
    /// What holds the keyboard, whatever the verdict is: to be answered before anything is typed.
    #[serde(skip)]
    pub keyboard: Option<DialogKind>,
    /// How long a tool that runs has shown nothing but its seconds, as whoever looked all the while knows.
    #[serde(skip)]
    pub quiet: Option<SignedDuration>,
}

/// No clock is merely this much ahead of another one's reading.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// Decides.
pub fn decide(evidence: &Evidence<'_>) -> Verdict {
    let case = Case {
        evidence,
        hooks: signals::read(evidence.hooks),
        transcript: signals::read(evidence.transcript),
        live: screen::read(evidence.screen),
    };
    let keyboard = case.live.dialog.as_ref().map(|(kind, _)| *kind);
    Verdict { keyboard, ..case.decide() }
}

struct Case<'a> {
    evidence: &'a Evidence<'a>,
    hooks: Told,
    transcript: Told,
    live: Live,
}

impl Case<'_> {
    fn decide(&self) -> Verdict {
        let turn = self.turn();
        self.failed(turn.as_ref())
            .or_else(|| self.rejected(turn.as_ref()))
            .or_else(|| self.dialog(turn.as_ref()))
            .or_else(|| self.own_message(turn.as_ref()))
            .or_else(|| self.open(turn.as_ref()))
            .or_else(|| self.told(turn.as_ref()))
            .unwrap_or_else(|| self.screen_alone())
    }

    /// The last word on the turn: the newer source's, the hooks' where times do not tell.
    fn turn(&self) -> Option<Signal> {
        let (hook, record) = match (&self.hooks.last, &self.transcript.last) {
            (Some(hook), Some(record)) => (hook, record),
            (hook, record) => return hook.as_ref().or(record.as_ref()).cloned(),
        };
        // What was told later than now was told before the clock was put back.
        let ahead = |at: Timestamp| at.duration_since(self.evidence.now) > AHEAD;
        let newer = match (hook.at, record.at) {
            (Some(hook), Some(record)) if ahead(hook) != ahead(record) => Some(ahead(hook)),
            (Some(hook), Some(record)) => Some(record > hook),
            _ => None,
        };
        Some(match (&hook.turn, &record.turn, newer) {
            // Both tell of one failure: the hook knows its kind, the record its words.
            (Turn::Failed { error, text, .. }, Turn::Failed { error: word, text: words, resets_at }, _) => {
                Signal {
                    turn: Turn::Failed {
                        error: error.clone().or_else(|| word.clone()),
                        text: words.clone().or_else(|| text.clone()),
                        resets_at: *resets_at,
                    },
                    at: record.at.or(hook.at),
                    line: record.line.clone(),
                }
            }
            // Words in the transcript may be the first of many; they end no turn and open none.
            (_, Turn::Said(_), _) => hook.clone(),
            (_, Turn::Failed { .. }, Some(true) | None) | (_, _, Some(true)) => record.clone(),
            _ => hook.clone(),
        })
    }

    /// A turn that an error ended.
    fn failed(&self, turn: Option<&Signal>) -> Option<Verdict> {
        let signal = turn?;
        let Turn::Failed { error, text, resets_at } = &signal.turn else { return None };
        let on_screen = || self.live.own.clone().or_else(|| self.live.reply.clone());
        let read = |text: Option<String>| text.and_then(|text| Some((limit::read(&text)?, text)));
        let word = error.as_deref().unwrap_or_default();
        let found = read(text.clone())
            .or_else(|| read(on_screen()).filter(|(message, _)| fits(word, message)))
            .or_else(|| Some((by_word(word)?, format!("the hook's error `{word}`"))));
        let (message, words) = found.unwrap_or((Message::Failed, word.to_owned()));
        let seen_at = earliest(self.evidence.seen_at, signal.at).unwrap_or(self.evidence.now);
        let mut verdict = self.of_message(&message, &words, seen_at, &signal.line)?;
        if verdict.verdict == Kind::Limited && verdict.until.is_none() {
            verdict.until = resets_at.or_else(|| self.window_reset());
            if let Some(until) = verdict.until {
                verdict.reason = self.limited_reason(&words, Some(until));
            }
        }
        // The record is old and a turn visibly runs: its prompt's hook was lost.
        let over = verdict.until.is_none_or(|until| until <= self.evidence.now);
        match (&self.live.busy, over) {
            (Some(_), true) => None,
            _ => Some(verdict),
        }
    }

    /// The newest of the structured resets, for a failure that names none.
    fn window_reset(&self) -> Option<Timestamp> {
        let told = [&self.hooks, &self.transcript];
        let events = told.iter().filter_map(|t| t.event.as_ref());
        let windows = events.chain(told.iter().filter_map(|t| t.status.as_ref()));
        windows.filter(|w| w.rejected).filter_map(|w| w.resets_at).max()
    }

    /// A rate limit event that nothing followed.
    fn rejected(&self, turn: Option<&Signal>) -> Option<Verdict> {
        let told = [&self.hooks, &self.transcript];
        let event = told.iter().filter_map(|t| t.event.as_ref()).max_by_key(|event| event.at)?;
        let newer = turn.and_then(|t| t.at).zip(event.at).is_some_and(|(turn, event)| turn > event);
        if !event.rejected || event.outdated || newer {
            return None;
        }
        let reason = self.limited_reason("rate limit event: rejected", event.resets_at);
        let limited = plain(Kind::Limited, &reason, &event.line);
        Some(Verdict { until: event.resets_at, account_wide: true, ..limited })
    }

    fn dialog(&self, turn: Option<&Signal>) -> Option<Verdict> {
        if let Some((kind, line)) = &self.live.dialog {
            // The reset is told above the menu, and is not lost with the answer.
            let above = (*kind == DialogKind::LimitMenu).then(|| self.own_message(turn)).flatten();
            let limited = above.filter(|v| v.verdict == Kind::Limited);
            let reason = match &limited {
                Some(limited) => format!("{kind} holds the keyboard; {}", limited.reason),
                None => format!("{kind} holds the keyboard"),
            };
            return Some(Verdict {
                until: limited.as_ref().and_then(|v| v.until),
                reset: limited.and_then(|v| v.reset),
                account_wide: *kind == DialogKind::LimitMenu || *kind == DialogKind::Login,
                ..plain(Kind::Dialog, &reason, line)
            });
        }
        let signal = turn?;
        let Turn::Asks(what) = &signal.turn else { return None };
        // A screen with an empty box and nothing that asks is newer than the question.
        let reason = format!("permission dialog: {what}");
        self.live.draft.is_none().then(|| plain(Kind::Dialog, &reason, &signal.line))
    }

    /// The program's own message on the live part of the screen, unless a structured source knows better.
    fn own_message(&self, turn: Option<&Signal>) -> Option<Verdict> {
        let own = self.live.own.as_ref()?;
        let message = limit::read(own)?;
        if self.live.busy.is_some() && message != Message::Throttled {
            return None;
        }
        let quoted = |words: &str| normal(words).contains(&normal(own));
        let denied = match (turn.map(|t| &t.turn), self.transcript.last.as_ref().map(|r| &r.turn)) {
            (Some(Turn::Ended | Turn::Gone), _) => true,
            (_, Some(Turn::Said(words))) => quoted(words),
            _ => false,
        };
        if denied {
            return None;
        }
        self.of_message(&message, own, self.evidence.seen_at.unwrap_or(self.evidence.now), own)
    }

    fn of_message(&self, message: &Message, words: &str, seen_at: Timestamp, line: &str) -> Option<Verdict> {
        let words = normal(words);
        Some(match message {
            Message::Limited { reset, account_wide } => {
                let resolved = reset.as_ref().map(|reset| reset.resolve(seen_at, &self.evidence.zone));
                let (until, problem) = match resolved {
                    Some(Ok(until)) => (Some(until), None),
                    Some(Err(problem)) => (None, Some(problem)),
                    None => (None, None),
                };
                let mut reason = self.limited_reason(&words, until);
                if let Some(problem) = problem {
                    reason = format!("{reason} ({problem})");
                }
                let reset = reset.as_ref().map(|reset| format!("{reset:?}"));
                Verdict { until, account_wide: *account_wide, reset, ..plain(Kind::Limited, &reason, line) }
            }
            Message::Throttled => plain(
                Kind::Throttled,
                &format!("the server asks for a pause, the plan is not used up: {words}"),
                line,
            ),
            Message::LoginNeeded => Verdict {
                account_wide: true,
                ..plain(Kind::LoginNeeded, &format!("a person has to log in: {words}"), line)
            },
            Message::Failed => plain(Kind::Stalled, &format!("an error ended the turn: {words}"), line),
            Message::Retrying => {
                plain(Kind::Working, &format!("the agent tries again by itself: {words}"), line)
            }
            Message::Warning => return None,
        })
    }

    fn limited_reason(&self, words: &str, until: Option<Timestamp>) -> String {
        let words = normal(words);
        match until {
            Some(until) if until <= self.evidence.now => {
                format!("limit: {words}; its reset at {until} is past: probe now")
            }
            Some(until) => format!("limit: {words}; it resets at {until}"),
            None => format!("limit: {words}; no reset time: probe with backoff"),
        }
    }

    /// An open turn: it works as long as anything moves.
    fn open(&self, turn: Option<&Signal>) -> Option<Verdict> {
        let told = turn.filter(|t| t.turn == Turn::Open || matches!(t.turn, Turn::Asks(_)));
        let lost = turn.is_some_and(|t| matches!(t.turn, Turn::Failed { .. }));
        let ended = turn.is_some_and(|t| {
            !lost && t.turn != Turn::Open && !matches!(t.turn, Turn::Said(_) | Turn::Asks(_))
        });
        let busy = self.live.busy.as_ref().filter(|_| !ended);
        if told.is_none() && busy.is_none() {
            return None;
        }
        let evidence = busy.or(told.map(|t| &t.line)).cloned().unwrap_or_default();
        let now = self.evidence.now;
        let files = self.hooks.moved.max(self.transcript.moved).map(|at| now.duration_since(at));
        let screen = self.evidence.seen_at.map(|at| now.duration_since(at));
        // A spinner of unknown age may well move.
        let screen = screen.or(busy.map(|_| SignedDuration::ZERO));
        let still = self.evidence.still.or_else(|| [files, screen].into_iter().flatten().min());
        Some(match still {
            Some(still) if still > self.evidence.stall_after => {
                let minutes = still.as_mins();
                plain(
                    Kind::Stalled,
                    &format!("a turn is open and nothing changed for {minutes} minutes"),
                    &evidence,
                )
            }
            _ => plain(Kind::Working, "a turn runs", &evidence),
        })
    }

    /// What the structured sources say about a turn that is not open.
    fn told(&self, turn: Option<&Signal>) -> Option<Verdict> {
        let signal = turn?;
        match &signal.turn {
            Turn::Ended => Some(plain(Kind::Idle, "the turn ended", &signal.line)),
            Turn::Started => {
                Some(plain(Kind::Idle, "the session started and nothing was asked yet", &signal.line))
            }
            Turn::Gone => Some(plain(Kind::Unknown, "the session ended", &signal.line)),
            // Its last words, if the screen shows an empty box or is not there.
            Turn::Said(_) if self.evidence.screen.trim().is_empty() => {
                Some(plain(Kind::Idle, "the agent said its last words", &signal.line))
            }
            _ => None,
        }
    }

    fn screen_alone(&self) -> Verdict {
        match (&self.live.draft, self.live.own.as_deref().or(self.live.reply.as_deref())) {
            (Some(_), Some(last)) => {
                plain(Kind::Idle, "the input box is there and no turn runs", first_line(last))
            }
            (Some(_), None) => plain(Kind::Idle, "the input box is there and no turn runs", "the input box"),
            (None, _) if self.evidence.screen.trim().is_empty() => plain(Kind::Unknown, "no evidence", ""),
            (None, _) => plain(
                Kind::Unknown,
                "the screen shows neither an input box nor a dialog",
                self.evidence.screen.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default().trim(),
            ),
        }
    }
}

/// Whether a text on the screen can be what a hook's error word announced.
fn fits(word: &str, message: &Message) -> bool {
    match message {
        Message::Limited { .. } | Message::Throttled => !word.contains("auth"),
        Message::LoginNeeded => word.is_empty() || word.contains("auth"),
        _ => false,
    }
}

/// What an error word alone says.
fn by_word(word: &str) -> Option<Message> {
    Some(match word {
        "rate_limit" | "rate_limit_error" | "usage_limit" | "billing_error" | "billing" => {
            Message::Limited { reset: None, account_wide: true }
        }
        "overloaded" | "overloaded_error" | "server_overloaded" => Message::Throttled,
        "authentication_failed" | "authentication_error" | "oauth_org_not_allowed" | "invalid_api_key" => {
            Message::LoginNeeded
        }
        _ => return None,
    })
}

fn plain(verdict: Kind, reason: &str, evidence: &str) -> Verdict {
    Verdict {
        verdict,
        until: None,
        account_wide: false,
        reason: reason.to_owned(),
        evidence: evidence.to_owned(),
        reset: None,
        keyboard: None,
        quiet: None,
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
