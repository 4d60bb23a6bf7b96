//! tmux on a private socket. Every command runs as the loop's user: a tmux server that an agent owns can make another
//! client execute things (`command-alias`), so root never talks to one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::{Command, CommandError};

/// The size agents see until a person attaches: wide enough that messages are not broken.
const SIZE: [&str; 4] = ["-x", "200", "-y", "50"];

/// No screen that a person could read is larger, in bytes; an agent may make its window as large as it likes.
const LARGEST: usize = 1 << 20;

/// One loop's tmux server.
#[derive(Debug, Clone)]
pub struct Tmux {
    socket: PathBuf,
    session: String,
    /// The user to become, where this process is root.
    user: Option<String>,
}

impl Tmux {
    /// The server of `session` at `socket`, spoken to as this process's own user.
    pub fn new(socket: impl Into<PathBuf>, session: impl Into<String>) -> Self {
        Self { socket: socket.into(), session: session.into(), user: None }
    }

    /// Speaks as this user; only root can.
    pub fn as_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The argv that starts the server with one session running `argv`; the server goes to the background.
    /// The session ends when the command does, and the server with it.
    pub fn start_argv(&self, argv: &[String]) -> Vec<OsString> {
        // No configuration file: a user's own could rebind keys or keep dead panes.
        let mut words: Vec<OsString> = vec!["tmux".into(), "-f".into(), "/dev/null".into()];
        words.extend(["-S".into(), self.socket.clone().into_os_string()]);
        words.extend(["new-session", "-d", "-s", self.session.as_str()].map(Into::into));
        words.extend(SIZE.map(Into::into));
        words.extend(argv.iter().map(Into::into));
        // A terminal's size must not shrink because somebody watches from a telephone.
        words.extend([";", "set-option", "-g", "window-size", "latest"].map(Into::into));
        words.extend([";", "set-option", "-g", "history-limit", "20000"].map(Into::into));
        words
    }

    /// The argv that attaches this terminal.
    pub fn attach_argv(&self, read_only: bool) -> Vec<OsString> {
        // With a terminal of its own: what an agent's server has its client run could type into root's, for root's shell to read
        // (TIOCSTI, on kernels before 6.2). Source: `--pty`, runuser(1).
        let become_user = self.user.iter().flat_map(|user| ["runuser", "--pty", "-u", user, "--"]);
        let attach = self.words(&["attach-session", "-t", &self.target()]);
        let read_only = read_only.then(|| OsString::from("-r"));
        become_user.map(OsString::from).chain(attach).chain(read_only).collect()
    }

    /// What the screen shows now, without trailing blank lines.
    pub fn screen(&self) -> Result<String, CommandError> {
        let text = self.command(&["capture-pane", "-p", "-t", &self.target()]).read()?;
        Ok(text.trim_end().to_owned())
    }

    /// The same with the escape sequences of how it is drawn.
    pub fn drawn(&self) -> Result<String, CommandError> {
        self.command(&["capture-pane", "-e", "-p", "-t", &self.target()]).read()
    }

    /// Types one key, by tmux's name for it: `Enter`, `Escape`.
    pub fn press(&self, key: &str) -> Result<(), CommandError> {
        self.command(&["send-keys", "-t", &self.target(), key]).run().map(drop)
    }

    /// Types a text as keys, each as it is.
    pub fn type_text(&self, text: &str) -> Result<(), CommandError> {
        self.command(&["send-keys", "-t", &self.target(), "-l", "--", text]).run().map(drop)
    }

    /// Pastes a text as one, bracketed where the program asked for that; nothing is submitted by it.
    pub fn paste(&self, text: &str) -> Result<(), CommandError> {
        self.command(&["load-buffer", "-b", "ccorch", "-"]).input(text.to_owned()).run()?;
        self.command(&["paste-buffer", "-p", "-r", "-d", "-b", "ccorch", "-t", &self.target()])
            .run()
            .map(drop)
    }

    /// Whether the pane is in copy mode or another one of tmux's own, which takes its keys. Source: `pane_in_mode`, tmux(1).
    pub fn is_in_mode(&self) -> Result<bool, CommandError> {
        let modes =
            self.command(&["display-message", "-p", "-t", &self.target(), "#{pane_in_mode}"]).read()?;
        Ok(!matches!(modes.as_str(), "" | "0"))
    }

    /// Leaves every such mode; in none there is nothing to do.
    pub fn leave_mode(&self) -> Result<(), CommandError> {
        self.command(&["copy-mode", "-q", "-t", &self.target()]).run().map(drop)
    }

    /// Whether somebody is attached who may type, and who did something no longer ago than `lately`. `now` is in seconds
    /// since 1970, by the clock that tmux reads. Source: `client_readonly` and `client_activity`, tmux(1).
    pub fn has_typist(&self, now: i64, lately: Duration) -> Result<bool, CommandError> {
        let format = "#{client_readonly} #{client_activity}";
        let clients = self.command(&["list-clients", "-t", &self.target(), "-F", format]).read()?;
        let lately = i64::try_from(lately.as_secs()).unwrap_or(i64::MAX);
        Ok(clients.lines().any(|client| {
            let (read_only, activity) = client.split_once(' ').unwrap_or(("0", ""));
            // One whose time is not known may be typing at this moment.
            read_only != "1" && activity.parse::<i64>().map_or(true, |at| now.saturating_sub(at) <= lately)
        }))
    }

    /// Whether the session is there.
    pub fn is_alive(&self) -> bool {
        let command = self.command(&["has-session", "-t", &self.target()]);
        command.output().is_ok_and(|output| output.status.success())
    }

    /// The server's process id.
    pub fn server_pid(&self) -> Result<String, CommandError> {
        self.command(&["display-message", "-p", "#{pid}"]).read()
    }

    /// Ends the server and all in it.
    pub fn kill(&self) -> Result<(), CommandError> {
        self.command(&["kill-server"]).run().map(drop)
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn target(&self) -> String {
        // `=` takes the name literally; without it tmux matches prefixes and patterns.
        format!("={}:", self.session)
    }

    fn client(&self, args: &[&str]) -> Vec<OsString> {
        let become_user = self.user.iter().flat_map(|user| ["runuser", "-u", user, "--"]);
        become_user.map(OsString::from).chain(self.words(args)).collect()
    }

    fn words(&self, args: &[&str]) -> Vec<OsString> {
        let words = ["tmux", "-f", "/dev/null", "-S"].map(OsString::from).into_iter();
        words.chain([self.socket.clone().into_os_string()]).chain(args.iter().map(Into::into)).collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let words = self.client(args);
        Command::new(&words[0]).args(&words[1..]).deadline(Duration::from_secs(10)).most(LARGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_as_long_as_its_command() {
        let dir = tempfile::tempdir().unwrap();
        let tmux = Tmux::new(dir.path().join("s"), "a-b");
        let argv = tmux.start_argv(&["sh".into(), "-c".into(), "echo hello there; read x".into()]);
        Command::new(&argv[0]).args(&argv[1..]).run().unwrap();
        assert!(tmux.is_alive());
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !tmux.screen().unwrap().contains("hello there") {
            assert!(std::time::Instant::now() < until, "{:?}", tmux.screen());
        }
        assert!(tmux.server_pid().unwrap().parse::<u32>().is_ok());
        tmux.kill().unwrap();
        assert!(!tmux.is_alive());
    }
}
