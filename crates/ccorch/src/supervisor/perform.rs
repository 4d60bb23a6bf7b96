//! Doing what the engine says: each action is one call, a thread where it may take long, and a report of what came of it.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ccorch_core::fleet::{Action, Happens, Input, Rung};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;
use ccorch_core::stop::StopReason;
use ccorch_core::watchdog::DialogKind;
use ccorch_core::watchdog::life::State;
use ccorch_io::process;

use super::loops::{Loops, Report, STACK, What};
use super::{Event, deliver, look};
use crate::here::letters::Letter;
use crate::here::{Here, events, lease, loop_state, phases, runtime, unattended};

/// How long whoever held a conversation may take to leave it.
const LEAVE: Duration = Duration::from_secs(3);

impl Loops {
    /// Does one thing.
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Start(name) => self.start(&name),
            Action::Stop(name) => {
                self.say_why(&name);
                let (here, runtime, loop_name) = (self.here.clone(), self.runtime, name.clone());
                // A start that is under way comes first, so that it does not outlive its stop.
                self.in_turn(&name, move || What::Stopped(runtime.stop(&here, &loop_name)));
            }
            Action::Look(name) => {
                let session = self.all.get(&name).and_then(|one| one.state.session);
                let (here, loop_name) = (self.here.clone(), name.clone());
                self.spawn(&name, move || What::Looked(look::look(&here, &loop_name, session)));
            }
            Action::Nudge { name, id, text, attempt, .. } => {
                let session = self.all.get(&name).and_then(|one| one.state.session);
                events::record(&self.here, "nudge", Some(&name), format!("{id}, try {attempt}: {text}"));
                let (here, ears) = (self.here.clone(), self.ears(&name));
                let letter = deliver::Letter { name: name.clone(), session, id: id.clone(), text };
                self.spawn(&name, move || What::Delivered(id, deliver::deliver(&here, &letter, &ears)));
            }
            Action::Dismiss(name, kind) => {
                let (here, loop_name) = (self.here.clone(), name.clone());
                events::record(&self.here, "menu-dismissed", Some(&name), kind.to_string());
                self.spawn(&name, move || {
                    // Escape leaves a limit menu as it is; a screen that waits for Enter gets that.
                    let key = if kind == DialogKind::PressEnter { "Enter" } else { "Escape" };
                    What::Pressed(runtime::tmux(&here, &loop_name).press(key).map_err(Into::into))
                });
            }
            Action::Notify { key, text } => {
                events::record(&self.here, "notify", None, format!("{key}: {text}"));
                self.post.tell(Letter::new(None, &text));
            }
            Action::Event { what, about, detail } => {
                events::record(&self.here, &what, about.as_ref(), detail)
            }
            Action::WritePhase(index) => {
                if let Err(error) = phases::write_index(&self.here, index) {
                    // The next look at the state files tries again.
                    let why = format!("{error:#}");
                    events::record(&self.here, "phase-not-written", None, why);
                    self.unwritten = Some(index);
                }
            }
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
        self.in_turn(name, move || {
            if let Err(error) = runtime.end_rest(&here, &loop_name) {
                eprintln!("warning: loop {loop_name}: {error:#}");
            }
            let alone = match session.filter(|_| agent == Some(Agent::Claude)) {
                Some(session) => alone(session),
                None => Ok(()),
            };
            unattended::warn(&here, &loop_name);
            What::Started(alone.and_then(|()| runtime.start(&here, &loop_name)))
        });
    }

    /// The lease does not let it run; it is started when the lease comes.
    pub(super) fn fence(&mut self, name: &LoopName, why: &str) {
        if let Some(one) = self.all.get_mut(name) {
            one.fenced = Some(why.into());
        }
        self.pending.push_back(Input::Loop(name.clone(), Happens::Refused(why.into())));
    }

    /// Reports to the main loop what `work` found.
    pub(super) fn spawn(&self, name: &LoopName, work: impl FnOnce() -> What + Send + 'static) {
        let (sender, name) = (self.sender.clone(), name.clone());
        thread_of_a_loop(move || {
            let _ = sender.send(Event::Loop(Report { name, what: work() }));
        });
    }

    /// The same for a start or stop: they take turns, and a turn lasts until its report is sent. A start whose report came
    /// behind that of the stop after it would be taken for the next one.
    pub(super) fn in_turn(&self, name: &LoopName, work: impl FnOnce() -> What + Send + 'static) {
        let (sender, name, turns) = (self.sender.clone(), name.clone(), self.turns(name));
        thread_of_a_loop(move || {
            let _turn = turns.lock();
            let _ = sender.send(Event::Loop(Report { name, what: work() }));
        });
    }
}

fn thread_of_a_loop(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(work) {
        eprintln!("warning: no thread for a loop: {error}");
    }
}

/// Proves that no live process holds the conversation; one that is leaving gets a moment.
fn alone(session: uuid::Uuid) -> Result<()> {
    let Some(pid) = loop_state::holder(session) else { return Ok(()) };
    if let Some(watched) = process::watch(pid)? {
        watched.wait(Some(LEAVE))?;
    }
    match loop_state::holder(session) {
        None => Ok(()),
        Some(pid) => bail!("process {pid} holds the conversation {session}; two on one would both write it"),
    }
}

/// The phase index is what its file says.
pub(super) fn phase(here: &Here) -> Result<usize> {
    here.phase_index().context("which phase the rig is in is not known")
}
