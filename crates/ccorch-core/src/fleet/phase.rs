//! The ordered plans: when one is done, who is told the next, and what the orchestrators hear after a reboot.

use super::nudges::Purpose;
use super::steady::{MINUTE, Millis, Now};
use super::{Action, Fleet, Proc, word};
use crate::names::LoopName;
use crate::rig::{Phase, Role};
use crate::watchdog::life::{Event, State};

/// The report after a reboot waits this long for loops that are not back.
const REPORT: Millis = 3 * MINUTE;

impl Fleet {
    /// The phase and its index; absent when all are over or the rig has none.
    pub(super) fn current_phase(&self) -> Option<(usize, &Phase)> {
        let index = self.shared.phase?;
        Some((index, self.plan.phases.get(index)?))
    }

    fn all_over(&self) -> bool {
        !self.plan.phases.is_empty() && self.shared.phase.is_some_and(|index| index >= self.plan.phases.len())
    }

    /// Whether there is something left to do for this loop; a rig without phases never ends.
    pub(super) fn phase_open_for(&self, name: &LoopName) -> bool {
        !self.all_over() && !self.shared.done.contains(name)
    }

    /// A loop's state file says whether a phase is done.
    pub(super) fn says(&mut self, i: usize, phase: usize, done: bool) {
        let name = self.ones[i].name.clone();
        // What it says about another phase is old.
        if self.shared.phase != Some(phase) || !self.plan.done_when.contains(&name) {
            return;
        }
        let news = if done { self.shared.done.insert(name) } else { self.shared.done.remove(&name) };
        if news {
            self.shared_changed = true;
            let what = if done { "loop-says-done" } else { "loop-says-not-done" };
            self.event(what, Some(i), format!("phase index {phase}"));
        }
        let open = phase < self.plan.phases.len();
        if open && self.plan.done_when.iter().all(|name| self.shared.done.contains(name)) {
            // It is the next phase when the file says so: a supervisor that dies before finds them all done again.
            self.out.push(Action::WritePhase(phase + 1));
        }
    }

    /// The index is this one, by the file, which is the truth.
    pub(super) fn phase_is(&mut self, now: Now, index: usize) {
        let Some(old) = self.shared.phase.replace(index) else {
            // The first time: loops hear of it at their start.
            self.shared_changed = true;
            if self.all_over() {
                self.finish(now);
            }
            return;
        };
        if old == index {
            return;
        }
        self.shared.done.clear();
        self.shared_changed = true;
        let current = self.current_phase().map(|(_, phase)| phase.clone());
        let detail = match &current {
            Some(phase) => format!("phase {} (index {index}), after index {old}: {}", phase.id, phase.plan),
            None => format!("every phase is done (index {index}, after index {old})"),
        };
        self.event("phase", None, detail.clone());
        // However often a person goes back, each change is news.
        let key = format!("phase:{index}");
        self.over(&key);
        self.notify(now, &key, detail);
        let Some(phase) = current else { return self.finish(now) };
        for i in 0..self.ones.len() {
            if self.ones[i].spec.role != Role::Worker || !self.ones[i].spec.watched {
                continue;
            }
            self.ones[i].memory.drop_waiting(Purpose::Phase);
            self.ones[i].memory.drop_waiting(Purpose::Continue);
            self.touch(i);
            // One that is down hears of it among its first words. Of others a new supervisor may not know yet that they run.
            if self.ones[i].proc != Proc::Down {
                let text = format!(
                    "Phase {} (index {index}) begins: {}. Read the plan and start.",
                    phase.id, phase.plan
                );
                let id = format!("phase-{index}-{}", self.ones[i].memory.numbered + 1);
                self.nudge(i, Purpose::Phase, Some(id), text);
            }
            if self.ones[i].memory.state == State::Done {
                // A person went back to an earlier phase.
                self.turn(now, i, Event::Release, "a phase begins");
                match self.ones[i].proc {
                    Proc::Up => {
                        self.turn(now, i, Event::SeenIdle, "a phase begins");
                        self.ones[i].look = Some(now.steady);
                    }
                    _ => self.start(now, i, "a phase begins"),
                }
            }
        }
    }

    fn finish(&mut self, now: Now) {
        for i in 0..self.ones.len() {
            if self.ones[i].spec.role == Role::Worker && self.ones[i].spec.watched {
                self.ones[i].memory.drop_waiting(Purpose::Phase);
                self.ones[i].memory.drop_waiting(Purpose::Continue);
                let held =
                    matches!(self.ones[i].memory.state, State::Held | State::Stopped | State::CrashLooping);
                if !held {
                    (self.ones[i].memory.due, self.ones[i].look) = (None, None);
                    self.turn(now, i, Event::Finished, "every phase is done");
                }
                self.touch(i);
            }
        }
    }

    /// New content in a loop's inbox.
    pub(super) fn inbox(&mut self, i: usize, hash: &str, path: &str) {
        // Nothing is known of another program's input line.
        if self.ones[i].memory.announced(hash) || !self.ones[i].spec.watched {
            return;
        }
        let short: String = hash.chars().take(12).collect();
        let text = format!("There is new content in your inbox {path}. Read it and act on it.");
        self.nudge(i, Purpose::Inbox, Some(format!("inbox-{short}")), text);
    }

    /// When the report on a reboot is due at the latest.
    pub(super) fn next_report(&self) -> Option<Millis> {
        self.shared.reboot.as_ref().map(|(since, _)| since + REPORT)
    }

    /// Tells the orchestrators what came back after a reboot: as soon as all is back, or after a while.
    pub(super) fn report_due(&mut self, now: Now) {
        let Some((since, _)) = &self.shared.reboot else { return };
        // Whoever is about to start, or whose start just failed, may be back in a moment.
        let back = |one: &&super::One| match one.proc {
            Proc::Up => true,
            Proc::Down => !matches!(one.memory.state, State::BackingOff | State::Starting),
            _ => false,
        };
        if !self.ones.iter().all(|one| back(&one)) && now.steady < since + REPORT {
            return;
        }
        let Some((_, sentence)) = self.shared.reboot.take() else { return };
        self.shared_changed = true;
        let orchestrators: Vec<usize> =
            (0..self.ones.len()).filter(|i| self.ones[*i].spec.role == Role::Orchestrator).collect();
        let mut lines: Vec<String> = Vec::new();
        for one in self.ones.iter().filter(|one| one.spec.role != Role::Orchestrator) {
            let how = match (one.proc, one.memory.state) {
                (Proc::Up, _) => "came back",
                // As it was before, and as it is meant to be.
                (_, State::Held | State::Done) => "stays down",
                _ => "did not come back",
            };
            lines.push(format!("{} {how} ({})", one.name, word(one.memory.state)));
        }
        let text = format!("After the reboot ({}): {}.", sentence.trim(), lines.join("; "));
        for i in orchestrators {
            self.nudge(i, Purpose::Report, None, text.clone());
        }
        self.event("resume-report", None, text);
    }
}
