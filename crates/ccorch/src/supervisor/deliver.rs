//! Delivering a nudge: pasted as one, Enter apart, and proven by the agent's hook, its transcript or the emptied input
//! line. Before anything is typed it is looked for where an earlier try of the same nudge may have brought it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ccorch_core::hook;
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_core::watchdog::screen::{self, Live};
use ccorch_io::tmux::Tmux;
use ccorch_io::{clock, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hears::Ears;
use crate::here::runtime::tmux;
use crate::here::{Here, loop_state};

/// How long a receipt may take.
const RECEIPT: Duration = Duration::from_secs(10);
/// Between two looks for it; a hook is heard at once.
const LOOK: Duration = Duration::from_millis(250);
/// How long a paste may take to show in the input line.
const SHOWN: Duration = Duration::from_secs(3);
/// Between a paste and its Enter: one that follows at once is sometimes drafted and not submitted.
const SETTLE: Duration = Duration::from_millis(400);
/// An Enter that did nothing is pressed again after this long.
const AGAIN: Duration = Duration::from_secs(2);
/// An emptied input line is a receipt when nothing better has come for this long.
const EMPTIED: Duration = Duration::from_secs(3);
/// The part of a transcript that is looked through.
const LARGEST: u64 = 8 << 20;
/// What an agent shows in place of a long paste.
const FOLDED: &str = "[Pasted text #";

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The agent has it; how that is known.
    Yes(&'static str),
    /// Something holds the keyboard; nothing was submitted.
    InTheWay(String),
}

/// What is to be delivered, to whom.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The loop.
    pub name: LoopName,
    /// Its conversation.
    pub session: Option<Uuid>,
    /// The nudge's id, and its words.
    pub id: String,
    /// Its words.
    pub text: String,
}

/// Where a conversation stood when the first try of a nudge began; kept, so that the next supervisor finds what the one
/// before delivered and did not live to note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    id: String,
    session: Option<Uuid>,
    offset: u64,
    at: Timestamp,
}

struct Try<'a> {
    letter: &'a Letter,
    ears: &'a Arc<Ears>,
    tmux: Tmux,
    transcript: Option<PathBuf>,
    mark: Mark,
    digest: String,
}

/// Types the text, unless the agent has it already, and waits for the receipt.
pub fn deliver(here: &Here, letter: &Letter, ears: &Arc<Ears>) -> Result<Delivered> {
    let name = &letter.name;
    let spec = here.rig.loops.get(name).context("the rig does not have it")?;
    if spec.agent != Agent::Claude {
        bail!("it runs a plain program, which nothing can be told");
    }
    let transcript = letter.session.map(|id| loop_state::transcript(here, spec, id));
    let (mark, tried) = mark(here, letter, transcript.as_deref());
    let digest = hook::digest(&letter.text);
    let one = Try { letter, ears, tmux: tmux(here, name), transcript, mark, digest };
    if let Some(how) = one.came(Duration::ZERO) {
        return Ok(Delivered::Yes(how));
    }
    one.perform(tried)
}

/// The mark of this nudge, and whether an earlier try made it.
fn mark(here: &Here, letter: &Letter, transcript: Option<&Path>) -> (Mark, bool) {
    let path = here.paths.delivery(&letter.name);
    let kept: Option<Mark> = durable::read_json(&path).unwrap_or_default();
    if let Some(mark) = kept.filter(|mark| mark.id == letter.id && mark.session == letter.session) {
        return (mark, true);
    }
    let offset = transcript.and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len());
    let mark = Mark { id: letter.id.clone(), session: letter.session, offset, at: clock::now() };
    // Without it a supervisor that dies now repeats a nudge; a disk that takes nothing holds none back.
    if let Err(error) = durable::replace_json(&path, &mark, 0o600) {
        eprintln!("warning: {error:#}");
    }
    (mark, false)
}

