//! Delivering a nudge: pasted as one, Enter apart, and proven by the agent's hook, its transcript or the emptied input
//! line. Before anything is typed it is looked for where an earlier try of the same nudge may have brought it.

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
use ccorch_io::{clock, content, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hears::Ears;
use super::threads::{Life, Lives};
use crate::here::runtime::tmux;
use crate::here::{Here, keyboard, loop_state};

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
/// How long an input line may take to follow a key.
const REDRAWN: Duration = Duration::from_secs(1);
/// Lines that are taken out of an input line; each may take two rounds.
const LEFT: usize = 64;
/// The part of a transcript that is looked through.
const LARGEST: u64 = 8 << 20;
/// What an agent shows in place of a long paste.
const FOLDED: &str = "[Pasted text #";

/// The weakest receipt.
pub(super) const EMPTY_AGAIN: &str = "the input line is empty again";

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
    /// The agent it is told; the next one is another try's.
    life: &'a Life,
    tmux: Tmux,
    transcript: Option<PathBuf>,
    mark: Mark,
    digest: String,
}

/// Types the text, unless the agent has it already, and waits for the receipt.
pub(super) fn deliver(here: &Here, letter: &Letter, ears: &Arc<Ears>, life: &Life) -> Result<Delivered> {
    let name = &letter.name;
    let spec = here.rig.loops.get(name).context("the rig does not have it")?;
    if spec.agent != Agent::Claude {
        bail!("it runs a plain program, which nothing can be told");
    }
    let transcript = letter.session.map(|id| loop_state::transcript(here, spec, id));
    let (mark, tried) = mark(here, letter, transcript.as_deref());
    let digest = hook::digest(&letter.text);
    let one = Try { letter, ears, life, tmux: tmux(here, name), transcript, mark, digest };
    if let Some(how) = one.came(Duration::ZERO) {
        return Ok(Delivered::Yes(how));
    }
    one.perform(tried)
}

/// The same by somebody else than the supervisor, who tries once and keeps no note of it: it is no more than words.
pub fn once(here: &Here, letter: &Letter) -> Result<Delivered> {
    let spec = here.rig.loops.get(&letter.name).context("the rig does not have it")?;
    let transcript = letter.session.map(|id| loop_state::transcript(here, spec, id));
    let mark = fresh(letter, transcript.as_deref());
    let (ears, life) = (Arc::default(), Lives::default().current());
    let (tmux, digest) = (tmux(here, &letter.name), hook::digest(&letter.text));
    Try { letter, ears: &ears, life: &life, tmux, transcript, mark, digest }.perform(false)
}

/// The mark of this nudge, and whether an earlier try made it.
fn mark(here: &Here, letter: &Letter, transcript: Option<&Path>) -> (Mark, bool) {
    let path = here.paths.delivery(&letter.name);
    let kept: Option<Mark> = durable::read_json(&path).unwrap_or_default();
    if let Some(mark) = kept.filter(|mark| mark.id == letter.id && mark.session == letter.session) {
        return (mark, true);
    }
    let mark = fresh(letter, transcript);
    // Without it a supervisor that dies now repeats a nudge; a disk that takes nothing holds none back.
    if let Err(error) = durable::replace_json(&path, &mark, 0o600) {
        eprintln!("warning: {error:#}");
    }
    (mark, false)
}

/// Where a conversation stands now.
fn fresh(letter: &Letter, transcript: Option<&Path>) -> Mark {
    let offset = transcript.and_then(|path| path.metadata().ok()).map_or(0, |meta| meta.len());
    Mark { id: letter.id.clone(), session: letter.session, offset, at: clock::now() }
}

