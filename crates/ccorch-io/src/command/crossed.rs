//! Two commands whose pipes are crossed: what one writes the other reads, both ways, without passing through this process.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Command, CommandError, Failure, MOST, Output, collect, drain};

/// How long the first command may take to say its words.
const FIRST_WORDS: Duration = Duration::from_secs(60);
/// How long the second one may go on after the first has ended.
const AFTER: Duration = Duration::from_secs(30);
/// More words, or longer ones, no sane program says first.
const MOST_BYTES: usize = 64 * 1024;

impl Command {
    /// Runs this command, reads its first words (each ended by NUL, the last one empty), has `second` make the other
    /// command of them, and connects the two. Both have ended when this returns; any exit status is an answer, and the
    /// outputs hold standard error only.
    pub fn crossed(
        &self,
        second: impl FnOnce(&[String]) -> Result<Command, String>,
    ) -> Result<(Output, Command, Output), CommandError> {
        let mut first = self.spawn(Stdio::piped(), Stdio::piped())?;
        let errors = drain(first.stderr.take(), MOST).map_err(|error| self.unheard(&mut first, &error))?;
        let (stdin, stdout) = (first.stdin.take(), first.stdout.take());
        let begun = match (stdin, stdout) {
            (Some(stdin), Some(mut stdout)) => {
                words(&mut stdout).and_then(|words| second(&words)).map(|command| (command, stdin, stdout))
            }
            _ => Err("its pipes are missing".to_owned()),
        };
        let (command, stdin, stdout) = match begun {
            Ok(begun) => begun,
            // Its pipes are closed by now, so it ends; what it says then is better than what was missing.
            Err(why) => {
                let status = self.wait(&mut first);
                let (stderr, _) = collect(&errors);
                return Err(match status {
                    Ok(status) if !status.success() => {
                        self.failed(&Output { status, stdout: Vec::new(), stderr })
                    }
                    _ => self.error(Failure::System(why), b"", &stderr),
                });
            }
        };
        let other = command.spawn(Stdio::from(stdout), Stdio::from(stdin));
        let status = self.wait(&mut first);
        let mut other = other?;
        let other_errors =
            drain(other.stderr.take(), MOST).map_err(|error| command.unheard(&mut other, &error))?;
        let after = Command { deadline: AFTER, ..command.clone() };
        let other_status = after.wait(&mut other);
        let ((stderr, _), (other_stderr, _)) = (collect(&errors), collect(&other_errors));
        let status = status.map_err(|failure| self.error(failure, b"", &stderr))?;
        let other_status = other_status.map_err(|failure| command.error(failure, b"", &other_stderr))?;
        let output = |status, stderr| Output { status, stdout: Vec::new(), stderr };
        Ok((output(status, stderr), command, output(other_status, other_stderr)))
    }
}

/// Reads byte by byte: what follows the words belongs to the other command.
fn words(pipe: &mut ChildStdout) -> Result<Vec<String>, String> {
    let until = Instant::now() + FIRST_WORDS;
    let (mut words, mut word, mut total) = (Vec::new(), Vec::new(), 0);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&*pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(format!("it said nothing for {} s", FIRST_WORDS.as_secs())),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.to_string()),
        }
        let mut byte = [0];
        total += 1;
        match pipe.read(&mut byte) {
            Ok(1) if total > MOST_BYTES => return Err("its first words have no end".into()),
            Ok(1) if byte == [0] && word.is_empty() => return Ok(words),
            Ok(1) if byte == [0] => words.push(String::from_utf8_lossy(&std::mem::take(&mut word)).into()),
            Ok(1) => word.push(byte[0]),
            Ok(_) => return Err("it ended before it said what it needs".into()),
            Err(e) => return Err(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[test]
    fn each_reads_what_the_other_writes() {
        let first = sh(r#"printf 'a b\0c\0\0'; echo ping; read answer; echo "first got $answer" >&2"#);
        let (first, _, second) = first
            .crossed(|words| {
                assert_eq!(words, ["a b", "c"]);
                Ok(sh(r#"read question; echo "second got $question" >&2; echo pong; exit 3"#))
            })
            .unwrap();
        assert_eq!(first.error_text(), "first got pong");
        assert_eq!((second.error_text().as_str(), second.status.code()), ("second got ping", Some(3)));
    }

    #[test]
    fn a_first_that_fails_is_the_error_and_no_second_starts() {
        let error = sh("echo no such thing >&2; exit 7").crossed(|_| panic!("started")).unwrap_err();
        assert_eq!((error.failure, error.tail.as_str()), (Failure::Exit(7), "no such thing"));
    }

    #[test]
    fn a_second_that_cannot_start_ends_the_first() {
        let error =
            sh(r"printf '\0'; cat >/dev/null").crossed(|_| Ok(Command::new("ccorch-none"))).unwrap_err();
        assert_eq!(error.failure, Failure::NotFound);
    }

    #[test]
    fn a_deadline_ends_both() {
        let first = sh(r"printf '\0'; sleep 100").deadline(Duration::from_millis(200));
        let error = first.crossed(|_| Ok(sh("cat"))).unwrap_err();
        assert!(matches!(error.failure, Failure::Deadline(_)));
    }
}
