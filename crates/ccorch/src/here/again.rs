//! An agent that ended is started again in the unit and the terminal that it had: its parent stays, says so to the supervisor,
//! and waits a moment for a word. A turn of the whole unit costs several times as much. Where something is left of the agent that
//! does not go, where the kernel ended it for the loop's limits, or where nobody answers, the unit ends as it always did.

use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::names::LoopName;
use ccorch_core::units::loop_unit;
use ccorch_io::datagrams::{self, Inbox};
use ccorch_io::paths::HostPaths;
use ccorch_io::{cgroup, process};
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::runtime::{Runtime, Started};
use super::{Here, isolation};

/// What a parent says on the socket of the hooks, behind the loop's name; no hook is this.
pub const ENDED: &str = "ended";
/// What it is answered, where it is to start the agent again.
const AGAIN: &[u8] = b"again";
/// So long it waits for a word. The supervisor has decided by then, or is not there.
const PATIENCE: Duration = Duration::from_secs(2);
/// What an agent leaves behind may take so long to follow it.
const LEFT: Duration = Duration::from_millis(200);
/// A tmux server without its agent's parent may take so long.
const LEAVES: Duration = Duration::from_secs(10);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(5);
/// Everything as in a new terminal: its state, its screen, what was scrolled out of it. In tmux RIS alone stays on the alternate
/// screen. Source: ctlseqs (DECRST 1049, RIS, and ED 3 of xterm).
const NEW: &[u8] = b"\x1b[?1049l\x1bc\x1b[3J";

/// The terminal of a loop, kept by the agent's parent. A stop of the unit, which signals everybody in it, ends neither.
pub struct Terminal {
    /// How it was before the agent, which may end without leaving it so.
    before: Option<Termios>,
    /// Its unit is being stopped.
    told: Arc<AtomicBool>,
    /// tmux is gone.
    hung_up: Arc<AtomicBool>,
}

impl Terminal {
    /// Before the agent is started.
    pub fn keep() -> Result<Self> {
        let (told, hung_up) = (Arc::default(), Arc::default());
        // A key that reaches this process too is nobody's wish.
        for (signal, mark) in [(SIGTERM, &told), (SIGHUP, &hung_up), (SIGINT, &Arc::default())] {
            flag::register(signal, Arc::clone(mark)).context("take signals")?;
        }
        Ok(Self { before: tcgetattr(std::io::stdin()).ok(), told, hung_up })
    }

    /// Whether no agent is to be started here any more.
    pub fn is_stopped(&self) -> bool {
        self.is_told_to_end() || self.hung_up.load(Ordering::SeqCst)
    }

    /// Whether that is a stop of the unit; a tmux server that is gone is nobody's wish.
    pub fn is_told_to_end(&self) -> bool {
        self.told.load(Ordering::SeqCst)
    }

    /// Tells the supervisor that the agent ended; whether it is to be started again here.
    pub fn wanted(&self, paths: &HostPaths, name: &LoopName) -> bool {
        let ask = || -> std::io::Result<bool> {
            let told = format!("{name}\n{ENDED}");
            let word = Inbox::nameless()?.ask(&paths.hook_socket(), told.as_bytes(), PATIENCE)?;
            // Anybody may speak to whoever asks.
            Ok(word.uid == Some(0) && word.bytes == AGAIN)
        };
        self.is_ours() && nothing_left(name) && ask().unwrap_or(false) && !self.is_stopped()
    }

    /// Whether this process's group has the keyboard. An agent that gave it to another one, and ended, has left it to nobody: its
    /// successor could read nothing, and nobody in the background may take it back. Source: tcsetpgrp(3).
    fn is_ours(&self) -> bool {
        self.before.is_none() || tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp())
    }

    /// Makes it as new for the next agent.
    pub fn reset(&self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
            let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
        }
        let _ = stdout().write_all(NEW).and_then(|()| stdout().flush());
    }
}

/// Whether the loop's unit has nobody in it any more but its tmux server and this process; who else is there is asked to go.
fn nothing_left(name: &LoopName) -> bool {
    let (me, unit, until) = (std::process::id(), loop_unit(name), Instant::now() + LEFT);
    let server = process::parent(me);
    let mut asked = Vec::new();
    loop {
        let Some(mut left) = cgroup::processes(me, &unit) else { return false };
        left.retain(|pid| *pid != me && Some(*pid) != server);
        if left.is_empty() {
            return true;
        }
        for pid in left {
            if !asked.contains(&pid) {
                if process::terminate(pid).is_err() {
                    return false;
                }
                asked.push(pid);
            }
        }
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Starts a loop's agent again where it was; as a new unit where nobody waits for that any more.
pub fn start(here: &Here, runtime: Runtime, name: &LoopName, parent: Waiting) -> Result<Started> {
    if runtime.is_going_down() {
        return Ok(Started::Over { down: true });
    }
    isolation::prepare(here, name)?;
    let server = parent.server;
    if parent.again() {
        return Ok(Started::Running(server));
    }
    gone(Some(server));
    runtime.start(here, name)
}

/// Waits for the end of a tmux server that is about to end: a start of its unit would be none.
pub fn gone(server: Option<u32>) {
    if let Some(Ok(Some(server))) = server.map(process::watch) {
        let _ = server.wait(Some(LEAVES));
    }
}

/// A parent that waits for the supervisor's word. Who forgets it has told it to leave.
#[derive(Debug)]
pub struct Waiting {
    /// Where it takes the word.
    at: Vec<u8>,
    /// The tmux server above it.
    pub server: u32,
    told: bool,
}

impl Waiting {
    /// The process that told of an agent's end, by the kernel's word; none when it is gone.
    pub fn of(pid: u32, at: Vec<u8>) -> Option<Self> {
        Some(Self { at, server: process::parent(pid)?, told: false })
    }

    /// Has the agent started again; false when nobody waits any more.
    pub fn again(mut self) -> bool {
        self.told = true;
        datagrams::answer(&self.at, AGAIN).is_ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.told {
            // One that is gone needs no word.
            let _ = datagrams::answer(&self.at, b"leave");
        }
    }
}

#[cfg(test)]
mod tests {
    use ccorch_io::command::Command;
    use ccorch_io::tmux::Tmux;

    use super::*;

    #[test]
    fn nothing_of_a_full_screen_view_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        std::fs::write(&new, NEW).unwrap();
        let show = "printf 'before\\033[?1049hfull screen\\033[5;9r'; read x; cat \"$0\"; echo next; read x";
        let tmux = Tmux::new(dir.path().join("s"), "one");
        let argv = tmux.start_argv(&["sh".into(), "-c".into(), show.into(), new.display().to_string()]);
        Command::new(&argv[0]).args(&argv[1..]).run().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let shows = |what: &str| {
            while !tmux.screen().unwrap().contains(what) {
                assert!(Instant::now() < until, "{what}: {:?}", tmux.screen());
                thread::sleep(LOOK);
            }
        };
        shows("full screen");
        tmux.press("Enter").unwrap();
        shows("next");
        let asked = ["display-message", "-p", "#{alternate_on} #{history_size} #{scroll_region_upper}"];
        let said = Command::new("tmux").arg("-S").arg(tmux.socket()).args(asked).read().unwrap();
        assert_eq!((said.as_str(), tmux.screen().unwrap().as_str()), ("0 0 0", "next"));
        tmux.kill().unwrap();
    }
}
