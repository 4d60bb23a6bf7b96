//! Requests to an Incus server: JSON out, an opened envelope back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ccorch_core::provision::Endpoint;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

use super::credential::Credential;
use super::envelope::{self, Answer};
use super::error::{Failure, IncusError};
use super::tls::{self, TlsConnector, Trust};
use super::unix::UnixConnector;

/// How long connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one request may take. Waiting for operations is cut into shorter requests.
const REQUEST: Duration = Duration::from_secs(40);
/// The largest answer that is read, in bytes. Lists of a busy server are far below.
const LARGEST: u64 = 16 << 20;

/// How a server is logged in to.
#[derive(Debug)]
pub enum Login {
    /// Over HTTPS: `https://host:port`, our certificate, and what makes the server's a good one.
    Https(String, Credential, Trust),
    /// Over the socket of a server on this machine; who may open it is trusted.
    Unix(PathBuf),
}

/// A client of one server and one of its projects. Connects with its first request.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    server: String,
    project: String,
}

impl Client {
    /// A client that logs in like this.
    pub fn new(login: Login, project: impl Into<String>) -> Result<Self, IncusError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(REQUEST))
            .user_agent(concat!("ccorch/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = DefaultResolver::default();
        let (agent, base, server) = match login {
            Login::Https(url, credential, trust) => {
                let tls = tls::config(credential, trust).map_err(|error| IncusError {
                    server: url.clone(),
                    request: "connect".into(),
                    failure: error.into(),
                })?;
                let connector = ().chain(TcpConnector::default()).chain(TlsConnector(Arc::new(tls)));
                (Agent::with_parts(config, connector, resolver), url.clone(), url)
            }
            Login::Unix(path) => {
                let server = Endpoint::Unix(path.clone()).to_string();
                // ureq wants a URL with a host that resolves; the connector does not look at it.
                (Agent::with_parts(config, UnixConnector(path), resolver), "http://127.0.0.1".into(), server)
            }
        };
        Ok(Self { agent, base, server, project: project.into() })
    }

    /// The server's URL, as errors show it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The project.
    pub fn project(&self) -> &str {
        &self.project
    }

    pub(super) fn error(&self, method: &Method, path: &str, failure: Failure) -> IncusError {
        IncusError { server: self.server.clone(), request: format!("{method} {path}"), failure }
    }

    /// Sends a request about the project; the envelope's content.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, IncusError> {
        self.send(&method, path, query, body)
            .and_then(|(_, bytes)| envelope::open(&bytes))
            .map_err(|failure| self.error(&method, path, failure))
    }

    /// Reads what is not in an envelope, such as a file of an instance. Errors are in one.
    pub(super) fn raw(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, IncusError> {
        let answer = self.send(&Method::GET, path, query, None).and_then(|(status, bytes)| {
            if status.is_success() {
                return Ok(bytes);
            }
            match envelope::open(&bytes) {
                Err(failure) => Err(failure),
                Ok(_) => Err(Failure::NotIncus(format!("success in the body of status {status}"))),
            }
        });
        answer.map_err(|failure| self.error(&Method::GET, path, failure))
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let project = [("project", self.project.as_str())];
        let query = query.iter().chain(&project).map(|(key, value)| format!("{key}={}", encoded(value)));
        let query: Vec<String> = query.collect();
        let uri = format!("{}{path}?{}", self.base, query.join("&"));
        let request = Request::builder().method(method).uri(uri);
        let sent = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_string());
                self.agent.run(request.map_err(ureq::Error::from)?)
            }
            None => self.agent.run(request.body(()).map_err(ureq::Error::from)?),
        };
        let mut response = sent?;
        let bytes = response.body_mut().with_config().limit(LARGEST).read_to_vec()?;
        Ok((response.status(), bytes))
    }
}

/// Percent-encodes what goes into a path or a query (RFC 3986, section 2.3).
pub(super) fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
