//! What to do when an Incus server, or the way to it, is not as it must be.

use ccorch_io::incus::{CredentialError, CredentialProblem, Failure, IncusError};

use crate::error::Kind;

/// For a file of the client certificate.
pub fn credential(error: &CredentialError) -> (Kind, Option<String>) {
    let path = error.path.display();
    match error.problem {
        CredentialProblem::Open(_) => (Kind::Unfit, Some(format!("`chmod 600 {path}`, and if others used this machine, make a new pair"))),
        CredentialProblem::Missing | CredentialProblem::Unreadable(_) => {
            (Kind::Rig, Some("put it there, or correct `incus.certificate` and `incus.key` of the host in the rig file".into()))
        }
        CredentialProblem::NoCertificate | CredentialProblem::NoKey | CredentialProblem::Mismatch(_) => {
            (Kind::Rig, Some("make a pair with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes`, and have the server trust it".into()))
        }
    }
}

/// For a call to the server.
pub fn call(error: &IncusError) -> (Kind, Option<String>) {
    let (kind, hint) = match &error.failure {
        Failure::Unreachable(_) => (
            Kind::Unreachable,
            "see that incusd runs and listens there (on the server: `incus config get core.https_address`)",
        ),
        Failure::Fingerprint { .. } => (
            Kind::Identity,
            "look at `incus info` on the server itself; only if the fingerprint there is the new one, put it in the rig file (`incus.fingerprint`)",
        ),
        Failure::Certificate(_) => (
            Kind::Identity,
            "pin the server's certificate in the rig file (`incus.fingerprint`), as `incus info` on the server itself shows it",
        ),
        Failure::Tls(_) | Failure::NotIncus(_) => (
            Kind::Identity,
            "correct `incus.url` in the rig file: this is not where the Incus server listens",
        ),
        Failure::Forbidden(_) => {
            (Kind::Identity, "see on the server what this certificate may do: `incus config trust list`")
        }
        Failure::NotFound(_) => (Kind::General, "somebody removed it meanwhile: run this again"),
        Failure::Exists(_) => (Kind::Conflict, "somebody made it meanwhile: run this again"),
        Failure::TimedOut(_) => (
            Kind::TimedOut,
            "see on the server what it waits for (`incus operation list`), then run this again",
        ),
        Failure::Refused { text, .. } | Failure::Operation(text) if full(text) => {
            (Kind::Unfit, "free space in the server's storage pool, then run this again")
        }
        Failure::Operation(_) => {
            (Kind::General, "see the instance's log on the server: `incus info --show-log NAME`")
        }
        Failure::Refused { .. } => return (Kind::General, None),
    };
    (kind, Some(hint.into()))
}

fn full(text: &str) -> bool {
    ["no space left on device", "Disk quota exceeded", "out of space"]
        .iter()
        .any(|words| text.contains(words))
}
