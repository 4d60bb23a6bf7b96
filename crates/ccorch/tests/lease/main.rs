//! The lease and the journal on two hosts with a real git remote: two drivers, a remote that goes away at every point, a
//! person's word, and the term.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod back;
#[path = "../common/mod.rs"]
mod common;
mod dies;
mod drivers;
mod people;
mod place;
mod remote;
mod term;
