//! A SOCKS5 client: asks a proxy for a connection and says in words why there is none.
//!
//! The dialogue of RFC 1928, without a login. A whole dialogue has one deadline, so a proxy that answers a byte at a time
//! gains nothing. Not one byte behind the reply is read: those belong to whoever uses the connection.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ccorch_core::target::{Address, Target};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const CONNECT: u8 = 1;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum SocksError {
    /// Nothing accepts connections there.
    #[error("proxy {proxy}: cannot connect: {error}")]
    NotListening {
        /// The proxy's address.
        proxy: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// Something listens there that does not speak SOCKS5 as RFC 1928 says.
    #[error("proxy {proxy} does not speak SOCKS5: {reason}")]
    Handshake {
        /// The proxy's address.
        proxy: SocketAddr,
        /// What it did.
        reason: String,
    },
    /// It lets nobody in without a login.
    #[error("proxy {proxy} lets nobody in without a login, and ccorch has none for a proxy")]
    Login {
        /// The proxy's address.
        proxy: SocketAddr,
    },
    /// The proxy works and says no.
    #[error("proxy {proxy} did not connect to {target}: {reply}")]
    Target {
        /// The proxy's address.
        proxy: SocketAddr,
        /// What was asked for.
        target: Target,
        /// Its answer.
        reply: Reply,
    },
    /// The proxy let us in and hung up when asked: so does `ssh -D`, in place of a refusal (seen with OpenSSH 9.2). Others
    /// say yes before they have tried, and hang up then.
    #[error(
        "proxy {proxy} hung up on the connection to {target}, as `ssh -D` does when the target does not answer"
    )]
    TargetClosed {
        /// The proxy's address.
        proxy: SocketAddr,
        /// What was asked for.
        target: Target,
    },
    /// It took too long.
    #[error("proxy {proxy}: no {awaited} within {} s", after.as_secs_f32())]
    Deadline {
        /// The proxy's address.
        proxy: SocketAddr,
        /// What was waited for.
        awaited: &'static str,
        /// The deadline of the whole dialogue.
        after: Duration,
    },
}

/// The proxy's answer when it is not yes, RFC 1928 section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply(pub u8);

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            0 => "succeeded",
            1 => "general failure of the proxy",
            2 => "not allowed by the proxy's rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "time to live expired",
            7 => "command not supported by the proxy",
            8 => "address type not supported by the proxy",
            other => return write!(f, "reply {other}, which RFC 1928 does not know"),
        };
        f.write_str(words)
    }
}

/// What the far side did in the first moments of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// It spoke: the first bytes, still to be read by the connection's user.
    Spoke(Vec<u8>),
    /// It said nothing, as servers do that wait for a request.
    Silent,
}

/// Connects to `target` through the proxy. The stream returned is at the target's first byte.
pub fn connect(proxy: SocketAddr, target: &Target, within: Duration) -> Result<TcpStream, SocksError> {
    let mut dialogue = Dialogue::open(proxy, within)?;
    dialogue.greet()?;
    dialogue.ask(target)?;
    dialogue.release()
}

/// Only greets: proves that a SOCKS5 proxy listens there and lets us in.
pub fn greet(proxy: SocketAddr, within: Duration) -> Result<(), SocksError> {
    Dialogue::open(proxy, within)?.greet()
}

/// Waits until the far side speaks, closes, or has been silent for `within`.
pub fn first(
    proxy: SocketAddr,
    target: &Target,
    stream: &TcpStream,
    within: Duration,
) -> Result<First, SocksError> {
    let mut bytes = [0; 256];
    let gone = || SocksError::TargetClosed { proxy, target: target.clone() };
    // A timeout of zero would mean none.
    stream.set_read_timeout(Some(within.max(Duration::from_millis(1)))).map_err(|_| gone())?;
    let answer = loop {
        match stream.peek(&mut bytes) {
            Ok(0) => return Err(gone()),
            Ok(n) => break First::Spoke(bytes[..n].to_vec()),
            Err(e) if late(&e) => break First::Silent,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(gone()),
        }
    };
    stream.set_read_timeout(None).map_err(|_| gone())?;
    Ok(answer)
}

fn late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One dialogue with the proxy, bounded as a whole.
struct Dialogue {
    proxy: SocketAddr,
    stream: TcpStream,
    within: Duration,
    until: Instant,
}

impl Dialogue {
    fn open(proxy: SocketAddr, within: Duration) -> Result<Self, SocksError> {
        let until = Instant::now() + within;
        let stream = TcpStream::connect_timeout(&proxy, within.max(Duration::from_millis(1)));
        let stream = stream.map_err(|error| SocksError::NotListening { proxy, error })?;
        let dialogue = Self { proxy, stream, within, until };
        // What is relayed is often typed by a person.
        dialogue.stream.set_nodelay(true).map_err(|e| dialogue.broken(&e))?;
        Ok(dialogue)
    }