impl Try<'_> {
    fn perform(&self, tried: bool) -> Result<Delivered> {
        let (before, held) = self.look()?;
        if let Some(held) = held {
            return Ok(held);
        }
        if let Some(held) = self.kept()? {
            return Ok(held);
        }
        let Some(mut draft) = before.draft else { bail!("the screen shows no input line") };
        let mut shown = tried && before.mode.is_none() && self.is_ours(&draft);
        let is_left = !draft.is_empty() || before.mode.is_some();
        let mut before = String::new();
        if !shown {
            if is_left {
                if keyboard::has_typist(&self.tmux)? {
                    return Ok(Delivered::InTheWay(
                        "somebody is attached, and the input line is not empty".into(),
                    ));
                }
                draft = self.clear(draft)?;
                if let Some(held) = self.leave_mode()? {
                    return Ok(held);
                }
            }
            self.tmux.paste(&self.letter.text)?;
            shown = self.wait_until_shown(&draft)?;
            before = draft;
        }
        thread::sleep(SETTLE);
        // What came up meanwhile must not get the Enter.
        let (live, held) = self.look()?;
        if let Some(held) = held.or_else(|| self.goes_elsewhere(&live)) {
            return Ok(held);
        }
        if let Some(held) = self.kept()? {
            return Ok(held);
        }
        self.tmux.press("Enter")?;
        self.receipt(shown, &before)
    }

    /// Takes away what was left in the input line, of however many lines it is; what stands there then.
    fn clear(&self, mut draft: String) -> Result<String> {
        for _ in 0..LEFT {
            let before = draft.clone();
            // The first takes a line, the second the end of the one above.
            for key in ["C-u", "BSpace"] {
                if !draft.is_empty() && draft == before {
                    self.tmux.press(key)?;
                    draft = self.after(draft)?;
                }
            }
            // A hint that is not drawn faint stays, and takes no harm.
            if draft.is_empty() || draft == before {
                break;
            }
        }
        Ok(draft)
    }

    /// Brings the emptied input line back to the agent, which somebody left in a mode of its own: one key of an empty line does
    /// that, and is nothing to any other. What is in the way where it stays.
    fn leave_mode(&self) -> Result<Option<Delivered>> {
        if self.look()?.0.mode.is_none() {
            return Ok(None);
        }
        self.tmux.press("BSpace")?;
        let end = Instant::now() + REDRAWN;
        loop {
            let (live, held) = self.look()?;
            let there = held.or_else(|| self.goes_elsewhere(&live));
            if there.is_none() || Instant::now() >= end {
                return Ok(there);
            }
            thread::sleep(LOOK / 5);
        }
    }

    /// That an Enter would give the text to a shell or a memory; words that begin like that were meant so.
    fn goes_elsewhere(&self, live: &Live) -> Option<Delivered> {
        let mode = live.mode.filter(|mode| !self.letter.text.starts_with(*mode))?;
        Some(Delivered::InTheWay(format!("the input line is in its `{mode}` mode, and does not leave it")))
    }

    /// What keeps the keys from the agent.
    fn kept(&self) -> Result<Option<Delivered>> {
        Ok(keyboard::free(&self.tmux)?.map(|what| Delivered::InTheWay(what.into())))
    }

    /// The input line when it is another than that, or after a while the same.
    fn after(&self, draft: String) -> Result<String> {
        let end = Instant::now() + REDRAWN;
        loop {
            let (live, held) = self.look()?;
            let Some(now) = live.draft.filter(|_| held.is_none()) else { bail!("the input line is gone") };
            if now != draft || Instant::now() >= end {
                return Ok(now);
            }
            thread::sleep(LOOK / 5);
        }
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

    /// Waits until it is known that the agent has it; `before` stood in the input line when the paste came.
    fn receipt(&self, shown: bool, before: &str) -> Result<Delivered> {
        let (begun, mut pressed) = (Instant::now(), Instant::now());
        let (mut looked, mut other) = (Instant::now(), false);
        while begun.elapsed() < RECEIPT {
            if let Some(how) = self.came(LOOK) {
                return Ok(Delivered::Yes(how));
            }
            if looked.elapsed() < AGAIN / 2 {
                continue;
            }
            looked = Instant::now();
            let (live, held) = self.look()?;
            let elsewhere = self.goes_elsewhere(&live).is_some();
            let Some(draft) = live.draft.filter(|_| held.is_none()) else { continue };
            // A hint that is not drawn faint is there before and after.
            let submitted = draft.is_empty() || draft == before;
            other = !submitted && (elsewhere || !self.is_ours(&draft));
            if !submitted && !other {
                if pressed.elapsed() >= AGAIN && self.kept()?.is_none() {
                    self.tmux.press("Enter")?;
                    pressed = Instant::now();
                }
            } else if submitted && shown && pressed.elapsed() >= EMPTIED {
                return Ok(Delivered::Yes(EMPTY_AGAIN));
            }
        }
        let what = if other { "; something else stands in the input line" } else { "" };
        bail!("no receipt within {} s{what}", RECEIPT.as_secs())
    }

    /// The live part of the screen, and what holds the keyboard.
    fn look(&self) -> Result<(Live, Option<Delivered>)> {
        let live = screen::read(&self.tmux.drawn()?);
        if self.life.is_over() {
            bail!("its agent ended meanwhile");
        }
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
    let from = |length: u64| {
        // A file that is shorter than it was is another one.
        let from = if length < offset { 0 } else { offset };
        from.max(length.saturating_sub(LARGEST))
    };
    let bytes = content::part(path, LARGEST, from).ok().flatten().unwrap_or_default();
    let wanted = hook::plain(text);
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
