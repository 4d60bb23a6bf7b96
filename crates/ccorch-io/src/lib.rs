//! Effects of ccorch: one file per outside thing, no policy. What is done is decided in `ccorch-core`.

pub mod age_identity;
pub mod cgroup;
pub mod clock;
pub mod command;
pub mod datagrams;
pub mod durable;
pub mod git;
pub mod health;
pub mod host;
pub mod incus;
pub mod lease_ref;
pub mod lock;
pub mod paths;
pub mod process;
pub mod qemu;
pub mod quote;
pub mod relay;
pub mod repositories;
pub mod rsync;
pub mod socks;
pub mod sops;
pub mod spool;
pub mod ssh;
pub mod systemd;
pub mod tmux;
