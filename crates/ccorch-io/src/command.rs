//! Running a program: argv in, status and output out, with a deadline, the output's tail in errors, and redaction.
//!
//! Every process of the product goes through here. The child gets a process group of its own, so that a deadline
//! ends what it started too; both pipes are drained by threads, so that a chatty child cannot block.

mod crossed;
mod pipes;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use pipes::{collect, drain};

/// How much of a failed command's output an error carries, in lines.
const TAIL_LINES: usize = 12;
/// More output than this is taken of no command that was not made for it, in bytes.
const MOST: usize = 256 << 20;
/// After a deadline, how long a child may take to leave on TERM before KILL.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// A program to run. Built like [`std::process::Command`], but never unbounded in time.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    input: Vec<u8>,
    deadline: Duration,
    secrets: Vec<String>,
    host: Option<String>,
    shown: Option<String>,
    most: usize,
    private: bool,
}

/// What a finished program left: its status and both streams in full.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text without the final newline; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// Standard error as text.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It exited with this code.
    Exit(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It was still running at the deadline and was ended.
    Deadline(Duration),
    /// It wrote more than this many bytes.
    TooMuch(usize),
    /// The program does not exist on this machine.
    NotFound,
    /// It could not be started or waited for.
    System(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Deadline(after) => write!(f, "not finished after {} s, ended", after.as_secs()),
            Self::TooMuch(most) => write!(f, "wrote more than {most} bytes"),
            Self::NotFound => write!(f, "no such program"),
            Self::System(error) => write!(f, "{error}"),
        }
    }
}

/// A command that did not do what was asked, with all a person needs to see why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}`{command}`: {failure}{}", on(host), indented(tail))]
pub struct CommandError {
    /// The machine it ran on, where that is not this one.
    pub host: Option<String>,
    /// The command line, quoted and redacted.
    pub command: String,
    /// What happened.
    pub failure: Failure,
    /// The last lines of its output, redacted.
    pub tail: String,
}

fn on(host: &Option<String>) -> String {
    host.as_ref().map(|h| format!("on {h}: ")).unwrap_or_default()
}

fn indented(tail: &str) -> String {
    tail.lines().map(|line| format!("\n    | {line}")).collect()
}

