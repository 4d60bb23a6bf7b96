//! What people ask of the loops, and how they are answered.

use std::sync::mpsc::Sender;

use anyhow::Result;
use ccorch_core::fleet::{Happens, Proc};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Role;
use ccorch_core::watchdog::life::State;
use ccorch_io::clock;

use super::control::{Reply, Request};
use super::loops::{Loops, One};
use super::rebuild;
use crate::here::events;

impl Loops {
    /// What a person asks.
    pub fn request(&mut self, request: Request, reply: Sender<Reply>) {
        if self.is_too_early(&request) {
            return self.postponed.push((request, reply));
        }
        let (name, happens) = match request {
            Request::Status => return self.answer(&reply),
            Request::Phase => return self.look_at_phase(Some(reply)),
            // The main loop takes this one before.
            Request::Again => return self.answer(&reply),
            Request::Start { name } => (name, Happens::Release),
            Request::Stop { name } => (name, Happens::Hold),
            Request::Restart { name } => (name, Happens::Restart),
            Request::Nudge { name, id, text, .. } => return self.ask(&name, id, text, reply),
            Request::Evidence { name } => return self.evidence(&name, &reply),
        };
        if !self.knows(&name, &reply) {
            return;
        }
        let orchestrator = self.here.rig.loops.get(&name).is_some_and(|spec| spec.role == Role::Orchestrator);
        if orchestrator && happens == Happens::Restart {
            let now = clock::now().strftime("%Y-%m-%d %H:%M:%SZ");
            self.leave_word(&name, &format!("You were restarted by hand at {now}; the host did not reboot."));
        }
        if let Some(one) = self.all.get_mut(&name) {
            one.fenced = None;
        }
        self.note_wish(&name, &happens);
        self.tell(&name, happens);
        let stopping = matches!(self.fleet.proc(&name), Some(Proc::Stopping { .. }));
        match self.all.get_mut(&name).filter(|_| stopping) {
            Some(one) => one.waiting.push(reply),
            None => self.answer(&reply),
        }
    }

    /// Has the events tell what a person wants of it, should its state be lost.
    fn note_wish(&self, name: &LoopName, wish: &Happens) {
        let state = self.fleet.memory(name).map(|memory| memory.state);
        match (wish, state) {
            (Happens::Hold, Some(state)) if state != State::Held => {
                events::record(&self.here, rebuild::HELD, Some(name), "held by `ccorch loops stop`");
            }
            (Happens::Release | Happens::Restart, Some(State::Held | State::CrashLooping)) => {
                events::record(&self.here, rebuild::RELEASED, Some(name), "may run again");
            }
            _ => {}
        }
    }

    /// Whether there is such a loop; if not, that is answered.
    pub(super) fn knows(&self, name: &LoopName, reply: &Sender<Reply>) -> bool {
        let knows = self.all.contains_key(name);
        if !knows {
            let known = self.all.keys().map(LoopName::as_str).collect::<Vec<_>>().join(", ");
            let _ = reply.send(Reply::Failed { why: format!("no loop `{name}`; the loops are: {known}") });
        }
        knows
    }

    pub(super) fn answer(&mut self, reply: &Sender<Reply>) {
        let _ = reply.send(Reply::Loops { loops: self.reports(), troubles: self.troubles.all() });
    }

    pub(super) fn stopped(&mut self, name: &LoopName, result: Result<()>) {
        let why = result.as_ref().err().map(|error| format!("{error:#}"));
        let waiting = self.all.get_mut(name).map(|one| std::mem::take(&mut one.waiting)).unwrap_or_default();
        // The end of what was stopped here must not be taken for the end of what is started next.
        if let (Some(one), None) = (self.all.get_mut(name), &why) {
            one.server = None;
        }
        self.tell(name, Happens::Stopped(why.clone().map_or(Ok(()), Err)));
        self.hear_stops(name);
        for reply in waiting {
            match &why {
                Some(why) => drop(reply.send(Reply::Failed { why: why.clone() })),
                None => self.answer(&reply),
            }
        }
    }

    fn reports(&mut self) -> Vec<crate::here::status::LoopReport> {
        let now = self.keep.now();
        let report =
            |(name, one): (&LoopName, &One)| super::report::of(&self.here, &self.fleet, now, name, one);
        self.all.iter().map(report).collect()
    }
}
