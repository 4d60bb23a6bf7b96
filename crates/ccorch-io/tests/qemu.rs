//! QEMU's programs and its control socket: a real QEMU without a guest, and servers that are none.

// The lint spares `#[test]` functions alone; what helps them may fail a test just so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ccorch_core::names::HostName;
use ccorch_core::provision::PublicKey;
use ccorch_core::qemu::{self as decided, Made};
use ccorch_io::command::Command;
use ccorch_io::qemu::{self, Qmp, QmpError, seed};
use tempfile::TempDir;

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(30);

/// A QEMU without any machine in it; it ends with `quit`, or here.
struct Empty {
    dir: TempDir,
}

impl Empty {
    fn start() -> Self {
        let empty = Self { dir: tempfile::tempdir().unwrap() };
        let path = |name: &str| empty.dir.path().join(name).display().to_string();
        let (socket, pid) = (format!("unix:{},server=on,wait=off", path("qmp")), path("pid"));
        let argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-qmp"];
        let argv =
            argv.map(String::from).into_iter().chain([socket, "-pidfile".into(), pid, "-daemonize".into()]);
        qemu::start(&argv.collect::<Vec<_>>()).unwrap();
        empty
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("qmp")
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        if let Ok(mut qmp) = Qmp::connect(&self.socket(), LONG) {
            let _ = qmp.execute("quit", LONG);
        }
    }
}

#[test]
fn a_real_qemu_tells_its_state_its_events_and_its_end() {
    let empty = Empty::start();
    let mut qmp = Qmp::connect(&empty.socket(), LONG).unwrap();
    assert_eq!(qmp.status(LONG).unwrap(), "running");
    qmp.execute("stop", LONG).unwrap();
    assert_eq!(qmp.status(LONG).unwrap(), "paused");
    assert_eq!(qmp.disk_bytes(LONG).unwrap(), 0);
    let refused = qmp.execute("no-such-command", LONG).unwrap_err();
    assert!(
        matches!(&refused, QmpError::Refused { command, .. } if command == "no-such-command"),
        "{refused}"
    );
    assert!(!qmp.wait_for_end(SHORT).unwrap());
    qmp.execute("quit", LONG).unwrap();
    assert!(qmp.wait_for_end(LONG).unwrap());
    let names: Vec<String> = qmp.events().into_iter().map(|event| event.name).collect();
    assert_eq!(names, ["STOP", "SHUTDOWN"]);
    // The connection ends a moment before the process: until then its listener takes one more and closes it.
    let until = Instant::now() + LONG;
    loop {
        match Qmp::connect(&empty.socket(), LONG).unwrap_err() {
            QmpError::Gone { .. } => break,
            early => assert!(Instant::now() < until, "{early}"),
        }
    }
}

#[test]
fn a_second_client_is_not_held_for_ever() {
    let empty = Empty::start();
    let first = Qmp::connect(&empty.socket(), LONG).unwrap();
    let start = Instant::now();
    let error = Qmp::connect(&empty.socket(), SHORT).unwrap_err();
    assert!(matches!(error, QmpError::Deadline { .. }), "{error}");
    assert!(start.elapsed() < LONG);
    drop(first);
    Qmp::connect(&empty.socket(), LONG).unwrap();
}

#[test]
fn a_qemu_that_cannot_start_says_why() {
    let argv =
        ["qemu-system-x86_64", "-machine", "none", "-drive", "file=/nonexistent.qcow2"].map(String::from);
    let error = qemu::start(&argv).unwrap_err();
    assert!(error.tail.contains("/nonexistent.qcow2"), "{error}");
}

/// A server on a unix socket that does this with its one client.
fn server(behave: impl FnOnce(&mut UnixStream) + Send + 'static) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("qmp")).unwrap();
    thread::spawn(move || behave(&mut listener.accept().unwrap().0));
    dir
}

fn error(dir: &TempDir) -> QmpError {
    Qmp::connect(&dir.path().join("qmp"), SHORT).unwrap_err()
}

