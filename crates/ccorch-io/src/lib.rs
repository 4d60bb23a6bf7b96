//! Effects of ccorch: one file per outside thing, no policy. What is done is decided in `ccorch-core`.

pub mod clock;
pub mod command;
pub mod durable;
pub mod host;
pub mod incus;
pub mod lock;
pub mod paths;
pub mod quote;
pub mod ssh;
