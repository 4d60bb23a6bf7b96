//! What this host keeps of each loop and a cutover carries, as a list to be compared with the other host's.

use std::collections::BTreeMap;

use anyhow::Result;
use ccorch_core::fleet::Carried;
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_io::content::{self, Fingerprint};
use ccorch_io::durable;
use serde::{Deserialize, Serialize};

use super::Here;
use super::loop_state::LoopState;
use crate::supervisor::LARGEST_INBOX;

/// What is kept of one loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// Its state.
    State(Box<Carried>),
    /// A file that cannot be read: why.
    Damaged(String),
}

/// Of every loop that ever ran here.
pub type List = BTreeMap<LoopName, Kept>;

/// Makes the list.
pub fn list(here: &Here) -> List {
    let one = |name: &LoopName| match durable::read_json::<LoopState>(&here.paths.loop_state(name)) {
        Ok(state) => Some(Kept::State(Box::new(of(here, name, &state?)))),
        Err(error) => Some(Kept::Damaged(format!("{error:#}"))),
    };
    here.rig.loops.keys().filter_map(|name| Some((name.clone(), one(name)?))).collect()
}

fn of(here: &Here, name: &LoopName, state: &LoopState) -> Carried {
    let inbox = here.rig.loops.get(name).and_then(|spec| Some((spec, spec.inbox.as_ref()?)));
    let inbox = inbox.map(|(spec, inbox)| here.in_workspace(&spec.workdir).join(inbox));
    let hash = match inbox.map(|path| content::fingerprint(&path, LARGEST_INBOX)) {
        Some(Ok(Fingerprint::Of(hash))) => Some(hash),
        _ => None,
    };
    let session = state.session.map(|id| id.to_string());
    let held = state.desired == Desired::Held;
    Carried::of(&state.memory, session, held, state.message.as_deref(), hash.as_deref())
}

/// In what the target's list differs from the source's: loop and words. A loop that never ran on the source brings nothing.
pub fn differences(source: &List, target: &List) -> Result<Vec<(LoopName, String)>, (LoopName, String)> {
    let mut all = Vec::new();
    for (name, ours) in source {
        let ours = match ours {
            Kept::State(ours) => ours,
            Kept::Damaged(why) => return Err((name.clone(), why.clone())),
        };
        let what = match target.get(name) {
            Some(Kept::State(theirs)) => ours.differs(theirs).join(", "),
            Some(Kept::Damaged(why)) => format!("what is kept of it there cannot be read ({why})"),
            None => "nothing is kept of it there".into(),
        };
        if !what.is_empty() {
            all.push((name.clone(), what));
        }
    }
    Ok(all)
}
