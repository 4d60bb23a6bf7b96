//! Set-up and whole-system jobs of ccorch: the test bed, and the scenario that is rehearsed in it.

pub mod bed;
pub mod bench;
pub mod chaos;
pub mod crash;
pub mod nix;
pub mod rehearse;
pub mod report;
pub mod run;
pub mod scenario;
pub mod selftest;
pub mod test;
pub mod testbed;
pub mod vm;
pub mod wait;
