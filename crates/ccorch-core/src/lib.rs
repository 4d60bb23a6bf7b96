//! Decisions of ccorch, as data in and data out: no process, file, socket or clock is touched here.
//!
//! Everything that changes the world lives in `ccorch-io`; the binary joins the two.

pub mod boot;
pub mod cutover;
pub mod fleet;
pub mod hook;
pub mod install;
pub mod kernel;
pub mod launch;
pub mod lease;
pub mod life;
pub mod names;
pub mod provision;
pub mod proxy;
pub mod qemu;
pub mod rig;
pub mod safepoint;
pub mod seconds;
pub mod stage;
pub mod stop;
pub mod target;
pub mod unattended;
pub mod units;
pub mod watchdog;

use sha2::{Digest, Sha256};

/// SHA-256 of some bytes, in hexadecimal as `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
