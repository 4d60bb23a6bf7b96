//! A host of a rig on a real systemd: every line of the design that was seen to matter, seen again.
//!
//! Run with `--features bed-tests` and CCORCH_TESTBED naming the bed's `bed.json`, CCORCH_SOPS a sops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agents;
mod apart;
mod boots;
mod container;
mod loops;
mod proxy;
mod secrets;
mod slow;
mod standby;
