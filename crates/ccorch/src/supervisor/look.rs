//! A look at an agent: its screen, the end of its transcript, the hooks it fired; and the verdict on them.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Seek, SeekFrom};

use ccorch_core::names::LoopName;
use ccorch_core::watchdog::{Evidence, Verdict, decide};
use ccorch_io::clock;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::here::runtime::tmux;
use crate::here::{Here, loop_state};

/// The end of a transcript that is read.
const TAIL: u64 = 64 << 10;
/// Hooks that are remembered.
const HOOKS: usize = 32;

/// What was seen of an agent.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its screen.
    pub screen: String,
    /// The end of its transcript.
    pub transcript: String,
}

/// What is remembered between looks at one agent.
#[derive(Debug, Default)]
pub struct Eyes {
    /// The screen as it was last seen, and since when it is so.
    screen: Option<(u64, Timestamp)>,
    hooks: VecDeque<String>,
}

/// Looks; takes as long as tmux does.
pub fn look(here: &Here, name: &LoopName, session: Option<Uuid>) -> Seen {
    let screen = tmux(here, name).screen().unwrap_or_default();
    let transcript = session.and_then(|id| tail(here, name, id)).unwrap_or_default();
    Seen { screen, transcript }
}

fn tail(here: &Here, name: &LoopName, session: Uuid) -> Option<String> {
    let spec = here.rig.loops.get(name)?;
    let mut file = File::open(loop_state::transcript(here, spec, session)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Eyes {
    /// A new agent: nothing of the old one counts.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// A hook fired.
    pub fn hook(&mut self, line: String) {
        self.hooks.push_back(line);
        while self.hooks.len() > HOOKS {
            self.hooks.pop_front();
        }
    }

    /// The hooks that are remembered, one a line.
    pub fn hooks(&self) -> String {
        self.hooks.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Since when the screen is as it was last seen.
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.screen.map(|(_, since)| since)
    }

    /// The verdict on what is seen.
    pub fn judge(&mut self, seen: &Seen, stall_after: SignedDuration) -> Verdict {
        let now = clock::now();
        let mut hasher = DefaultHasher::new();
        seen.screen.hash(&mut hasher);
        let hash = hasher.finish();
        let since = match self.screen {
            Some((old, since)) if old == hash => since.min(now),
            _ => now,
        };
        self.screen = Some((hash, since));
        let hooks: Vec<&str> = self.hooks.iter().map(String::as_str).collect();
        decide(&Evidence {
            hooks: &hooks.join("\n"),
            transcript: &seen.transcript,
            screen: &seen.screen,
            now,
            seen_at: Some(since),
            zone: TimeZone::system(),
            stall_after,
        })
    }
}
