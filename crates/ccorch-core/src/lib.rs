//! Decisions of ccorch, as data in and data out: no process, file, socket or clock is touched here.
//!
//! Everything that changes the world lives in `ccorch-io`; the binary joins the two.

pub mod names;
pub mod provision;
pub mod rig;
pub mod seconds;
