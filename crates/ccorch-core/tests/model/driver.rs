//! A driver of the model: the same loop as the program's, cut into the moments at which it can fall asleep or die.

use ccorch_core::cutover::{Entry, Next, Outcome, Step};
use ccorch_core::lease::{Driver, Lease, Owner, Standing, Turn, claim, owns};

use crate::world::{Copy, World, name, owner};

/// The steps that change a host, and the one that judges.
pub const STEPS: &[Step] =
    &[Step::Quiesce, Step::Fence, Step::FinalSync, Step::Activate, Step::Verify, Step::Decommission];

/// What a driver is about to do to a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Act {
    Quiesce(usize),
    Unquiesce(usize),
    /// Look at the arbiter and write the file; then push what was decided.
    WriteLease(usize, Standing),
    Push(usize, Box<(Lease, Lease)>),
    /// Start the rig there.
    Activate(usize),
    /// The target gives up what it holds, if it holds anything.
    GiveUp(usize),
    Sync(usize),
    Nothing,
}

/// Where in a step the driver is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Telling this host, then the other, of the new turn, and reading its copy: whatever the driver before still does there
    /// is over or refused, so that the newest copy is the last word.
    Fence(usize, Turn),
    /// Sending the journal to this host, then the other, then acting.
    Send(usize),
    /// These acts are to be done, the first one next.
    Acts(Vec<Act>),
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
        (true, true) => Entry::UndoDone { step },
    }
}

