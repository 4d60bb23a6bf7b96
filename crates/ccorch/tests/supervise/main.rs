//! The supervisor without systemd: real tmux servers, real agents that are killed, files that are damaged.

// The lint spares `#[test]` functions alone; what helps them may fail a test just so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod carried;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod confirm;
mod control;
mod crash;
mod damage;
mod dry;
mod fleet;
mod hardship;
mod hooks;
mod in_the_way;
mod inbox;
mod keyboard;
mod lost;
mod missing;
mod notify;
mod nudges;
mod place;
mod safe_point;
mod scarce;
mod signals;
mod soak;
mod stops;
mod strays;
mod unattended;
mod verbs;
