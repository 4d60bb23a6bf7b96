//! systemd's manager by its own socket, without a process in between: a `systemctl` costs more than most starts, and each
//! that waits is told of every unit. Here all who wait at a time share one connection, and it ends with the last of them,
//! so that an idle program is told nothing. Source: org.freedesktop.systemd1(5), and systemctl(1), which uses this socket
//! for root.

use std::collections::HashMap;
use std::io::{BufReader, Error, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{self, Message, Values};

const SOCKET: &str = "/run/systemd/private";
const MANAGER: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1";
/// How long an answer may take that waits for no job: twice this is less than a supervisor has to leave.
const ANSWER: Duration = Duration::from_secs(8);
/// A thread that only reads needs little room.
const STACK: usize = 128 << 10;

/// Why it could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The manager cannot be reached this way.
    Away(String),
    /// It does not answer in time, this way or any other.
    Silent(String),
    /// It says no.
    Refused(String),
    /// The job ended with another result than `done`.
    Job(String),
}

/// What whoever waits is told: the body of the answer.
type Answer = Result<Vec<u8>, Failure>;

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting {
    /// For an answer, by the call's number; `true` when the answer names a job whose end is waited for.
    calls: HashMap<u32, (Sender<Answer>, bool)>,
    /// For the end of a job; with the number of the call that asked for it.
    jobs: HashMap<String, (u32, Sender<Answer>)>,
    /// Jobs that ended before the answer that names them, while such an answer is waited for.
    early: HashMap<String, String>,
    gone: bool,
}

#[derive(Debug)]
struct Connection {
    stream: Mutex<UnixStream>,
    serial: AtomicU32,
    waiting: Mutex<Waiting>,
}

/// What all callers share.
#[derive(Debug)]
struct Shared {
    /// The one connection, and how many use it.
    connection: Option<(Arc<Connection>, usize)>,
    /// When somebody tried to connect in vain.
    silent: Option<Instant>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared { connection: None, silent: None });

/// A share in the connection.
#[derive(Debug)]
pub struct Bus(Arc<Connection>);

