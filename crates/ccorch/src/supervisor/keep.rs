//! What the supervisor keeps on disk: read at its start, written before it acts. A file that is damaged is put aside and
//! said aloud; a disk that takes nothing stops no loop.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use ccorch_core::boot::BootState;
use ccorch_core::fleet::{Fleet, Fleets, Memory, Now, Shared, Steady};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::watchdog::life::State;
use ccorch_io::{clock, durable};
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::here::loop_state::LoopState;
use crate::here::{Here, events, loop_state};

/// The part that is not one loop's.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    clock: Steady,
    shared: Shared,
}

/// The engine's time and files.
#[derive(Debug)]
pub struct Keep {
    here: Here,
    boot_id: String,
    clock: Steady,
    /// What was written last, so that nothing is written twice.
    written: BTreeMap<LoopName, LoopState>,
    /// What is on the disk, as far as this supervisor knows.
    disk: BTreeMap<LoopName, Value>,
    /// Whether something else is: a cutover brought it while this host was standby.
    overtaken: bool,
    /// Whether the disk took the latest write.
    takes: bool,
}

/// Puts damaged state files aside, so that the supervisor goes on with what it can still find out.
pub fn mend(here: &Here) {
    aside::<BootState>(here, &here.paths.boot());
    aside::<Kept>(here, &file(here));
    for name in here.rig.loops.keys() {
        aside::<LoopState>(here, &here.paths.loop_state(name));
    }
}

fn aside<T: DeserializeOwned>(here: &Here, path: &Path) {
    let Err(error) = durable::read_json::<T>(path) else { return };
    if error.downcast_ref::<durable::Damaged>().is_none() {
        eprintln!("warning: {error:#}");
        return;
    }
    let away = PathBuf::from(format!("{}.damaged-{}", path.display(), clock::now().as_millisecond()));
    let kept = match fs::rename(path, &away) {
        Ok(()) => format!("kept as {}; going on as if it had never been written", away.display()),
        Err(error) => format!("and it could not be put aside: {error}"),
    };
    events::record(here, "state-damaged", None, format!("{error:#}; {kept}"));
}

/// A loop's state as it lies there; nothing when it is missing or damaged.
fn on_disk(here: &Here, name: &LoopName) -> Option<Value> {
    durable::read_json(&here.paths.loop_state(name)).ok().flatten()
}

fn file(here: &Here) -> PathBuf {
    here.paths.state().join("fleet.json")
}

fn up() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0)
}

impl Keep {
    /// Reads everything; the fleet as it was kept.
    pub fn open(here: &Here) -> Result<(Self, Fleet, BTreeMap<LoopName, LoopState>)> {
        let boot_id = clock::boot_id()?;
        let kept: Option<Kept> = durable::read_json(&file(here)).unwrap_or_default();
        let (clock, shared) = match kept {
            Some(kept) => (kept.clock, kept.shared),
            None => (Steady::begin(&boot_id, up(), clock::now()), Shared::default()),
        };
        let mut states = BTreeMap::new();
        let mut disk = BTreeMap::new();
        let mut memories: BTreeMap<LoopName, Memory> = BTreeMap::new();
        for name in here.rig.loops.keys() {
            // One look for both: what comes between two would never be noticed.
            let value = on_disk(here, name);
            let state = value.clone().and_then(|value| serde_json::from_value::<LoopState>(value).ok());
            let state = state.unwrap_or_default();
            disk.extend(value.map(|value| (name.clone(), value)));
            let mut memory = state.memory.clone();
            if state.desired == Desired::Held {
                memory.state = State::Held;
            }
            memories.insert(name.clone(), memory);
            states.insert(name.clone(), state);
        }
        let (written, here) = (states.clone(), here.clone());
        let mut keep = Self { here, boot_id, clock, written, disk, overtaken: false, takes: true };
        let now = keep.now();
        let fleets = Fleets::of(&keep.here.rig);
        Ok((keep, Fleet::new(fleets, shared, memories, now), states))
    }

    /// Now, in engine time.
    pub fn now(&mut self) -> Now {
        self.clock.at(&self.boot_id, up(), clock::now())
    }

    /// Writes a loop's state if it is another than what was written last. What somebody else wrote meanwhile stays.
    pub fn put(&mut self, name: &LoopName, state: &LoopState) {
        if self.overtaken || self.written.get(name) == Some(state) {
            return;
        }
        let found = on_disk(&self.here, name);
        if found.is_some() && found.as_ref() != self.disk.get(name) {
            self.overtaken = true;
            return;
        }
        let done = loop_state::write(&self.here, name, state);
        if done.is_ok() {
            self.written.insert(name.clone(), state.clone());
            self.disk.extend(serde_json::to_value(state).ok().map(|value| (name.clone(), value)));
        }
        self.took(done);
    }

    /// Whether a loop's state on the disk is not this supervisor's: what it has in mind is worth nothing any more.
    pub fn overtaken(&self) -> bool {
        self.overtaken
    }

    /// Writes what is not one loop's, and the time.
    pub fn put_shared(&mut self, fleet: &Fleet) {
        let kept = Kept { clock: self.clock.clone(), shared: fleet.shared().clone() };
        let done = durable::replace_json(&file(&self.here), &kept, 0o600);
        self.took(done);
    }

    /// Says once that the disk takes nothing, and once that it does again.
    fn took(&mut self, done: Result<()>) {
        match (done, self.takes) {
            (Err(error), true) => {
                self.takes = false;
                eprintln!("warning: state is not kept, and loops go on: {error:#}");
            }
            (Ok(()), false) => {
                self.takes = true;
                events::record(&self.here, "state-kept-again", None, "the state folder takes writes again");
            }
            _ => {}
        }
    }
}
