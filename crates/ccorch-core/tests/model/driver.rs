//! A driver of the model: the same loop as the program's, cut into the moments at which it can fall asleep or die.

use std::rc::Rc;

use ccorch_core::cutover::passed::{drove_alone, may_lack_copy, may_not_be_heard};
use ccorch_core::cutover::{Entry, Next, Outcome, Status, Step};
use ccorch_core::lease::{Driver, Owner, Standing, Turn, claim, ended_by, owns};

use crate::acts::{Act, No};
use crate::mutant::Mutant;
use crate::world::{Copy, World, name, owner};

/// The steps that change a host, and those that judge.
pub const STEPS: &[Step] = &[
    Step::Quiesce,
    Step::Fence,
    Step::FinalSync,
    Step::Prove,
    Step::Activate,
    Step::Verify,
    Step::Decommission,
];

/// Where in a step the driver is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Telling this host, then the other, of the new turn, and reading its copy: whatever the driver before still does there
    /// is over or refused, so that the newest copy is the last word.
    Fence(usize, Turn, Heard),
    /// Sending the journal to this host, then the other, then acting; whether the first has it.
    Send(usize, bool),
    /// These acts are to be done, the first one next.
    Acts(Vec<Act>),
}

/// What a driver that takes over has heard of the first host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heard {
    Nothing,
    Answer,
    /// Its owner's rig has no fence.
    Unfenced,
}

/// A machine with a driver on it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Its journal, and whether another machine's driver wrote its last turn.
    pub log: Option<Copy>,
    pub foreign: bool,
    /// The run that is under way: its turn, and what it does.
    pub run: Option<Option<Doing>>,
}

fn entry(step: Step, undo: bool, done: bool) -> Entry {
    match (undo, done) {
        (false, false) => Entry::Started { step },
        (false, true) => Entry::Done { step, note: String::new() },
        (true, false) => Entry::UndoStarted { step },
        (true, true) => Entry::UndoDone { step, note: String::new() },
    }
}

impl Copy {
    /// A line that changes nothing, such as a second begin of a step, is not counted: a journal may have any number.
    pub fn append(&mut self, entry: &Entry) {
        let before = self.progress.clone();
        self.progress.apply(entry).unwrap();
        self.lines += u8::from(self.progress != before);
    }

    pub fn newness(&self) -> (Option<Turn>, u8) {
        (self.progress.turn(), self.lines)
    }

    pub fn driver(&self) -> Driver {
        Driver { journal: self.id.clone(), turn: self.progress.turn().unwrap_or_default() }
    }

    pub fn turn_back(&mut self) {
        self.append(&Entry::TurnBack { why: String::new() });
    }

    fn closing(&self) -> bool {
        matches!(self.progress.next(STEPS), Next::Close(_) | Next::Over(_))
    }

    /// The step that is under way, and whether it is undone.
    pub fn under_way(&self) -> (Step, bool) {
        match self.progress.next(STEPS) {
            Next::Undo(step) => (step, true),
            Next::Perform(step) | Next::Probe(step) => (step, false),
            Next::Close(_) | Next::Over(_) => (Step::Decommission, false),
        }
    }
}

impl World {
    pub fn log(&mut self, machine: usize) -> &mut Copy {
        self.machine(machine).log.as_mut().unwrap()
    }

    /// The host that asks the arbiter for this machine: one that runs ccorch and answers.
    fn claimer(&self, machine: usize, from: usize) -> Option<usize> {
        let can = |host: &usize| self.links[machine][*host] && !self.is_legacy(*host);
        [from, 1 - from].into_iter().find(can).filter(|_| self.reachable)
    }

    /// Takes the cutover in hand by a compare-and-set.
    fn claim(&mut self, machine: usize) -> Result<(), No> {
        let log = self.machines[machine].log.clone().unwrap();
        let asked = self.claimer(machine, log.from).ok_or(No::Away)?;
        if self.budget.claims == 0 {
            return Err(No::Wait);
        }
        let now = self.arbiter.cutover.as_ref();
        let new = claim(now, &log.id, "a driver", log.progress.turn()).map_err(|_| No::Stale)?;
        self.budget.claims -= 1;
        // The host that asks the arbiter has a copy before it asks.
        self.host(asked).copies.entry(log.id.clone()).or_insert_with(|| log.clone());
        Rc::make_mut(&mut self.arbiter).cutover = Some(new.clone());
        self.hear(asked);
        self.machine(machine).run = Some(Some(Doing::Fence(log.from, new.turn, Heard::Nothing)));
        Ok(())
    }

