//! Sinks against servers and programs that answer, refuse, fail and hang.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;

fn message() -> Message {
    Message {
        rig: "demo".into(),
        host: "vm".into(),
        about: Some("builder".into()),
        text: "über \"alles\"\nzwei".into(),
        at: "2026-01-02T03:04:05Z".into(),
    }
}

/// A server that answers once; its URL, and the whole request.
fn server(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/topic/se-cret", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            request += &line;
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        request + &String::from_utf8(body).unwrap()
    });
    (url, asked)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

#[test]
fn ntfy_gets_title_text_and_a_token_from_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "tk_secret\n").unwrap();
    let (url, asked) = server(OK);
    Sink::Ntfy(url, Some(token.clone())).tell(&message()).unwrap();
    let request = asked.join().unwrap();
    assert!(request.starts_with("POST /topic/se-cret HTTP/1.1\r\n"), "{request}");
    let lower = request.to_lowercase();
    assert!(lower.contains("x-title: demo on vm, loop builder\r\n"), "{request}");
    assert!(lower.contains("authorization: bearer tk_secret\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nüber \"alles\"\nzwei"), "{request}");
    fs::remove_file(&token).unwrap();
    let error = Sink::Ntfy("http://127.0.0.1:1/x".into(), Some(token)).tell(&message()).unwrap_err();
    assert!(matches!(&error, SinkError::Later(why) if why.ends_with("token: no such file")), "{error}");
}

#[test]
fn a_webhook_gets_json() {
    let (url, asked) = server("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    Sink::Webhook(url, None).tell(&message()).unwrap();
    let request = asked.join().unwrap();
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "rig": "demo", "host": "vm", "loop": "builder", "text": "über \"alles\"\nzwei", "at": "2026-01-02T03:04:05Z",
    });
    assert_eq!(json, expected);
}

#[test]
fn a_url_that_is_a_secret_is_in_a_file_and_in_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hook");
    let sink = |token| Sink::Webhook(format!("file://{}", file.display()), token);
    let fails = |token| match sink(token).tell(&message()) {
        Err(SinkError::Later(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(fails(None).ends_with("hook: no such file"));
    let (url, asked) = server(OK);
    fs::write(&file, format!("{url}\n")).unwrap();
    sink(None).tell(&message()).unwrap();
    assert!(asked.join().unwrap().starts_with("POST /topic/se-cret HTTP/1.1\r\n"));
    assert_eq!(sink(None).to_string(), format!("the webhook of {}", file.display()));
    for content in ["se-cret", "ftp://h/se-cret", "http://127.0.0.1:1/se-cret", "http:// /se-cret", ""] {
        fs::write(&file, content).unwrap();
        let error = sink(None).tell(&message()).unwrap_err().to_string();
        assert!(!error.contains("se-cret"), "{error}");
    }
    // The rig's check cannot see it.
    fs::write(&file, "http://192.0.2.1/x").unwrap();
    assert!(fails(Some(file.clone())).starts_with("the token would cross the network in clear"));
}

#[test]
fn what_may_get_better_is_told_from_what_may_not_and_no_url_is_shown() {
    for (answer, later) in [
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true),
        ("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true),
        ("HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true),
        ("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("", true),
    ] {
        let (url, asked) = server(answer);
        let sink = Sink::Webhook(url, None);
        let error = sink.tell(&message()).unwrap_err();
        assert_eq!(matches!(error, SinkError::Later(_)), later, "{answer:?}: {error}");
        assert!(!format!("{sink}: {error}").contains("se-cret"), "{sink}: {error}");
        asked.join().unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = Sink::Ntfy(format!("http://{closed}/se-cret"), None).tell(&message()).unwrap_err();
    assert!(matches!(&refused, SinkError::Later(why) if !why.contains("se-cret")), "{refused}");
}

#[test]
fn a_command_reads_who_speaks_and_the_words() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let command = Command::new("tee").arg(&told);
    Sink::Command(command).tell(&message()).unwrap();
    assert_eq!(fs::read_to_string(told).unwrap(), "demo on vm, loop builder\nüber \"alles\"\nzwei\n");
    assert!(matches!(Sink::Command(Command::new("false")).tell(&message()), Err(SinkError::Later(_))));
}
