//! What a driver of the model does to a host, and what the host makes of it.

use std::rc::Rc;

use ccorch_core::cutover::Step;
use ccorch_core::lease::{Change, Driver, Lease, LeaseFile, LeaseOk, Standing, Wanted, change};

use crate::mutant::Mutant;
use crate::window::{Said, active};
use crate::world::{Copy, World, lease, name, owner};

/// What a driver is about to do to a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Act {
    Quiesce(usize),
    Unquiesce(usize),
    /// The mark that keeps its owner's units down goes up; who asks is checked in one piece with it.
    PutFence(usize),
    LiftFence(usize),
    /// A planted fault: only ask, the act comes later.
    Ask(usize),
    LiftFenceUnasked(usize),
    /// Its owner's own commands.
    StopOwners(usize),
    StartOwners(usize),
    /// This host looks at the arbiter and writes the file, for itself or the other; then pushes what was decided.
    WriteLease(usize, usize, Standing),
    Push(usize, usize, Box<(Lease, Lease)>),
    /// Start the rig there, for the first time on trial.
    Activate(usize, bool),
    /// The target, asked through this host, gives up what it holds, if it holds anything.
    GiveUp(usize, usize),
    /// The target, asked through this host, has the lease taken from it, if the arbiter has it as the target's.
    TakeFrom(usize, usize),
    /// From, to.
    Sync(usize, usize),
    Prove(usize, usize),
    /// The target's verdict on itself is waited for.
    Judge(usize),
}

/// Why an act was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    /// Somebody does not answer.
    Away,
    /// Another driver is newer.
    Stale,
    /// The step fails.
    Refused,
    /// Not decided yet.
    Wait,
}

impl World {
    /// The host that writes the lease of a cutover, as the program chooses it.
    fn writer(&self, about: usize) -> usize {
        if self.is_legacy(about) { 1 - about } else { about }
    }

    pub fn wanted(&self, step: Step, undo: bool, from: usize) -> Vec<Act> {
        use Standing::{Active, Standby};
        let to = 1 - from;
        let lift = |host| match self.is(Mutant::AskThenAct) {
            true => vec![Act::Ask(host), Act::LiftFenceUnasked(host), Act::StartOwners(host)],
            false => vec![Act::LiftFence(host), Act::StartOwners(host)],
        };
        let lease = |about, state| Act::WriteLease(self.writer(about), about, state);
        let stop = |host| match self.is_legacy(host) {
            true => vec![Act::PutFence(host), Act::StopOwners(host)],
            false => vec![Act::Quiesce(host)],
        };
        match (step, undo) {
            (Step::Quiesce, false) => stop(from),
            (Step::Quiesce, true) if self.is_legacy(from) => lift(from),
            (Step::Quiesce, true) => vec![Act::Unquiesce(from)],
            (Step::Fence, false) if self.is_legacy(from) => vec![Act::PutFence(from), lease(from, Standby)],
            (Step::Fence, false) => vec![lease(from, Standby)],
            (Step::Fence, true) if self.is_legacy(from) => {
                [lift(from), vec![Act::TakeFrom(self.writer(from), to), lease(from, Active)]].concat()
            }
            (Step::Fence, true) => vec![lease(from, Active), Act::Activate(from, false)],
            (Step::FinalSync, false) => vec![Act::Sync(from, to)],
            (Step::Prove, false) => vec![Act::Prove(from, to)],
            (Step::Activate, false) if self.is_legacy(to) => [vec![lease(to, Active)], lift(to)].concat(),
            (Step::Activate, false) => vec![lease(to, Active), Act::Activate(to, true)],
            (Step::Activate, true) => [stop(to), vec![Act::GiveUp(self.writer(to), to)]].concat(),
            (Step::Verify, false) if !self.is_legacy(to) => vec![Act::Judge(to)],
            _ => Vec::new(),
        }
    }

    pub fn keep(&mut self, host: usize, log: &Copy) -> bool {
        if !self.admit(host, &log.driver()) {
            return false;
        }
        let newer = self.hosts[host].copies.get(&log.id).is_some_and(|old| old.newness() > log.newness());
        if self.is_legacy(host) || newer {
            return !newer;
        }
        let here = self.host(host);
        here.copies.insert(log.id.clone(), log.clone());
        if log.progress.outcome().is_some() {
            here.driver = Some(owner(&log.driver(), false));
        }
        true
    }

