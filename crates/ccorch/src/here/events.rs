//! The events file: one JSON object a line, two files of bounded size.

use std::fs;
use std::path::Path;

use anyhow::Result;
use ccorch_core::names::LoopName;
use ccorch_io::{clock, durable, lock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Here;

/// At this size the file becomes `events.1.jsonl` and a new one begins: never more than twice this on disk.
const LARGEST: u64 = 4 << 20;

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
}

/// Writes one event; that it cannot be written is said on standard error and stops nothing.
pub fn record(here: &Here, what: &str, about: Option<&LoopName>, detail: impl Into<String>) {
    say(here, what, about, detail.into(), durable::append_line);
}

/// The same for what must not keep a start waiting: on disk after [`keep`].
pub fn record_soon(here: &Here, what: &str, about: Option<&LoopName>, detail: impl Into<String>) {
    say(here, what, about, detail.into(), durable::put_line);
}

/// Has all events on disk.
pub fn keep(here: &Here) {
    if let Err(error) = durable::sync(&here.paths.events()) {
        eprintln!("warning: the latest events may not outlive a power cut: {error:#}");
    }
}

/// How a line gets into a file.
type Append = fn(&Path, &str, u32) -> Result<()>;

fn say(here: &Here, what: &str, about: Option<&LoopName>, detail: String, append: Append) {
    let event = Event { at: clock::now(), what: what.into(), about: about.cloned(), detail };
    let name = event.about.as_ref().map(|n| format!("{n}: ")).unwrap_or_default();
    eprintln!("{what}: {name}{}", event.detail.lines().next().unwrap_or_default());
    if let Err(error) = write(here, &event, append) {
        eprintln!("warning: the event could not be written: {error:#}");
    }
}

fn write(here: &Here, event: &Event, append: Append) -> Result<()> {
    let path = here.paths.events();
    if is_large(&path) {
        // Several processes write here: of two that rename, the second would take the new file for the full one.
        let _turn = lock::wait(&path.with_file_name("events.lock"))?;
        if is_large(&path) {
            fs::rename(&path, path.with_file_name("events.1.jsonl"))?;
        }
    }
    let mut line = serde_json::to_string(event)?;
    if line.len() > LONGEST {
        let detail: String = event.detail.chars().take(LONGEST / 8).collect();
        line = serde_json::to_string(&Event { detail: format!("{detail} [cut]"), ..event.clone() })?;
    }
    append(&path, &line, 0o640)
}

fn is_large(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.len() > LARGEST)
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
