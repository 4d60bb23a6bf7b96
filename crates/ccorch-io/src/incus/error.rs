//! How a call to an Incus server fails.

use std::time::Duration;

use ccorch_core::provision::Fingerprint;

use super::tls::Mismatch;

/// A call that failed, with the server and the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Incus server {server}: {request}: {failure}")]
pub struct IncusError {
    /// The server's URL.
    pub server: String,
    /// Method and path, without the query.
    pub request: String,
    /// What happened.
    pub failure: Failure,
}

/// What happened to a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, or it broke, or no answer came in time.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// The server's certificate is not the pinned one.
    #[error("the server is not the expected one: {}", Mismatch { expected: *.expected, found: *.found })]
    Fingerprint {
        /// The rig file's.
        expected: Fingerprint,
        /// The server's.
        found: Fingerprint,
    },
    /// No certificate authority of this system vouches for the server's certificate.
    #[error("the server's certificate is not trusted: {0}")]
    Certificate(String),
    /// TLS failed in another way, or is not spoken at all.
    #[error("no TLS connection: {0}")]
    Tls(String),
    /// It answered, but not as Incus does.
    #[error("the answer is not one of an Incus server: {0}")]
    NotIncus(String),
    /// It does not let this client certificate do that.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    Exists(String),
    /// Another refusal; the text is the server's.
    #[error("{text} (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words.
        text: String,
    },
    /// The request was taken, and what it started failed; the text is the server's.
    #[error("failed: {0}")]
    Operation(String),
    /// What the request started was still going on at the deadline.
    #[error("still going on after {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Rustls(error) => error.into(),
            ureq::Error::Io(error) => match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                Some(error) => error.clone().into(),
                None => Self::Unreachable(error.to_string()),
            },
            ureq::Error::Timeout(_) => Self::Unreachable("it took too long".into()),
            ureq::Error::HostNotFound => Self::Unreachable("no such host name".into()),
            ureq::Error::ConnectionFailed => Self::Unreachable("no connection".into()),
            other => Self::NotIncus(other.to_string()),
        }
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        use rustls::{CertificateError, Error};
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                match other.0.downcast_ref::<Mismatch>() {
                    Some(Mismatch { expected, found }) => {
                        Self::Fingerprint { expected: *expected, found: *found }
                    }
                    None => Self::Certificate(other.0.to_string()),
                }
            }
            Error::InvalidCertificate(error) => Self::Certificate(error.to_string()),
            Error::InvalidMessage(_) => Self::Tls("it does not speak TLS on this port".into()),
            other => Self::Tls(other.to_string()),
        }
    }
}
