//! Telling people: one message to an ntfy topic, to a webhook as JSON, or to a command on its standard input.
//!
//! Tokens come from files and go into a header, never into an argument, the environment, a log or an error. URLs are shown
//! by their host alone: the rest of a webhook's URL is often its secret.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ccorch_core::rig::crosses_in_clear;
use serde::Serialize;
use ureq::Agent;
use ureq::http::{Request, StatusCode, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

use crate::command::Command;
use crate::{content, incus};

/// How long connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one try may take in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest token or URL in a file, in bytes.
const TOKEN: u64 = 8 << 10;

/// How the URL of a file begins that holds the URL to tell: one that is a secret itself.
const IN_FILE: &str = "file://";

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The rig.
    pub rig: String,
    /// The host it is about.
    pub host: String,
    /// The loop whose agent says it; absent when ccorch says it.
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The words.
    pub text: String,
    /// When, RFC 3339.
    pub at: String,
}

impl Message {
    /// Who speaks, in a line.
    pub fn title(&self) -> String {
        let about = self.about.as_ref().map(|name| format!(", loop {name}")).unwrap_or_default();
        format!("{} on {}{about}", self.rig, self.host)
    }
}

/// Whom to tell.
#[derive(Debug, Clone)]
pub enum Sink {
    /// A topic's URL; a file with an access token. A URL `file://` names the file that holds it. Source: <https://docs.ntfy.sh/publish/>.
    Ntfy(String, Option<PathBuf>),
    /// A URL, or that of its file, that gets the [`Message`] as JSON; a file with a bearer token.
    Webhook(String, Option<PathBuf>),
    /// A program that reads title and text.
    Command(Command),
}

/// Why a message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Another try may help.
    #[error("{0}")]
    Later(String),
    /// It would be refused for ever.
    #[error("{0}")]
    Never(String),
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ntfy(url, _) => write!(f, "ntfy {}", place_of(url)),
            Self::Webhook(url, _) => write!(f, "the webhook {}", place_of(url)),
            Self::Command(_) => write!(f, "the command"),
        }
    }
}

fn place_of(url: &str) -> String {
    if let Some(path) = url.strip_prefix(IN_FILE) {
        return format!("of {path}");
    }
    let host = url.parse::<Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned()));
    format!("at {}", host.unwrap_or_else(|| "?".into()))
}

impl Sink {
    /// Tells it once, bounded in time.
    pub fn tell(&self, message: &Message) -> Result<(), SinkError> {
        match self {
            // Titles are headers, which are ASCII (RFC 9110 section 5.5): what is not stands in the text.
            Self::Ntfy(url, token) => {
                let title = message.title();
                post(url, token.as_deref(), &[("X-Title", &title)], message.text.as_bytes())
            }
            Self::Webhook(url, token) => {
                // `text` is what chat programs' webhooks look for.
                let body =
                    serde_json::to_vec(message).map_err(|error| SinkError::Never(error.to_string()))?;
                post(url, token.as_deref(), &[("Content-Type", "application/json")], &body)
            }
            Self::Command(command) => {
                let input = format!("{}\n{}\n", message.title(), message.text);
                let run = command.clone().input(input).deadline(PATIENCE).run();
                run.map(drop).map_err(|error| SinkError::Later(error.to_string()))
            }
        }
    }
}

fn post(url: &str, token: Option<&Path>, headers: &[(&str, &str)], body: &[u8]) -> Result<(), SinkError> {
    let url = &*address(url)?;
    if token.is_some() && crosses_in_clear(url) {
        return Err(SinkError::Later(
            "the token would cross the network in clear; it takes an `https://` URL".into(),
        ));
    }
    let mut request = Request::post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(path) = token {
        request = request.header("Authorization", format!("Bearer {}", read_secret("token", path)?));
    }
    let request = request.body(body).map_err(|_| SinkError::Never("the request cannot be made".into()))?;
    let answer = agent(url)?.run(request);
    let status = answer.map_err(|error| SinkError::Later(error.to_string()))?.status();
    match status {
        _ if status.is_success() => Ok(()),
        // Source: RFC 9110 section 15; a token may be mended, and a topic made.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Err(SinkError::Never(format!("status {}", status.as_u16())))
        }
        _ => Err(SinkError::Later(format!("status {}", status.as_u16()))),
    }
}

/// Where to; nothing of a file's content is in an error.
fn address(url: &str) -> Result<Cow<'_, str>, SinkError> {
    let Some(path) = url.strip_prefix(IN_FILE) else { return Ok(Cow::Borrowed(url)) };
    let found = read_secret("URL", Path::new(path))?;
    if found.starts_with("https://") || found.starts_with("http://") {
        return Ok(Cow::Owned(found));
    }
    Err(SinkError::Later(format!("the URL {path}: the file does not begin with `https://` or `http://`")))
}

fn read_secret(what: &str, path: &Path) -> Result<String, SinkError> {
    let read = content::text(path, TOKEN).map_err(|error| error.to_string());
    let read = read.and_then(|text| text.ok_or_else(|| "no such file".into()));
    let text = read.map_err(|why| SinkError::Later(format!("the {what} {}: {why}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// A client for one message: the system's certificates are not kept in memory between two.
fn agent(url: &str) -> Result<Agent, SinkError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT))
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("ccorch/", env!("CARGO_PKG_VERSION")))
        .build();
    let (tcp, resolver) = (().chain(TcpConnector::default()), DefaultResolver::default());
    if !url.starts_with("https:") {
        return Ok(Agent::with_parts(config, tcp, resolver));
    }
    let tls = incus::system_client().map_err(|error| SinkError::Later(format!("TLS: {error}")))?;
    Ok(Agent::with_parts(config, tcp.chain(incus::TlsConnector(Arc::new(tls))), resolver))
}

#[cfg(test)]
mod tests;
