//! The world of the model: two hosts, the arbiter, the network, and two drivers on two machines; what hosts do by
//! themselves. What is shared between a state and those that follow is one allocation.

use std::collections::BTreeMap;
use std::rc::Rc;

use ccorch_core::cutover::{Progress, SideKind};
use ccorch_core::lease::{
    Arbiter, AtBoot, Driver, Epoch, Heartbeat, Lease, LeaseFile, LeaseOk, Owner, Standing, StartFacts, admit,
    at_boot, at_heartbeat, may_start,
};
use ccorch_core::names::{HostName, RigName};
use ccorch_core::rig::Offline;
use jiff::Timestamp;

use crate::driver::{Doing, Machine};
use crate::mutant::Mutant;
use crate::window::Window;

pub fn name(host: usize) -> HostName {
    HostName::new(["a", "b"][host]).unwrap()
}

/// A journal as a host or a driver has it: what its lines come to, and how many they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Copy {
    pub id: String,
    pub from: usize,
    pub progress: Progress,
    pub lines: u8,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    pub file: Option<LeaseFile>,
    pub ok: Option<LeaseOk>,
    pub boot: u8,
    pub quiesced: Option<String>,
    /// The newest driver it has heard of; a legacy host keeps its turn alone.
    pub driver: Option<Owner>,
    pub copies: BTreeMap<String, Copy>,
    pub window: Option<Window>,
    /// The mark that keeps its owner's units down.
    pub fenced: bool,
    /// Whether its loops run.
    pub runs: bool,
    /// How many of the acknowledged commits it has.
    pub work: u8,
    /// A person took over from it while it was alive: until its next look at the arbiter it does not know.
    pub deposed: bool,
}

impl Host {
    /// Standby by its own file.
    pub fn stand_by(&mut self) {
        if let Some(file) = &mut self.file {
            file.lease.state = Standing::Standby;
            file.pending = None;
        }
    }

    /// Nothing runs.
    fn stops(&mut self) {
        self.runs = false;
        self.deposed = false;
    }
}

/// How often the rare things may still happen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub boots: u8,
    pub dies: u8,
    /// The remote goes away.
    pub cuts: u8,
    /// A machine and a host lose each other.
    pub splits: u8,
    pub aborts: u8,
    pub fails: u8,
    pub takeovers: u8,
    /// Of them, from a host that lives.
    pub living: u8,
    pub commits: u8,
    pub cutovers: u8,
    pub claims: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub arbiter: Rc<Lease>,
    pub reachable: bool,
    pub hosts: [Rc<Host>; 2],
    pub machines: [Rc<Machine>; 2],
    /// Which machine reaches which host.
    pub links: [[bool; 2]; 2],
    /// A command of a driver that died, which its host has yet to run.
    pub orphan: Option<Rc<(Doing, Driver)>>,
    pub acknowledged: u8,
    pub budget: Budget,
    /// The host whose rig is its owner's.
    pub legacy: Option<usize>,
    pub mutant: Option<Mutant>,
}

impl World {
    pub fn new(budget: Budget, legacy: bool) -> Self {
        let first = lease(0, Epoch(1), Standing::Active, "first".into(), None);
        let mine = LeaseFile { lease: first.clone(), pending: None };
        let holder = Host { file: (!legacy).then_some(mine), ..Host::default() };
        Self {
            arbiter: Rc::new(first),
            reachable: true,
            hosts: [Rc::new(holder), Rc::new(Host::default())],
            machines: [Rc::new(Machine::default()), Rc::new(Machine::default())],
            links: [[true; 2]; 2],
            orphan: None,
            acknowledged: 0,
            budget,
            legacy: legacy.then_some(0),
            mutant: None,
        }
    }

    pub fn host(&mut self, host: usize) -> &mut Host {
        Rc::make_mut(&mut self.hosts[host])
    }

    pub fn machine(&mut self, machine: usize) -> &mut Machine {
        Rc::make_mut(&mut self.machines[machine])
    }

    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn is_legacy(&self, host: usize) -> bool {
        self.legacy == Some(host)
    }

    pub fn kind(&self, host: usize) -> SideKind {
        if self.is_legacy(host) { SideKind::Legacy } else { SideKind::Ccorch }
    }

