//! Rules for single strings of the rig file: each says what was expected, and none ever panics.

mod git;
mod net;
mod paths;
mod words;

pub(super) use git::{git_remote, ref_name, repository_identity};
pub use net::crosses_in_clear;
pub(super) use net::{
    fingerprint, host_key, host_name, host_port, instance_name, loopback_socket, shown_url, ssh_destination,
    url,
};
pub(super) use paths::{absolute_path, is_within, operator_path, path_below, path_in, place, secret_mode};
pub use words::size_bytes;
pub(super) use words::{line, looks_secret, program, size, unit, user, variable};

use super::finding::shown;

/// Fine, or what was expected and what was found.
pub(super) type Verdict = Result<(), String>;

fn expected(what: &str, text: &str) -> Verdict {
    Err(format!("expected {what}, found {}", shown(text)))
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
