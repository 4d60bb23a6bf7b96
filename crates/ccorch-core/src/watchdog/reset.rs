//! Reset times as the agent writes them (`5am`, `4:20pm (Asia/Tbilisi)`, `Oct 9 at 5:15pm`, epoch seconds), and the
//! one moment each of them means.
//!
//! A text is resolved from the moment it was first seen, never from "now": read again two minutes after the reset,
//! `resets 5am` must not become tomorrow's 5am.

use std::fmt;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A reset time as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The time.
    pub when: When,
    /// The IANA zone in parentheses; without one the agent's own zone is meant.
    pub zone: Option<String>,
}

/// The forms a time has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Seconds since 1970.
    Epoch(i64),
    /// A time of day: the next one.
    Clock(Time),
    /// A day of a year that is mostly not written, the start of the day when no time is.
    Day {
        /// 1 to 12.
        month: i8,
        /// 1 to 31.
        day: i8,
        /// As written, if at all.
        year: Option<i16>,
        /// As written, if at all.
        time: Option<Time>,
    },
    /// A day of the week: the next one.
    Week(Weekday, Option<Time>),
    /// So long after the text was first seen.
    In(SignedDuration),
}

/// Why a time as written is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Its zone is not in the time zone database; another zone would be wrong by hours.
    #[error("the time zone `{0}` is not known")]
    Zone(String),
    /// No calendar has it, or none that can be counted.
    #[error("there is no such moment")]
    Moment,
}

impl Reset {
    /// Reads a whole text such as `Oct 9 at 5:15pm (America/New_York)`; none when anything is left over.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('.').trim_end();
        let (time, zone) = match text.strip_suffix(')').and_then(|t| t.rsplit_once('(')) {
            Some((time, zone)) => (time, Some(zone_name(zone)?)),
            None => (text, None),
        };
        let words = words(time);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Some(Self { when: when(&words)?, zone })
    }

    /// The moment meant by a text first seen at `seen_at` by somebody in `local`.
    ///
    /// # Errors
    /// When the zone is unknown or the day does not exist.
    pub fn resolve(&self, seen_at: Timestamp, local: &TimeZone) -> Result<Timestamp, Unresolved> {
        let zone = match &self.zone {
            Some(name) => TimeZone::get(name).map_err(|_| Unresolved::Zone(name.clone()))?,
            None => local.clone(),
        };
        let today = zone.to_datetime(seen_at).date();
        let found = match self.when {
            When::Epoch(seconds) => Timestamp::from_second(seconds).ok(),
            When::In(duration) => seen_at.checked_add(duration).ok(),
            // Yesterday too: around midnight a fold can repeat an hour of the day before.
            When::Clock(time) => (-1..=2).find_map(|n| {
                let day = today.checked_add(n.days()).ok()?;
                next(&zone, day.to_datetime(time), seen_at)
            }),
            When::Week(weekday, time) => (-1..=8).find_map(|n| {
                let day = today.checked_add(n.days()).ok().filter(|d| d.weekday() == weekday)?;
                next(&zone, day.to_datetime(time.unwrap_or_default()), seen_at)
            }),
            When::Day { month, day, year, time } => {
                nearest(&zone, seen_at, today, (month, day, year), time.unwrap_or_default())
            }
        };
        found.ok_or(Unresolved::Moment)
    }
}

/// The first moment from `seen_at` on at which clocks there show this; an hour that a change to winter time repeats is
/// two moments, one that a change to summer time leaves out is the same time after the change.
fn next(zone: &TimeZone, shown: DateTime, seen_at: Timestamp) -> Option<Timestamp> {
    moments(zone, shown).into_iter().flatten().find(|moment| *moment >= seen_at)
}

fn moments(zone: &TimeZone, shown: DateTime) -> [Option<Timestamp>; 2] {
    let ambiguous = zone.to_ambiguous_timestamp(shown);
    match ambiguous.offset() {
        AmbiguousOffset::Fold { .. } => [ambiguous.clone().earlier().ok(), ambiguous.later().ok()],
        _ => [ambiguous.compatible().ok(), None],
    }
}

/// A date without a year is the nearest such date: limits last days, so neither "last year" nor "in eleven months".
fn nearest(
    zone: &TimeZone,
    seen_at: Timestamp,
    today: Date,
    (month, day, year): (i8, i8, Option<i16>),
    time: Time,
) -> Option<Timestamp> {
    let years = match year {
        Some(year) => year..=year,
        None => today.year().checked_sub(1)?..=today.year().checked_add(1)?,
    };
    years
        .filter_map(|year| Date::new(year, month, day).ok())
        .flat_map(|date| moments(zone, date.to_datetime(time)))
        .flatten()
        .min_by_key(|moment| {
            let away = moment.duration_since(seen_at);
            (away.abs(), away.is_negative())
        })
}

/// A zone's name, by its shape; whether it exists is asked later.
fn zone_name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    (!text.is_empty() && text.len() <= 64 && text.chars().all(fits)).then(|| text.to_owned())
}

