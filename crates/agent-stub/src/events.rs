//! Everything that can wake the agent, as one channel: input, signals, the worker.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::SyncSender;
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::worker::Report;

/// One thing that happened.
pub(crate) enum Event {
    /// Bytes of a terminal, or a line of a pipe.
    Input(Vec<u8>),
    EndOfInput,
    Signal(i32),
    Worker(Report),
}

/// Turns signals into events.
pub(crate) fn watch_signals(events: SyncSender<Event>) -> Result<()> {
    let signals = [SIGTERM, SIGHUP, SIGINT, SIGWINCH];
    let mut signals = Signals::new(signals).context("cannot watch signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Reads the terminal in chunks as they come, or a pipe line by line.
pub(crate) fn read_input(events: SyncSender<Event>, is_terminal: bool) {
    thread::spawn(move || {
        if is_terminal {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = io::stdin().read(&mut chunk) {
                if events.send(Event::Input(chunk[..length].to_vec())).is_err() {
                    return;
                }
            }
        } else {
            for line in io::stdin().lock().split(b'\n').map_while(Result::ok) {
                if events.send(Event::Input(line)).is_err() {
                    return;
                }
            }
        }
        let _ = events.send(Event::EndOfInput);
    });
}
