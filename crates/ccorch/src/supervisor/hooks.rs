//! The socket that hooks are told on, and what waits of them for the main loop: a bounded number a loop, the newest, so
//! that a storm costs nobody more than its own loop's older news.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::hook;
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_io::datagrams::{self, Message};
use ccorch_io::spool::Spool;

use super::{Event, threads};
use crate::here::{Here, again, runtime};

/// Lines that wait of one loop.
const MOST: usize = 64;
/// A user who was not there at the start may have been made since; looked up no more often than this.
const AGAIN: Duration = Duration::from_secs(10);

/// What was heard of one loop and not been taken yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// What did not come to be a line.
    pub lost: Lost,
}

/// Messages that were not taken, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// More came than is kept.
    pub dropped: u64,
    /// No payload of a hook.
    pub broken: u64,
    /// Sent by a user who has no say in this loop.
    pub foreign: u64,
}

/// What waits of every loop.
#[derive(Debug, Clone)]
pub struct Hooks {
    here: Here,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    loops: BTreeMap<LoopName, Waiting>,
    /// Whose agent ended, by the word of its parent, who waits.
    ended: BTreeMap<LoopName, again::Waiting>,
    /// The ids of the loops' users, and when they were looked up.
    users: BTreeMap<String, (Option<u32>, Instant)>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    lost: Lost,
    /// The main loop knows that something waits.
    told: bool,
}

impl State {
    /// The id of a user; one that is not there is looked up again after a while.
    fn uid(&mut self, user: &str) -> Option<u32> {
        if let Some((uid, at)) = self.users.get(user)
            && (uid.is_some() || at.elapsed() < AGAIN)
        {
            return *uid;
        }
        let uid = runtime::account(user).map(|account| account.uid);
        self.users.insert(user.to_owned(), (uid, Instant::now()));
        uid
    }
}

/// Listens; the main loop is told of loops that something waits of.
pub fn listen(here: &Here, sender: Sender<Event>) -> Result<Hooks> {
    let agents = here.rig.loops.iter().filter(|(_, spec)| spec.agent == Agent::Claude);
    let loops = agents.map(|(name, _)| (name.clone(), Waiting::default())).collect();
    let state = State { loops, ..State::default() };
    let hooks = Hooks { here: here.clone(), state: Arc::new(Mutex::new(state)) };
    let inbox = datagrams::listen(&here.paths.hook_socket())?;
    let hear = hooks.clone();
    let listen = move || {
        loop {
            match inbox.receive(hook::LONGEST + 64) {
                Ok(message) => hear.message(&message, &sender),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    eprintln!("warning: hooks are not heard: {error}");
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
    };
    thread::Builder::new().stack_size(threads::STACK).spawn(listen)?;
    Ok(hooks)
}

impl Hooks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, message: &Message, sender: &Sender<Event>) {
        let text = String::from_utf8_lossy(&message.bytes);
        let Some((name, line)) = text.split_once('\n') else { return };
        let Ok(name) = LoopName::new(name) else { return };
        let mut state = self.lock();
        // The loop's own user is believed, and root.
        let owner = state.uid(self.here.user_of(&name));
        let believed = message.uid.is_some_and(|uid| uid == 0 || Some(uid) == owner);
        if line == again::ENDED {
            let parent = message.pid.zip(message.from.clone());
            let parent = parent.filter(|_| believed && self.here.rig.loops.contains_key(&name));
            if let Some(parent) = parent.and_then(|(pid, from)| again::Waiting::of(pid, from))
                && state.ended.insert(name.clone(), parent).is_none()
            {
                let _ = sender.send(Event::AgentEnded(name));
            }
            return;
        }
        // What is sent for a loop that is none, nobody waits for.
        let Some(one) = state.loops.get_mut(&name) else { return };
        if !believed {
            one.lost.foreign += 1;
        } else if message.cut || hook::heard(line).is_none() {
            one.lost.broken += 1;
        } else {
            one.lines.push_back(line.to_owned());
            if one.lines.len() > MOST {
                one.lines.pop_front();
                one.lost.dropped += 1;
            }
        }
        if !mem::replace(&mut one.told, true) {
            let _ = sender.send(Event::Hook(name));
        }
    }

    /// Who said that a loop's agent ended, once.
    pub fn take_ended(&self, name: &LoopName) -> Option<again::Waiting> {
        self.lock().ended.remove(name)
    }

    /// Takes what waits of a loop: first what was put aside while nobody listened, then what came by the socket.
    pub fn take(&self, name: &LoopName) -> Heard {
        let mut heard = Heard::default();
        let mut state = self.lock();
        let uid = state.uid(self.here.user_of(name));
        let Some(one) = state.loops.get_mut(name) else { return heard };
        one.told = false;
        let lines = mem::take(&mut one.lines);
        heard.lost = mem::take(&mut one.lost);
        drop(state);
        if let Some(uid) = uid {
            self.put_aside(name, uid, &mut heard);
        }
        heard.lines.extend(lines);
        heard
    }

    /// Reads the spool and empties it. A supervisor that dies in between reads it again, which does no harm: it looks at
    /// every agent after its start.
    fn put_aside(&self, name: &LoopName, uid: u32, heard: &mut Heard) {
        let spools = self.here.paths.loop_spools();
        let spool = match Spool::open(&spools, &[name.as_str(), "hooks"]) {
            Ok(Some(spool)) => spool,
            Ok(None) => return,
            Err(error) => return eprintln!("warning: the hooks of {name} put aside are not read: {error}"),
        };
        let files = spool.list().unwrap_or_default();
        for file in &files {
            let line = spool.read(file, Some(uid)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            match line {
                Ok(line) if hook::heard(&line).is_some() => heard.lines.push(line),
                _ => heard.lost.broken += 1,
            }
        }
        for file in &files {
            if let Err(error) = spool.remove(file) {
                eprintln!("warning: {} of the hooks of {name} stays: {error}", file.display());
            }
        }
    }
}
