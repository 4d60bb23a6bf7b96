//! Structured signals: hook payloads and transcript records, one JSON object a line, folded into where the turn stands.
//!
//! Torn and foreign lines are passed over: a transcript is read while it is written. Sources: the hooks and stream
//! formats of Claude Code, 1.0 to 2.1.2.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Where the agent's turn stands, as one source tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It runs.
    Open,
    /// It came to its end.
    Ended,
    /// An error ended it: the program's error word and its message, as far as given.
    Failed {
        /// `rate_limit`, `authentication_failed` and so on.
        error: Option<String>,
        /// What the program told the person.
        text: Option<String>,
        /// Seconds since 1970, when the record carries it.
        resets_at: Option<Timestamp>,
    },
    /// The agent said something, which may or may not have been its last words.
    Said(String),
    /// The agent waits for a yes.
    Asks(String),
    /// The session began, and nothing was asked yet.
    Started,
    /// The session is over.
    Gone,
}

/// The last thing a source told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Where the turn stands.
    pub turn: Turn,
    /// When it was told, if the line says so.
    pub at: Option<Timestamp>,
    /// The line that told it, shortened.
    pub line: String,
}

/// What is known of a window of the plan, from a status line or a rate limit event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// It is used up.
    pub rejected: bool,
    /// When it begins anew.
    pub resets_at: Option<Timestamp>,
    /// When it was told.
    pub at: Option<Timestamp>,
    /// Work went on after it in the same file.
    pub outdated: bool,
    /// The line that told it, shortened.
    pub line: String,
}

/// All that one file of JSON lines tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The last word on the turn.
    pub last: Option<Signal>,
    /// The last `rate_limit_event`.
    pub event: Option<Window>,
    /// The last window of a status line that is used up.
    pub status: Option<Window>,
    /// The newest time in the file.
    pub moved: Option<Timestamp>,
}

/// Longer lines are cut where they are shown.
const SHOWN: usize = 300;

/// Reads hooks or a transcript; which of them a line is, it tells itself.
pub fn read(lines: &str) -> Told {
    let mut told = Told::default();
    let mut before = None;
    for line in lines.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line.trim()) else { continue };
        let at = time(&value);
        if let Some(at) = at {
            told.moved = Some(told.moved.map_or(at, |before| before.max(at)));
        }
        let body = body(&value);
        let is_hook = body["hook_event_name"].is_string();
        let shown: String = if is_hook {
            shown_of_hook(body).chars().take(SHOWN).collect()
        } else {
            line.trim().chars().take(SHOWN).collect()
        };
        if let Some(window) = event(body, at, &shown) {
            told.event = Some(window);
        }
        if let Some(window) = status(body, at, &shown) {
            told.status = Some(window);
        }
        match typed(body) {
            Some(Typed::Command) => before = Some((told.last.clone(), told.event.clone())),
            // The program answered by itself: nothing of the turn has changed by it.
            Some(Typed::Answered) => {
                if let Some((last, event)) = before.take() {
                    (told.last, told.event) = (last, event);
                }
                continue;
            }
            None => {}
        }
        let turn = if is_hook { hook(body) } else { record(body) };
        if let Some(turn) = turn {
            // The failure that an event announces follows it; everything else means that work went on.
            if !matches!(turn, Turn::Failed { .. })
                && let Some(event) = &mut told.event
            {
                event.outdated = true;
            }
            // An agent that leaves after a failure says so last; what it left for is the failure.
            let left = turn == Turn::Gone;
            if !left || !told.last.as_ref().is_some_and(|last| matches!(last.turn, Turn::Failed { .. })) {
                told.last = Some(Signal { turn, at, line: shown });
            }
        }
    }
    told
}

/// Whether a transcript ends with a tool's call of which there is no result: then the tool runs, or nobody lived to note its
/// end. None where nothing is told: also where it begins among the results of calls that were made together, one of which may
/// still run.
pub fn tool_runs(transcript: &str) -> Option<bool> {
    let (mut open, mut told) = (Vec::new(), false);
    for line in transcript.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line.trim()) else { continue };
        let body = body(&value);
        // A subagent's tools end before the one that it is.
        if body["isSidechain"] == true || body["isMeta"] == true {
            continue;
        }
        let parts = body["message"]["content"].as_array();
        let of = |kind: &str, key: &str| -> Vec<String> {
            let parts = parts.into_iter().flatten().filter(|part| part["type"] == kind);
            parts.map(|part| part[key].as_str().unwrap_or_default().to_owned()).collect()
        };
        match body["type"].as_str() {
            // It says more when it has every result.
            Some("assistant") => {
                told = true;
                open.extend(of("tool_use", "id"));
            }
            Some("user") => {
                let ended = of("tool_result", "tool_use_id");
                told |= ended.iter().all(|id| open.contains(id));
                // Whoever says something else goes on without what was open.
                open.retain(|id| !ended.is_empty() && !ended.contains(id));
            }
            _ => {}
        }
    }
    (told || !open.is_empty()).then_some(!open.is_empty())
}

/// A hook's payload without what says nothing of the turn: long paths would leave no room for the rest.
fn shown_of_hook(body: &Value) -> String {
    let mut body = body.clone();
    if let Some(map) = body.as_object_mut() {
        map.retain(|key, _| {
            !matches!(key.as_str(), "session_id" | "transcript_path" | "cwd" | "permission_mode")
        });
    }
    body.to_string()
}