    /// A host hears of the new turn and hands out its copy; after the second one the driver goes on from the newest.
    fn fence(&mut self, machine: usize, host: usize, turn: Turn, heard: Heard) -> Result<(), No> {
        let log = self.machines[machine].log.clone().unwrap();
        let (first, owners) = (host == log.from, self.is_legacy(host));
        let answers = self.links[machine][host];
        let alone = drove_alone(log.progress.turn(), self.machines[machine].foreign, turn);
        let alone = alone || self.is(Mutant::HearOneHost);
        let passes = may_not_be_heard(self.kind(host), alone) || owners && self.is(Mutant::PassOverItsOwners);
        if !answers && (!passes || !first && heard == Heard::Nothing) {
            return Err(No::Away);
        }
        let mut heard = heard;
        if answers {
            if !self.admit(host, &Driver { journal: log.id.clone(), turn }) {
                return Err(No::Stale);
            }
            let copy = self.hosts[host].copies.get(&log.id).filter(|copy| copy.newness() > log.newness());
            if let Some(copy) = copy.cloned() {
                self.machine(machine).log = Some(copy);
            }
            let unfenced = owners && !self.hosts[host].fenced && !self.is(Mutant::NoLookAtTheMark);
            heard = if unfenced || heard == Heard::Unfenced { Heard::Unfenced } else { Heard::Answer };
        }
        if first {
            self.machine(machine).run = Some(Some(Doing::Fence(1 - host, turn, heard)));
            return Ok(());
        }
        let begins = log.progress.turn().is_none();
        let holds = self.arbiter.holder == name(log.from) && self.arbiter.state == Standing::Active;
        let there =
            holds && self.claimer(machine, log.from).is_some() || self.is(Mutant::NoLookAfterTheClaim);
        let log = self.log(machine);
        log.append(&Entry::Driver { turn, by: String::new() });
        // Whoever slept since its preflight may come to a lease that went elsewhere.
        if begins && !there {
            log.turn_back();
        }
        // Started again by a driver whose last words nobody has.
        if heard == Heard::Unfenced && log.progress.status(Step::Quiesce) == Status::Done {
            log.turn_back();
        }
        self.machine(machine).foreign = false;
        self.machine(machine).run = Some(None);
        Ok(())
    }

    /// Begins a new cutover from the host that holds the lease.
    fn begin(&mut self, machine: usize) -> bool {
        let from = usize::from(self.arbiter.holder == name(1));
        // Preflight wants both.
        let there = self.links[machine] == [true; 2];
        if self.budget.cutovers == 0 || self.arbiter.state != Standing::Active || !there {
            return false;
        }
        self.budget.cutovers -= 1;
        let id = format!("j{}", self.budget.cutovers);
        let progress = Default::default();
        self.machine(machine).log = Some(Copy { id, from, progress, lines: 1 });
        self.claim(machine).is_ok()
    }

    /// Opens what is unfinished: one's own journal, or what the hosts have that is newer, or another machine's.
    fn open(&mut self, machine: usize) -> bool {
        let own = self.machines[machine].log.clone();
        let asks = self.reachable && (0..2).any(|h| self.links[machine][h] && !self.is_legacy(h));
        let id = match (&own, &self.arbiter.cutover) {
            (Some(log), _) => log.id.clone(),
            (None, Some(Owner { journal, open: true, .. })) if asks => journal.clone(),
            _ => return false,
        };
        let links = self.links[machine];
        let there = self.hosts.iter().zip(links).filter(|(_, reached)| *reached);
        let copies = there.filter_map(|(host, _)| host.copies.get(&id)).max_by_key(|c| c.newness()).cloned();
        match (own, copies) {
            (Some(own), Some(copy)) if copy.progress.turn() <= own.progress.turn() => {}
            (_, Some(copy)) => {
                let over = copy.progress.outcome().is_some();
                let here = self.machine(machine);
                here.foreign = true;
                here.log = (!over).then_some(copy);
                if over {
                    return true;
                }
            }
            (Some(_), None) => {}
            (None, None) => return false,
        }
        let log = self.log(machine).clone();
        let closing = log.closing();
        let owner = self.arbiter.cutover.as_ref().filter(|_| asks);
        if ended_by(owner, &log.id, log.progress.turn(), closing).is_some() {
            // Its end is written down; a new one may begin.
            *self.machine(machine) = Machine::default();
            return true;
        }
        self.machine(machine).run = Some(None);
        let keeps = log.progress.turn().is_some() && !self.machines[machine].foreign;
        match self.claim(machine) {
            Ok(()) => return true,
            Err(No::Away) if keeps => return true,
            Err(_) if closing => return true,
            // It never drove, and never will.
            Err(No::Stale) if log.progress.turn().is_none() => {
                *self.machine(machine) = Machine::default();
                return true;
            }
            Err(_) => {}
        }
        // Refused: this machine's copy is history; what is there to know is on the hosts.
        self.machine(machine).run = None;
        false
    }

