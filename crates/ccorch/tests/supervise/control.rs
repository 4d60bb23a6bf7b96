//! The control socket against clients that do not behave.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::place::Place;

/// Sends bytes, closes its side unless told not to, and gives the answer.
fn send(place: &Place, bytes: &[u8], close: bool) -> String {
    let mut stream = UnixStream::connect(place.control()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // It may have answered and hung up before everything was written.
    let _ = stream.write_all(bytes);
    if close {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn refused(answer: &str) -> String {
    let value: Value = serde_json::from_str(answer).unwrap_or_else(|_| panic!("no answer: {answer:?}"));
    assert_eq!(value["answer"], "failed", "{answer}");
    value["why"].as_str().unwrap().to_owned()
}

#[test]
fn garbage_is_refused_in_words_and_disturbs_nothing() {
    let place = Place::new().active().supervised();
    place.at_work();
    let pid = place.pid("watch");
    let cases: [&[u8]; 7] = [
        b"\n",
        b"",
        b"hello\n",
        b"{\"ask\":\"stop\"}\n",
        b"{\"ask\":\"stop\",\"name\":\"../../etc\"}\n",
        b"\xff\xfe\x00\n",
        b"{\"ask\":\"sta",
    ];
    for case in cases {
        let why = refused(&send(&place, case, true));
        assert!(
            why.starts_with("the request is not understood") || why.starts_with("read the request"),
            "{why}"
        );
    }
    assert_eq!(
        refused(&send(&place, b"{\"ask\":\"stop\",\"name\":\"nobody\"}\n", true)),
        "no loop `nobody`; the loops are: boss, builder, watch"
    );
    // A request of a megabyte is cut off, not collected.
    let huge = [b"{\"ask\":\"".as_slice(), &vec![b'a'; 1 << 20]].concat();
    send(&place, &huge, true);
    place.ok(&["status"]);
    assert_eq!(place.pid("watch"), pid);
}

#[test]
fn clients_that_hang_keep_nobody_waiting() {
    let place = Place::new().active().supervised();
    place.at_work();
    let mut hanging: Vec<UnixStream> = Vec::new();
    for _ in 0..50 {
        let mut stream = UnixStream::connect(place.control()).unwrap();
        stream.write_all(b"{\"ask\":").unwrap();
        hanging.push(stream);
    }
    let gone = UnixStream::connect(place.control()).unwrap();
    drop(gone);
    let mut unheard = UnixStream::connect(place.control()).unwrap();
    unheard.write_all(b"{\"ask\":\"restart\",\"name\":\"watch\"}\n").unwrap();
    // Who asks and does not stay for the answer is served all the same.
    drop(unheard);
    let pid = place.pid("builder");
    place.ok(&["loops", "restart", "builder"]);
    assert_ne!(place.pid("builder"), pid);
    place.at_work();
    // Each is told that it took too long.
    let mut answer = String::new();
    hanging[0].set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    hanging[0].read_to_string(&mut answer).unwrap();
    assert!(refused(&answer).starts_with("read the request"), "{answer}");
}

#[test]
fn the_socket_is_roots_alone() {
    let place = Place::new().active().supervised();
    let mode = std::fs::metadata(place.control()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