    /// Does the first of the acts; what is left, or why not. `machine` is who asks; a command that outlived its driver is on
    /// its host already.
    pub fn act(&mut self, acts: &[Act], driver: &Driver, machine: Option<usize>) -> Result<Vec<Act>, No> {
        let mut left = acts[1..].to_vec();
        let reaches = |world: &Self, host: usize| machine.is_none_or(|machine| world.links[machine][host]);
        let hosts = match &acts[0] {
            Act::Sync(from, to) | Act::Prove(from, to) => vec![*from, *to],
            Act::GiveUp(..) => vec![0, 1],
            Act::WriteLease(host, ..) | Act::Push(host, ..) | Act::TakeFrom(host, _) => vec![*host],
            Act::Quiesce(host) | Act::Unquiesce(host) | Act::Activate(host, _) | Act::Judge(host) => {
                vec![*host]
            }
            Act::PutFence(host) | Act::LiftFence(host) | Act::Ask(host) => vec![*host],
            Act::LiftFenceUnasked(host) | Act::StopOwners(host) | Act::StartOwners(host) => vec![*host],
        };
        if !hosts.iter().all(|host| reaches(self, *host)) {
            return Err(No::Away);
        }
        // One act at a time on a host.
        if hosts.iter().any(|host| self.is_giving(*host)) {
            return Err(No::Wait);
        }
        match &acts[0] {
            Act::Sync(from, to) => self.sync(*from, *to)?,
            Act::Prove(from, to) => {
                let same = self.hosts[*from].work == self.hosts[*to].work;
                (same || self.is(Mutant::NoSyncNoProof)).then_some(()).ok_or(No::Refused)?;
            }
            Act::Judge(host) => self.judge(*host, &driver.journal)?,
            Act::Quiesce(host) => {
                self.admit(*host, driver).then_some(()).ok_or(No::Stale)?;
                self.withdraw(*host, &driver.journal);
                let stops = !self.is(Mutant::QuiesceStopsNothing);
                let here = self.host(*host);
                here.quiesced = Some(driver.journal.clone());
                here.runs &= !stops;
            }
            Act::Unquiesce(host) => {
                self.admit(*host, driver).then_some(()).ok_or(No::Stale)?;
                self.host(*host).quiesced = None;
            }
            Act::Activate(host, trial) => self.activate(*host, *trial, driver)?,
            Act::PutFence(host) => {
                self.admit(*host, driver).then_some(()).ok_or(No::Stale)?;
                self.host(*host).fenced = true;
            }
            Act::Ask(host) => self.admit(*host, driver).then_some(()).ok_or(No::Stale)?,
            Act::LiftFence(host) => {
                self.admit(*host, driver).then_some(()).ok_or(No::Stale)?;
                self.host(*host).fenced = false;
            }
            Act::LiftFenceUnasked(host) => self.host(*host).fenced = false,
            Act::StopOwners(host) => {
                let stops = !self.is(Mutant::QuiesceStopsNothing);
                self.host(*host).runs &= !stops;
            }
            Act::StartOwners(host) => drop(self.start(*host)),
            Act::GiveUp(writer, host) => {
                let to = 1 - host;
                let own = self.hosts[*writer].file.as_ref().map(|file| &file.lease.holder);
                let holder = if self.reachable { Some(&self.arbiter.holder) } else { own };
                let had = holder == Some(&name(*host));
                // A source that is its owner's works again all the same.
                let asks = !self.is_legacy(to) && !self.is(Mutant::OwnFileCounts);
                if !had && !self.reachable && asks {
                    return Err(No::Away);
                }
                let mut more = Vec::new();
                if had {
                    more.push(Act::WriteLease(*writer, *host, Standing::Standby));
                    // Nothing is carried into its owner's rig that was started again.
                    let runs_again = self.is_legacy(to) && !self.hosts[to].fenced;
                    if !self.is(Mutant::NoSyncBack) && !runs_again {
                        more.push(Act::Sync(*host, to));
                    }
                }
                if !self.is_legacy(*host) {
                    more.push(Act::Unquiesce(*host));
                }
                more.append(&mut left);
                left = more;
            }
            Act::TakeFrom(writer, host) => {
                let theirs = self.arbiter.holder == name(*host) && self.arbiter.state == Standing::Active;
                if self.reachable && theirs {
                    left.insert(0, Act::WriteLease(*writer, *host, Standing::Standby));
                }
            }
            Act::WriteLease(writer, about, state) => {
                if let Some(push) = self.write_lease(*writer, *about, *state, driver)? {
                    left.insert(0, push);
                }
            }
            Act::Push(writer, about, pair) => self.push(*writer, *about, pair, driver)?,
        }
        Ok(left)
    }

    /// What only the receiver has is never dropped; it is the step that fails.
    fn sync(&mut self, from: usize, to: usize) -> Result<(), No> {
        if self.is(Mutant::NoSyncNoProof) {
            return Ok(());
        }
        let (from, to) = if self.is(Mutant::SyncTheWrongWay) { (to, from) } else { (from, to) };
        let work = self.hosts[from].work;
        if self.hosts[to].work > work && !self.is(Mutant::SyncDropsWork) {
            return Err(No::Refused);
        }
        self.host(to).work = work;
        Ok(())
    }

