//! Decisions of ccorch, as data in and data out: no process, file, socket or clock is touched here.
//!
//! Everything that changes the world lives in `ccorch-io`; the binary joins the two.

pub mod boot;
pub mod cutover;
pub mod launch;
pub mod lease;
pub mod life;
pub mod names;
pub mod proxy;
pub mod rig;
pub mod seconds;
pub mod target;
pub mod units;
