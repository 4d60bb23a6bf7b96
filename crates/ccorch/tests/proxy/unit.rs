//! `ccorch-proxy.service`, read by systemd itself.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::{CCORCH, shown};

const UNIT: &str = include_str!("../../units/ccorch-proxy.service");
/// The exposure `systemd-analyze security` may find at most, in tenths: 15 is 1.5 of 10.
const EXPOSURE: &str = "15";

/// The unit in a folder of its own, with the binary under test in place of the installed one.
fn unit() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = UNIT.replace("/usr/local/bin/ccorch", CCORCH);
    assert_ne!(text, UNIT);
    fs::write(dir.path().join("ccorch-proxy.service"), text).unwrap();
    dir
}

fn analyze(args: &[&str]) {
    let dir = unit();
    let mut command = Command::new("systemd-analyze");
    let output = command.args(args).arg(dir.path().join("ccorch-proxy.service")).output();
    let output = output.expect("systemd-analyze (Debian: systemd)");
    assert!(output.status.success(), "{}", shown(&output));
    assert!(output.stderr.is_empty(), "{}", shown(&output));
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    analyze(&["verify", "--man=no"]);
}

#[test]
fn it_is_hardened_and_stays_so() {
    analyze(&["security", "--offline=yes", "--threshold", EXPOSURE, "--no-pager"]);
}

#[test]
fn every_command_of_the_unit_is_one_that_ccorch_knows() {
    let commands = UNIT.lines().filter_map(|line| line.split_once("=/usr/local/bin/ccorch "));
    let commands: Vec<&str> = commands.map(|(_, args)| args).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for args in commands {
        let words = args.split(' ').map(|w| if w == "$MAINPID" { "1" } else { w });
        // A usage error comes before the missing rig file does.
        let output = crate::ccorch().args(["--rig", "/nonexistent"]).args(words).output().unwrap();
        assert_ne!(output.status.code(), Some(2), "{args}: {}", shown(&output));
    }
}
