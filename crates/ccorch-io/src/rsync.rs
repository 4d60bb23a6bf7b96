//! rsync between two remote hosts, with this process as the pipe between its two halves.
//!
//! rsync itself refuses two remote ends. The usual ways out store everything on the driver for a while (a relay folder,
//! in clear), or let one host log in on the other (a forwarded agent, or keys). Here rsync runs on the target as the
//! receiving client, and its "remote shell" is a few words of sh that hand rsync's protocol to the ssh session's own
//! input and output. The driver runs the sending half on the source and connects the two sessions' pipes: nothing is
//! stored, no host reaches or trusts the other, and differences are found end to end.
//!
//! The client tells which short options its version would send to a server; only those are taken from it (they carry
//! what both halves must agree on). The sender's whole command line is the driver's: always `--sender`, always the path
//! that was asked for. So a target can read what it is meant to have and nothing else, and write nothing.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::command::{Command, CommandError, Failure, Output};
use crate::host::Host;

/// Nothing sent or received for this long ends a transfer.
const SILENCE: &str = "--timeout=300";
/// A first transfer over a slow line may take this long.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// On the target: hands rsync's protocol (its standard input and output) to the session's (3 and 4), after the words
/// that rsync would have given to ssh. The last `cat` is the one that sees the sender end, as ssh would.
const SHELL: &str = r#"sh -c 'for a do printf "%s\0" "$a" >&4; done; printf "\0" >&4; exec 5<&0; cat <&5 >&4 3<&- & exec cat <&3 4>&- 5<&-' relay"#;
/// On the target: keeps the session's pipes for the shell above; what rsync itself prints goes to standard error.
const CLIENT: &str = r#"exec 3<&0 4>&1 </dev/null >&2; exec "$@""#;

/// On the source: the sending half, which removes its list of names when it is done.
const SENDER: &str = r#"list=$1; shift; "$@"; s=$?; if [ -n "$list" ]; then rm -f -- "$list"; fi; exit $s"#;

/// What to transfer.
#[derive(Debug, Clone)]
pub struct Transfer<'a> {
    /// Read from here.
    pub source: &'a Host,
    /// Written here.
    pub target: &'a Host,
    /// The user that reads there, and here writes and owns what is written; no symbolic link leads it further than its own
    /// rights.
    pub user: &'a str,
    /// Folder on the source.
    pub from: &'a str,
    /// The same folder on the target; it exists.
    pub to: &'a str,
    /// Paths below both, files or whole trees; ones that do not exist are passed over. Without a list, all.
    pub list: Option<&'a [Vec<u8>]>,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What a transfer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files sent.
    pub files: u64,
    /// Files, folders and links removed on the target.
    pub deleted: u64,
    /// Size of the files sent, in bytes.
    pub bytes: u64,
}

impl Transfer<'_> {
    /// Transfers. Modes and times are kept, links stay links, devices and sockets are left out; what the source does
    /// not have is deleted on the target, inside transferred folders only.
    pub fn run(&self) -> Result<Stats> {
        let list = self.list.map(|list| ListFile::write(self.source, self.user, list)).transpose()?;
        let result = self.connect(list.as_ref().map(|file| file.path.as_str()));
        if let (Err(_), Some(file)) = (&result, list) {
            // The sender removes it when it ends; it may never have begun.
            file.remove()?;
        }
        result
    }

    fn connect(&self, list: Option<&str>) -> Result<Stats> {
        let from = format!("{}/", self.from.trim_end_matches('/'));
        let client = self.client(list);
        let (client_output, server, server_output) = client.crossed(|words| {
            let flags = words.iter().find(|w| is_flags(w));
            let flags =
                flags.ok_or_else(|| format!("rsync asked for something else: {}", words.join(" ")))?;
            Ok(self.server(flags, list, &from))
        })?;
        // 24: files vanished meanwhile; the source is still at work.
        let fine = |output: &Output| matches!(output.status.code(), Some(0 | 24));
        if fine(&client_output) && fine(&server_output) {
            return stats(&client_output.error_text());
        }
        Err(cause(client.failed(&telling(&client_output)), server.failed(&telling(&server_output))).into())
    }

    fn client(&self, list: Option<&str>) -> Command {
        // rsync leaves its shell a non-blocking output otherwise, and `cat` fails on one that is full.
        let mut argv = vec!["sh", "-c", CLIENT, "client", "env", "LC_ALL=C", "rsync", "--blocking-io"];
        argv.extend(["-rlptH", "--delete", "--stats", "--no-human-readable", "--numeric-ids", SILENCE]);
        // Two files of one size and one second differ by their nanoseconds; by default they would pass for the same.
        argv.push("--modify-window=-1");
        if self.dry_run {
            argv.push("--dry-run");
        }
        // The list is read on the source, by the sender itself.
        let files_from = list.map(|path| format!("--files-from=:{path}"));
        if let Some(files_from) = &files_from {
            argv.extend(["--ignore-missing-args", "--from0", files_from]);
        }
        let to = format!("{}/", self.to.trim_end_matches('/'));
        argv.extend(["-e", SHELL, "source:/", &to]);
        self.target
            .command_as(self.user, "/", &argv)
            .shown_as(format!("rsync {}:{} to {to}", self.source.name, self.from))
            .deadline(LONGEST)
    }

    fn server(&self, flags: &str, list: Option<&str>, from: &str) -> Command {
        let mut argv = vec!["sh", "-c", SENDER, "sender", list.unwrap_or_default()];
        argv.extend(["env", "LC_ALL=C", "rsync", "--server", "--sender", flags, SILENCE]);
        argv.push("--numeric-ids");
        if let Some(list) = list {
            argv.extend(["--ignore-missing-args", "--files-from", list, "--from0"]);
        }
        argv.extend([".", from]);
        self.source
            .command_as(self.user, "/", &argv)
            .shown_as(format!("rsync --server --sender {from}"))
            .deadline(LONGEST)
    }
}

