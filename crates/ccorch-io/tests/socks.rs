//! The SOCKS5 client against servers that misbehave in every way a byte stream allows.

// The lint spares `#[test]` functions alone; what helps them may fail a test just so.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use ccorch_core::target::Target;
use ccorch_io::socks::{self, First, SocksError};

/// The deadline of dialogues that are meant to run into it.
const SHORT: Duration = Duration::from_millis(400);
/// The deadline of all others: far away.
const LONG: Duration = Duration::from_secs(60);

const GREETING: [u8; 3] = [5, 1, 0];

/// Serves one connection with `behave`; what it returns comes out of the receiver.
fn server<T: Send + 'static>(
    behave: impl FnOnce(&mut TcpStream) -> T + Send + 'static,
) -> (SocketAddr, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(LONG)).unwrap();
        let _ = sender.send(behave(&mut stream));
    });
    (address, receiver)
}

fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Greets properly and reads the request for `b1:22`.
fn until_request(stream: &mut TcpStream) {
    assert_eq!(read(stream), GREETING);
    stream.write_all(&[5, 0]).unwrap();
    assert_eq!(&read::<9>(stream), b"\x05\x01\x00\x03\x02b1\x00\x16");
}

/// A proper greeting, then `answer` to the request, then the connection stays open until the client leaves.
fn answering(answer: &'static [u8]) -> SocketAddr {
    server(move |stream| {
        until_request(stream);
        stream.write_all(answer).unwrap();
        wait_for_end(stream);
    })
    .0
}

