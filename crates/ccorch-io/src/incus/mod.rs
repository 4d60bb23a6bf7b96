//! An Incus server over its REST API: HTTPS with a client certificate and a pinned server, or its unix socket.

mod api;
mod credential;
mod envelope;
mod error;
mod http;
mod tls;
mod unix;

pub use api::{Auth, Power, Server};
pub use credential::{Credential, CredentialError, CredentialProblem};
pub use error::{Failure, IncusError};
pub use http::{Client, Login};
pub use tls::Trust;
pub(crate) use tls::{TlsConnector, system_client};
