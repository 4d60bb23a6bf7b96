//! Telling people: a queue and a thread for each of the rig's sinks, so that a dead one delays neither a loop nor the other
//! sinks. A message lies on disk until every sink has it or gave it up; a new supervisor may send one twice, and loses none.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ccorch_core::rig::Notify;
use ccorch_io::durable;
use ccorch_io::sink::{Message, Sink, SinkError};

use super::threads;
use crate::here::letters::{self, Letter};
use crate::here::runtime::command_as;
use crate::here::{Here, events};

/// So many wait for one sink; then the oldest is dropped, and the next one that arrives says how many were.
const WAITING: usize = 64;
/// Tries of one message, with pauses of 1, 2, 4 ... 300 s between them: an hour and a half.
const TRIES: u32 = 24;
/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(300);
/// Between two messages to one sink.
const PAUSE: Duration = Duration::from_secs(1);

/// A message on its way; its file goes when nobody has to send it any more.
#[derive(Debug)]
pub struct OnItsWay {
    letter: Letter,
    file: Option<PathBuf>,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && let Err(error) = durable::remove(file)
        {
            eprintln!("warning: a message that was sent stays: {error:#}");
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<OnItsWay>>,
    dropped: u32,
}

#[derive(Debug, Default)]
struct Desk {
    queue: Mutex<Queue>,
    more: Condvar,
}

/// Everybody who is told.
#[derive(Debug, Clone)]
pub struct Post {
    here: Here,
    desks: Vec<Arc<Desk>>,
}

impl Post {
    /// Opens a desk for each sink of the rig.
    pub fn open(here: &Here) -> Self {
        let mut desks = Vec::new();
        for notify in &here.rig.notify {
            let (desk, here, notify) = (Arc::new(Desk::default()), here.clone(), notify.clone());
            desks.push(desk.clone());
            let work = move || {
                if let Some(sink) = sink(&here, &notify) {
                    serve(&here, &sink, &desk);
                }
            };
            if let Err(error) = thread::Builder::new().stack_size(threads::STACK).spawn(work) {
                eprintln!("warning: no thread to notify people: {error}");
            }
        }
        Self { here: here.clone(), desks }
    }

    /// Leaves a message to be sent; never waits for anybody.
    pub fn tell(&self, letter: Letter) {
        if self.desks.is_empty() {
            return;
        }
        // A disk that takes nothing is worth a message itself.
        if let Err(error) = letters::leave(&self.here, &letter) {
            eprintln!("warning: {error:#}");
            self.hand_in(letter, None);
        }
    }

    /// Puts a message in every sink's queue.
    pub fn hand_in(&self, letter: Letter, file: Option<PathBuf>) {
        let letter = Arc::new(OnItsWay { letter, file });
        for desk in &self.desks {
            let mut queue = desk.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.waiting.len() >= WAITING {
                queue.waiting.pop_front();
                queue.dropped += 1;
            }
            queue.waiting.push_back(letter.clone());
            desk.more.notify_one();
        }
    }
}

fn sink(here: &Here, notify: &Notify) -> Option<Sink> {
    let token = notify.token_file.as_ref().map(PathBuf::from);
    match (&notify.ntfy, &notify.webhook) {
        (Some(url), _) => Some(Sink::Ntfy(url.clone(), token)),
        (None, Some(url)) => Some(Sink::Webhook(url.clone(), token)),
        // Never with root's rights: agents may be able to change the program.
        (None, None) if !notify.command.is_empty() => {
            Some(Sink::Command(command_as(&here.rig.workspace.user, &notify.command)))
        }
        (None, None) => None,
    }
}

fn serve(here: &Here, sink: &Sink, desk: &Desk) {
    let mut works = true;
    loop {
        let (next, dropped) = desk.next();
        let mut message = message(here, &next.letter);
        if dropped > 0 {
            message.text += &format!("\n({dropped} earlier messages were dropped; the events have them)");
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match sink.tell(&message) {
                Ok(()) if works => break,
                Ok(()) => {
                    works = true;
                    events::record(here, "notify-works-again", None, format!("{sink} takes messages again"));
                    break;
                }
                Err(SinkError::Later(why)) if tries < TRIES => {
                    // Said once, however long it lasts.
                    if std::mem::take(&mut works) {
                        let detail = format!("{sink}: {why}; it is tried again");
                        events::record(here, "notify-failed", None, detail);
                    }
                    thread::sleep(pause(tries));
                }
                Err(error) => {
                    works = false;
                    let detail = format!("{sink}: {error}; given up after {tries} tries: {}", message.text);
                    events::record(here, "notify-given-up", None, detail);
                    break;
                }
            }
        }
        drop(next);
        thread::sleep(PAUSE);
    }
}

fn pause(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.saturating_sub(1).min(16)).min(LONGEST)
}

fn message(here: &Here, letter: &Letter) -> Message {
    Message {
        rig: here.rig.rig.to_string(),
        host: here.name.to_string(),
        about: letter.about.as_ref().map(ToString::to_string),
        text: letter.text.clone(),
        at: letter.at.to_string(),
    }
}

impl Desk {
    fn next(&self) -> (Arc<OnItsWay>, u32) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(next) = queue.waiting.pop_front() {
                return (next, std::mem::take(&mut queue.dropped));
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
