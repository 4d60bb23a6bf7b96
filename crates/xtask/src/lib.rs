//! Set-up and whole-system jobs of ccorch: the test bed, and the scenario that is rehearsed in it.

pub mod asleep;
pub mod bed;
pub mod bench;
pub mod chaos;
pub mod crash;
pub mod local;
pub mod matrix;
pub mod meddle;
pub mod nix;
pub mod rehearse;
pub mod report;
pub mod run;
pub mod scenario;
pub mod selftest;
pub mod test;
pub mod testbed;
pub mod trials;
pub mod vm;
pub mod wait;
pub mod world;