pub fn acts(step: Step, undo: bool, from: usize) -> Vec<Act> {
    let to = 1 - from;
    use Standing::{Active, Standby};
    match (step, undo) {
        (Step::Quiesce, false) => vec![Act::Quiesce(from)],
        (Step::Quiesce, true) => vec![Act::Unquiesce(from)],
        (Step::Fence, false) => vec![Act::WriteLease(from, Standby)],
        (Step::Fence, true) => vec![Act::WriteLease(from, Active), Act::Activate(from)],
        (Step::FinalSync, false) => vec![Act::Sync(to)],
        (Step::Activate, false) => vec![Act::WriteLease(to, Active), Act::Activate(to)],
        (Step::Activate, true) => vec![Act::Quiesce(to), Act::GiveUp(to)],
        _ => vec![Act::Nothing],
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
}

impl World {
    fn log(&mut self, machine: usize) -> &mut Copy {
        self.machines[machine].log.as_mut().unwrap()
    }

    /// Takes the cutover in hand by a compare-and-set.
    fn claim(&mut self, machine: usize) -> bool {
        let log = self.machines[machine].log.clone().unwrap();
        if !self.reachable || self.budget.claims == 0 {
            return false;
        }
        let now = self.arbiter.cutover.as_ref();
        let Ok(new) = claim(now, &log.id, "a driver", log.progress.turn()) else { return false };
        self.budget.claims -= 1;
        // The host that asks the arbiter has a copy before it asks.
        self.hosts[log.from].copies.entry(log.id.clone()).or_insert_with(|| log.clone());
        self.arbiter.cutover = Some(new.clone());
        self.machines[machine].run = Some(Some(Doing::Fence(log.from, new.turn)));
        true
    }

    /// A host hears of the new turn and hands out its copy; after the second one the driver goes on from the newest.
    fn fence(&mut self, machine: usize, host: usize, turn: Turn) -> bool {
        let log = self.machines[machine].log.clone().unwrap();
        if !self.admit(host, &Driver { journal: log.id.clone(), turn }) {
            return false;
        }
        if let Some(copy) = self.hosts[host].copies.get(&log.id).filter(|copy| copy.newness() > log.newness())
        {
            self.machines[machine].log = Some(copy.clone());
        }
        self.machines[machine].run = Some(if host == log.from {
            Some(Doing::Fence(1 - host, turn))
        } else {
            let by = String::new();
            self.log(machine).append(&Entry::Driver { turn, by });
            self.machines[machine].foreign = false;
            None
        });
        true
    }

    /// Begins a new cutover from the host that holds the lease.
    fn begin(&mut self, machine: usize) -> bool {
        let from = usize::from(self.arbiter.holder == name(1));
        if self.budget.cutovers == 0 || self.arbiter.state != Standing::Active {
            return false;
        }
        self.budget.cutovers -= 1;
        let id = format!("j{}", self.budget.cutovers);
        let progress = Default::default();
        self.machines[machine].log = Some(Copy { id, from, progress, lines: 1 });
        self.claim(machine)
    }

    /// Opens what is unfinished: one's own journal, or what the hosts have that is newer, or another machine's.
    fn open(&mut self, machine: usize) -> bool {
        let own = self.machines[machine].log.clone();
        let id = match (&own, &self.arbiter.cutover) {
            (Some(log), _) => log.id.clone(),
            (None, Some(Owner { journal, open: true, .. })) if self.reachable => journal.clone(),
            _ => return false,
        };
        let copies = self.hosts.iter().filter_map(|host| host.copies.get(&id)).max_by_key(|c| c.newness());
        match (own, copies.cloned()) {
            (Some(own), Some(copy)) if copy.progress.turn() <= own.progress.turn() => {}
            (_, Some(copy)) => {
                self.machines[machine].foreign = true;
                let over = copy.progress.outcome().is_some();
                self.machines[machine].log = (!over).then_some(copy);
                if over {
                    return true;
                }
            }
            (Some(_), None) => {}
            (None, None) => return false,
        }
        self.machines[machine].run = Some(None);
        let closing = matches!(self.log(machine).progress.next(STEPS), Next::Close(_) | Next::Over(_));
        let had_turn = self.log(machine).progress.turn().is_some();
        let may_keep = had_turn && !self.machines[machine].foreign && !self.reachable;
        if self.claim(machine) || may_keep || closing {
            return true;
        }
        // Refused: this machine's copy is history; what is there to know is on the hosts.
        self.machines[machine].run = None;
        false
    }

    /// One move of a running driver; several where something may fail.
    pub fn drive(&self, machine: usize) -> Vec<World> {
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
        let log = self.machines[machine].log.clone().unwrap();
        let from = log.from;
        let driver = log.driver();
        match doing {
            None => match log.progress.next(STEPS) {
                Next::Close(outcome) => {
                    return next.close(machine, outcome).then_some(next).into_iter().collect();
                }
                Next::Over(_) => {
                    next.machines[machine] = Machine::default();
                    return vec![next];
                }
                Next::Undo(step) => {
                    next.log(machine).append(&entry(step, true, false));
                    next.machines[machine].run = Some(Some(Doing::Send(from)));
                }
                Next::Perform(step) | Next::Probe(step) => {
                    next.log(machine).append(&entry(step, false, false));
                    let doing = if step.changes_a_host() {
                        Doing::Send(from)
                    } else {
                        Doing::Acts(vec![Act::Nothing])
                    };
                    next.machines[machine].run = Some(Some(doing));
                }
            },
            Some(Doing::Fence(host, turn)) => {
                if !next.fence(machine, host, turn) {
                    next.machines[machine].run = None;
                }
            }
            Some(Doing::Send(host)) => {
                if !next.keep(host, &log) {
                    next.machines[machine].run = None;
                    return vec![next];
                }
                let doing = if host == from { Doing::Send(1 - from) } else { Doing::Acts(self.wanted(&log)) };
                next.machines[machine].run = Some(Some(doing));
            }
            Some(Doing::Acts(acts)) => match next.act(&acts, &driver) {
                Ok(left) if left.is_empty() => {
                    let (step, undo) = under_way(&log);
                    next.log(machine).append(&entry(step, undo, true));
                    next.machines[machine].run = Some(None);
                }
                Ok(left) => next.machines[machine].run = Some(Some(Doing::Acts(left))),
                Err(()) => next.machines[machine].run = None,
            },
        }
        vec![next]
    }

    /// The driver's bad luck: a step that fails, a person who turns back, a machine that dies.
    pub fn bad_luck(&self, machine: usize) -> Vec<World> {
        let mut all = Vec::new();
        let Some(run) = self.machines[machine].run.clone() else { return all };
        let log = self.machines[machine].log.clone().unwrap();
        let back = log.progress.goes_back();
        if self.budget.fails > 0 && matches!(run, Some(Doing::Send(_) | Doing::Acts(_))) && !back {
            let (step, undo) = under_way(&log);
            if !undo && step.failure_turns_back() {
                let mut next = self.clone();
                next.budget.fails -= 1;
                next.log(machine).append(&Entry::Failed { step, why: String::new() });
                next.log(machine).append(&Entry::TurnBack { why: String::new() });
                next.machines[machine].run = Some(None);
                all.push(next);
            }
        }
        if self.budget.aborts > 0 && run.is_none() && !back && log.progress.outcome().is_none() {
            let mut next = self.clone();
            next.budget.aborts -= 1;
            next.log(machine).append(&Entry::TurnBack { why: String::new() });
            all.push(next);
        }
        if self.budget.dies > 0 {
            let mut next = self.clone();
            next.budget.dies -= 1;
            next.machines[machine].run = None;
            all.push(next.clone());
            if let Some(doing @ Doing::Acts(_)) = run {
                next.orphan = Some((doing, log.driver(), log.from));
                all.push(next);
            }
        }
        all
    }

    /// A host gets round to what a dead driver asked.
    pub fn orphan_acts(&self) -> Vec<World> {
        let Some((Doing::Acts(acts), driver, _)) = &self.orphan else { return Vec::new() };
        let mut next = self.clone();
        next.orphan = None;
        // Only the command under way is left of a dead driver; a look-then-push is one command.
        if let Ok(left) = next.act(&acts[..1], driver)
            && let [Act::Push(..), ..] = left.as_slice()
        {
            next.orphan = Some((Doing::Acts(left), driver.clone(), 0));
        }
        vec![next]
    }

    /// The arbiter first, then the journal, then its copies.
    fn close(&mut self, machine: usize, outcome: Outcome) -> bool {
        let driver = self.log(machine).driver();
        if !self.reachable {
            return false;
        }
        let over = |owner: &Owner| owner.journal == driver.journal && owner.turn == driver.turn;
        if owns(self.arbiter.cutover.as_ref(), &driver).is_err()
            && !self.arbiter.cutover.as_ref().is_some_and(|o| over(o) && !o.open)
        {
            self.machines[machine].run = None;
            return true;
        }
        self.arbiter.cutover = Some(owner(&driver, false));
        self.log(machine).append(&Entry::End { outcome });
        let log = self.log(machine).clone();
        for host in 0..2 {
            self.keep(host, &log);
        }
        true
    }
}

/// The step that the journal says is under way, and whether it is undone.
pub fn under_way(log: &Copy) -> (Step, bool) {
    match log.progress.next(STEPS) {
        Next::Undo(step) => (step, true),
        Next::Perform(step) | Next::Probe(step) => (step, false),
        Next::Close(_) | Next::Over(_) => (Step::Decommission, false),
    }
}
