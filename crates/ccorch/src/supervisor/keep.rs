//! What the supervisor keeps on disk: read at its start, written before it acts. A file that is damaged is put aside and
//! said aloud; a disk that takes nothing stops no loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::boot::BootState;
use ccorch_core::fleet::{Fleet, Fleets, Memory, Now, Shared, Steady};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::watchdog::life::State;
use ccorch_io::{clock, durable};
use jiff::SignedDuration;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rebuild;
use crate::here::loop_state::{LoopState, Share};
use crate::here::{Here, events, loop_state, runtime};

/// Engine time that was written longer ago than this is written again.
const OLD: Duration = Duration::from_secs(60 * 60);

/// A wall clock that is this many milliseconds off was set; below that it is only put right.
const SET: u64 = 10_000;

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
    /// When the engine's time was written last; none when the disk did not take it.
    told: Option<Instant>,
    /// A start waits: what is written now is whole for whoever reads it, and on disk only after [`Keep::settle`].
    pub hurry: bool,
    /// What is to be brought to disk then.
    owed: Vec<PathBuf>,
    /// What the loops' own processes were told last.
    shares: BTreeMap<LoopName, Share>,
    /// Whose that is: user and group of each Unix user.
    owners: BTreeMap<String, (u32, u32)>,
}

/// Puts damaged state files aside, so that the supervisor goes on with what it can still find out.
pub fn mend(here: &Here) {
    if let Some(said) = rebuild::aside::<BootState>(&here.paths.boot()) {
        let detail = format!("{said}; going on as if it had never been written");
        events::record(here, "state-damaged", None, detail);
    }
    let (mut clock, _) = begun(here);
    let now = clock.at(&clock::boot_id().unwrap_or_default(), up(), clock::now());
    if let Some(said) = rebuild::aside::<Kept>(&file(here)) {
        // The rest of its content comes by itself: the phase from its file.
        let shared = rebuild::shared(here, said, now);
        if let Err(error) = durable::replace_json(&file(here), &Kept { clock, shared }, 0o600) {
            eprintln!("warning: {error:#}");
        }
    }
    rebuild::reboot_log(here);
    for name in here.rig.loops.keys() {
        rebuild::loop_state(here, name, now);
    }
}

/// The engine's time and what is not one loop's, as they were kept; else they begin.
fn begun(here: &Here) -> (Steady, Shared) {
    match durable::read_json::<Kept>(&file(here)).unwrap_or_default() {
        Some(kept) => (kept.clock, kept.shared),
        None => {
            let boot_id = clock::boot_id().unwrap_or_default();
            (Steady::begin(&boot_id, up(), clock::now()), Shared::default())
        }
    }
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
        let (clock, shared) = begun(here);
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
        let (hurry, owed) = (false, Vec::new());
        let mut keep = Self {
            here,
            boot_id,
            clock,
            written,
            disk,
            overtaken: false,
            takes: true,
            told: None,
            hurry,
            owed,
            shares: BTreeMap::new(),
            owners: BTreeMap::new(),
        };
        for (name, state) in &states {
            keep.share(name, state);
        }
        let now = keep.now();
        // Of before nothing is in mind that would have to be put.
        keep.clock.take_jump(0);
        let fleets = Fleets::of(&keep.here.rig);
        Ok((keep, Fleet::new(fleets, shared, memories, now), states))
    }

    /// By how much the wall clock was set since this was asked last; none where it runs on.
    pub fn jump(&mut self) -> Option<SignedDuration> {
        self.now();
        self.clock.take_jump(SET).map(SignedDuration::from_millis)
    }

    /// Now, in engine time.
    pub fn now(&mut self) -> Now {
        self.clock.at(&self.boot_id, up(), clock::now())
    }

    /// Writes a loop's state if it is another than what was written last. What somebody else wrote meanwhile stays.
    pub fn put(&mut self, name: &LoopName, state: &LoopState) {
        if self.overtaken {
            return;
        }
        if self.written.get(name) == Some(state) {
            return self.share(name, state);
        }
        let found = on_disk(&self.here, name);
        if found.is_some() && found.as_ref() != self.disk.get(name) {
            self.overtaken = true;
            return;
        }
        let write = if self.hurry { loop_state::put } else { loop_state::write };
        let done = write(&self.here, name, state);
        if done.is_ok() {
            if self.hurry {
                self.owed.push(self.here.paths.loop_state(name));
            }
            self.written.insert(name.clone(), state.clone());
            self.disk.extend(serde_json::to_value(state).ok().map(|value| (name.clone(), value)));
        }
        self.took(done);
        self.share(name, state);
    }

    /// Has the loop's own processes find what is theirs of it.
    fn share(&mut self, name: &LoopName, state: &LoopState) {
        let share = Share::of(state);
        if self.shares.get(name) == Some(&share) {
            return;
        }
        let owner = self.owner(name);
        let done = share.hand_out(&self.here.paths, name, owner);
        if done.is_err() {
            return self.took(done);
        }
        // For a user who is not there yet it is done again.
        if owner.is_some() {
            self.shares.insert(name.clone(), share);
        }
    }

    fn owner(&mut self, name: &LoopName) -> Option<(u32, u32)> {
        let user = self.here.user_of(name);
        if let Some(owner) = self.owners.get(user) {
            return Some(*owner);
        }
        let owner = runtime::account(user).map(|account| (account.uid, account.gid))?;
        self.owners.insert(user.to_owned(), owner);
        Some(owner)
    }

    /// Whether a loop's state on the disk is not this supervisor's: what it has in mind is worth nothing any more.
    pub fn overtaken(&self) -> bool {
        self.overtaken
    }

    /// Nothing waits any more: what was written in a hurry goes to disk.
    pub fn settle(&mut self) {
        self.hurry = false;
        for path in std::mem::take(&mut self.owed) {
            if let Err(error) = durable::sync(&path) {
                self.took(Err(error));
            }
        }
        events::keep(&self.here);
    }

    /// Writes the time again where it is old. Between two writes it is found by the clocks, and a disk that wears out is
    /// spared; only a host that was down for days counts from the last one.
    pub fn put_time(&mut self, fleet: &Fleet) {
        if self.told.is_none_or(|told| told.elapsed() > OLD) {
            self.put_shared(fleet);
        }
    }

    /// Writes what is not one loop's, and the time.
    pub fn put_shared(&mut self, fleet: &Fleet) {
        let kept = Kept { clock: self.clock.clone(), shared: fleet.shared().clone() };
        let done = durable::replace_json(&file(&self.here), &kept, 0o600);
        self.told = done.is_ok().then(Instant::now);
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
