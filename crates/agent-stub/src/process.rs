//! Runs one child process with input, output and a deadline; one thread, no polling by time.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How a child ended.
pub(crate) struct Finished {
    /// None when it was killed at its deadline.
    pub status: Option<ExitStatus>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn ok(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }

    /// `exit 1: last lines of its errors`, for messages.
    pub fn why(&self) -> String {
        let how = match self.status {
            None => "no end before its deadline".to_owned(),
            Some(status) => status.to_string(),
        };
        let lines: Vec<&str> = self.stderr.trim().lines().collect();
        let tail = lines[lines.len().saturating_sub(6)..].join("\n");
        if tail.is_empty() { how } else { format!("{how}: {tail}") }
    }
}

/// Runs a command in a process group of its own, so that a hangup of the terminal ends
/// the agent and not its git half-way. A grandchild that keeps the pipes open is not waited for.
///
/// # Errors
/// When it cannot be started or watched.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Finished> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let outcome = watch(&mut child, input, Instant::now() + limit);
    if outcome.as_ref().map_or(true, |finished| finished.status.is_none()) {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let _ = child.wait();
    }
    outcome
}

fn watch(child: &mut Child, mut input: &[u8], deadline: Instant) -> io::Result<Finished> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for fd in
        [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)]
    {
        nonblocking(fd)?;
    }
    let status = loop {
        if let Some(pipe) = stdin.as_mut().filter(|_| !input.is_empty()) {
            match pipe.write(input) {
                Ok(written) => input = &input[written..],
                Err(error) if retry(&error) => {}
                // The child does not read its input; that is its right.
                Err(_) => input = &[],
            }
        }
        if input.is_empty() {
            stdin = None;
        }
        drain(&mut stdout, &mut out)?;
        drain(&mut stderr, &mut err)?;
        if let Some(status) = child.try_wait()? {
            drain(&mut stdout, &mut out)?;
            drain(&mut stderr, &mut err)?;
            break Some(status);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break None;
        }
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        fds.extend(stdin.iter().map(|f| PollFd::new(f, PollFlags::OUT)));
        fds.extend(stdout.iter().map(|f| PollFd::new(f, PollFlags::IN)));
        fds.extend(stderr.iter().map(|f| PollFd::new(f, PollFlags::IN)));
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    Ok(Finished {
        status,
        stdout: String::from_utf8_lossy(&out).into_owned(),
        stderr: String::from_utf8_lossy(&err).into_owned(),
    })
}

fn nonblocking(fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    fd.map_or(Ok(()), |fd| rustix::io::ioctl_fionbio(fd, true).map_err(Into::into))
}

fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reads what is there; forgets the pipe at its end, so that it is polled no more.
fn drain<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(reader) = pipe else { return Ok(()) };
    match reader.read_to_end(into) {
        Ok(_) => *pipe = None,
        Err(error) if retry(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn input_output_and_status_come_through() {
        let big = vec![b'x'; 300_000];
        let done = run(&mut sh("wc -c; echo oops >&2; exit 3"), &big, Duration::from_secs(20)).unwrap();
        assert_eq!(done.stdout.trim(), "300000");
        assert_eq!(done.status.and_then(|s| s.code()), Some(3));
        assert!(done.why().ends_with("oops"));
    }

    #[test]
    fn a_slow_child_is_killed_at_its_deadline() {
        let start = Instant::now();
        let done = run(&mut sh("sleep 60"), b"", Duration::from_millis(200)).unwrap();
        assert!(done.status.is_none() && !done.ok());
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_is_not_waited_for() {
        let start = Instant::now();
        let done = run(&mut sh("sleep 20 & echo here"), b"", Duration::from_secs(15)).unwrap();
        assert!(done.ok() && done.stdout.contains("here"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_child_that_does_not_read_its_input_is_no_error() {
        let big = vec![b'x'; 300_000];
        assert!(run(&mut sh("exit 0"), &big, Duration::from_secs(20)).unwrap().ok());
    }
}
