//! A thread that waits in the kernel for files to change and reports what is in them: inboxes, the phase index and the loops'
//! state files, messages to people. Idle, it sleeps.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SendError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::fleet::notices::Notices;
use ccorch_core::names::LoopName;
use ccorch_io::clock;
use ccorch_io::content::{self, Fingerprint};
use ccorch_io::spool::Spool;
use ccorch_io::watch::Watch;

use super::Event;
use super::history::History;
use super::post::Post;
use super::troubles::Troubles;
use crate::here::letters::Letter;
use crate::here::{Here, access, events, phases};

/// Where nothing can be watched, everything is looked at this often.
const BLIND: Duration = Duration::from_secs(30);
/// The host's own words are not repeated within this time.
const AGAIN: Duration = Duration::from_secs(60);

/// So much of an inbox is read, in bytes: whoever writes more writes no message.
pub const LARGEST_INBOX: u64 = 16 << 20;

/// What a watched path is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Inbox(LoopName),
    Phases,
    Outbox,
    LoopOutbox(LoopName),
}

struct Files {
    here: Here,
    sender: Sender<Event>,
    post: Post,
    history: History,
    troubles: Troubles,
    watched: Vec<(PathBuf, Kind)>,
    /// What was last found in each inbox: its hash, or what is wrong with it.
    inboxes: BTreeMap<LoopName, Result<Fingerprint, String>>,
    /// Those that nobody can leave a message in; said once.
    closed: BTreeSet<LoopName>,
    /// What is handed in already.
    under_way: BTreeSet<OsString>,
    /// The host's own latest words.
    said: Vec<(Letter, Instant)>,
    limits: BTreeMap<LoopName, Notices>,
}

/// Watches from here on; each file counts as changed once at first.
pub fn watch(
    here: &Here,
    sender: Sender<Event>,
    post: Post,
    history: History,
    troubles: Troubles,
) -> Result<()> {
    let mut files = Files {
        here: here.clone(),
        sender,
        post,
        history,
        troubles,
        watched: watched(here),
        inboxes: BTreeMap::new(),
        closed: BTreeSet::new(),
        under_way: BTreeSet::new(),
        said: Vec::new(),
        limits: BTreeMap::new(),
    };
    let watches = move || {
        let mut told = false;
        loop {
            let Err(error) = files.follow() else { return };
            if files.look((0..files.watched.len()).collect()).is_err() {
                return;
            }
            if !std::mem::replace(&mut told, true) {
                let detail =
                    format!("{error:#}; files are looked at every {} s, and watched again", BLIND.as_secs());
                events::record(&files.here, "files-not-watched", None, detail);
            }
            thread::sleep(BLIND);
        }
    };
    thread::Builder::new().spawn(watches).context("a thread that watches files")?;
    Ok(())
}

fn watched(here: &Here) -> Vec<(PathBuf, Kind)> {
    let rig = &here.rig;
    let mut all = vec![
        (here.paths.outbox(), Kind::Outbox),
        (here.in_workspace(&rig.workspace.phase_file), Kind::Phases),
    ];
    let state = rig.done_when.iter().flat_map(|name| phases::state_files(here, name));
    all.extend(state.map(|path| (path, Kind::Phases)));
    for (name, spec) in &rig.loops {
        all.push((here.paths.loop_outbox(name), Kind::LoopOutbox(name.clone())));
        if let Some(inbox) = &spec.inbox {
            all.push((here.in_workspace(&spec.workdir).join(inbox), Kind::Inbox(name.clone())));
        }
    }
    all
}

impl Files {
    /// Ends when nobody listens any more, or with what keeps it from watching.
    fn follow(&mut self) -> Result<()> {
        let mut watch = Watch::new(self.watched.iter().map(|(path, _)| plain(path)).collect())?;
        loop {
            let changed = watch.changed()?;
            if self.look(changed).is_err() {
                return Ok(());
            }
        }
    }

    /// Looks at what changed; an error means that nobody listens.
    fn look(&mut self, changed: Vec<usize>) -> Result<(), SendError<Event>> {
        let mut phases = false;
        for i in changed {
            let (path, kind) = self.watched[i].clone();
            match kind {
                Kind::Inbox(name) => self.inbox(&path, &name),
                Kind::Phases => phases = true,
                Kind::Outbox => self.outbox(),
                Kind::LoopOutbox(name) => self.loop_outbox(&name),
            }
        }
        if phases { self.sender.send(Event::Phases) } else { Ok(()) }
    }