#[test]
fn what_is_not_qemu_is_told_so() {
    let greetings: [&'static [u8]; 4] = [b"HTTP/1.1 200 OK\r\n", b"{}\n", b"[1]\n", b"\xff\xfe\n"];
    for greeting in greetings {
        let error = error(&server(move |stream| {
            stream.write_all(greeting).unwrap();
            let _ = stream.read(&mut [0]);
        }));
        assert!(matches!(error, QmpError::NotQmp { .. }), "{error}");
    }
    let endless = error(&server(|stream| while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}));
    assert!(matches!(endless, QmpError::NotQmp { .. }), "{endless}");
}

#[test]
fn silence_a_drip_and_an_early_end_are_bounded() {
    let silent = error(&server(|stream| drop(stream.read(&mut [0]))));
    assert!(matches!(silent, QmpError::Deadline { .. }), "{silent}");
    let drip = error(&server(|stream| {
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }));
    assert!(matches!(drip, QmpError::Deadline { .. }), "{drip}");
    let closed = error(&server(|_| ()));
    assert!(matches!(closed, QmpError::Closed { .. }), "{closed}");
    // Greets, then only tells of events.
    let chatty = error(&server(|stream| {
        stream.write_all(b"{\"QMP\": {}}\n").unwrap();
        while stream.write_all(b"{\"event\": \"RTC_CHANGE\", \"data\": {}}\n").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }));
    assert!(matches!(chatty, QmpError::Deadline { .. }), "{chatty}");
}

#[test]
fn a_disk_is_made_from_an_image_and_grows_but_the_image_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (image, disk) = (dir.path().join("image, raw"), dir.path().join("disk.qcow2"));
    fs::write(&image, vec![7; 1 << 20]).unwrap();
    assert_eq!(qemu::disk_size(&disk).unwrap(), None);
    qemu::make_disk(&image, &disk, 8 << 20).unwrap();
    assert_eq!(qemu::disk_size(&disk).unwrap(), Some(8 << 20));
    qemu::resize(&disk, 16 << 20).unwrap();
    assert_eq!(qemu::disk_size(&disk).unwrap(), Some(16 << 20));
    // Again over the one that is there, as after a crash.
    qemu::make_disk(&image, &disk, 8 << 20).unwrap();
    assert_eq!(qemu::disk_size(&disk).unwrap(), Some(8 << 20));
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let compared =
        Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "qcow2"]).arg(&image).arg(&disk);
    let text = compared.output().unwrap().text();
    assert!(text.contains("identical"), "{text}");
}

#[test]
fn a_seed_holds_its_files_under_the_label_and_only_its_owner_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let host_key = qemu::host_key(dir.path()).unwrap();
    assert!(host_key.private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    let key: PublicKey = host_key.public.clone();
    let made = Made {
        instance_id: "id-1".into(),
        image: String::new(),
        key: key.to_string(),
        host_key: key.to_string(),
    };
    let seed = decided::seed(&HostName::new("vm").unwrap(), &made, &key, &host_key);
    let iso = dir.path().join("seed.iso");
    seed::write(&iso, &seed).unwrap();
    assert_eq!(fs::metadata(&iso).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["seed.iso"], "nothing of the private key is left beside it");
    // ECMA-119 8.4: the primary volume descriptor is at sector 16, its volume identifier at byte 40.
    let bytes = fs::read(&iso).unwrap();
    assert_eq!(&bytes[16 * 2048 + 40..][..6], decided::LABEL.as_bytes());
    assert_eq!(extracted(&iso, dir.path(), "user-data"), seed.user_data);
    assert_eq!(extracted(&iso, dir.path(), "meta-data"), seed.meta_data);
}

fn extracted(iso: &Path, dir: &Path, name: &str) -> String {
    let out = dir.join(name);
    let extract = ["-osirrox", "on", "-extract", &format!("/{name}")].map(String::from);
    Command::new("xorriso").arg("-indev").arg(iso).args(extract).arg(&out).run().unwrap();
    fs::read_to_string(out).unwrap()
}

#[test]
fn only_a_banner_is_an_ssh_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let answers: [&[u8]; 3] = [b"", b"HTTP", b"SSH-2.0-x\r\n"];
        for answer in answers {
            listener.accept().unwrap().0.write_all(answer).unwrap();
        }
    });
    assert!(!qemu::ssh_answers(port, LONG));
    assert!(!qemu::ssh_answers(port, LONG));
    assert!(qemu::ssh_answers(port, LONG));
}
