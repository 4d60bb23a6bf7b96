//! Signs of work in what agents leave behind: finished turns in a transcript, pushes in a reflog.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// When the first and the last turn in this piece of a transcript were finished.
///
/// A turn is finished by an answer that calls no tool. Answers that the agent program made up itself (errors of the API,
/// `<synthetic>`) are no work. Lines that are no JSON, a torn one at either end too, are passed over. Source: transcripts
/// of Claude Code 2.1.197, one JSON object a line.
pub fn turns(transcript: &str) -> Option<(Timestamp, Timestamp)> {
    span(transcript.lines().filter_map(|line| finished(&serde_json::from_str(line).ok()?)))
}

/// Every sign of work in a text that may hold pieces of both, oldest first.
pub fn signs(text: &str) -> Vec<Timestamp> {
    let turns = text.lines().filter_map(|line| finished(&serde_json::from_str(line).ok()?));
    let mut all: Vec<Timestamp> = turns.chain(text.lines().filter_map(push)).collect();
    all.sort();
    all
}

/// When nobody worked: both by the driver's clock, to the second where only a push tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last sign of work on the source.
    pub source_last: Timestamp,
    /// The first one on the target.
    pub target_first: Timestamp,
}

impl Gap {
    /// How long it was.
    pub fn length(&self) -> Duration {
        Duration::try_from(self.target_first.duration_since(self.source_last)).unwrap_or(Duration::ZERO)
    }
}

fn finished(record: &Value) -> Option<Timestamp> {
    let message = &record["message"];
    let answer = record["type"] == "assistant"
        && record["isApiErrorMessage"] != true
        && record["isSidechain"] != true
        && message["model"] != "<synthetic>"
        && message["stop_reason"] != "tool_use";
    let calls = |part: &Value| part["type"] == "tool_use";
    if !answer || message["content"].as_array().is_some_and(|parts| parts.iter().any(calls)) {
        return None;
    }
    record["timestamp"].as_str()?.parse().ok()
}

/// When the first and the last push in this piece of a remote branch's reflog were made, to the second. A fetch writes
/// there too and is no work of ours. Source: gitformat of `.git/logs`, `OLD NEW WHO <MAIL> SECONDS ZONE\tMESSAGE`.
pub fn pushes(reflog: &str) -> Option<(Timestamp, Timestamp)> {
    span(reflog.lines().filter_map(push))
}

fn push(line: &str) -> Option<Timestamp> {
    let (who, message) = line.split_once('\t')?;
    let seconds = who.rsplit(' ').nth(1)?.parse().ok()?;
    message.starts_with("update by push").then(|| Timestamp::from_second(seconds).ok()).flatten()
}

fn span(times: impl Iterator<Item = Timestamp>) -> Option<(Timestamp, Timestamp)> {
    times.fold(None, |span, at| {
        let (first, last) = span.unwrap_or((at, at));
        Some((first.min(at), last.max(at)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_turn_is_finished_by_an_answer_and_not_by_a_tool_call_an_error_or_a_question() {
        let line = |kind: &str, second: u8, more: &str| {
            format!(r#"{{"type":"{kind}","timestamp":"2026-01-01T00:00:{second:02}.5Z"{more}}}"#)
        };
        let text = |reason: &str| {
            format!(r#","message":{{"content":[{{"type":"text","text":"x"}}],"stop_reason":{reason}}}"#)
        };
        let tool = r#","message":{"content":[{"type":"tool_use","name":"Bash"}],"stop_reason":null}"#;
        let synthetic = r#","message":{"model":"<synthetic>","content":[],"stop_reason":"stop_sequence"}"#;
        for none in [
            line("user", 1, &text("null")),
            line("work", 1, ""),
            line("assistant", 1, &text(r#""tool_use""#)),
            line("assistant", 1, tool),
            line("assistant", 1, synthetic),
            line("assistant", 1, &format!("{},\"isApiErrorMessage\":true", text("null"))),
            line("assistant", 1, &format!("{},\"isSidechain\":true", text("null"))),
            r#"{"type":"assistant","timesta"#.into(),
            String::new(),
        ] {
            assert_eq!(turns(&none), None, "{none}");
        }
        let two =
            [line("assistant", 3, &text(r#""end_turn""#)), line("assistant", 5, &text("null"))].join("\n");
        let both = (at("2026-01-01T00:00:03.5Z"), at("2026-01-01T00:00:05.5Z"));
        assert_eq!(turns(&format!("torn\"}}\n{two}\n{{\"type\"")), Some(both));
    }

    #[test]
    fn a_push_is_told_from_a_fetch() {
        let zero = "0".repeat(40);
        let line =
            |seconds: u32, message: &str| format!("{zero} {zero} A B <a@b> {seconds} +0200\t{message}\n");
        assert_eq!(pushes(&line(7, "fetch origin: fast-forward")), None);
        let text =
            line(5, "clone: from x") + &line(7, "update by push") + &line(9, "update by push") + "torn";
        let both = (Timestamp::from_second(7).unwrap(), Timestamp::from_second(9).unwrap());
        assert_eq!(pushes(&text), Some(both));
    }
}