impl Command {
    /// A command with no arguments and a deadline of one minute.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            input: Vec::new(),
            deadline: Duration::from_secs(60),
            secrets: Vec::new(),
            host: None,
            shown: None,
            most: MOST,
            private: false,
        }
    }

    /// Adds one argument. Never a secret: `/proc` shows arguments to everybody.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().into()));
        self
    }

    /// Sets an environment variable, in addition to those of this process.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Runs in this directory.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().into());
        self
    }

    /// What the program reads on standard input (else it reads nothing).
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// The longest it may take.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The most that it may write on standard output, in bytes; without a word 256 MiB.
    pub fn most(mut self, bytes: usize) -> Self {
        self.most = bytes;
        self
    }

    /// What it writes on standard output must not appear in any error.
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// A value that must not appear in any error.
    pub fn redact(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Names the machine the effect is on, for errors.
    pub fn on_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// What errors show as the command, where the real argv (all of ssh's options) would hide it.
    pub fn shown_as(mut self, shown: impl Into<String>) -> Self {
        self.shown = Some(shown.into());
        self
    }

    /// The command line as a person would type it, redacted.
    pub fn display(&self) -> String {
        let line = self.shown.clone().unwrap_or_else(|| {
            let words =
                std::iter::once(&self.program).chain(&self.args).map(|w| w.to_string_lossy().into_owned());
            crate::quote::argv(&words.collect::<Vec<_>>())
        });
        self.hide(line)
    }

    /// Runs it and demands success.
    pub fn run(&self) -> Result<Output, CommandError> {
        let output = self.output()?;
        if output.status.success() { Ok(output) } else { Err(self.failed(&output)) }
    }

    /// Runs it and demands success; its standard output as text.
    pub fn read(&self) -> Result<String, CommandError> {
        Ok(self.run()?.text())
    }

    /// Runs it; any exit status is an answer. Only a deadline or a failed start is an error.
    pub fn output(&self) -> Result<Output, CommandError> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let drained = self.feed(child.stdin.take()).and_then(|()| {
            let stdout = drain(child.stdout.take(), self.most)?;
            Ok((stdout, drain(child.stderr.take(), MOST)?))
        });
        let (stdout, stderr) = drained.map_err(|error| self.unheard(&mut child, &error))?;
        let status = self.wait(&mut child);
        let ((stdout, whole), (stderr, _)) = (collect(&stdout), collect(&stderr));
        match status {
            _ if !whole => Err(self.error(Failure::TooMuch(self.most), b"", &stderr)),
            Ok(status) => Ok(Output { status, stdout, stderr }),
            Err(failure) => Err(self.error(failure, &stdout, &stderr)),
        }
    }

    /// Ends a child to which no thread listens; its error.
    fn unheard(&self, child: &mut Child, error: &io::Error) -> CommandError {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        let _ = child.wait();
        self.error(Failure::System(format!("no thread could be made for its output: {error}")), b"", b"")
    }

    /// A child that closes its input early is no failure: its exit status tells.
    fn feed(&self, stdin: Option<impl Write + Send + 'static>) -> io::Result<()> {
        let Some(mut pipe) = stdin.filter(|_| !self.input.is_empty()) else { return Ok(()) };
        let input = self.input.clone();
        thread::Builder::new().spawn(move || pipe.write_all(&input)).map(drop)
    }

    /// Becomes the program: same process id, standard streams kept, no deadline. It returns only when it could not.
    pub fn exec(&self) -> CommandError {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        self.not_started(&command.exec())
    }

    /// The error for an exit status that the caller does not accept.
    pub fn failed(&self, output: &Output) -> CommandError {
        let failure = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => Failure::Exit(code),
            (None, Some(signal)) => Failure::Signal(signal),
            (None, None) => Failure::System(output.status.to_string()),
        };
        self.error(failure, &output.stdout, &output.stderr)
    }

    fn spawn(&self, stdin: Stdio, stdout: Stdio) -> Result<Child, CommandError> {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(k, v)| (k, v))).process_group(0);
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.spawn().map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &io::Error) -> CommandError {
        let missing_dir = self.cwd.as_ref().filter(|dir| !dir.is_dir());
        let failure = match (missing_dir, error.kind()) {
            (Some(dir), _) => Failure::System(format!("working directory {} does not exist", dir.display())),
            (None, io::ErrorKind::NotFound) => Failure::NotFound,
            _ => Failure::System(error.to_string()),
        };
        self.error(failure, b"", b"")
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus, Failure> {
        let group = Pid::from_child(child);
        if wait_exit(group, self.deadline)? {
            return child.wait().map_err(|e| Failure::System(e.to_string()));
        }
        let _ = kill_process_group(group, Signal::TERM);
        if !wait_exit(group, TERM_GRACE)? {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        // Whatever else of the group outlived its leader.
        let _ = kill_process_group(group, Signal::KILL);
        Err(Failure::Deadline(self.deadline))
    }

    fn error(&self, failure: Failure, stdout: &[u8], stderr: &[u8]) -> CommandError {
        let silent = stderr.iter().all(u8::is_ascii_whitespace);
        let text = if silent && !self.private { stdout } else { stderr };
        let text = String::from_utf8_lossy(text);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        CommandError { host: self.host.clone(), command: self.display(), failure, tail: self.hide(tail) }
    }

    fn hide(&self, text: String) -> String {
        self.secrets
            .iter()
            .filter(|s| !s.is_empty())
            .fold(text, |text, secret| text.replace(secret, "[redacted]"))
    }
}

/// Waits for the process to exit without reaping it: true when it has, false at the deadline.
fn wait_exit(pid: Pid, deadline: Duration) -> Result<bool, Failure> {
    let system = |e: rustix::io::Errno| Failure::System(format!("wait for the process: {e}"));
    let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(system)?;
    let until = Instant::now() + deadline;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(system(e)),
        }
    }
}

#[cfg(test)]
mod tests;
