//! What people run every day, as the README has it; each command on the vm that runs the rig.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::judge;
use super::operator::Operator;
use crate::wait;

/// A loaded machine gets far more than a login and a restart take.
const PATIENCE: Duration = Duration::from_secs(180);
/// What tmux writes when it takes a terminal over: the terminal's other screen (xterm's control sequences).
const TAKEN_OVER: &[u8] = b"\x1b[?1049h";
/// `C-b d`, which is all that a read-only terminal may say.
const DETACH: &[u8] = b"\x02d";

/// All of it, on a vm that has rebooted so often.
pub fn all(operator: &Operator, reboots: u64) -> Result<String> {
    operator.runs(&["status", "--host", "vm"])?;
    operator.runs(&["loops", "list", "--host", "vm"])?;
    attach(operator, &["loops", "attach", "builder", "--host", "vm", "--read-only"])?;
    operator.runs(&["loops", "show", "builder", "--host", "vm"])?;
    operator.runs(&["phase", "show", "--host", "vm"])?;
    operator.runs(&["loops", "restart", "builder", "--host", "vm"])?;
    let logs = operator.reads(&["loops", "logs", "builder", "--host", "vm"])?;
    ensure!(logs.contains("loop-stopped"), "the restart is not in the log of the loop");
    operator.runs(&["reboots", "--host", "vm"])?;
    operator.runs(&["resume", "--host", "vm"])?;
    operator.runs(&["notify", "--host", "vm", "--dry-run", "does", "this", "reach", "me"])?;
    let journal = operator.reads(&["journal", "show"])?;
    ensure!(journal.contains("activate"), "the journal does not tell of the step activate");
    wait::until("the vm to be well", PATIENCE, || Ok(judge::well(operator, reboots).ok()))?;
    Ok("for people: each works".into())
}

/// Attaches on a terminal of its own, sees tmux take it over, and detaches.
fn attach(operator: &Operator, args: &[&str]) -> Result<()> {
    let mut command = operator.on_a_terminal(args);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run script (package bsdutils)")?;
    let mut keys = child.stdin.take().context("no standard input")?;
    let mut screen = child.stdout.take().context("no standard output")?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let read = Arc::clone(&seen);
    let reader = thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut part) {
            read.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..count]);
        }
    });
    let shows = |what: &[u8]| {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.windows(what.len()).any(|part| part == what)
    };
    let begun = Instant::now();
    let mut pressed = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("`ccorch {}` did not end", args.join(" "));
        }
        // Pressed again now and then: a key that comes before tmux listens is lost.
        if shows(TAKEN_OVER) && pressed.elapsed() > Duration::from_millis(300) {
            // It may have ended by now.
            keys.write_all(DETACH).ok();
            pressed = Instant::now();
        }
        thread::sleep(Duration::from_millis(20));
    };
    drop(keys);
    ensure!(reader.join().is_ok(), "the reader of the terminal came to a sudden end");
    ensure!(status.success() && shows(TAKEN_OVER), "`ccorch {}` ended with {status}", args.join(" "));
    ensure!(shows(b"[detached"), "tmux did not say that it detached");
    Ok(())
}
