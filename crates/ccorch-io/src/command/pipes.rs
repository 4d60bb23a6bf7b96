//! A child's output, read while it runs.

use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A finished child's pipe may be held open by a daemon it left behind; its output is not waited for longer.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Reads a pipe in a thread, handing over what came as it comes.
pub(super) fn drain(pipe: Option<impl Read + Send + 'static>) -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        thread::Builder::new().spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        })?;
    }
    Ok(receiver)
}

/// What has come, once the pipe is closed or nobody waits any longer.
pub(super) fn collect(pieces: &mpsc::Receiver<Vec<u8>>) -> Vec<u8> {
    let until = Instant::now() + DRAIN_GRACE;
    let mut all = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
        all.extend(piece);
    }
    all
}
