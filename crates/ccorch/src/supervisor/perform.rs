//! Doing what the engine says: each action is one call, a thread where it may take long, and a report of what came of it.

use ccorch_core::fleet::{Action, Happens, Input, Rung};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_core::stop::StopReason;
use ccorch_core::watchdog::DialogKind;
use ccorch_core::watchdog::life::State;

use super::deliver;
use super::loops::Loops;
use super::threads::What;
use crate::here::letters::Letter;
use crate::here::{again, events, holders, keyboard, lease, runtime, unattended};

impl Loops {
    /// Does one thing.
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Start(name) => self.start(&name),
            Action::Stop(name) => {
                self.say_why(&name);
                let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
                // A start that is under way comes first, so that it does not outlive its stop.
                self.in_turn(&name, What::Stopped, move || runtime.stop(&here, &loop_name));
            }
            Action::Look(name) => self.look(&name),
            Action::Nudge { name, id, text, attempt, repeat, .. } => {
                let session = self.all.get(&name).and_then(|one| one.state.session);
                // What something is in the way of is tried for ever, and told once.
                if !repeat {
                    self.history.record("nudge", Some(&name), format!("{id}, try {attempt}: {text}"));
                }
                let (here, ears, life) = (self.here.clone(), self.ears(&name), self.life(&name));
                let letter = deliver::Letter { name: name.clone(), session, id: id.clone(), text };
                // One that is not made is given up after a while, and tried again.
                let _ = self.spawn(&name, move || {
                    What::Delivered(id, deliver::deliver(&here, &letter, &ears, &life))
                });
            }
            Action::Dismiss(name, kind) => {
                let (here, loop_name) = (self.here.clone(), name.clone());
                self.history.record("menu-dismissed", Some(&name), kind.to_string());
                // The menu is looked at again soon.
                let _ = self.spawn(&name, move || {
                    // Escape leaves a limit menu as it is; a screen that waits for Enter gets that.
                    let key = if kind == DialogKind::PressEnter { "Enter" } else { "Escape" };
                    let tmux = runtime::tmux(&here, &loop_name);
                    // Who is attached and reads back sees the menu.
                    let pressed = keyboard::free(&tmux).and_then(|kept| match kept {
                        Some(_) => Ok(()),
                        None => tmux.press(key),
                    });
                    What::Pressed(pressed.map_err(Into::into))
                });
            }
            Action::Notify { key, text } => {
                events::record(&self.here, "notify", None, format!("{key}: {text}"));
                self.post.tell(Letter::new(None, &text));
            }
            Action::Event { what, about, detail, fact } if self.keep.hurry => {
                self.history.record_soon(&what, about.as_ref(), detail, fact);
            }
            Action::Event { what, about, detail, fact } => {
                self.history.record_fact(&what, about.as_ref(), detail, fact);
            }
            // The truth is in the file: the next reading tells of it.
            Action::WritePhase(index) => self.index.write(index),
        }
    }

    /// Leaves word of what a loop is stopped for, where its stop looks for it.
    fn say_why(&mut self, name: &LoopName) {
        let Some(memory) = self.fleet.memory(name) else { return };
        let why = match (memory.state, memory.rung) {
            (State::Held, _) => StopReason::Held,
            (_, Rung::None) => StopReason::Restart,
            _ => StopReason::Watchdog,
        };
        if let Some(one) = self.all.get_mut(name) {
            one.state.stopping = Some(why);
            self.keep.put(name, &one.state);
        }
    }

    /// Has a loop started, if the lease lets it.
    fn start(&mut self, name: &LoopName) {
        if let Err(refused) = lease::check(&self.here) {
            return self.fence(name, &refused.to_string());
        }
        let session = self.all.get(name).and_then(|one| one.state.session);
        let agent = self.here.rig.loops.get(name).map(|spec| spec.agent);
        let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
        self.began(name);
        let place = self.all.get_mut(name).map(|one| &mut one.place);
        let (parent, left) = place.map_or((None, None), |place| (place.parent.take(), place.left.take()));
        self.in_turn(name, What::Started, move || {
            if parent.is_none() {
                again::gone(left);
                if let Err(error) = runtime.end_rest(&here, &loop_name) {
                    eprintln!("warning: loop {loop_name}: {error:#}");
                }
            }
            let alone = match session.filter(|_| agent == Some(Agent::Claude)) {
                Some(session) => holders::alone(&here, &loop_name, session),
                None => Ok(()),
            };
            unattended::warn(&here, &loop_name);
            alone.and_then(|()| match parent {
                Some(parent) => again::start(&here, runtime, &loop_name, parent),
                None => runtime.start(&here, &loop_name),
            })
        });
    }

    /// The lease does not let it run; it is started when the lease comes.
    pub(super) fn fence(&mut self, name: &LoopName, why: &str) {
        if let Some(one) = self.all.get_mut(name) {
            one.fenced = Some(why.into());
        }
        self.pending.push_back(Input::Loop(name.clone(), Happens::Refused(why.into())));
    }

    /// Has it started if the lease lets it, and remembers why not.
    pub(super) fn want(&mut self, name: &LoopName) {
        match lease::check(&self.here) {
            Err(refused) => self.fence_quietly(name, &refused.to_string()),
            Ok(_) => {
                if let Some(one) = self.all.get_mut(name) {
                    one.fenced = None;
                }
                self.tell(name, Happens::Wanted);
            }
        }
    }

    /// [`Self::fence`], when nothing else is being told.
    pub(super) fn fence_quietly(&mut self, name: &LoopName, why: &str) {
        self.fence(name, why);
        self.tick();
    }
}
