//! OpenSSH as the way to a host: options that never ask and never trust on first use, one shared connection.

use std::path::{Path, PathBuf};

use crate::command::{Command, CommandError, Failure};
use crate::quote;

/// Unix socket paths end at 107 bytes (unix(7)); ssh adds a 17-byte suffix while it binds and `%C` is 40 long.
const LONGEST_CONTROL_DIR: usize = 107 - 17 - 41;

/// How a host is reached.
#[derive(Debug, Clone, Default)]
pub struct Ssh {
    /// `user@name`, or an alias of ssh_config.
    pub destination: String,
    /// The port, where it is not ssh_config's.
    pub port: Option<u16>,
    /// The private key, where it is not ssh_config's; then no other is offered.
    pub identity: Option<PathBuf>,
    /// A known_hosts file in addition to the user's own.
    pub known_hosts: Option<PathBuf>,
    /// The name under which that file holds the host's key.
    pub key_alias: Option<String>,
    /// Folder for the shared connection's socket; no sharing without it.
    pub control_dir: Option<PathBuf>,
}

/// Why ssh itself failed, as far as its words tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshFailure {
    /// The key it shows is not the one that is known, or none is known.
    HostKey,
    /// No login with the keys offered.
    Denied,
    /// No connection: refused, no route, no such name, timed out.
    Unreachable,
    /// The connection broke while in use.
    Broken,
}

impl Ssh {
    /// Options of every call, for ssh itself and for programs that run it (`rsync -e`, `GIT_SSH_COMMAND`).
    pub fn options(&self) -> Vec<String> {
        let mut options: Vec<String> =
            ["BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=10", "ServerAliveInterval=5"]
                .map(Into::into)
                .into();
        options.extend(["ServerAliveCountMax=3".into(), "LogLevel=ERROR".into()]);
        if let Some(file) = &self.known_hosts {
            options.push(format!("UserKnownHostsFile={} ~/.ssh/known_hosts", file.display()));
        }
        if let Some(alias) = &self.key_alias {
            options.push(format!("HostKeyAlias={alias}"));
        }
        if let Some(identity) = &self.identity {
            options.extend([format!("IdentityFile={}", identity.display()), "IdentitiesOnly=yes".into()]);
        }
        if let Some(dir) = self.control_dir.as_deref().filter(|dir| short_enough(dir)) {
            options.push("ControlMaster=auto".into());
            options.push(format!("ControlPath={}/%C", dir.display()));
            options.push("ControlPersist=60".into());
        }
        let mut argv: Vec<String> = options.into_iter().flat_map(|o| ["-o".into(), o]).collect();
        if let Some(port) = self.port {
            argv.extend(["-p".into(), port.to_string()]);
        }
        argv
    }

    /// `ssh` with all options as one shell string, as rsync's `-e` and git's `GIT_SSH_COMMAND` want it.
    pub fn shell_command(&self) -> String {
        let words: Vec<String> = std::iter::once("ssh".into()).chain(self.options()).collect();
        quote::argv(&words)
    }

    /// A command that runs `argv` on the host.
    pub fn command(&self, argv: &[String]) -> Command {
        let line = quote::argv(argv);
        Command::new("ssh")
            .args(self.options())
            .arg("-T")
            .arg("--")
            .arg(&self.destination)
            .arg(&line)
            .shown_as(line)
    }
}

fn short_enough(dir: &Path) -> bool {
    dir.as_os_str().len() <= LONGEST_CONTROL_DIR
}

/// Tells ssh's own failures (exit status 255) from those of the remote command.
pub fn classify(error: &CommandError) -> Option<SshFailure> {
    if error.failure != Failure::Exit(255) {
        return None;
    }
    let says = |words: &[&str]| words.iter().any(|w| error.tail.contains(w));
    Some(if says(&["Host key verification failed", "IDENTIFICATION HAS CHANGED", "host key is known"]) {
        SshFailure::HostKey
    } else if says(&["Permission denied", "Too many authentication failures"]) {
        SshFailure::Denied
    } else if says(&[
        "Connection refused",
        "No route to host",
        "Could not resolve",
        "timed out",
        "unreachable",
    ]) {
        SshFailure::Unreachable
    } else {
        SshFailure::Broken
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(tail: &str) -> CommandError {
        CommandError { host: None, command: "x".into(), failure: Failure::Exit(255), tail: tail.into() }
    }

    #[test]
    fn ssh_says_why_in_its_own_words() {
        let cases = [
            ("Host key verification failed.", SshFailure::HostKey),
            (
                "No ED25519 host key is known for vm and you have requested strict checking.",
                SshFailure::HostKey,
            ),
            ("root@vm: Permission denied (publickey).", SshFailure::Denied),
            ("ssh: connect to host vm port 22: Connection refused", SshFailure::Unreachable),
            ("ssh: Could not resolve hostname vm: Name or service not known", SshFailure::Unreachable),
            ("client_loop: send disconnect: Broken pipe", SshFailure::Broken),
        ];
        for (text, expected) in cases {
            assert_eq!(classify(&failed(text)), Some(expected), "{text}");
        }
        let remote = CommandError { failure: Failure::Exit(1), ..failed("Permission denied") };
        assert_eq!(classify(&remote), None);
    }

    #[test]
    fn no_call_ever_asks_or_trusts_a_new_key() {
        let options = Ssh { destination: "vm".into(), ..Ssh::default() }.options();
        assert!(
            options.contains(&"StrictHostKeyChecking=yes".into())
                && options.contains(&"BatchMode=yes".into())
        );
    }
}