/// Lower-case words, without commas and with `5 pm` as one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.replace(',', " ").split_whitespace() {
        let word = word.to_ascii_lowercase();
        match words.last_mut() {
            Some(last) if ["am", "pm", "a.m.", "p.m."].contains(&word.as_str()) => last.push_str(&word),
            _ => words.push(word),
        }
    }
    words
}

fn when(words: &[&str]) -> Option<When> {
    match words {
        ["at" | "on", rest @ ..] => when(rest),
        ["in", rest @ ..] => duration(rest).map(When::In),
        [one] => epoch(one)
            .or_else(|| time(one).map(When::Clock))
            .or_else(|| weekday(one).map(|d| When::Week(d, None))),
        [first, rest @ ..] => match weekday(first) {
            Some(day) => at(rest).map(|t| When::Week(day, t)),
            None => dated(words),
        },
        [] => None,
    }
}

fn dated(words: &[&str]) -> Option<When> {
    let [month_word, day_word, rest @ ..] = words else { return None };
    let month = month(month_word)?;
    let day = number(day_word.trim_end_matches(|c: char| c.is_ascii_alphabetic()), 2)?;
    let (year, rest) = match rest {
        [year, rest @ ..] if year.len() == 4 && number(year, 4).is_some() => (Some(number(year, 4)?), rest),
        _ => (None, rest),
    };
    let time = at(rest)?;
    let day = i8::try_from(day).ok().filter(|d| (1..=31).contains(d))?;
    Some(When::Day { month, day, year: year.and_then(|y| i16::try_from(y).ok()), time })
}

/// `at 5pm`, `5pm`, or nothing.
fn at(words: &[&str]) -> Option<Option<Time>> {
    match words {
        [] => Some(None),
        ["at", one] | [one] => time(one).map(Some),
        _ => None,
    }
}

/// `5am`, `4:20pm`, `12:00a.m.`, `17:05`.
fn time(word: &str) -> Option<Time> {
    let word = word.replace('.', "");
    let (clock, half) = match word.strip_suffix("am") {
        Some(clock) => (clock, Some(0)),
        None => match word.strip_suffix("pm") {
            Some(clock) => (clock, Some(12)),
            None => (word.as_str(), None),
        },
    };
    let (hour, minute) = match clock.split_once(':') {
        Some((hour, minute)) if minute.len() == 2 => (number(hour, 2)?, number(minute, 2)?),
        None if half.is_some() => (number(clock, 2)?, 0),
        _ => return None,
    };
    let hour = match half {
        Some(half) => (1..=12).contains(&hour).then_some(hour % 12 + half)?,
        None => hour,
    };
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}

/// Seconds since 1970, or milliseconds.
fn epoch(word: &str) -> Option<When> {
    let number: i64 = word.parse().ok().filter(|_| word.bytes().all(|b| b.is_ascii_digit()))?;
    match word.len() {
        9..=11 => Some(When::Epoch(number)),
        13 => Some(When::Epoch(number / 1000)),
        _ => None,
    }
}

/// `3h 44m`, `4hr 29min`, `2 hours`, `45 minutes`.
fn duration(words: &[&str]) -> Option<SignedDuration> {
    let text = words.concat();
    let mut total = SignedDuration::ZERO;
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            _ => return None,
        };
        total = total.checked_add(SignedDuration::from_secs(number(count, 4)?.checked_mul(seconds)?))?;
        rest = tail;
    }
    (!total.is_zero()).then_some(total)
}

fn number(text: &str, most: usize) -> Option<i64> {
    (text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn month(word: &str) -> Option<i8> {
    let word = word.trim_end_matches('.');
    let found = MONTHS.iter().position(|name| word == *name || word.len() >= 3 && name.starts_with(word));
    found.and_then(|at| i8::try_from(at + 1).ok())
}

fn weekday(word: &str) -> Option<Weekday> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let found = DAYS.iter().position(|name| word.len() >= 3 && name.starts_with(word))?;
    Weekday::from_monday_one_offset(i8::try_from(found + 1).ok()?).ok()
}

impl fmt::Display for Reset {
    /// As the agent writes it; [`Reset::parse`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |time: Time| {
            let (hour, half) = (time.hour(), if time.hour() < 12 { "am" } else { "pm" });
            let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
            if time.minute() == 0 {
                format!("{hour}{half}")
            } else {
                format!("{hour}:{:02}{half}", time.minute())
            }
        };
        match self.when {
            When::Epoch(seconds) => write!(f, "{seconds}")?,
            When::Clock(time) => f.write_str(&clock(time))?,
            When::In(duration) => write!(f, "in {}m", duration.as_mins())?,
            When::Week(day, time) => {
                write!(f, "{day:?}")?;
                if let Some(time) = time {
                    write!(f, " {}", clock(time))?;
                }
            }
            When::Day { month, day, year, time } => {
                let name = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"?");
                let (initial, rest) = name.split_at(1);
                write!(f, "{}{} {day}", initial.to_uppercase(), rest.get(..2).unwrap_or_default())?;
                if let Some(year) = year {
                    write!(f, ", {year}")?;
                }
                if let Some(time) = time {
                    write!(f, " at {}", clock(time))?;
                }
            }
        }
        match &self.zone {
            Some(zone) => write!(f, " ({zone})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "reset_tests.rs"]
pub(crate) mod tests;
