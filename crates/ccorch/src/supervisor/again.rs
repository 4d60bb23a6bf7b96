//! Where a loop's agent runs, and what becomes of that place when it ended: the next one is started there, or it is left.

use ccorch_core::names::LoopName;

use super::loops::Loops;
use crate::here::again::Waiting;

/// The tmux servers of a loop.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Whose end will be reported by a thread that waits for it.
    pub watched: Option<u32>,
    /// The one that this supervisor started: its unit is as the rig says. One that an earlier supervisor started may be another
    /// rig's, or another program's.
    pub ours: Option<u32>,
    /// The one that was told to leave last.
    pub left: Option<u32>,
    /// The parent of the agent that has just ended, as long as it is not decided what follows.
    pub parent: Option<Waiting>,
}

impl Loops {
    /// The agent's parent says that it ended. It is told to start it again where that follows at once, or else to leave.
    pub(super) fn agent_ended(&mut self, name: &LoopName) {
        let (Some(parent), Some(one)) = (self.hooks.take_ended(name), self.all.get_mut(name)) else { return };
        let server = Some(parent.server);
        if one.server != server || one.place.ours != server {
            return;
        }
        one.place.parent = Some(parent);
        self.ended(name, false);
        if let Some(one) = self.all.get_mut(name) {
            one.place.left = one.place.parent.take().map(|parent| parent.server);
        }
    }
}
