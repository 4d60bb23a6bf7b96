//! A child's output, read while it runs.

use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A finished child's pipe may be held open by a daemon it left behind; its output is not waited for longer.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// A piece of a child's output; none where there is more than is taken.
type Piece = Option<Vec<u8>>;

/// Reads a pipe in a thread, handing over what came as it comes; a child that writes more than `most` bytes finds the pipe closed.
pub(super) fn drain(
    pipe: Option<impl Read + Send + 'static>,
    most: usize,
) -> io::Result<mpsc::Receiver<Piece>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        thread::Builder::new().spawn(move || {
            let (mut buffer, mut left) = ([0; 16 * 1024], most);
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                let fits = left.checked_sub(n);
                if sender.send(fits.map(|_| buffer[..n].to_vec())).is_err() || fits.is_none() {
                    break;
                }
                left -= n;
            }
        })?;
    }
    Ok(receiver)
}

/// What has come, once the pipe is closed or nobody waits any longer; and whether that is all.
pub(super) fn collect(pieces: &mpsc::Receiver<Piece>) -> (Vec<u8>, bool) {
    let until = Instant::now() + DRAIN_GRACE;
    let mut all = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(until.saturating_duration_since(Instant::now())) {
        let Some(piece) = piece else { return (all, false) };
        all.extend(piece);
    }
    (all, true)
}
