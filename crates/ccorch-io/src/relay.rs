//! Bytes between standard input and output and a connection, each direction ending by itself.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// Fewer, larger calls: a pipe takes 64 KiB at once (pipe(7)).
const CHUNK: usize = 64 * 1024;
/// Once the far side has ended, input is still carried to it while it comes without a pause as long as this.
const LINGER: Duration = Duration::from_secs(1);

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed {
    /// Whether standard input had ended before the far side did.
    pub input_ended: bool,
    /// Bytes that came from the far side.
    pub received: u64,
}

/// Relays until the far side has ended. The end of standard input is passed on as a half-close, so that the answer to its
/// last byte still comes through; when whoever reads standard output goes away, the relay ends. Standard input may then
/// still be waited for by a thread that holds the connection: the caller is expected to exit.
pub fn standard_streams(stream: TcpStream) -> io::Result<Relayed> {
    // Without the buffers of std, which look for line ends.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    // From here on `output` alone is standard output, so that dropping it closes it.
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    relay(input, output, stream)
}

fn relay(
    input: impl Read + AsFd + Send + 'static,
    output: impl Write + AsFd,
    stream: TcpStream,
) -> io::Result<Relayed> {
    let sent = Arc::new(AtomicU64::new(0));
    let (ended, upward) = mpsc::channel();
    let (up, count) = (stream.try_clone()?, Arc::clone(&sent));
    let carries = move || {
        let done = pump(input, &up, &count);
        if done.is_ok() {
            // A far side that is gone already needs no telling.
            let _ = up.shutdown(Shutdown::Write);
        }
        let _ = ended.send(());
    };
    thread::Builder::new().spawn(carries)?;
    let received = AtomicU64::new(0);
    // `output` ends with this call: its reader sees the end at once, even while input is still carried.
    let down = pump(stream, output, &received);
    let input_ended = upward.try_recv().is_ok();
    let mut before = sent.load(Ordering::Relaxed);
    while down.is_ok() && !input_ended && upward.recv_timeout(LINGER) == Err(RecvTimeoutError::Timeout) {
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            break;
        }
        before = now;
    }
    match down {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e),
        // Nobody reads our output any more: all that was wanted has come.
        _ => Ok(Relayed { input_ended: input_ended || down.is_err(), received: received.into_inner() }),
    }
}

/// Moves bytes until the source ends; both sides may be blocking or not.
fn pump(mut from: impl Read + AsFd, mut to: impl Write + AsFd, count: &AtomicU64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                write_whole(&mut to, &buffer[..n])?;
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
            Err(e) => again(&e, &from, PollFlags::IN).ok_or(e)?,
        }
    }
}

fn write_whole(to: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) => again(&e, to, PollFlags::OUT).ok_or(e)?,
        }
    }
    Ok(())
}

/// Whether to try again after this error: at once after a signal, and when the other end is ready where the descriptor
/// was made non-blocking by somebody it is shared with.
fn again(error: &io::Error, fd: &impl AsFd, flags: PollFlags) -> Option<()> {
    match error.kind() {
        ErrorKind::Interrupted => Some(()),
        ErrorKind::WouldBlock => match poll(&mut [PollFd::new(fd, flags)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Some(()),
            Err(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;
    use std::time::Instant;

    use super::*;

    /// A relay at work: our end of its input, of its output, the far side, and its result.
    struct Bench {
        input: UnixStream,
        output: UnixStream,
        far: TcpStream,
        relay: JoinHandle<io::Result<Relayed>>,
    }

    fn bench(nonblocking: bool) -> Bench {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let (input, relay_in) = UnixStream::pair().unwrap();
        let (output, relay_out) = UnixStream::pair().unwrap();
        relay_in.set_nonblocking(nonblocking).unwrap();
        relay_out.set_nonblocking(nonblocking).unwrap();
        for end in [&input, &output] {
            end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Bench { input, output, far, relay: thread::spawn(move || relay(relay_in, relay_out, near)) }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn the_answer_to_the_last_byte_comes_through_a_half_close() {
        for nonblocking in [false, true] {
            let Bench { mut input, mut output, mut far, relay } = bench(nonblocking);
            let sent = noise(8 << 20);
            let echo = thread::spawn(move || {
                let mut all = Vec::new();
                far.read_to_end(&mut all).unwrap();
                far.write_all(&all).unwrap();
            });
            input.write_all(&sent).unwrap();
            input.shutdown(Shutdown::Write).unwrap();
            let mut back = Vec::new();
            output.read_to_end(&mut back).unwrap();
            assert!(back == sent, "{} bytes went, {} came", sent.len(), back.len());
            echo.join().unwrap();
            let relayed = relay.join().unwrap().unwrap();
            assert_eq!(relayed, Relayed { input_ended: true, received: sent.len() as u64 });
        }
    }

    #[test]
    fn input_goes_on_after_the_far_side_has_said_its_last() {
        let Bench { mut input, mut output, mut far, relay } = bench(false);
        far.write_all(b"hello").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        output.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        let sent = noise(4 << 20);
        let expected = sent.clone();
        let writer = thread::spawn(move || input.write_all(&sent));
        let mut all = Vec::new();
        far.read_to_end(&mut all).unwrap();
        writer.join().unwrap().unwrap();
        assert!(all == expected);
        assert_eq!(relay.join().unwrap().unwrap(), Relayed { input_ended: false, received: 5 });
    }

    #[test]
    fn an_idle_input_does_not_hold_a_relay_whose_far_side_is_gone() {
        let Bench { input, output, far, relay } = bench(false);
        let start = Instant::now();
        drop(far);
        assert_eq!(relay.join().unwrap().unwrap(), Relayed { input_ended: false, received: 0 });
        assert!(start.elapsed() < 5 * LINGER, "{:?}", start.elapsed());
        drop((input, output));
    }

    #[test]
    fn a_reader_that_went_away_ends_it() {
        let Bench { input, output, mut far, relay } = bench(false);
        drop(output);
        far.write_all(b"x").unwrap();
        assert!(relay.join().unwrap().unwrap().input_ended);
        drop(input);
    }
}