    /// One move of a running driver; several where something may fail.
    pub fn drive(&self, machine: usize) -> Vec<Self> {
        let mut next = self.clone();
        let Some(doing) = self.machines[machine].run.clone() else {
            let mut all = Vec::new();
            if self.machines[machine].log.is_none() {
                let mut begun = self.clone();
                if begun.begin(machine) {
                    all.push(begun);
                }
            }
            if next.open(machine) {
                all.push(next);
            }
            return all;
        };
        let waits = match &doing {
            Some(Doing::Fence(host, ..) | Doing::Send(host, _)) => self.is_giving(*host),
            _ => false,
        };
        let moved = match doing {
            _ if waits => false,
            None => next.step(machine),
            Some(Doing::Fence(host, turn, heard)) => {
                match next.fence(machine, host, turn, heard) {
                    Ok(()) => {}
                    // Its own turn is still good, as far as it knows.
                    Err(No::Away) if !self.machines[machine].foreign && self.has_turn(machine) => {
                        next.machine(machine).run = Some(None);
                    }
                    Err(_) => next.machine(machine).run = None,
                }
                true
            }
            Some(Doing::Send(host, sent)) => {
                next.send(machine, host, sent);
                true
            }
            Some(Doing::Acts(acts)) => next.acts(machine, &acts),
        };
        moved.then_some(next).into_iter().collect()
    }

    fn has_turn(&self, machine: usize) -> bool {
        self.machines[machine].log.as_ref().is_some_and(|log| log.progress.turn().is_some())
    }

    /// What the journal says comes next is begun.
    fn step(&mut self, machine: usize) -> bool {
        let log = self.log(machine).clone();
        let (step, undo) = match log.progress.next(STEPS) {
            Next::Close(outcome) => return self.close(machine, outcome),
            Next::Over(_) => {
                *self.machine(machine) = Machine::default();
                return true;
            }
            Next::Undo(step) => (step, true),
            Next::Perform(step) | Next::Probe(step) => (step, false),
        };
        self.log(machine).append(&entry(step, undo, false));
        let sends = if undo { step.has_undo() } else { step.changes_a_host() };
        let doing = match sends {
            true => Doing::Send(log.from, false),
            false => Doing::Acts(self.wanted(step, undo, log.from)),
        };
        self.machine(machine).run = Some(Some(doing));
        true
    }

    /// A host that does not answer is passed over as long as the other takes the journal, and keeps it.
    fn send(&mut self, machine: usize, host: usize, sent: bool) {
        let log = self.machines[machine].log.clone().unwrap();
        let answers = self.links[machine][host];
        let (step, undo) = log.under_way();
        let undoes = undo.then_some(step);
        let passes = may_lack_copy(self.kind(1 - host), undoes) || self.is(Mutant::NobodyKeepsIt);
        let run = match (answers && !self.keep(host, &log), host == log.from) {
            (true, _) => None,
            _ if !answers && !passes => None,
            (false, true) => Some(Some(Doing::Send(1 - host, answers))),
            (false, false) if !answers && !sent => None,
            (false, false) => Some(Some(Doing::Acts(self.wanted(step, undo, log.from)))),
        };
        self.machine(machine).run = run;
    }

    fn acts(&mut self, machine: usize, acts: &[Act]) -> bool {
        let log = self.machines[machine].log.clone().unwrap();
        let (step, undo) = log.under_way();
        let done =
            if acts.is_empty() { Ok(Vec::new()) } else { self.act(acts, &log.driver(), Some(machine)) };
        match done {
            Ok(left) if left.is_empty() => {
                self.log(machine).append(&entry(step, undo, true));
                self.machine(machine).run = Some(None);
            }
            Ok(left) => self.machine(machine).run = Some(Some(Doing::Acts(left))),
            Err(No::Wait) => return false,
            Err(No::Refused) if !undo && step.failure_turns_back() => self.failed(machine, step),
            // Better the source at work than nobody.
            Err(No::Away) if !undo && step == Step::Fence => self.failed(machine, step),
            Err(No::Away | No::Stale | No::Refused) => self.machine(machine).run = None,
        }
        true
    }

    pub fn failed(&mut self, machine: usize, step: Step) {
        self.log(machine).append(&Entry::Failed { step, why: String::new() });
        self.log(machine).turn_back();
        self.machine(machine).run = Some(None);
    }

    /// The arbiter first, then the journal, then its copies.
    fn close(&mut self, machine: usize, outcome: Outcome) -> bool {
        let log = self.log(machine).clone();
        let driver = log.driver();
        if self.claimer(machine, log.from).is_none() {
            return false;
        }
        let over = |owner: &Owner| owner.journal == driver.journal && owner.turn == driver.turn;
        if owns(self.arbiter.cutover.as_ref(), &driver).is_err()
            && !self.arbiter.cutover.as_ref().is_some_and(|o| over(o) && !o.open)
        {
            self.machine(machine).run = None;
            return true;
        }
        Rc::make_mut(&mut self.arbiter).cutover = Some(owner(&driver, false));
        self.log(machine).append(&Entry::End { outcome });
        let log = self.log(machine).clone();
        for host in 0..2 {
            if self.links[machine][host] {
                self.keep(host, &log);
            }
        }
        true
    }
}