    pub fn look(&self) -> Arbiter<'_> {
        if self.reachable { Arbiter::Holds(&self.arbiter) } else { Arbiter::Away }
    }

    /// A compare-and-set at the arbiter.
    pub fn swap(&mut self, old: &Lease, new: &Lease) -> bool {
        let done = self.reachable && (*self.arbiter == *old || self.is(Mutant::NoCompareAndSet));
        if done {
            self.arbiter = Rc::new(new.clone());
        }
        done
    }

    /// Whether a host lets a driver act; it remembers the newest.
    pub fn admit(&mut self, host: usize, driver: &Driver) -> bool {
        let seen = self.hosts[host].driver.as_ref();
        if !self.is(Mutant::NoTurns) && admit(seen, driver).is_err() {
            return false;
        }
        if seen.is_none_or(|seen| seen.turn < driver.turn) {
            self.host(host).driver = Some(owner(driver, true));
        }
        true
    }

    /// What the arbiter says of drivers is news.
    pub fn hear(&mut self, host: usize) {
        let Some(owner) = self.arbiter.cutover.clone() else { return };
        let seen = self.hosts[host].driver.as_ref();
        if seen.is_none_or(|seen| (seen.turn, !seen.open) < (owner.turn, !owner.open)) {
            self.host(host).driver = Some(owner);
        }
    }

    pub fn boot_id(&self, host: usize) -> String {
        format!("{host}-{}", self.hosts[host].boot)
    }

    pub fn may_start(&self, host: usize) -> bool {
        if self.is_legacy(host) {
            return !self.hosts[host].fenced;
        }
        let (me, boot_id) = (name(host), self.boot_id(host));
        let here = &self.hosts[host];
        let facts = StartFacts {
            me: &me,
            boot_id: &boot_id,
            file: here.file.as_ref(),
            ok: here.ok.as_ref(),
            quiesced_by: here.quiesced.as_deref(),
        };
        let held = || here.file.as_ref().is_some_and(|file| file.lease.holder == me);
        may_start(&facts).is_ok() || self.is(Mutant::StartWithoutLease) && held()
    }

    pub fn reboot(&mut self, host: usize) {
        let host = self.host(host);
        host.boot += 1;
        host.ok = None;
        host.stops();
        if let Some(window) = &mut host.window {
            window.giving = None;
        }
    }

    /// The boot's acquire, which dies after so many of its three writes; 3 is all of them.
    pub fn acquire(&mut self, host: usize, writes: u8) -> bool {
        if self.is_legacy(host) || self.hosts[host].ok.is_some() {
            return false;
        }
        let file = self.hosts[host].file.clone();
        let verdict = at_boot(&name(host), file.as_ref(), &self.look(), Offline::Wait);
        let epoch = match verdict {
            AtBoot::Acquire(epoch) => epoch,
            _ if self.is(Mutant::NoAcquire) => return self.keep_from_before(host),
            AtBoot::Deposed(_) => {
                self.host(host).stand_by();
                return true;
            }
            _ => return false,
        };
        if self.reachable {
            self.hear(host);
        }
        if file.as_ref().is_some_and(|file| file.lease.state == Standing::Standby) {
            // Given back: what a cutover stopped may start, and the clones follow what was pushed.
            let work = self.hosts[host].work;
            let pushed = if self.is(Mutant::NoCatchUp) { work } else { work.max(self.acknowledged) };
            let stopped_by = file.as_ref().and_then(|file| file.lease.journal.clone());
            let here = self.host(host);
            if here.quiesced == stopped_by {
                here.quiesced = None;
            }
            here.work = pushed;
        }
        let old = Rc::clone(&self.arbiter);
        let nonce = format!("acquired-{host}-{}-{epoch}", self.hosts[host].boot);
        let mut new = lease(host, epoch, Standing::Active, nonce.clone(), old.cutover.clone());
        new.boot_id = Some(self.boot_id(host));
        new.journal.clone_from(&old.journal);
        self.host(host).file = Some(LeaseFile::before_push(&old, nonce.clone()));
        if writes > 1 {
            self.swap(&old, &new);
        }
        if writes > 2 {
            let boot_id = self.boot_id(host);
            let here = self.host(host);
            here.file = Some(LeaseFile { lease: new, pending: None });
            here.ok = Some(LeaseOk { epoch, nonce, boot_id });
        }
        true
    }

    /// A planted fault: the file's word is enough.
    fn keep_from_before(&mut self, host: usize) -> bool {
        let boot_id = self.boot_id(host);
        let here = self.host(host);
        let Some(file) = here.file.as_ref().filter(|file| file.lease.state == Standing::Active) else {
            return false;
        };
        here.ok = Some(LeaseOk { epoch: file.lease.epoch, nonce: file.lease.nonce.clone(), boot_id });
        true
    }

    /// A look of the lease's own unit: stops what is not this host's to run any more, and hears who drives. Half of one dies
    /// before it has stopped anything.
    pub fn beat(&mut self, host: usize, whole: bool) -> bool {
        if self.is_legacy(host) {
            return false;
        }
        if whole && self.sweeps(host) {
            return true;
        }
        if !self.reachable {
            return false;
        }
        let before = self.hosts[host].driver.clone();
        self.hear(host);
        let here = &self.hosts[host];
        let demoted = here.ok.as_ref().is_some_and(|ok| {
            matches!(at_heartbeat(&name(host), here.file.as_ref(), ok, &self.look()), Heartbeat::Demote(_))
        });
        if !demoted || self.is(Mutant::NoDemotion) {
            return whole && (self.mark_anew(host) || self.hosts[host].driver != before);
        }
        let here = self.host(host);
        here.ok = None;
        if whole {
            here.stops();
            here.stand_by();
        }
        true
    }

    /// Without a mark of this boot nothing may run: a look before may have died at its stop.
    fn sweeps(&mut self, host: usize) -> bool {
        let here = &self.hosts[host];
        if here.ok.is_some() || !here.runs || self.is(Mutant::HalfADemotion) {
            return false;
        }
        let verdict = at_boot(&name(host), here.file.as_ref(), &self.look(), Offline::Wait);
        if matches!(verdict, AtBoot::Acquire(_)) {
            return false;
        }
        self.host(host).stops();
        true
    }

    /// A person's word gave a holder that runs a new lease.
    fn mark_anew(&mut self, host: usize) -> bool {
        let boot_id = self.boot_id(host);
        let here = &self.hosts[host];
        let (Some(ok), Some(file)) = (&here.ok, &here.file) else { return false };
        if file.pending.is_some() || file.lease.nonce == ok.nonce || file.lease.nonce != self.arbiter.nonce {
            return false;
        }
        let ok = LeaseOk { epoch: file.lease.epoch, nonce: file.lease.nonce.clone(), boot_id };
        self.host(host).ok = Some(ok);
        true
    }

    pub fn start(&mut self, host: usize) -> bool {
        let starts = !self.hosts[host].runs && self.may_start(host);
        if starts {
            self.host(host).runs = true;
        }
        starts
    }

    /// In a line, for people who follow a way.
    pub fn in_short(&self) -> String {
        let host = |host: &Host| {
            let file = host.file.as_ref().map(|file| format!("{:?} {}", file.lease.state, file.lease.epoch));
            let window = host.window.as_ref().map(|window| window.verdict);
            format!(
                "[{} work {}, file {file:?}, ok {}, quiesced {:?}, fenced {}, hears {:?}, window {window:?}]",
                if host.runs { "RUNS" } else { "down" },
                host.work,
                host.ok.is_some(),
                host.quiesced,
                host.fenced,
                host.driver.as_ref().map(|owner| (owner.turn.0, owner.open)),
            )
        };
        let machine = |machine: &Machine| {
            format!("{:?} in {:?}", machine.run, machine.log.as_ref().map(|log| (&log.progress, log.lines)))
        };
        let now = &self.arbiter;
        let owner = now.cutover.as_ref().map(|owner| (owner.turn.0, owner.open));
        format!(
            "arbiter {} {:?} {} {owner:?}{}; {} {}; links {:?}\n    0: {}\n    1: {}\n    orphan {:?}",
            now.holder,
            now.state,
            now.epoch,
            if self.reachable { "" } else { " AWAY" },
            host(&self.hosts[0]),
            host(&self.hosts[1]),
            self.links,
            machine(&self.machines[0]),
            machine(&self.machines[1]),
            self.orphan,
        )
    }

    /// What must never be, whatever happened.
    pub fn wrong(&self) -> Option<String> {
        let at_work = |host: &&Rc<Host>| host.runs && !host.deposed;
        if self.hosts.iter().filter(at_work).count() > 1 {
            return Some("both hosts run the loops".into());
        }
        let lost = self.hosts.iter().filter(at_work).find(|host| host.work < self.acknowledged);
        lost.map(|host| format!("{} of {} commits at work", host.work, self.acknowledged))
    }
}

pub fn owner(driver: &Driver, open: bool) -> Owner {
    Owner { journal: driver.journal.clone(), turn: driver.turn, by: "a driver".into(), open }
}

pub fn lease(holder: usize, epoch: Epoch, state: Standing, nonce: String, cutover: Option<Owner>) -> Lease {
    Lease {
        rig: RigName::new("r").unwrap(),
        holder: name(holder),
        epoch,
        state,
        boot_id: None,
        nonce,
        journal: None,
        cutover,
        renewal: 0,
        at: Timestamp::UNIX_EPOCH,
    }
}
