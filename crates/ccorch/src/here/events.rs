//! The events: one JSON object a line, in files of bounded size. What agents cause at will has files of its own, so that a
//! flood of it takes no room from what happened to the rig.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use ccorch_core::fleet::{Dated, Fact};
use ccorch_core::names::LoopName;
use ccorch_io::{clock, durable, lock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Here;

/// At this size the file becomes `events.1.jsonl` and a new one begins: never more than twice this on disk.
const LARGEST: u64 = 4 << 20;

/// What agents cause at will, or what comes with each of their turns.
const CHATTER: [&str; 17] = [
    "hooks-lost",
    "inbox-readable-again",
    "inbox-unreadable",
    "inbox-unwritable",
    "loop-idle",
    "loop-safe-point",
    "loop-says-done",
    "loop-says-not-done",
    "loop-working",
    "menu-dismissed",
    "notify",
    "notify-damaged",
    "notify-held-back",
    "nudge",
    "nudge-received",
    "nudge-refused",
    "nudge-retried",
];
/// As [`LARGEST`], of the files that have these.
const LARGEST_CHATTER: u64 = 1 << 20;

/// The longest line: what an agent says is told, but fills no disk.
const LONGEST: usize = 64 << 10;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What, as a stable word: `loop-started`, `loop-ended`, `lease-acquired`, `reboot` and so on.
    pub what: String,
    /// The loop it is about.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub about: Option<LoopName>,
    /// In words, with the evidence.
    pub detail: String,
    /// What a state that is lost is found out by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<Fact>,
}

impl Event {
    fn now(what: &str, about: Option<&LoopName>, detail: impl Into<String>, fact: Option<Fact>) -> Self {
        Self { at: clock::now(), what: what.into(), about: about.cloned(), detail: detail.into(), fact }
    }
}

/// Whether an event is of the kind that agents cause at will. What the host itself has to say to people is none.
pub fn is_chatter(what: &str, about: Option<&LoopName>) -> bool {
    CHATTER.contains(&what) && (what != "notify" || about.is_some())
}

/// Writes one event; that it cannot be written is said on standard error and stops nothing.
pub fn record(here: &Here, what: &str, about: Option<&LoopName>, detail: impl Into<String>) {
    record_fact(here, what, about, detail, None);
}

/// The same for one that carries a fact.
pub fn record_fact(
    here: &Here,
    what: &str,
    about: Option<&LoopName>,
    detail: impl Into<String>,
    fact: Option<Fact>,
) {
    say(here, &Event::now(what, about, detail, fact), durable::append_line);
}

/// The same for what must not keep a start waiting: on disk after [`keep`].
pub fn record_soon(
    here: &Here,
    what: &str,
    about: Option<&LoopName>,
    detail: impl Into<String>,
    fact: Option<Fact>,
) {
    say(here, &Event::now(what, about, detail, fact), durable::put_line);
}

/// Has all events on disk.
pub fn keep(here: &Here) {
    if let Err(error) = durable::sync(&here.paths.events()) {
        eprintln!("warning: the latest events may not outlive a power cut: {error:#}");
    }
}

/// How a line gets into a file.
type Append = fn(&Path, &str, u32) -> Result<()>;

fn say(here: &Here, event: &Event, append: Append) {
    let name = event.about.as_ref().map(|n| format!("{n}: ")).unwrap_or_default();
    eprintln!("{}: {name}{}", event.what, event.detail.lines().next().unwrap_or_default());
    if let Err(error) = write(here, event, append) {
        eprintln!("warning: the event could not be written: {error:#}");
    }
}

fn write(here: &Here, event: &Event, append: Append) -> Result<()> {
    let (path, largest, append) = match is_chatter(&event.what, event.about.as_ref()) {
        // Nobody waits for the disk because of it.
        true => (here.paths.chatter(), LARGEST_CHATTER, durable::put_line as Append),
        false => (here.paths.events(), LARGEST, append),
    };
    if is_large(&path, largest) {
        // Several processes write here: of two that rename, the second would take the new file for the full one.
        let _turn = lock::wait(&path.with_file_name("events.lock"))?;
        if is_large(&path, largest) {
            fs::rename(&path, earlier(&path))?;
        }
    }
    let mut line = serde_json::to_string(event)?;
    if line.len() > LONGEST {
        let detail: String = event.detail.chars().take(LONGEST / 8).collect();
        line = serde_json::to_string(&Event { detail: format!("{detail} [cut]"), ..event.clone() })?;
    }
    append(&path, &line, 0o640)
}

fn is_large(path: &Path, largest: u64) -> bool {
    fs::metadata(path).is_ok_and(|m| m.len() > largest)
}

/// Where a file's full predecessor lies.
fn earlier(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

/// The last events that match, oldest first. Lines that are damaged are passed over.
pub fn last(here: &Here, most: usize, wanted: impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
    let mut all = merged(read(&here.paths.events(), &wanted)?, read(&here.paths.chatter(), &wanted)?);
    all.drain(..all.len().saturating_sub(most));
    Ok(all)
}

/// The facts that the events tell of one loop, or of what is not one loop's; oldest first.
pub fn facts(here: &Here, about: Option<&LoopName>) -> Result<Vec<Dated>> {
    let all = last(here, usize::MAX, |event| event.fact.is_some() && event.about.as_ref() == about)?;
    Ok(all.into_iter().filter_map(|event| Some((event.at, event.fact?))).collect())
}

fn read(path: &Path, wanted: &impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
    let texts = [durable::read_log(&earlier(path))?, durable::read_log(path)?];
    let all = texts.iter().flat_map(|text| text.lines());
    Ok(all.filter_map(|line| serde_json::from_str(line).ok()).filter(|event| wanted(event)).collect())
}

/// Both by their time; each keeps its own order, whatever a clock that was set says.
fn merged(one: Vec<Event>, other: Vec<Event>) -> Vec<Event> {
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let next = match (one.peek(), other.peek()) {
            (Some(a), Some(b)) if b.at < a.at => other.next(),
            (Some(_), _) => one.next(),
            (None, _) => other.next(),
        };
        let Some(next) = next else { return all };
        all.push(next);
    }
}
