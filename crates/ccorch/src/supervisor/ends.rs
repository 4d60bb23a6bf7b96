//! An agent that came up, and one that ended: how, and whether that was a crash.

use ccorch_core::fleet::{End, Happens};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_core::watchdog::signals;
use ccorch_io::clock;
use jiff::SignedDuration;

use super::look::{self, Seen, Tail};
use super::loops::Loops;
use crate::here::{exits, lease};

impl Loops {
    pub(super) fn up(&mut self, name: &LoopName, pid: u32) {
        self.watch(name, pid);
        self.tell(name, Happens::Started);
    }

    /// Takes an agent's end for one that happens now, which came of itself in this boot while no supervisor ran: it is told
    /// and counts like any other. False when there was none.
    pub(super) fn ended_unseen(&mut self, name: &LoopName) -> bool {
        let (Some(one), Some(memory)) = (self.all.get_mut(name), self.fleet.memory(name)) else {
            return false;
        };
        let Some(exit) = exits::last(&self.here.paths, name) else { return false };
        let latest = exits::began(&self.here.paths, name).is_some_and(|began| began.at == exit.started);
        // What is kept was true before it: of another host's state, or an older end, nothing follows.
        let was_up = memory.state.runs() && exit.ended >= memory.since;
        let known = one.state.ended == Some(exit.started);
        let here = clock::boot_id().is_ok_and(|boot_id| boot_id == exit.boot_id);
        if exit.asked || !latest || !was_up || known || !here || lease::check(&self.here).is_err() {
            return false;
        }
        one.began = exit.started;
        self.ended(name, false);
        true
    }

    /// `down` says that the machine is on its way down.
    pub(super) fn ended(&mut self, name: &LoopName, down: bool) {
        // The next start does not wait for the disk. A power cut in between ends the new agent too.
        self.keep.hurry = true;
        // The last thing it told by a hook may be why it ended.
        self.hears(name);
        self.forget_what_was_given(name);
        let spec = self.here.rig.loops.get(name);
        let watched = spec.is_some_and(|spec| spec.agent == Agent::Claude);
        let Some(one) = self.all.get_mut(name) else { return };
        one.server = None;
        one.lives.over();
        // Of another run than is known: by the clock, which may have been set since, no two of them are told apart.
        let exit = exits::last(&self.here.paths, name).filter(|exit| !one.past.knows(exit.started));
        one.past.note(exits::running(&self.here.paths, name).map(|agent| agent.started));
        one.past.note(exit.as_ref().map(|exit| exit.started));
        one.state.ended = exit.as_ref().map(|exit| exit.started).or(one.state.ended);
        let words = exit.as_ref().map_or("its tmux server ended".to_owned(), exits::Exit::words);
        let screen = exit.as_ref().map(|exit| exit.screen.clone()).unwrap_or_default();
        let ran = exit.as_ref().is_none_or(|exit| exit.error.is_none());
        let asked = exit.is_some_and(|exit| exit.asked) || exits::was_asked(&self.here.paths, name);
        // Whatever comes next begins after this.
        let began = std::mem::replace(&mut one.began, clock::now());
        let verdict = (watched && ran).then(|| {
            let tail = one
                .state
                .session
                .and_then(|session| look::tail_in_time(&self.here, name, session, &self.reader));
            // What a run before this one met is old.
            let eyes = &one.eyes;
            let of_this_run =
                |tail: &Tail| signals::read(&eyes.by_clock(tail)).moved.is_some_and(|at| at >= began);
            let transcript = tail.filter(of_this_run).unwrap_or_default();
            let (seen, zone) = (Seen { screen: screen.clone(), transcript }, look::zone(&self.here, name));
            one.eyes.judge(&seen, zone, SignedDuration::MAX)
        });
        let fenced = lease::check(&self.here).err().map(|refused| refused.to_string());
        let asked = asked || fenced.is_some() || down;
        self.tell(name, Happens::Ended(End { words, screen, asked, ran, verdict }));
        self.keep.settle();
        exits::keep(&self.here.paths, name);
        if let Some(why) = fenced {
            self.fence_quietly(name, &why);
        } else if down {
            self.tell(name, Happens::Refused("the machine shuts down".into()));
        }
    }
}