    fn judge(&self, host: usize, journal: &str) -> Result<(), No> {
        let window = self.hosts[host].window.as_ref().filter(|window| window.journal == journal);
        match window.map(|window| window.verdict) {
            Some(Said::Confirmed) => Ok(()),
            Some(Said::Open) => Err(No::Wait),
            _ => Err(No::Refused),
        }
    }

    fn activate(&mut self, host: usize, trial: bool, driver: &Driver) -> Result<(), No> {
        self.admit(host, driver).then_some(()).ok_or(No::Stale)?;
        if self.may_start(host) {
            return Ok(());
        }
        if trial && self.has_failed(host, &driver.journal) {
            return Ok(());
        }
        if trial {
            self.open_window(host, &driver.journal, 1 - host);
        }
        self.host(host).quiesced = None;
        Ok(())
    }

    fn push(
        &mut self,
        writer: usize,
        about: usize,
        pair: &(Lease, Lease),
        driver: &Driver,
    ) -> Result<(), No> {
        let (old, new) = pair;
        if !self.reachable {
            return Err(No::Away);
        }
        self.swap(old, new).then_some(()).ok_or(No::Refused)?;
        if writer != about {
            return Ok(());
        }
        if new.state == Standing::Active {
            // A look of the lease's unit may come before the activation, and nothing starts before that.
            if !self.may_start(writer) {
                self.host(writer).quiesced = Some(driver.journal.clone());
            }
            self.host(writer).file = active(new.clone());
            self.mark_written(writer, new);
        }
        Ok(())
    }

    /// What a host wrote of itself, it has acquired for the boot in which it did.
    fn mark_written(&mut self, host: usize, lease: &Lease) {
        let Some(boot_id) = lease.boot_id.clone().filter(|id| *id == self.boot_id(host)) else { return };
        self.host(host).ok = Some(LeaseOk { epoch: lease.epoch, nonce: lease.nonce.clone(), boot_id });
    }

    fn standby(&mut self, host: usize, lease: &Lease) {
        let fences = !self.is(Mutant::NoFence);
        let here = self.host(host);
        if fences {
            here.ok = None;
            here.file = Some(LeaseFile { lease: lease.clone(), pending: None });
        }
    }

    fn write_lease(
        &mut self,
        writer: usize,
        about: usize,
        state: Standing,
        driver: &Driver,
    ) -> Result<Option<Act>, No> {
        if !self.admit(writer, driver) {
            return Err(No::Stale);
        }
        if !self.reachable {
            let here = &self.hosts[writer];
            let mine =
                here.file.as_ref().filter(|f| f.pending.is_none() && f.lease.state == Standing::Active);
            let never_left =
                mine.zip(here.ok.as_ref()).is_some_and(|(file, ok)| file.lease.nonce == ok.nonce);
            let kept = state == Standing::Active && about == writer && never_left;
            return kept.then_some(None).ok_or(No::Away);
        }
        let mut old = Rc::clone(&self.arbiter);
        if self.is(Mutant::NoTurns) {
            // Whoever asks is taken for the owner.
            Rc::make_mut(&mut old).cutover = Some(owner(driver, true));
        }
        let epoch = match change(&old, &Wanted { host: &name(about), state, driver }) {
            Change::Write(epoch) => epoch,
            Change::Done => {
                self.write_known(writer, about, state, &old);
                return Ok(None);
            }
            Change::Refused(_) => return Err(No::Refused),
            Change::Stale(_) => return Err(No::Stale),
        };
        let nonce = format!("written-{about}-{epoch}-{}", driver.turn);
        let mut new = lease(about, epoch, state, nonce, self.arbiter.cutover.clone());
        new.journal = Some(driver.journal.clone());
        new.boot_id = (writer == about && state == Standing::Active).then(|| self.boot_id(writer));
        if state == Standing::Standby && writer == about {
            self.standby(writer, &new);
        }
        Ok(Some(Act::Push(writer, about, Box::new(((*self.arbiter).clone(), new)))))
    }

    /// The arbiter has it already: the file follows.
    fn write_known(&mut self, writer: usize, about: usize, state: Standing, now: &Lease) {
        if writer != about {
            return;
        }
        let here = self.host(writer);
        let known = here.file.as_ref().is_some_and(|f| f.lease.nonce == now.nonce && f.pending.is_none());
        if state == Standing::Standby {
            here.ok = None;
        }
        if state == Standing::Standby || !known {
            here.file = Some(LeaseFile { lease: now.clone(), pending: None });
        }
    }
}
