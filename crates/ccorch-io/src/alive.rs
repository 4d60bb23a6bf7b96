//! Whether a machine gives any sign of life at a TCP port.

use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How the machine there answered, if it did: a connection that is taken and one that is refused are both words of a kernel
/// that runs. A name that does not resolve from here is no answer.
pub fn answers(host: &str, port: u16, deadline: Duration) -> Option<&'static str> {
    let addresses = (host, port).to_socket_addrs().ok()?;
    addresses.into_iter().find_map(|address| match TcpStream::connect_timeout(&address, deadline) {
        Ok(_) => Some("takes connections"),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
            Some("refuses connections")
        }
        Err(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_refusal_is_a_sign_of_life_and_silence_is_none() {
        let (soon, listener) = (Duration::from_millis(200), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        assert_eq!(answers("127.0.0.1", port, soon), Some("takes connections"));
        drop(listener);
        assert_eq!(answers("127.0.0.1", port, soon), Some("refuses connections"));
        // Kept for examples: no machine has it (RFC 5737).
        assert_eq!(answers("192.0.2.7", 22, soon), None);
        assert_eq!(answers("no-such-host.invalid", 22, soon), None);
    }
}