/// The one cluster of short options, such as `-lHtprRe.iLsfxCIvu`.
fn is_flags(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| {
        rest.contains('e') && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
    })
}

/// A half's output without the lines that every run prints.
fn telling(output: &Output) -> Output {
    let noise = [
        "Number of ",
        "Total ",
        "Literal data",
        "Matched data",
        "File list ",
        "sent ",
        "total size",
        "cat: ",
    ];
    let text = output.error_text();
    let lines = text.lines().filter(|line| !line.is_empty() && noise.iter().all(|n| !line.starts_with(n)));
    Output { stderr: lines.collect::<Vec<_>>().join("\n").into_bytes(), ..output.clone() }
}

/// Of two failed halves, the one that is not merely the echo of the other.
fn cause(client: CommandError, server: CommandError) -> CommandError {
    let words = [
        "connection unexpectedly closed",
        "Broken pipe",
        "received SIG",
        "protocol data stream",
        "see previous errors",
    ];
    let echo = |error: &CommandError| {
        matches!(error.failure, Failure::Exit(0 | 24))
            || error.tail.lines().all(|line| words.iter().any(|w| line.contains(w)))
    };
    if echo(&client) && !echo(&server) { server } else { client }
}

fn stats(text: &str) -> Result<Stats> {
    let figure = |label: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        let digits = line.and_then(|l| l.split_whitespace().next()).map(|word| word.replace(',', ""));
        let missing = || anyhow!("rsync did not tell `{label}`; its version must be 3.1 or newer:\n{text}");
        digits.and_then(|d| d.parse().ok()).ok_or_else(missing)
    };
    Ok(Stats {
        files: figure("Number of regular files transferred:")?,
        deleted: figure("Number of deleted files:")?,
        bytes: figure("Total transferred file size:")?,
    })
}

/// A list of names on the source, readable by the sender alone, while it is needed.
struct ListFile<'a> {
    host: &'a Host,
    user: &'a str,
    path: String,
}

impl<'a> ListFile<'a> {
    fn write(host: &'a Host, user: &'a str, names: &[Vec<u8>]) -> Result<Self, CommandError> {
        let script =
            r#"set -eu; umask 077; f=$(mktemp /tmp/ccorch-list.XXXXXXXX); cat >"$f"; printf %s "$f""#;
        let input: Vec<u8> = names.iter().flat_map(|name| [name, &b"\0"[..]].concat()).collect();
        let command = host.command_as(user, "/", &["sh", "-c", script]);
        let path = command.shown_as("write a list of files").input(input).read()?;
        Ok(Self { host, user, path })
    }

    fn remove(self) -> Result<(), CommandError> {
        self.host.command_as(self.user, "/", &["rm", "-f", "--", &self.path]).run().map(drop)
    }
}

#[cfg(test)]
#[path = "rsync_tests.rs"]
mod tests;
