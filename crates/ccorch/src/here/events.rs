//! The events file: one JSON object a line, two files of bounded size.

use std::fs;

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_io::{clock, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Here;

/// At this size the file becomes `events.1.jsonl` and a new one begins: never more than twice this on disk.
const LARGEST: u64 = 4 << 20;

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
}

/// Writes one event; that it cannot be written is said on standard error and stops nothing.
pub fn record(here: &Here, what: &str, about: Option<&LoopName>, detail: impl Into<String>) {
    let event = Event { at: clock::now(), what: what.into(), about: about.cloned(), detail: detail.into() };
    let name = event.about.as_ref().map(|n| format!("{n}: ")).unwrap_or_default();
    eprintln!("{what}: {name}{}", event.detail.lines().next().unwrap_or_default());
    if let Err(error) = write(here, &event) {
        eprintln!("warning: the event could not be written: {error:#}");
    }
}

fn write(here: &Here, event: &Event) -> Result<()> {
    let path = here.paths.events();
    if fs::metadata(&path).is_ok_and(|m| m.len() > LARGEST) {
        fs::rename(&path, path.with_file_name("events.1.jsonl"))?;
    }
    durable::append_line(&path, &serde_json::to_string(event)?, 0o640)
}

/// The last events that match, oldest first. Lines that are damaged are passed over.
pub fn last(here: &Here, most: usize, wanted: impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
    let path = here.paths.events();
    let texts = [durable::read_log(&path.with_file_name("events.1.jsonl"))?, durable::read_log(&path)?];
    let all = texts.iter().flat_map(|text| text.lines());
    let mut events: Vec<Event> = all.filter_map(|l| serde_json::from_str(l).ok()).filter(wanted).collect();
    events.drain(..events.len().saturating_sub(most));
    Ok(events)
}