impl Try<'_> {
    fn perform(&self, tried: bool) -> Result<Delivered> {
        let (before, held) = self.look()?;
        if let Some(held) = held {
            return Ok(held);
        }
        let Some(draft) = before.draft else { bail!("the screen shows no input line") };
        let mut shown = tried && self.is_ours(&draft);
        if !shown {
            if !draft.is_empty() {
                // A hint that the agent shows in an empty line looks the same, and takes no harm.
                if self.tmux.has_clients()? {
                    return Ok(Delivered::InTheWay(
                        "somebody is attached, and the input line is not empty".into(),
                    ));
                }
                self.tmux.press("C-u")?;
            }
            self.tmux.paste(&self.letter.text)?;
            shown = self.wait_until_shown(&draft)?;
        }
        thread::sleep(SETTLE);
        // What came up meanwhile must not get the Enter.
        if let (_, Some(held)) = self.look()? {
            return Ok(held);
        }
        self.tmux.press("Enter")?;
        self.receipt(shown)
    }

    /// Whether the paste came to be seen in the input line.
    fn wait_until_shown(&self, before: &str) -> Result<bool> {
        let end = Instant::now() + SHOWN;
        while Instant::now() < end {
            match self.look()?.0.draft {
                Some(draft) if draft != before && !draft.is_empty() => return Ok(true),
                _ => thread::sleep(LOOK),
            }
        }
        // An agent that is busy draws late; the Enter comes behind the paste all the same.
        Ok(false)
    }

    fn receipt(&self, shown: bool) -> Result<Delivered> {
        let (begun, mut pressed) = (Instant::now(), Instant::now());
        let mut looked = Instant::now();
        while begun.elapsed() < RECEIPT {
            if let Some(how) = self.came(LOOK) {
                return Ok(Delivered::Yes(how));
            }
            if looked.elapsed() < AGAIN / 2 {
                continue;
            }
            looked = Instant::now();
            let (live, held) = self.look()?;
            let Some(draft) = live.draft.filter(|_| held.is_none()) else { continue };
            if self.is_ours(&draft) {
                if pressed.elapsed() >= AGAIN {
                    self.tmux.press("Enter")?;
                    pressed = Instant::now();
                }
            } else if shown && pressed.elapsed() >= EMPTIED {
                return Ok(Delivered::Yes("the input line is empty again"));
            }
        }
        bail!("no receipt within {} s", RECEIPT.as_secs())
    }

    /// The live part of the screen, and what holds the keyboard.
    fn look(&self) -> Result<(Live, Option<Delivered>)> {
        let live = screen::read(&self.tmux.screen()?);
        let held =
            live.dialog.as_ref().map(|(kind, _)| Delivered::InTheWay(format!("{kind} holds the keyboard")));
        Ok((live, held))
    }

    /// Whether what stands in the input line is this nudge, as far as it is shown.
    fn is_ours(&self, draft: &str) -> bool {
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let (draft, text) = (bare(draft), bare(&self.letter.text));
        !draft.is_empty() && (draft.contains(&bare(FOLDED)) || text.contains(&draft))
    }

    /// How it is known that the agent has it; waits up to `wait` for its hook.
    fn came(&self, wait: Duration) -> Option<&'static str> {
        if self.ears.took(&self.digest, self.mark.at, wait) {
            return Some("its hook told");
        }
        let path = self.transcript.as_ref()?;
        holds(path, self.mark.offset, &self.letter.text).then_some("its transcript has it")
    }
}

/// Whether a transcript has the text as a person's words behind `offset`.
fn holds(path: &Path, offset: u64, text: &str) -> bool {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        // A file that is shorter than it was is another one.
        let from = if length < offset { 0 } else { offset };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(LARGEST))))?;
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let wanted = hook::plain(text);
    let bytes = read().unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().any(|line| {
        let Ok(record) = serde_json::from_str::<serde_json::Value>(line) else { return false };
        let content = &record["message"]["content"];
        let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
        let mut said = content.as_str().into_iter().chain(parts);
        record["type"] == "user" && said.any(|words| hook::plain(words) == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_persons_words_behind_the_mark_are_a_receipt() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let old = "{\"type\":\"user\",\"message\":{\"content\":\"go on\"}}\n";
        let quoted = "{\"type\":\"assistant\",\"message\":{\"content\":[{\"text\":\"go on\"}]}}\n";
        let all = format!("{old}{quoted}{{\"type\":\"user\",\"message\":{{\"content\":\"go");
        std::fs::write(file.path(), &all).unwrap();
        assert!(holds(file.path(), 0, "go on"));
        assert!(!holds(file.path(), old.len() as u64, "go on"));
        let parts =
            "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"go\\non\\n\"}]}}\n";
        std::fs::write(file.path(), format!("{old}{parts}")).unwrap();
        assert!(holds(file.path(), old.len() as u64, "go\r\non"));
        assert!(!holds(Path::new("/nowhere"), 0, "go on"));
    }
}
