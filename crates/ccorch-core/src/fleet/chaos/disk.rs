//! What a supervisor had kept when it died.
//!
//! Everything is kept before anything is done, so at its death that is all of its memory, provided that the engine named
//! whatever it changed. That is looked at after every step of exact runs, which are small; the others go without copies.

use std::collections::BTreeMap;

use crate::fleet::{Fleet, Memory, Shared, Steady};
use crate::names::LoopName;

/// Of so many starts one reads its memory from files, as they would be, in a run that is not exact.
const READ: u64 = 8;

pub(super) struct Disk {
    exact: bool,
    shared: Shared,
    loops: BTreeMap<LoopName, Memory>,
}

impl Disk {
    pub fn new(exact: bool) -> Self {
        Self { exact, shared: Shared::default(), loops: BTreeMap::new() }
    }

    /// The engine says that this changed, and no more.
    pub fn changes(
        &mut self,
        fleet: &Fleet,
        names: &[LoopName],
        changed: &[usize],
        shared: bool,
    ) -> Result<(), String> {
        if !self.exact {
            return Ok(());
        }
        for i in changed {
            let one = &fleet.ones[*i];
            self.loops.insert(one.name.clone(), one.memory.clone());
        }
        if shared {
            self.shared = fleet.shared().clone();
        }
        let silent =
            |name: &&LoopName| self.loops.get(*name).is_some_and(|kept| fleet.memory(name) != Some(kept));
        if let Some(name) = names.iter().find(silent) {
            let (was, is) = (self.loops.get(name), fleet.memory(name));
            return Err(format!("{name} changed and nothing was said:\n{was:?}\n{is:?}"));
        }
        if self.shared != *fleet.shared() {
            return Err(format!("what all share changed and nothing was said: {:?}", fleet.shared()));
        }
        Ok(())
    }

    /// A supervisor begins; what it put in order of what it read needs not be kept.
    pub fn begins(&mut self, fleet: &Fleet) {
        if self.exact {
            (self.shared, self.loops) = fleet.clone().kept();
        }
    }

    /// A supervisor ends.
    pub fn of(&mut self, fleet: Fleet) {
        (self.shared, self.loops) = fleet.kept();
    }

    /// The supervisor of this generation begins.
    pub fn read(
        &mut self,
        generation: u64,
        steady: &mut Steady,
    ) -> Result<(Shared, BTreeMap<LoopName, Memory>), String> {
        let kept = (std::mem::take(&mut self.shared), std::mem::take(&mut self.loops));
        if !self.exact && !generation.is_multiple_of(READ) {
            return Ok(kept);
        }
        let text = serde_json::to_string(&(&kept, &*steady));
        let read = text.and_then(|text| serde_json::from_str(&text)).map_err(|error| error.to_string())?;
        let (back, clock): ((Shared, BTreeMap<LoopName, Memory>), Steady) = read;
        if back != kept {
            return Err(format!("what was read is not what was kept:\n{kept:?}\n{back:?}"));
        }
        *steady = clock;
        Ok(back)
    }
}
