//! Hooks of an agent: which are asked for at its start, and what of a payload travels to the supervisor.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::watchdog::limit::{self, Message};

/// The events whose hooks are asked for. Source: the settings of Claude Code 2.1.
pub const EVENTS: [&str; 6] =
    ["SessionStart", "UserPromptSubmit", "Stop", "StopFailure", "Notification", "SessionEnd"];

/// The longest line that travels, in bytes.
pub const LONGEST: usize = 32 << 10;
/// Where the digest of a prompt stands in a line: the prompt itself is cut.
pub const DIGEST: &str = "prompt_sha256";
/// The agent gives a hook up after this many seconds; ours never takes as long.
const TIMEOUT: u32 = 10;
/// Longer texts in a payload are cut to as many characters, so that a line stays below [`LONGEST`].
const TEXT: usize = 1000;
/// More keys than any payload has.
const KEYS: usize = 24;

/// Settings that have `command`, a line for a shell, called at each of [`EVENTS`].
pub fn settings(command: &str) -> String {
    // What a hook prints at some events goes into the conversation, and some exit statuses stop the turn: an older or
    // missing program must do neither.
    let quiet = format!("{command} >/dev/null 2>&1 || true");
    let call = json!([{ "hooks": [{ "type": "command", "command": quiet, "timeout": TIMEOUT }] }]);
    let hooks: Map<String, Value> = EVENTS.iter().map(|event| ((*event).into(), call.clone())).collect();
    json!({ "hooks": hooks }).to_string()
}

/// The line that travels: the payload with the time at which it came, long parts cut, and the digest of a prompt. None
/// when it is no payload of a hook.
pub fn line(payload: &[u8], at: Timestamp) -> Option<String> {
    let Value::Object(payload) = serde_json::from_slice(payload).ok()? else { return None };
    payload.get("hook_event_name")?.as_str()?;
    let mut kept = Map::new();
    kept.insert("at".into(), json!(format!("{at:.3}")));
    for (key, value) in payload.iter().filter(|(key, _)| *key != "at" && *key != DIGEST).take(KEYS) {
        if let (Some(prompt), "prompt") = (value.as_str(), key.as_str()) {
            kept.insert(DIGEST.into(), json!(digest(prompt)));
        }
        match value {
            Value::String(text) => kept.insert(key.clone(), json!(cut(text))),
            Value::Array(_) | Value::Object(_) if value.to_string().len() > TEXT => None,
            _ => kept.insert(key.clone(), value.clone()),
        };
    }
    let line = Value::Object(kept).to_string();
    (line.len() <= LONGEST).then_some(line)
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

/// What two prompts have in common when an agent took one for the other: blanks at the ends and the kind of line ends
/// do not count.
pub fn digest(prompt: &str) -> String {
    crate::sha256(plain(prompt).as_bytes())
}

/// A prompt without what agents change of it.
pub fn plain(prompt: &str) -> String {
    prompt.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned()
}

/// A line that came: whether it is one, and the digest and time of the prompt that it tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The digest of the prompt that the agent took, if this tells of one.
    pub prompt: Option<String>,
    /// When the hook was called.
    pub at: Option<Timestamp>,
    /// The last words that it tells of read as the program's own, that its account or the server refused it.
    pub refused: bool,
}

/// The conversation that an agent went over to without a new process, if this line tells of one. One that begins with its
/// agent (`startup`) is whoever started it's to know: it may be a helper of the agent's own.
pub fn went_over(line: &str) -> Option<Uuid> {
    let value: Value = serde_json::from_str(line).ok()?;
    let over =
        value["hook_event_name"] == "SessionStart" && matches!(value["source"].as_str()?, "clear" | "resume");
    over.then(|| value["session_id"].as_str()?.parse().ok()).flatten()
}

/// Reads a line; none when it is not one of [`line()`].
pub fn heard(line: &str) -> Option<Heard> {
    let value: Value = serde_json::from_str(line).ok()?;
    let event = value.get("hook_event_name")?.as_str()?;
    let prompt = value[DIGEST].as_str().filter(|_| event == "UserPromptSubmit").map(Into::into);
    let words = value["last_assistant_message"].as_str().and_then(limit::read);
    let refused = words.is_some_and(|message| message != Message::Warning);
    Some(Heard { prompt, at: value["at"].as_str().and_then(|at| at.parse().ok()), refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn a_long_prompt_travels_as_its_digest() {
        let prompt = "Zeile ä\r\n".repeat(4000);
        let payload = json!({ "hook_event_name": "UserPromptSubmit", "prompt": prompt, "tool": { "x": "y".repeat(5000) } });
        let line = line(payload.to_string().as_bytes(), at()).unwrap();
        assert!(line.len() < 10_000, "{}", line.len());
        let prompt = Some(digest(&prompt.replace("\r\n", "\n")));
        assert_eq!(heard(&line), Some(Heard { prompt, at: Some(at()), refused: false }));
    }

    #[test]
    fn last_words_that_are_a_limit_are_told_from_those_that_mention_one() {
        let refused = |words: &str| {
            let stop = json!({ "hook_event_name": "Stop", "last_assistant_message": words });
            heard(&line(stop.to_string().as_bytes(), at()).unwrap()).unwrap().refused
        };
        assert!(refused("Weekly limit reached ∙ resets Oct 9 at 5:15pm (America/New_York)"));
        assert!(refused("Login expired · Please run /login"));
        assert!(!refused("Approaching usage limit · resets 7pm"));
        assert!(!refused("The parser now reads `Weekly limit reached ∙ resets Oct 9`.") && !refused(""));
    }

    #[test]
    fn what_is_no_payload_is_none() {
        let huge: Map<String, Value> =
            (0..10_000).map(|n| (format!("key{n}"), json!("ä".repeat(2000)))).collect();
        let mut huge = huge;
        huge.insert("hook_event_name".into(), json!("x".repeat(9)));
        for payload in ["", "{", "[]", "{}", "\u{0}", r#"{"hook_event_name":1}"#, "\"text\""] {
            assert_eq!(line(payload.as_bytes(), at()), None, "{payload}");
            assert_eq!(heard(payload), None, "{payload}");
        }
        assert_eq!(line(b"\xff\xfe", at()), None);
        assert!(
            line(Value::Object(huge).to_string().as_bytes(), at()).is_none_or(|line| line.len() <= LONGEST)
        );
    }

    #[test]
    fn every_event_calls_the_command_and_nothing_of_it_reaches_the_agent() {
        let settings: Value = serde_json::from_str(&settings("/x/ccorch hook builder")).unwrap();
        for event in EVENTS {
            let hook = &settings["hooks"][event][0]["hooks"][0];
            assert_eq!(hook["command"], "/x/ccorch hook builder >/dev/null 2>&1 || true");
        }
    }
}
