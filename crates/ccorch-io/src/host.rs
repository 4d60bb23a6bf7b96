//! A host as something commands run on: this machine, or one behind ssh. Two implementations, both real.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{Command, CommandError, Output};
use crate::quote;
use crate::ssh::Ssh;

/// Where commands run.
#[derive(Debug, Clone)]
pub enum Reach {
    /// This machine.
    Local,
    /// A machine behind ssh.
    Ssh(Box<Ssh>),
}

/// A host that answers, and how one becomes root on it.
#[derive(Debug, Clone)]
pub struct Host {
    /// The name in the rig file; every error names it.
    pub name: String,
    reach: Reach,
    sudo: bool,
    /// What every command is handed to as root, which runs it or refuses it.
    gate: Vec<String>,
}

impl Host {
    /// Reaches the host and finds out whether the login is root or needs `sudo`.
    pub fn connect(name: impl Into<String>, reach: Reach) -> Result<Self> {
        let mut host = Self { name: name.into(), reach, sudo: false, gate: Vec::new() };
        let uid = host.command(&["id", "-u"]).deadline(Duration::from_secs(30)).read()?;
        if uid != "0" {
            host.sudo = true;
            host.command(&["true"]).run().with_context(|| {
                format!("{}: the login is not root and `sudo` without a password does not work", host.name)
            })?;
        }
        Ok(host)
    }

    /// This machine, as whoever runs this program on it; nothing is asked and nobody becomes root.
    pub fn here(name: impl Into<String>) -> Self {
        Self { name: name.into(), reach: Reach::Local, sudo: false, gate: Vec::new() }
    }

    /// The same host, each command of which goes through `gate`: an argv that gets the command's own behind it.
    pub fn gated(&self, gate: Vec<String>) -> Self {
        Self { gate, ..self.clone() }
    }

    /// How the host is reached.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Whether root is reached through `sudo`.
    pub fn uses_sudo(&self) -> bool {
        self.sudo
    }

    /// A command as root.
    pub fn command<S: AsRef<str>>(&self, argv: &[S]) -> Command {
        let sudo: &[&str] = if self.sudo { &["sudo", "-n", "--"] } else { &[] };
        let gate = self.gate.iter().map(String::as_str);
        let words: Vec<String> =
            sudo.iter().copied().chain(gate).chain(argv.iter().map(AsRef::as_ref)).map(Into::into).collect();
        let command = match &self.reach {
            Reach::Ssh(ssh) => ssh.command(&words),
            Reach::Local => Command::new(&words[0]).args(&words[1..]),
        };
        let command = command.on_host(&self.name);
        // A gate's own words are in no error: whoever reads of a refusal must know that it was one.
        if self.gate.is_empty() { command } else { command.shown_as(quote::argv(argv)) }
    }

    /// A command as another user, with that user's HOME and in `dir`.
    pub fn command_as<S: AsRef<str>>(&self, user: &str, dir: &str, argv: &[S]) -> Command {
        // Only with `-c` does runuser set HOME, USER and SHELL; the line is quoted like every other.
        let line = format!("cd {} && exec {}", quote::word(dir), quote::argv(argv));
        self.command(&["runuser", "-s", "/bin/sh", user, "-c", &line]).shown_as(quote::argv(argv))
    }

    /// Whether a path exists (of any kind).
    pub fn exists(&self, path: &str) -> Result<bool, CommandError> {
        let command = self.command(&["test", "-e", path]);
        answer(&command, command.output()?)
    }

    /// The content of a file; `None` when it does not exist.
    pub fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, CommandError> {
        if self.exists(path)? { Ok(Some(self.command(&["cat", "--", path]).run()?.stdout)) } else { Ok(None) }
    }

    /// Writes a file as root with this mode: beside its place first, synced, then renamed over it. Content goes over
    /// standard input and is in no argument. What cannot be written whole, as on a full disk, leaves nothing.
    pub fn write_file(&self, path: &str, bytes: &[u8], mode: &str) -> Result<(), CommandError> {
        let script = r#"set -eu; umask 077; t="$1.ccorch-new"; trap 'rm -f -- "$t"' EXIT
cat > "$t"; chmod "$2" "$t"; sync "$t"; mv -f "$t" "$1""#;
        self.command(&["sh", "-c", script, "write-file", path, mode])
            .shown_as(format!("write {path}"))
            .deadline(Duration::from_secs(300))
            .input(bytes)
            .run()
            .map(drop)
    }
}

/// Exit 0 is yes, 1 is no, anything else a failure.
fn answer(command: &Command, output: Output) -> Result<bool, CommandError> {
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(command.failed(&output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_whole_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::here("here");
        let path = dir.path().join("file").display().to_string();
        assert!(host.write_file(&path, b"text", "no mode").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        host.write_file(&path, b"text", "0640").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