impl Bus {
    /// Joins whoever is connected, or connects.
    pub fn open() -> Result<Self, Failure> {
        let came = Instant::now();
        let mut shared = held(&SHARED);
        if let Some((connection, users)) = shared.connection.as_mut()
            && !held(&connection.waiting).gone
        {
            *users += 1;
            return Ok(Self(Arc::clone(connection)));
        }
        // Whoever had to wait for one who tried in vain does not try it again, or the last of many would wait for ever.
        if shared.silent.is_some_and(|silent| silent >= came) {
            return Err(silence());
        }
        let connection = connect().map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                shared.silent = Some(Instant::now());
                silence()
            }
            _ => Failure::Away(error.to_string()),
        })?;
        shared.connection = Some((Arc::clone(&connection), 1));
        Ok(Self(connection))
    }

    /// Starts a unit and waits for the end of that.
    pub fn start(&self, unit: &str, patience: Duration) -> Result<(), Failure> {
        let interface = format!("{INTERFACE}.Manager");
        self.ask(MANAGER, &interface, "StartUnit", &[unit, "replace"], Some(patience)).map(drop)
    }

    /// A property of a unit that is a string.
    pub fn text(&self, unit: &str, interface: &str, name: &str) -> Result<String, Failure> {
        let body = self.property(unit, interface, name)?;
        let mut values = Values::of(&body);
        (values.signature().as_deref() == Some("s")).then(|| values.string()).flatten().ok_or_else(other)
    }

    /// A property of a unit that is a number, or a struct that begins with one.
    pub fn number(&self, unit: &str, interface: &str, name: &str) -> Result<u32, Failure> {
        let body = self.property(unit, interface, name)?;
        let mut values = Values::of(&body);
        let signature = values.signature();
        if signature.as_deref().is_some_and(|s| s.starts_with('(')) {
            values.align(8);
        }
        values.number().ok_or_else(other)
    }

    fn property(&self, unit: &str, interface: &str, name: &str) -> Result<Vec<u8>, Failure> {
        let interface = format!("{INTERFACE}.{interface}");
        self.ask(&object(unit), "org.freedesktop.DBus.Properties", "Get", &[&interface, name], None)
    }

    fn ask(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        args: &[&str],
        job: Option<Duration>,
    ) -> Result<Vec<u8>, Failure> {
        let connection = &self.0;
        let serial = connection.serial.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        {
            let mut waiting = held(&connection.waiting);
            if waiting.gone {
                return Err(Failure::Away("the connection has ended".into()));
            }
            waiting.calls.insert(serial, (sender, job.is_some()));
        }
        let call = message::call(serial, path, interface, member, args);
        let sent = held(&connection.stream).write_all(&call);
        sent.map_err(|error| Failure::Away(error.to_string()))?;
        let patience = job.unwrap_or(ANSWER);
        receiver.recv_timeout(patience).unwrap_or_else(|_| {
            held(&connection.waiting).forget(serial);
            let what = format!("no end of {member} {} within {} s", args.join(" "), patience.as_secs());
            Err(Failure::Silent(what))
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let mut shared = held(&SHARED);
        match shared.connection.as_mut() {
            Some((connection, users)) if Arc::ptr_eq(connection, &self.0) => {
                *users -= 1;
                if *users == 0 {
                    // Ends the reader's thread.
                    let _ = held(&self.0.stream).shutdown(Shutdown::Both);
                    shared.connection = None;
                }
            }
            // Another one has taken its place.
            _ => {}
        }
    }
}

fn silence() -> Failure {
    Failure::Silent(format!("no answer within {} s", ANSWER.as_secs()))
}

fn other() -> Failure {
    Failure::Away("the answer is of another kind".into())
}

/// Whoever panicked with the lock left nothing half done in here.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect() -> std::io::Result<Arc<Connection>> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.set_read_timeout(Some(ANSWER))?;
    // The user's number in ASCII, in hexadecimal. Source: the D-Bus specification, "EXTERNAL".
    let uid = rustix::process::geteuid().as_raw().to_string();
    let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
    // In one piece: a call that reaches systemd together with `BEGIN` lies there until the next one (seen).
    stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n") && said.len() < 512 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        said.extend(byte);
    }
    if !said.starts_with(b"OK ") {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            String::from_utf8_lossy(&said).trim().to_owned(),
        ));
    }
    stream.set_read_timeout(None)?;
    let reader = stream.try_clone()?;
    let (stream, serial) = (Mutex::new(stream), AtomicU32::new(1));
    let connection = Arc::new(Connection { stream, serial, waiting: Mutex::default() });
    let reads = Arc::clone(&connection);
    thread::Builder::new().stack_size(STACK).spawn(move || listen(BufReader::new(reader), &reads))?;
    Ok(connection)
}

/// Reads until the connection ends, and hands out what arrives.
fn listen(mut reader: impl Read, connection: &Connection) {
    while let Ok(message) = message::read(&mut reader) {
        held(&connection.waiting).take(&message);
    }
    let mut waiting = held(&connection.waiting);
    waiting.gone = true;
    // Whoever waits hears that nothing will come.
    let ended = || Err(Failure::Away("systemd closed the connection".into()));
    waiting.calls.drain().for_each(|(_, (sender, _))| drop(sender.send(ended())));
    waiting.jobs.drain().for_each(|(_, (_, sender))| drop(sender.send(ended())));
}

impl Waiting {
    /// Nobody waits for what this call asked for any more.
    fn forget(&mut self, call: u32) {
        self.calls.remove(&call);
        self.jobs.retain(|_, (asked, _)| *asked != call);
    }

