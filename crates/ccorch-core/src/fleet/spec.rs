//! What the engine has to know of the rig, and the loops' words in its messages.

use std::collections::BTreeMap;

use super::steady::{MINUTE, Millis, SECOND};
use crate::names::LoopName;
use crate::rig::{Agent, Phase, Rig, Role};

/// One loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Whether its agent tells anything of itself; a plain command only runs or does not.
    pub watched: bool,
    /// What it is to the rig.
    pub role: Role,
    /// The login it shares with others; a limit of one is a limit of all.
    pub account: String,
    /// An open turn without change for this long is a stall.
    pub stall_after: Millis,
    /// A finished turn is followed by a word to go on after this long.
    pub continue_after: Millis,
}

/// The rig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleets {
    /// Every loop.
    pub loops: BTreeMap<LoopName, Spec>,
    /// The plans.
    pub phases: Vec<Phase>,
    /// The loops that have to say that a phase is done; empty when only a person says so.
    pub done_when: Vec<LoopName>,
    /// For jitter: another rig's loops do not move in step with this one's.
    pub seed: u64,
}

impl Fleets {
    /// Of the rig file.
    pub fn of(rig: &Rig) -> Self {
        let spec = |name: &LoopName| {
            let entry = &rig.loops[name];
            Spec {
                watched: entry.agent == Agent::Claude,
                role: entry.role,
                account: rig.account_of(name),
                stall_after: entry.stall_after.or(rig.stall_after).map_or(20 * MINUTE, |s| s.0 * SECOND),
                continue_after: entry
                    .continue_after
                    .or(rig.continue_after)
                    .map_or(5 * MINUTE, |s| s.0 * SECOND),
            }
        };
        Self {
            loops: rig.loops.keys().map(|name| (name.clone(), spec(name))).collect(),
            phases: rig.phases.clone(),
            done_when: rig.done_when.clone(),
            seed: rig.rig.as_str().bytes().fold(17, |seed, byte| seed * 31 % 1_000_003 + u64::from(byte)),
        }
    }
}

impl Spec {
    /// The pause between two looks at a screen while a turn is open; hooks tell the rest, at once.
    pub fn pace(&self) -> Millis {
        (self.stall_after / 4).clamp(SECOND, 15 * MINUTE)
    }

    /// How long a step of the stall ladder may take to help.
    pub fn grace(&self) -> Millis {
        self.stall_after.min(10 * MINUTE)
    }
}