fn wait_for_end(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn b1() -> Target {
    "b1:22".parse().unwrap()
}

fn error(proxy: SocketAddr, within: Duration) -> SocksError {
    socks::connect(proxy, &b1(), within).unwrap_err()
}

/// The error's words without the changing address.
fn words(proxy: SocketAddr) -> String {
    error(proxy, LONG).to_string().replace(&proxy.to_string(), "P")
}

#[test]
fn names_and_addresses_travel_as_what_they_are() {
    let cases: [(&str, &[u8]); 3] = [
        ("b1.example:443", b"\x05\x01\x00\x03\x0ab1.example\x01\xbb"),
        ("192.0.2.7:80", b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"),
        (
            "[2001:db8::1]:22",
            b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x16",
        ),
    ];
    for (target, request) in cases {
        let (proxy, seen) = server(move |stream| {
            assert_eq!(read(stream), GREETING);
            stream.write_all(&[5, 0]).unwrap();
            let mut bytes = vec![0; request.len()];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            bytes
        });
        socks::connect(proxy, &target.parse().unwrap(), LONG).unwrap();
        assert_eq!(seen.recv_timeout(LONG).unwrap(), request, "{target}");
    }
}

#[test]
fn the_target_s_first_bytes_are_left_for_the_user_of_the_connection() {
    // A bound address as long as it can be, and the banner in the same segment.
    let mut reply = vec![5, 0, 0, 3, 255];
    reply.extend([b'x'; 255 + 2]);
    reply.extend(b"SSH-2.0-far\r\n");
    let proxy = answering(reply.leak());
    let mut stream = socks::connect(proxy, &b1(), LONG).unwrap();
    let first = socks::first(proxy, &b1(), &stream, LONG).unwrap();
    assert_eq!(first, First::Spoke(b"SSH-2.0-far\r\n".to_vec()));
    assert_eq!(&read::<13>(&mut stream), b"SSH-2.0-far\r\n");
}

#[test]
fn a_silent_target_and_one_that_is_gone_are_told_apart() {
    let yes = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
    let proxy = answering(yes);
    let stream = socks::connect(proxy, &b1(), LONG).unwrap();
    assert_eq!(socks::first(proxy, &b1(), &stream, Duration::from_millis(50)).unwrap(), First::Silent);

    let (proxy, _) = server(until_request);
    let hung_up = error(proxy, LONG);
    assert!(matches!(hung_up, SocksError::TargetClosed { .. }), "{hung_up}");

    let (proxy, _) = server(|stream| {
        until_request(stream);
        stream.write_all(yes).unwrap();
    });
    let stream = socks::connect(proxy, &b1(), LONG).unwrap();
    let gone = socks::first(proxy, &b1(), &stream, LONG).unwrap_err();
    assert!(matches!(gone, SocksError::TargetClosed { .. }), "{gone}");
}

#[test]
fn every_refusal_has_its_words() {
    let expected = [
        (1, "general failure of the proxy"),
        (2, "not allowed by the proxy's rules"),
        (3, "network unreachable"),
        (4, "host unreachable"),
        (5, "connection refused"),
        (6, "time to live expired"),
        (7, "command not supported by the proxy"),
        (8, "address type not supported by the proxy"),
        (9, "reply 9, which RFC 1928 does not know"),
        (255, "reply 255, which RFC 1928 does not know"),
    ];
    for (code, text) in expected {
        // Whole, and cut off behind the code as some servers do.
        for answer in [vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0], vec![5, code]] {
            let (proxy, _) = server(move |stream| {
                until_request(stream);
                stream.write_all(&answer).unwrap();
            });
            assert_eq!(words(proxy), format!("proxy P did not connect to b1:22: {text}"));
        }
    }
}

#[test]
fn a_login_is_declined_politely() {
    for method in [0xff, 1, 2] {
        let (proxy, _) = server(move |stream| {
            assert_eq!(read(stream), GREETING);
            stream.write_all(&[5, method]).unwrap();
            wait_for_end(stream);
        });
        assert_eq!(words(proxy), "proxy P lets nobody in without a login, and ccorch has none for a proxy");
    }
}

#[test]
fn what_is_no_socks5_is_called_so() {
    let greeting: [(&'static [u8], &str); 5] = [
        (b"", "it closed the connection in the answer to the greeting"),
        (b"\x05", "it closed the connection in the answer to the greeting"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers with byte 0x48 in place of version 5"),
        (b"\x00\x5b\x00\x00\x00\x00\x00\x00", "it answers like a SOCKS4 proxy"),
        (b"\x05\x07", "it chose login method 7, which was not offered"),
    ];
    for (answer, reason) in greeting {
        let (proxy, _) = server(move |stream| {
            assert_eq!(read(stream), GREETING);
            stream.write_all(answer).unwrap();
        });
        assert_eq!(words(proxy), format!("proxy P does not speak SOCKS5: {reason}"));
    }
    let request: [(&'static [u8], &str); 3] = [
        (b"\x05\x00\x00\x07abcdefgh", "it sent an address of unknown type 7"),
        (b"\x06\x00\x00\x01\x00\x00\x00\x00\x00\x00", "it answers with byte 0x06 in place of version 5"),
        (b"\x05\x00\x00\x03\xffshort", "it closed the connection in the answer to the request"),
    ];
    for (answer, reason) in request {
        let (proxy, _) = server(move |stream| {
            until_request(stream);
            stream.write_all(answer).unwrap();
        });
        assert_eq!(words(proxy), format!("proxy P does not speak SOCKS5: {reason}"));
    }
}

#[test]
fn a_server_that_hangs_up_with_a_reset_is_an_error_too() {
    let (proxy, _) = server(|stream| {
        // Closing with input unread makes the kernel send a reset.
        let mut one = [0];
        stream.read_exact(&mut one).unwrap();
    });
    let error = error(proxy, LONG);
    assert!(matches!(error, SocksError::Handshake { .. }), "{error}");
}

#[test]
fn nobody_holds_the_client_beyond_its_deadline() {
    let silent = server(wait_for_end).0;
    let silent_after_greeting = server(|stream| {
        until_request(stream);
        wait_for_end(stream);
    })
    .0;
    let drip = server(|stream| {
        until_request(stream);
        stream.write_all(&[5, 0, 0, 3, 255]).unwrap();
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    })
    .0;
    for (proxy, awaited) in [
        (silent, "answer to the greeting"),
        (silent_after_greeting, "answer to the request"),
        (drip, "answer to the request"),
    ] {
        let start = Instant::now();
        let error = error(proxy, SHORT);
        let took = start.elapsed();
        assert!(matches!(error, SocksError::Deadline { awaited: a, .. } if a == awaited), "{error}");
        assert!(took >= SHORT && took < LONG, "{took:?}");
    }
}

#[test]
fn a_port_where_nothing_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = socks::greet(address, LONG).unwrap_err();
    assert!(matches!(error, SocksError::NotListening { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