    fn take(&mut self, message: &Message) {
        let mut values = Values::of(&message.body);
        match message.kind {
            message::SIGNAL if message.member == "JobRemoved" => {
                let (_id, job, _unit) = (values.number(), values.string(), values.string());
                let (Some(job), Some(result)) = (job, values.string()) else { return };
                match self.jobs.remove(&job) {
                    // Who has gone meanwhile does not care.
                    Some((_, sender)) => drop(sender.send(outcome(result))),
                    None if self.calls.values().any(|(_, waits_for_job)| *waits_for_job) => {
                        self.early.insert(job, result);
                    }
                    None => {}
                }
            }
            message::RETURN | message::ERROR => {
                let Some((sender, waits_for_job)) = self.calls.remove(&message.answers) else { return };
                let answer = if message.kind == message::ERROR {
                    let why = values.string().unwrap_or_default();
                    Err(Failure::Refused(format!("{why} ({})", message.error)))
                } else if waits_for_job && let Some(job) = values.string() {
                    match self.early.remove(&job) {
                        Some(result) => drop(sender.send(outcome(result))),
                        None => drop(self.jobs.insert(job, (message.answers, sender))),
                    }
                    if !self.calls.values().any(|(_, waits_for_job)| *waits_for_job) {
                        self.early.clear();
                    }
                    return;
                } else {
                    Ok(message.body.clone())
                };
                let _ = sender.send(answer);
            }
            _ => {}
        }
    }
}

fn outcome(result: String) -> Result<Vec<u8>, Failure> {
    if result == "done" { Ok(Vec::new()) } else { Err(Failure::Job(result)) }
}

/// A unit's object. Source: sd_bus_path_encode(3).
fn object(unit: &str) -> String {
    let mut path = format!("{MANAGER}/unit/");
    for byte in unit.bytes() {
        let plain = byte.is_ascii_alphanumeric();
        if plain { path.push(char::from(byte)) } else { path.push_str(&format!("_{byte:02x}")) }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_object_is_named_as_systemd_does() {
        let path = "/org/freedesktop/systemd1/unit/ccorch_2dloop_40a_2db_2eservice";
        assert_eq!(object("ccorch-loop@a-b.service"), path);
    }

    #[test]
    fn a_start_ends_with_its_job_and_not_with_its_answer() {
        let (sender, receiver) = mpsc::channel();
        let mut waiting = Waiting::default();
        waiting.calls.insert(3, (sender, true));
        let body = |texts: &[&str]| {
            let call = message::call(1, "/", "x.Y", "Z", texts);
            message::read(&mut call.as_slice()).map(|message| message.body).unwrap_or_default()
        };
        waiting.take(&Message {
            kind: message::RETURN,
            answers: 3,
            body: body(&["/job/1"]),
            ..Message::default()
        });
        assert!(receiver.try_recv().is_err());
        let removed = |job: &str, result: &str| {
            let body = [&5_u32.to_le_bytes()[..], &body(&[job, "a.service", result])].concat();
            Message { kind: message::SIGNAL, member: "JobRemoved".into(), body, ..Message::default() }
        };
        waiting.take(&removed("/job/2", "failed"));
        assert!(receiver.try_recv().is_err());
        waiting.take(&removed("/job/1", "failed"));
        assert_eq!(receiver.try_recv(), Ok(Err(Failure::Job("failed".into()))));
        // The other way round.
        let (sender, receiver) = mpsc::channel();
        waiting.calls.insert(4, (sender, true));
        waiting.take(&removed("/job/3", "done"));
        waiting.take(&Message {
            kind: message::RETURN,
            answers: 4,
            body: body(&["/job/3"]),
            ..Message::default()
        });
        assert_eq!(receiver.try_recv(), Ok(Ok(Vec::new())));
        assert!(waiting.early.is_empty());
        // Who waited in vain is forgotten, whichever of the two did not come.
        let (sender, _receiver) = mpsc::channel();
        waiting.calls.insert(5, (sender.clone(), true));
        waiting.jobs.insert("/job/4".into(), (6, sender));
        waiting.forget(5);
        waiting.forget(6);
        assert!(waiting.calls.is_empty() && waiting.jobs.is_empty());
    }
}
