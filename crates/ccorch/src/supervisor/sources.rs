//! Threads that wait in the kernel for signals and changed folders, and report them.

use std::fs;
use std::mem::MaybeUninit;
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Event;
use crate::here::Here;

/// TERM and INT end the supervisor.
pub fn signals(sender: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("listen for signals")?;
    let listens = move || {
        for _ in signals.forever() {
            if sender.send(Event::Terminate).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().spawn(listens).context("a thread for signals")?;
    Ok(())
}

/// Watches the folder of the lease's mark and the one where loops' runtime folders come and go: a loop that somebody
/// starts by hand is seen there.
pub fn folders(here: &Here, sender: Sender<Event>) -> Result<()> {
    let inotify = inotify::init(CreateFlags::CLOEXEC).context("inotify")?;
    let loops = here.paths.root().join("run/ccorch-loops");
    let watched = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
    for dir in [here.paths.run(), loops, here.paths.state()] {
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        // The state folder holds the mark of a quiesced host; its own churn is filtered by name below.
        inotify::add_watch(&inotify, &dir, watched).with_context(|| format!("watch {}", dir.display()))?;
    }
    let names: Vec<String> = here.rig.loops.keys().map(ToString::to_string).collect();
    let watches = move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let matters = name == "lease-ok" || name == "quiesced" || names.contains(&name);
            if matters && sender.send(Event::Changed).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().spawn(watches).context("a thread that watches folders")?;
    Ok(())
}
