//! Does a URL answer? One GET, of whose answer the status line is read, straight or through a SOCKS proxy (which then
//! resolves the name too).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccorch_core::target::{BadTarget, Target};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::http::Uri;

use crate::incus;
use crate::socks::{self, SocksError};

/// The longest status line that is read, in bytes.
const LONGEST: u64 = 4096;

/// Why a URL does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not a URL of ours.
    #[error("it is no http or https URL")]
    BadUrl,
    /// Its host is none a proxy can be asked for.
    #[error(transparent)]
    BadTarget(#[from] BadTarget),
    /// The proxy does not get there.
    #[error(transparent)]
    Proxy(#[from] SocksError),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// It answers, and says that it is not well.
    #[error("status {0}")]
    Status(u16),
    /// What answers is no HTTP server.
    #[error("it does not speak HTTP")]
    NotHttp,
}

/// Asks the URL; its status, when that is from 200 to 399.
pub fn ask(url: &str, proxy: Option<SocketAddr>, within: Duration) -> Result<u16, HealthError> {
    let uri: Uri = url.parse().map_err(|_| HealthError::BadUrl)?;
    let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(HealthError::BadUrl),
    };
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let until = Instant::now() + within;
    let stream = connect(host, port, proxy, within)?;
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |a| a.as_str());
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let agent = concat!("ccorch/", env!("CARGO_PKG_VERSION"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let status = if tls {
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| HealthError::BadUrl)?;
        let connection = ClientConnection::new(Arc::new(incus::system_client()?), name)?;
        status(StreamOwned::new(connection, stream), &request)?
    } else {
        status(stream, &request)?
    };
    if (200..400).contains(&status) { Ok(status) } else { Err(HealthError::Status(status)) }
}

fn connect(
    host: &str,
    port: u16,
    proxy: Option<SocketAddr>,
    within: Duration,
) -> Result<TcpStream, HealthError> {
    if let Some(proxy) = proxy {
        return Ok(socks::connect(proxy, &Target::new(host, port)?, within)?);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// Source of the status line: RFC 9112 section 4.
fn status(mut stream: impl Read + Write, request: &str) -> Result<u16, HealthError> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split(' ');
    let http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|word| word.trim_end().parse().ok()).filter(|_| http);
    status.ok_or(HealthError::NotHttp)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers once with these bytes; its address, and what it was asked.
    fn server(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut request = String::new();
            while let Some(Ok(line)) = lines.next().filter(|line| line.as_ref().is_ok_and(|l| !l.is_empty()))
            {
                request = request + &line + "\n";
            }
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        (address, asked)
    }

    fn ask_once(answer: &'static str) -> Result<u16, HealthError> {
        let (address, asked) = server(answer);
        let result = ask(&format!("http://{address}/health?x=1"), None, Duration::from_secs(10));
        let request = asked.join().unwrap();
        assert!(request.starts_with("GET /health?x=1 HTTP/1.1\nHost: 127.0.0.1:"), "{request}");
        result
    }

    #[test]
    fn the_status_decides() {
        assert_eq!(ask_once("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), 204);
        assert_eq!(ask_once("HTTP/1.0 302\r\n\r\n").unwrap(), 302);
        assert!(matches!(ask_once("HTTP/1.1 503 x\r\n\r\n"), Err(HealthError::Status(503))));
        assert!(matches!(ask_once("SSH-2.0-x\r\n"), Err(HealthError::NotHttp)));
        assert!(matches!(ask_once(""), Err(HealthError::NotHttp)));
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        let ask = |url: &str| ask(url, None, Duration::from_secs(2)).unwrap_err().to_string();
        assert_eq!(ask("ftp://x"), "it is no http or https URL");
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(&format!("http://{closed}")).contains("refused"));
        // Nobody there speaks TLS.
        let (address, _) = server("HTTP/1.1 200 OK\r\n\r\n");
        assert!(!ask(&format!("https://{address}/")).is_empty());
    }
}