    /// Section 3: offers "no authentication" alone.
    fn greet(&mut self) -> Result<(), SocksError> {
        self.write(&[VERSION, 1, NO_LOGIN])?;
        let [version, method] = self.read("answer to the greeting")?;
        self.version(version)?;
        match method {
            NO_LOGIN => Ok(()),
            // 0xff is "none acceptable"; any other is a login that was not offered.
            0xff | 1 | 2 => Err(SocksError::Login { proxy: self.proxy }),
            other => Err(self.handshake(format!("it chose login method {other}, which was not offered"))),
        }
    }

    /// Sections 4 to 6. Names go to the proxy as names: its far side resolves them.
    fn ask(&mut self, target: &Target) -> Result<(), SocksError> {
        let mut request = vec![VERSION, CONNECT, 0];
        match &target.host {
            Address::Ip(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Address::Ip(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend(ip.octets());
            }
            Address::Name(name) => {
                let length = u8::try_from(name.len())
                    .map_err(|_| self.handshake("a name of over 255 bytes does not fit".into()))?;
                request.extend([3, length]);
                request.extend(name.bytes());
            }
        }
        request.extend(target.port.to_be_bytes());
        self.write(&request)?;
        let awaited = "answer to the request";
        let mut version = [0];
        if self.piece(&mut version, awaited)? == 0 {
            return Err(SocksError::TargetClosed { proxy: self.proxy, target: target.clone() });
        }
        let [version] = version;
        let [reply] = self.read(awaited)?;
        self.version(version)?;
        // Some proxies close right behind a refusal, without the address that should follow.
        if reply != 0 {
            return Err(SocksError::Target {
                proxy: self.proxy,
                target: target.clone(),
                reply: Reply(reply),
            });
        }
        let [_reserved, kind] = self.read(awaited)?;
        let address = match kind {
            1 => 4,
            3 => usize::from(self.read::<1>(awaited)?[0]),
            4 => 16,
            other => return Err(self.handshake(format!("it sent an address of unknown type {other}"))),
        };
        let mut bound = [0; 255 + 2];
        self.fill(&mut bound[..address + 2], awaited)
    }

    /// Hands the connection over, without any timeout left on it.
    fn release(self) -> Result<TcpStream, SocksError> {
        let cleared = self.stream.set_read_timeout(None).and_then(|()| self.stream.set_write_timeout(None));
        cleared.map_err(|e| self.broken(&e))?;
        Ok(self.stream)
    }

    fn version(&self, version: u8) -> Result<(), SocksError> {
        match version {
            VERSION => Ok(()),
            // Section 6 has 5 as the first byte of every answer; a SOCKS4 proxy sends 0.
            0 | 4 => Err(self.handshake("it answers like a SOCKS4 proxy".into())),
            other => Err(self.handshake(format!("it answers with byte {other:#04x} in place of version 5"))),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SocksError> {
        let left = self.left("room for the request")?;
        let sent = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(bytes));
        sent.map_err(|e| if late(&e) { self.deadline("room for the request") } else { self.broken(&e) })
    }

    fn read<const N: usize>(&mut self, awaited: &'static str) -> Result<[u8; N], SocksError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, awaited)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut space: &mut [u8], awaited: &'static str) -> Result<(), SocksError> {
        while !space.is_empty() {
            match self.piece(space, awaited)? {
                0 => return Err(self.handshake(format!("it closed the connection in the {awaited}"))),
                n => space = &mut space[n..],
            }
        }
        Ok(())
    }

    /// Reads what there is, at least one byte; 0 when the proxy has closed.
    fn piece(&mut self, space: &mut [u8], awaited: &'static str) -> Result<usize, SocksError> {
        loop {
            // Measured anew for every piece, or a slow drip would never end.
            let left = self.left(awaited)?;
            self.stream.set_read_timeout(Some(left)).map_err(|e| self.broken(&e))?;
            match self.stream.read(space) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == ErrorKind::Interrupted || late(&e) => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
    }

    fn left(&self, awaited: &'static str) -> Result<Duration, SocksError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.deadline(awaited)) } else { Ok(left) }
    }

    fn deadline(&self, awaited: &'static str) -> SocksError {
        SocksError::Deadline { proxy: self.proxy, awaited, after: self.within }
    }

    fn broken(&self, error: &io::Error) -> SocksError {
        self.handshake(format!("the connection broke: {error}"))
    }

    fn handshake(&self, reason: String) -> SocksError {
        SocksError::Handshake { proxy: self.proxy, reason }
    }
}
