//! QEMU's control protocol over its unix socket: JSON, one object a line
//! (<https://www.qemu.org/docs/master/interop/qmp-spec.html>).
//!
//! QEMU serves one client at a time; a second one waits for its greeting, so every step here has a deadline.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// No answer of QEMU comes near; what does is no QEMU.
const LONGEST_LINE: usize = 1 << 20;

/// A conversation with one QEMU.
#[derive(Debug)]
pub struct Qmp {
    socket: PathBuf,
    stream: UnixStream,
    unread: Vec<u8>,
    events: VecDeque<Event>,
    id: u64,
}

/// Something that happened in QEMU.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// For example `SHUTDOWN` or `STOP`.
    pub name: String,
    /// What there is to say about it.
    pub data: Value,
}

/// Why QEMU could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// Nobody listens: QEMU does not run.
    #[error("QEMU's socket {}: {error}", socket.display())]
    Gone {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// QEMU closed the connection, as it does when it ends.
    #[error("QEMU's socket {}: closed while {awaited} was awaited", socket.display())]
    Closed {
        /// The socket.
        socket: PathBuf,
        /// What was awaited.
        awaited: String,
    },
    /// It does not answer.
    #[error("QEMU's socket {}: no {awaited} within {} s", socket.display(), after.as_secs_f32())]
    Deadline {
        /// The socket.
        socket: PathBuf,
        /// What was awaited.
        awaited: String,
        /// The deadline.
        after: Duration,
    },
    /// What answers is not QEMU.
    #[error("socket {} is not QEMU's: {reason}", socket.display())]
    NotQmp {
        /// The socket.
        socket: PathBuf,
        /// What it said.
        reason: String,
    },
    /// QEMU refused a command.
    #[error("QEMU at {} refused `{command}`: {text}", socket.display())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// The command.
        command: String,
        /// QEMU's words.
        text: String,
    },
}

impl Qmp {
    /// Connects, reads the greeting and leaves the negotiation mode.
    pub fn connect(socket: &Path, within: Duration) -> Result<Self, QmpError> {
        let gone = |error| QmpError::Gone { socket: socket.into(), error };
        let stream = UnixStream::connect(socket).map_err(gone)?;
        let mut qmp =
            Self { socket: socket.into(), stream, unread: Vec::new(), events: VecDeque::new(), id: 0 };
        let start = Instant::now();
        let greeting = qmp.line("greeting", start, within)?;
        if greeting.get("QMP").is_none() {
            return Err(qmp.not_qmp(&greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", within.saturating_sub(start.elapsed()))?;
        Ok(qmp)
    }

    /// Runs a command without arguments; its return value. Events that come in between are kept.
    pub fn execute(&mut self, command: &str, within: Duration) -> Result<Value, QmpError> {
        self.id += 1;
        let line = json!({ "execute": command, "id": self.id }).to_string() + "\n";
        let (start, awaited) = (Instant::now(), format!("answer to `{command}`"));
        self.stream.write_all(line.as_bytes()).map_err(|_| self.closed(&awaited))?;
        loop {
            let mut answer = self.line(&awaited, start, within)?;
            // An answer to an earlier command whose deadline has passed is nobody's.
            if self.event(&answer) || answer["id"] != self.id {
                continue;
            }
            if let Some(text) = answer["error"]["desc"].as_str() {
                let (socket, command, text) = (self.socket.clone(), command.into(), text.into());
                return Err(QmpError::Refused { socket, command, text });
            }
            return Ok(answer["return"].take());
        }
    }

    /// The run state: `running`, `paused`, `internal-error`, `shutdown` and so on.
    pub fn status(&mut self, within: Duration) -> Result<String, QmpError> {
        let answer = self.execute("query-status", within)?;
        let status = answer["status"].as_str().map(ToOwned::to_owned);
        status.ok_or_else(|| self.not_qmp(&answer.to_string()))
    }

    /// Bytes read from and written to all disks since the start.
    pub fn disk_bytes(&mut self, within: Duration) -> Result<u64, QmpError> {
        let answer = self.execute("query-blockstats", within)?;
        let of = |disk: &Value, key: &str| disk["stats"][key].as_u64().unwrap_or(0);
        let disks = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(disks.iter().map(|disk| of(disk, "rd_bytes") + of(disk, "wr_bytes")).sum())
    }

    /// The events so far, oldest first.
    pub fn events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Waits until QEMU closes the connection, as it does when it ends: true when it has, false at the deadline.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<bool, QmpError> {
        let start = Instant::now();
        loop {
            match self.line("end", start, within) {
                Ok(line) => drop(self.event(&line)),
                Err(QmpError::Closed { .. }) => return Ok(true),
                Err(QmpError::Deadline { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn event(&mut self, line: &Value) -> bool {
        let Some(name) = line["event"].as_str() else { return false };
        self.events.push_back(Event { name: name.into(), data: line["data"].clone() });
        true
    }

    fn line(&mut self, awaited: &str, start: Instant, within: Duration) -> Result<Value, QmpError> {
        let mut scanned = 0;
        loop {
            if let Some(end) = self.unread[scanned..].iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=scanned + end).collect();
                let parsed = serde_json::from_slice(&line);
                return parsed.map_err(|_| self.not_qmp(&String::from_utf8_lossy(&line)));
            }
            scanned = self.unread.len();
            if scanned > LONGEST_LINE {
                return Err(self.not_qmp("a line without end"));
            }
            let late =
                || QmpError::Deadline { socket: self.socket.clone(), awaited: awaited.into(), after: within };
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(late());
            }
            let mut piece = [0; 4096];
            let set = self.stream.set_read_timeout(Some(left));
            match set.and_then(|()| self.stream.read(&mut piece)) {
                Ok(0) => return Err(self.closed(awaited)),
                Ok(n) => self.unread.extend(&piece[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return Err(self.closed(awaited)),
            }
        }
    }

    fn closed(&self, awaited: &str) -> QmpError {
        QmpError::Closed { socket: self.socket.clone(), awaited: awaited.into() }
    }

    fn not_qmp(&self, line: &str) -> QmpError {
        let line: String = line.trim().chars().take(80).collect();
        QmpError::NotQmp { socket: self.socket.clone(), reason: format!("it said `{line}`") }
    }
}
