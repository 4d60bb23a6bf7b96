//! The control socket: one JSON request a connection, one JSON reply.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ccorch_core::names::LoopName;
use ccorch_io::durable;
use ccorch_io::paths::HostPaths;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::error::{Kind, Problem};
use crate::here::Here;
use crate::here::status::LoopReport;

/// The longest request; none comes near.
const LONGEST: u64 = 256 << 10;
/// How long a client may take to write its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a client that could not be let in.
const CROWDED: Duration = Duration::from_millis(200);
/// How long a reply may take: a stop waits for the agent's safe point.
const REPLY: Duration = Duration::from_secs(120);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How every loop is.
    Status,
    /// Read the phase file again; how every loop is then.
    Phase,
    /// Begin anew with what is on disk: a cutover brought the rig here. Agents stay.
    Again,
    /// Let a loop run, now.
    Start {
        /// Which.
        name: LoopName,
    },
    /// Hold a loop down until it is started again.
    Stop {
        /// Which.
        name: LoopName,
    },
    /// Stop it and let it run again.
    Restart {
        /// Which.
        name: LoopName,
    },
    /// Have a loop told something, once for its id, and answer when it has it.
    Nudge {
        /// Which.
        name: LoopName,
        /// Asked again with the same one, it is told once.
        id: String,
        /// The words.
        text: String,
        /// Whoever asks waits no longer, in seconds.
        within: u64,
    },
    /// What the verdict on a loop rests on, as far as it is not to be seen elsewhere.
    Evidence {
        /// Which.
        name: LoopName,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// Every loop, after what was asked is done.
    Loops {
        /// One each.
        loops: Vec<LoopReport>,
        /// What the supervisor found that is not as it should be and lasts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        troubles: Vec<String>,
    },
    /// The loop has the nudge.
    Received {
        /// How that is known; empty when it had it before it was asked for.
        how: String,
    },
    /// The loop does not have the nudge yet; it stays in line.
    NotYet,
    /// What the verdict on a loop rests on.
    Evidence(Evidence),
    /// It could not be done.
    Failed {
        /// Why.
        why: String,
    },
}

/// What a verdict rests on beside screen and transcript.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The hooks of the agent, one JSON object a line.
    pub hooks: String,
    /// Since when the screen is as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
    /// How long an open turn may show no change, in seconds.
    pub stall_after: u64,
}

impl Request {
    /// How long its reply may take.
    fn patience(&self) -> Duration {
        match self {
            Self::Nudge { within, .. } => Duration::from_secs(*within),
            _ => REPLY,
        }
    }
}

/// Listens; every connection becomes an event.
pub fn listen(here: &Here, sender: Sender<Event>) -> Result<()> {
    let path = here.paths.control_socket();
    durable::remove(&path)?;
    let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let listens = move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Without a free descriptor it would fail again at once, for as long.
                thread::sleep(CROWDED);
                continue;
            };
            let (sender, asks) = (sender.clone(), Arc::new(stream));
            let stream = Arc::clone(&asks);
            let serves = move || {
                if let Err(error) = serve(&stream, &sender) {
                    let why = format!("{error:#}");
                    let _ = answer(&stream, &Reply::Failed { why });
                }
            };
            if let Err(error) = thread::Builder::new().spawn(serves) {
                let why = format!("the supervisor gets no thread for this: {error}");
                let _ = answer(&asks, &Reply::Failed { why });
                thread::sleep(CROWDED);
            }
        }
    };
    thread::Builder::new().spawn(listens).context("a thread for requests")?;
    Ok(())
}

fn serve(stream: &UnixStream, sender: &Sender<Event>) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line).context("read the request")?;
    let request: Request = serde_json::from_str(&line).context("the request is not understood")?;
    let (reply, replies) = mpsc::channel();
    let (patience, nudge) = (request.patience(), matches!(request, Request::Nudge { .. }));
    sender.send(Event::Request(request, reply)).context("the supervisor is leaving")?;
    let reply = match replies.recv_timeout(patience) {
        Err(mpsc::RecvTimeoutError::Timeout) if nudge => Reply::NotYet,
        reply => reply.context("the supervisor did not get it done in time")?,
    };
    answer(stream, &reply)
}

fn answer(mut stream: &UnixStream, reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    Ok(stream.write_all(line.as_bytes())?)
}

/// Asks the supervisor of this host how its loops are, perhaps after something was done.
pub fn ask(paths: &HostPaths, request: &Request) -> Result<Vec<LoopReport>> {
    account(paths, request).map(|(loops, _)| loops)
}

/// Asks the supervisor of this host.
pub fn call(paths: &HostPaths, request: &Request) -> Result<Reply> {
    let path = paths.control_socket();
    let connect = || -> Result<Reply> {
        let mut stream = UnixStream::connect(&path)?;
        // The supervisor ends the wait; this is for one that hangs.
        stream.set_read_timeout(Some(request.patience() + PATIENCE))?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    let reply = connect().map_err(|error| {
        Problem::new(
            Kind::General,
            format!("the supervisor does not answer at {}: {error:#}", path.display()),
        )
        .hint("see `systemctl status ccorch-supervisor`, and whether you are root")
    })?;
    match reply {
        Reply::Failed { why } => Err(Problem::new(Kind::General, why).into()),
        reply => Ok(reply),
    }
}

/// An answer to another question.
pub fn unexpected(reply: &Reply) -> anyhow::Error {
    anyhow::anyhow!("the supervisor gave another answer than was asked for: {reply:?}")
}

/// Has the supervisor begin anew; it closes the connection when it does. An error when none listens.
pub fn again(paths: &HostPaths) -> Result<()> {
    let path = paths.control_socket();
    let ask = || -> Result<()> {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{}\n", serde_json::to_string(&Request::Again)?).as_bytes())?;
        stream.read_to_string(&mut String::new())?;
        Ok(())
    };
    ask().with_context(|| format!("ask the supervisor at {} to begin anew", path.display()))
}

/// How every loop is, and what else the supervisor finds wrong.
pub fn account(paths: &HostPaths, request: &Request) -> Result<(Vec<LoopReport>, Vec<String>)> {
    match call(paths, request)? {
        Reply::Loops { loops, troubles } => Ok((loops, troubles)),
        other => Err(unexpected(&other)),
    }
}

/// How every loop is, by the supervisor's word.
pub fn status(paths: &HostPaths) -> Result<Vec<LoopReport>> {
    ask(paths, &Request::Status)
}