    /// Reports new content; what is wrong with an inbox is said once.
    fn inbox(&mut self, path: &Path, name: &LoopName) {
        let found = match content::fingerprint(path, LARGEST_INBOX) {
            Ok(Fingerprint::TooLarge) => Err(format!("it is larger than {} MiB", LARGEST_INBOX >> 20)),
            found => found.map_err(|error| error.to_string()),
        };
        self.is_open(path, name);
        let last = self.inboxes.insert(name.clone(), found.clone());
        if last.as_ref() == Some(&found) {
            return;
        }
        let about = format!("inbox {name}");
        match found {
            Ok(Fingerprint::Of(hash)) => drop(self.sender.send(Event::Inbox(name.clone(), hash))),
            Ok(_) => {}
            Err(why) => {
                let why = format!("{} is not read: {why}; empty it or move it away", path.display());
                self.troubles.set(&about, format!("the inbox of {name} {why}, nobody hears what is in it"));
                return self.history.record("inbox-unreadable", Some(name), why);
            }
        }
        if matches!(last, Some(Err(_))) {
            self.troubles.over(&about);
            self.history.record("inbox-readable-again", Some(name), path.display().to_string());
        }
    }

    /// Says once that none of the rig's users can leave a message.
    fn is_open(&mut self, path: &Path, name: &LoopName) {
        match access::closed(&self.here, path) {
            Some(why) if self.closed.insert(name.clone()) => {
                let detail = format!("{}: {why}, so nobody can leave a message there", path.display());
                self.history.record("inbox-unwritable", Some(name), detail);
            }
            Some(_) => {}
            None => {
                self.closed.remove(name);
            }
        }
    }

    /// Hands in what waits in the host's own folder.
    fn outbox(&mut self) {
        let folder = self.here.paths.outbox();
        let Ok(Some(spool)) = Spool::open(&folder, &[]) else { return };
        let names = spool.list().unwrap_or_default();
        self.under_way.retain(|name| names.contains(name));
        self.said.retain(|(_, at)| at.elapsed() < AGAIN);
        for name in names {
            if self.under_way.contains(&name) {
                continue;
            }
            let read = spool.read(&name, None).map_err(|error| error.to_string());
            let letter = read.and_then(|bytes| {
                serde_json::from_slice::<Letter>(&bytes).map_err(|error| error.to_string())
            });
            let file = folder.join(&name);
            match letter {
                Ok(letter) if self.said.iter().any(|(said, _)| said.says_as(&letter)) => {
                    let _ = spool.remove(&name);
                }
                Ok(letter) => {
                    self.said.push((letter.clone(), Instant::now()));
                    self.under_way.insert(name);
                    self.post.hand_in(letter, Some(file));
                }
                Err(why) => {
                    let detail = format!("{}: {why}; removed", file.display());
                    self.history.record("notify-damaged", None, detail);
                    let _ = spool.remove(&name);
                }
            }
        }
    }

    /// Takes what a loop's agent says to people: marked with its name, no more than a few, each text once an hour.
    fn loop_outbox(&mut self, name: &LoopName) {
        let spools = self.here.paths.loop_spools();
        let spool = match Spool::open(&spools, &[name.as_str(), "notify"]) {
            Ok(Some(spool)) => spool,
            Ok(None) => return,
            Err(error) => {
                return self.history.record("notify-damaged", Some(name), error.to_string());
            }
        };
        let limit = self.limits.entry(name.clone()).or_default();
        for file in spool.list().unwrap_or_default() {
            let read = spool.read(&file, None).map_err(|error| error.to_string());
            let letter = read.and_then(|bytes| {
                serde_json::from_slice::<Letter>(&bytes).map_err(|error| error.to_string())
            });
            match letter {
                Ok(letter) => {
                    let now = u64::try_from(clock::since_boot().as_millis()).unwrap_or(u64::MAX);
                    let text = Letter::new(None, &letter.text).text;
                    match limit.pass(now, &ccorch_core::sha256(text.as_bytes()), text.clone()) {
                        Some(text) => {
                            self.history.record("notify", Some(name), &text);
                            self.post.tell(Letter { at: letter.at, ..Letter::new(Some(name), &text) });
                        }
                        None => self.history.record("notify-held-back", Some(name), text),
                    }
                }
                Err(why) => self.history.record("notify-damaged", Some(name), why),
            }
            if let Err(error) = spool.remove(&file) {
                let detail = format!("{}: {error}", file.display());
                return self.history.record("notify-damaged", Some(name), detail);
            }
        }
    }
}

/// A path without `.`, which inotify never names.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
