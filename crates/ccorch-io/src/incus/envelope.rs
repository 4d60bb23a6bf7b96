//! Incus's envelope around every answer (<https://linuxcontainers.org/incus/docs/main/rest-api/#return-values>).

use serde::Deserialize;
use serde_json::Value;

use super::error::Failure;

/// What a call was answered with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The result itself.
    Done(Value),
    /// It goes on as this operation: `/1.0/operations/UUID`.
    Started(String),
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    metadata: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sync,
    Async,
    Error,
}

/// Opens the envelope.
pub(super) fn open(body: &[u8]) -> Result<Answer, Failure> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| Failure::NotIncus(shown(body)))?;
    match envelope.kind {
        Kind::Sync => Ok(Answer::Done(envelope.metadata)),
        Kind::Async => Ok(Answer::Started(envelope.operation)),
        Kind::Error => Err(refusal(envelope.error_code, envelope.error)),
    }
}

fn refusal(status: u16, text: String) -> Failure {
    match status {
        401 | 403 => Failure::Forbidden(text),
        404 => Failure::NotFound(text),
        409 => Failure::Exists(text),
        status => Failure::Refused { status, text },
    }
}

/// The start of an answer's first line, fit for a message.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
    if line.is_empty() { "it is empty".into() } else { format!("it starts with `{line}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str) -> Result<Answer, String> {
        open(text.as_bytes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn results_and_operations_are_told_apart() {
        let sync = r#"{"type":"sync","status":"Success","status_code":200,"error_code":0,"error":"","metadata":{"a":1}}"#;
        assert_eq!(opened(sync), Ok(Answer::Done(serde_json::json!({"a": 1}))));
        let started =
            r#"{"type":"async","status_code":100,"operation":"/1.0/operations/x","metadata":{"id":"x"}}"#;
        assert_eq!(opened(started), Ok(Answer::Started("/1.0/operations/x".into())));
    }

    #[test]
    fn refusals_keep_the_servers_words() {
        let refused = |code: u16| {
            opened(&format!(r#"{{"type":"error","error_code":{code},"error":"why","metadata":null}}"#))
        };
        assert_eq!(refused(403), Err("not allowed: why".into()));
        assert_eq!(refused(404), Err("why".into()));
        assert_eq!(refused(500), Err("why (status 500)".into()));
        assert_eq!(
            open(br#"{"type":"error","error_code":409,"error":"taken"}"#),
            Err(Failure::Exists("taken".into()))
        );
    }

    #[test]
    fn what_is_no_envelope_is_quoted_in_part() {
        let not = "the answer is not one of an Incus server: ";
        assert_eq!(opened(""), Err(format!("{not}it is empty")));
        assert_eq!(opened("<html>\n<p>"), Err(format!("{not}it starts with `<html>`")));
        assert_eq!(opened("{\"type\":\"sync"), Err(format!("{not}it starts with `{{\"type\":\"sync`")));
        assert_eq!(
            opened("{\"status\":\"ok\"}"),
            Err(format!("{not}it starts with `{{\"status\":\"ok\"}}`"))
        );
    }
}
