//! Telling people: real servers that answer, refuse, fail or never answer, and agents that have something to say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::place::{Place, lives, signal, until};

/// A server on this machine, and the JSON of each request it answered.
struct Server {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// Answers the first requests with these, all others with `last`.
    fn answering(first: &'static [u16], last: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server =
            Self { url: format!("http://{}/hook", listener.local_addr().unwrap()), got: Arc::default() };
        let got = server.got.clone();
        thread::spawn(move || {
            for (n, stream) in listener.incoming().flatten().enumerate() {
                if let Some(json) = body(&stream) {
                    let status = first.get(n).copied().unwrap_or(last);
                    let answer =
                        format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    got.lock().unwrap().push(json);
                    let _ = (&stream).write_all(answer.as_bytes());
                }
            }
        });
        server
    }

    fn texts(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|json| json["text"].as_str().unwrap().to_owned()).collect()
    }

    fn until(&self, count: usize) -> Vec<String> {
        until(&format!("{count} messages"), || Some(self.texts()).filter(|texts| texts.len() >= count))
    }
}

fn body(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn telling(sinks: &[String]) -> Place {
    let sinks = sinks.join(", ");
    Place::new().rig(|rig| rig + &format!("notify: [ {sinks} ]\n")).active()
}

#[test]
fn sinks_that_hang_refuse_or_fail_delay_neither_a_loop_nor_each_other() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing = Server::answering(&[500], 200);
    let mut place = telling(&[
        format!("{{ webhook: \"http://{}/s\" }}", silent.local_addr().unwrap()),
        format!("{{ ntfy: \"http://{closed}/topic\" }}"),
        format!("{{ webhook: \"{}\" }}", failing.url),
    ]);
    // What is left while no supervisor runs is sent by the next one.
    assert_eq!(place.ok(&["notify", "left", "early"]), "left for the supervisor to send, to 3 places\n");
    place.supervise();
    place.at_work();
    assert_eq!(failing.until(2), ["left early", "left early"], "the second try is the first again");
    // It accepted, and says nothing more.
    let hanging = silent.accept().unwrap();
    let mut pid = place.pid("watch");
    for _ in 0..4 {
        signal(pid, "KILL");
        pid = place.new_agent("watch", pid);
    }
    signal(pid, "KILL");
    place.until("watch", |one| one["state"] == "crash-looping");
    let texts = failing.until(3);
    assert!(texts[2].starts_with("watch: crash loop: 5 ends within 15 minutes"), "{texts:?}");
    let refused = place.events("notify-failed");
    let refused: Vec<&str> = refused.iter().map(|event| event["detail"].as_str().unwrap()).collect();
    assert_eq!(refused.iter().filter(|why| why.starts_with("ntfy at 127.0.0.1: ")).count(), 1, "{refused:?}");
    assert!(!place.events("notify-works-again").is_empty());
    // What a sink has not taken waits for the next supervisor, and nobody waits for a sink at the end.
    place.end_supervisor();
    drop(hanging);
    assert_eq!(std::fs::read_dir(place.state("notify")).unwrap().count(), 2);
}

#[test]
fn an_agent_speaks_inside_its_loop_and_is_limited() {
    let server = Server::answering(&[], 200);
    let place = telling(&[format!("{{ webhook: \"{}\" }}", server.url)]);
    place.env.link("sh");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ccorch"), place.env.home().join("../bin/ccorch")).unwrap();
    let place = place
        .rig(|rig| {
            rig.replace(
                "[sleep, \"100000\"]",
                "[sh, -c, \"echo from inside | ccorch notify; exec sleep 100000\"]",
            )
        })
        .supervised();
    place.at_work();
    assert_eq!(server.until(1), ["from inside"]);
    let first = server.got.lock().unwrap()[0].clone();
    assert_eq!(
        (&first["loop"], &first["rig"], &first["host"]),
        (&"watch".into(), &"demo".into(), &"here".into())
    );
    let told = place.events("notify");
    assert_eq!(
        (told.len(), &told[0]["loop"], &told[0]["detail"]),
        (1, &"watch".into(), &"from inside".into())
    );
    // The same again is no news, and neither is more than a person reads.
    place.ok(&["notify", "--loop", "watch", "from inside"]);
    for n in 0..12 {
        place.ok(&["notify", "--loop", "watch", &format!("message {n}")]);
    }
    place.ok(&["notify", "--loop", "builder", "another's"]);
    until("those that are too many to be held back", || {
        (place.events("notify-held-back").len() == 4).then_some(())
    });
    let texts = server.until(11);
    assert!(texts.contains(&"another's".to_owned()) && texts.contains(&"message 8".to_owned()), "{texts:?}");
    // Root's own word, once.
    place.ok(&["notify", "of the host"]);
    place.ok(&["notify", "of the host"]);
    until("its folder to be empty", || {
        std::fs::read_dir(place.state("notify")).unwrap().next().is_none().then_some(())
    });
    assert_eq!(server.texts().iter().filter(|text| *text == "of the host").count(), 1);
    assert!(lives(u64::from(place.supervisor())));
}

#[test]
fn a_command_is_told_and_a_damaged_message_is_removed() {
    let mut place = Place::new();
    let told = place.env.home().join("told");
    place = place
        .rig(|rig| rig + &format!("notify: [ {{ command: [tee, -a, \"{}\"] }} ]\n", told.display()))
        .active();
    place.env.write(place.state("notify/0"), "{ \"at\": ");
    std::fs::create_dir_all(place.env.root().join("var/lib/ccorch-loops/watch/notify/a-folder")).unwrap();
    let place = place.supervised();
    place.at_work();
    place.ok(&["notify", "--json", "a", "word"]);
    let text =
        until("the command", || std::fs::read_to_string(&told).ok().filter(|text| text.ends_with("word\n")));
    assert_eq!(text, "demo on here\na word\n");
    until("both to be said", || (place.events("notify-damaged").len() == 2).then_some(()));
    assert!(!place.state("notify/0").exists());
}

#[test]
fn what_cannot_be_said_is_refused_in_words() {
    let place = Place::new();
    insta::assert_snapshot!(place.env.run_with(&["notify"], "\n").snapshot(), @r"
    $ ccorch notify
    --- stderr
    error: there is nothing to say
    hint: give the words as an argument, or on standard input
    --- status 1
    ");
    insta::assert_snapshot!(place.env.ccorch(&["notify", "--loop", "nobody", "x"]), @r"
    $ ccorch notify --loop nobody x
    --- stderr
    error: no loop `nobody`
    hint: the loops are: boss, builder, watch
    --- status 1
    ");
    insta::assert_snapshot!(place.env.ccorch(&["notify", "--dry-run", "x"]), @r"
    $ ccorch notify --dry-run x
    --- stdout
    would be written to the events alone: the rig's `notify` names nobody
    --- status 0
    ");
    assert!(!place.state("notify").exists());
}
