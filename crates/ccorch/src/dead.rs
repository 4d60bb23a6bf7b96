//! A host that a person calls dead, and every sign that it is not.

use std::net::IpAddr;

use anyhow::Result;
use ccorch_core::names::HostName;
use ccorch_io::command::Command;
use ccorch_io::host::{Host, Reach};
use ccorch_io::ssh::{SshFailure, classify};

use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::reach;

/// Where the dead host's sshd would answer, for whoever looks from another machine; nothing where only this machine's way
/// to it leads there.
pub fn place(loaded: &LoadedRig, dead: &HostName) -> Result<Option<String>> {
    let ssh = reach::ssh(loaded, dead)?;
    let said = Command::new("ssh").args(ssh.options()).args(["-G", "--", &ssh.destination]).read()?;
    let word = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let direct = word("proxyjump").is_none() && word("proxycommand").is_none();
    let (Some(name), Some(port), true) = (word("hostname"), word("port"), direct) else { return Ok(None) };
    let loopback = name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    Ok((!loopback).then(|| format!("{name}:{port}")))
}

/// Any word of its sshd is a sign of life, a refused login too; so is any word of its kernel, which refuses a connection or
/// takes one that nobody serves.
pub fn must_not_answer(loaded: &LoadedRig, dead: &HostName) -> Result<()> {
    let mut ssh = reach::ssh(loaded, dead)?;
    // A connection of before, kept open, would say nothing about now.
    ssh.control_dir = None;
    let Err(error) = Host::connect(dead.as_str(), Reach::Ssh(Box::new(ssh))) else {
        return Err(alive(dead, "it answers by ssh"));
    };
    let failure = error.chain().find_map(|cause| cause.downcast_ref().and_then(classify));
    match failure {
        Some(SshFailure::Unreachable) if says(&error, "Connection refused") => {
            Err(alive(dead, "the machine answers, its sshd does not"))
        }
        Some(SshFailure::Unreachable) if says(&error, "banner exchange") => {
            Err(alive(dead, "the machine takes connections, its sshd says nothing"))
        }
        Some(SshFailure::Unreachable) => Ok(()),
        None if matches!(crate::hints::of(&error).0, Kind::TimedOut) => Ok(()),
        _ => Err(alive(dead, &format!("{error:#}"))),
    }
}

fn says(error: &anyhow::Error, words: &str) -> bool {
    format!("{error:#}").contains(words)
}

fn alive(dead: &HostName, how: &str) -> anyhow::Error {
    Problem::new(Kind::Conflict, format!("{dead} is not dead: {how}"))
        .hint("cut over from it, or make sure that it is switched off")
        .into()
}
