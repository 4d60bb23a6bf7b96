//! Whether agents run on a host: they do, they do not, or it could not be told.

use std::process::Output;

use crate::bed::Instance;
use crate::run::tail;

/// Exit status of the look when agents run, and when none does. The status of `pgrep` itself would not do: `incus exec`
/// ends with 1 as well when the host is down (seen), and what is printed may lose its end.
const AT_WORK: i32 = 40;
const NONE: i32 = 41;

/// What one look said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agents {
    /// Their process ids and command lines, as far as they arrived.
    AtWork(String),
    /// None, by pgrep's own word.
    None,
    /// Nobody said: the host is away, starts or ends, or has no pgrep.
    Unknown(String),
}

impl Agents {
    /// Looks on a host.
    pub fn on(host: &Instance) -> Self {
        // Not the tmux servers, whose command line has the agent's in it.
        match host.exec(&["sh", "-c", &question("claude")]) {
            Ok(output) => Self::of(&output),
            Err(error) => Self::Unknown(format!("{error:#}")),
        }
    }

    /// Reads what [`question`] left.
    pub fn of(output: &Output) -> Self {
        match output.status.code() {
            Some(AT_WORK) => Self::AtWork(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            Some(NONE) => Self::None,
            _ => Self::Unknown(format!("{}\n{}", output.status, tail(output))),
        }
    }
}

/// The script that asks for processes of a name.
pub fn question(name: &str) -> String {
    format!("pgrep -a -x {name}; case $? in 0) exit {AT_WORK};; 1) exit {NONE};; *) exit 42;; esac")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::run::Run;

    fn ask(script: &str) -> Agents {
        Agents::of(&Run::new(&["sh", "-c", script]).output().unwrap())
    }

    #[test]
    fn a_process_that_runs_is_seen_and_one_that_does_not_is_none() {
        let folder = tempfile::tempdir().unwrap();
        // pgrep -x knows fifteen letters of a name.
        let name = format!("agent{}", std::process::id());
        std::os::unix::fs::symlink("/bin/sh", folder.path().join(&name)).unwrap();
        assert_eq!(ask(&question(&name)), Agents::None);
        let mut agent = Command::new(folder.path().join(&name));
        let mut child = agent.args(["-c", "read line"]).stdin(Stdio::piped()).spawn().unwrap();
        let seen = ask(&question(&name));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            matches!(&seen, Agents::AtWork(said) if said.starts_with(&child.id().to_string())),
            "{seen:?}"
        );
    }

    #[test]
    fn a_look_that_failed_is_never_none() {
        // A host that is down, as incus says it; pgrep missing, killed, or given a bad pattern.
        let down = "echo 'Error: Instance is not running' >&2; exit 1";
        for failed in [down, "exit 0", "exec no-such-program-here", "kill -s KILL $$", &question("'('")] {
            assert!(matches!(ask(failed), Agents::Unknown(_)), "{failed}");
        }
    }
}