/// A payload may be wrapped with the time at which it came.
fn body(value: &Value) -> &Value {
    let is_body =
        |v: &Value| v["hook_event_name"].is_string() || (v["type"].is_string() && v["message"].is_object());
    if is_body(value) {
        return value;
    }
    value.as_object().and_then(|map| map.values().find(|v| is_body(v))).unwrap_or(value)
}

/// Where a line has its time.
const TIMES: [&str; 5] = ["at", "time", "timestamp", "ts", "received_at"];

/// The same lines as a clock would have told them that is `by` ahead of theirs.
pub fn shifted(lines: &str, by: SignedDuration) -> String {
    let one = |line: &str| {
        let mut value: Value = serde_json::from_str(line.trim()).ok()?;
        let at = time(&value)?.checked_add(by).ok()?;
        let map = value.as_object_mut()?;
        for key in TIMES {
            if let Some(time) = map.get_mut(key).filter(|time| time.is_string() || time.is_number()) {
                *time = Value::String(at.to_string());
            }
        }
        Some(value.to_string())
    };
    lines.lines().map(|line| one(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

fn time(value: &Value) -> Option<Timestamp> {
    TIMES.iter().find_map(|key| match &value[*key] {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            let seconds = number.as_f64()?;
            let seconds = if seconds > 1e11 { seconds / 1e3 } else { seconds };
            Timestamp::UNIX_EPOCH.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
        }
        _ => None,
    })
}

fn epoch(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => Timestamp::from_second(value.as_i64()?).ok(),
    }
}

fn event(body: &Value, at: Option<Timestamp>, line: &str) -> Option<Window> {
    let info = (body["type"] == "rate_limit_event").then(|| &body["rate_limit_info"])?;
    Some(Window {
        rejected: info["status"] == "rejected",
        resets_at: epoch(&info["resetsAt"]),
        at,
        outdated: false,
        line: line.to_owned(),
    })
}

fn status(body: &Value, at: Option<Timestamp>, line: &str) -> Option<Window> {
    let limits = body["rate_limits"].as_object()?;
    let used_up = limits.values().filter(|w| w["used_percentage"].as_f64().is_some_and(|used| used >= 100.0));
    // With two of them used up, work goes on after the later reset.
    let resets_at = used_up.map(|w| epoch(&w["resets_at"])).max();
    Some(Window {
        rejected: resets_at.is_some(),
        resets_at: resets_at.flatten(),
        at,
        outdated: false,
        line: line.to_owned(),
    })
}

fn string(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn hook(body: &Value) -> Option<Turn> {
    Some(match body["hook_event_name"].as_str()? {
        "SessionStart" => Turn::Started,
        "UserPromptSubmit" | "PreToolUse" | "PostToolUse" | "PostToolUseFailure" | "SubagentStart" => {
            Turn::Open
        }
        "Stop" => Turn::Ended,
        "StopFailure" => Turn::Failed {
            error: string(&body["error"]).or_else(|| string(&body["error_type"])),
            text: ["last_assistant_message", "message", "error_details"]
                .iter()
                .find_map(|key| string(&body[*key])),
            resets_at: None,
        },
        "PermissionRequest" => Turn::Asks(string(&body["tool_name"]).unwrap_or_default()),
        "Notification" => {
            let message = body["message"].as_str().unwrap_or_default();
            // "is waiting for your input" also comes after a failure, and says nothing new.
            let asks =
                body["notification_type"] == "permission_prompt" || message.contains("your permission");
            return asks.then(|| Turn::Asks(message.to_owned()));
        }
        "SessionEnd" => Turn::Gone,
        _ => return None,
    })
}

/// What a person's own command leaves in a transcript.
enum Typed {
    /// It was typed: `/model`, which the program answers itself, or a command that is a prompt.
    Command,
    /// The program's own answer.
    Answered,
}

fn typed(body: &Value) -> Option<Typed> {
    let text = (body["type"] == "user").then(|| text(&body["message"]["content"]))?;
    if text.starts_with("<local-command-std") {
        return Some(Typed::Answered);
    }
    ["<command-name>", "<command-message>"].iter().any(|tag| text.starts_with(tag)).then_some(Typed::Command)
}

fn record(body: &Value) -> Option<Turn> {
    // A subagent's turn is not the loop's; reminders are nobody's words.
    if body["isSidechain"] == true || body["isMeta"] == true {
        return None;
    }
    let content = &body["message"]["content"];
    let has =
        |kind: &str| content.as_array().is_some_and(|parts| parts.iter().any(|part| part["type"] == kind));
    match body["type"].as_str()? {
        "assistant" if body["isApiErrorMessage"] == true => Some(Turn::Failed {
            error: string(&body["error"]),
            text: Some(text(content)),
            resets_at: epoch(&body["quotaLimits"]["resetsAt"]),
        }),
        "assistant" if has("tool_use") => Some(Turn::Open),
        "assistant" => Some(Turn::Said(text(content))),
        "user" if text(content).starts_with("[Request interrupted") => Some(Turn::Ended),
        "user" => Some(Turn::Open),
        "result" if body["is_error"] == true => {
            Some(Turn::Failed { error: None, text: string(&body["result"]), resets_at: None })
        }
        "result" => Some(Turn::Ended),
        _ => None,
    }
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}
