//! The world of the model: two hosts, the arbiter, the network to it, and two drivers on two machines.

use std::collections::BTreeMap;

use ccorch_core::cutover::Progress;
use ccorch_core::lease::Change;
use ccorch_core::lease::{
    Arbiter, AtBoot, Driver, Epoch, Heartbeat, Lease, LeaseFile, LeaseOk, Owner, Standing, StartFacts, admit,
    at_boot, at_heartbeat, may_start, supersede, take_over,
};
use ccorch_core::names::{HostName, RigName};
use ccorch_core::rig::Offline;
use jiff::Timestamp;

use crate::driver::{Doing, Machine};

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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    pub file: Option<LeaseFile>,
    pub ok: Option<LeaseOk>,
    pub boot: u8,
    pub quiesced: Option<String>,
    pub driver: Option<Owner>,
    pub copies: BTreeMap<String, Copy>,
    /// Whether its loops run.
    pub runs: bool,
    /// How many of the acknowledged commits it has.
    pub work: u8,
}

/// How often the rare things may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    pub boots: u8,
    pub dies: u8,
    pub cuts: u8,
    pub aborts: u8,
    pub fails: u8,
    pub takeovers: u8,
    pub commits: u8,
    pub cutovers: u8,
    pub claims: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub arbiter: Lease,
    pub reachable: bool,
    pub hosts: [Host; 2],
    pub machines: [Machine; 2],
    /// A command of a driver that died, which its host has yet to run.
    pub orphan: Option<(Doing, Driver, usize)>,
    pub acknowledged: u8,
    pub budget: Budget,
}

impl World {
    pub fn new(budget: Budget) -> Self {
        let first = lease(0, Epoch(1), Standing::Active, "first".into(), None);
        let host = |file: Option<LeaseFile>| Host {
            file,
            ok: None,
            boot: 0,
            quiesced: None,
            driver: None,
            copies: BTreeMap::new(),
            runs: false,
            work: 0,
        };
        let mine = LeaseFile { lease: first.clone(), pending: None };
        Self {
            arbiter: first,
            reachable: true,
            hosts: [host(Some(mine)), host(None)],
            machines: [Machine::default(), Machine::default()],
            orphan: None,
            acknowledged: 0,
            budget,
        }
    }

    pub fn look(&self) -> Arbiter<'_> {
        if self.reachable { Arbiter::Holds(&self.arbiter) } else { Arbiter::Away }
    }

    /// A compare-and-set at the arbiter.
    pub fn swap(&mut self, old: &Lease, new: &Lease) -> bool {
        let done = self.reachable && self.arbiter == *old;
        if done {
            self.arbiter = new.clone();
        }
        done
    }

    /// Whether a host lets a driver act; it remembers the newest.
    pub fn admit(&mut self, host: usize, driver: &Driver) -> bool {
        let host = &mut self.hosts[host];
        if admit(host.driver.as_ref(), driver).is_err() {
            return false;
        }
        if host.driver.as_ref().is_none_or(|seen| seen.turn < driver.turn) {
            host.driver = Some(owner(driver, true));
        }
        true
    }

    fn boot_id(&self, host: usize) -> String {
        format!("{host}-{}", self.hosts[host].boot)
    }

    pub fn may_start(&self, host: usize) -> bool {
        let (me, boot_id) = (name(host), self.boot_id(host));
        let here = &self.hosts[host];
        let facts = StartFacts {
            me: &me,
            boot_id: &boot_id,
            file: here.file.as_ref(),
            ok: here.ok.as_ref(),
            quiesced_by: here.quiesced.as_deref(),
        };
        may_start(&facts).is_ok()
    }

    fn reboot(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.boot += 1;
        host.ok = None;
        host.runs = false;
    }

    /// The boot's acquire, which dies after so many of its three writes; 3 is all of them.
    pub fn acquire(&mut self, host: usize, writes: u8) -> bool {
        let here = self.hosts[host].clone();
        if here.ok.is_some() {
            return false;
        }
        let AtBoot::Acquire(epoch) = at_boot(&name(host), here.file.as_ref(), &self.look(), Offline::Wait)
        else {
            return false;
        };
        let (old, nonce) = (self.arbiter.clone(), format!("acquired-{}-{}", host, here.boot));
        let new = lease(host, epoch, Standing::Active, nonce.clone(), old.cutover.clone());
        self.hosts[host].file = Some(LeaseFile::before_push(&old, nonce.clone()));
        if writes > 1 {
            self.swap(&old, &new);
        }
        if writes > 2 {
            self.hosts[host].file = Some(LeaseFile { lease: new, pending: None });
            self.hosts[host].ok = Some(LeaseOk { epoch, nonce, boot_id: self.boot_id(host) });
        }
        true
    }

    fn beat(&mut self, host: usize) -> bool {
        let here = &self.hosts[host];
        let Some(ok) = here.ok.clone() else { return false };
        if !matches!(at_heartbeat(&name(host), here.file.as_ref(), &ok, &self.look()), Heartbeat::Demote(_)) {
            return false;
        }
        let here = &mut self.hosts[host];
        here.ok = None;
        here.runs = false;
        if let Some(file) = &mut here.file {
            file.lease.state = Standing::Standby;
            file.pending = None;
        }
        true
    }

    pub fn start(&mut self, host: usize) -> bool {
        let starts = !self.hosts[host].runs && self.may_start(host);
        self.hosts[host].runs |= starts;
        starts
    }

    /// A person takes over for a host that is switched off.
    fn takeover(&mut self, host: usize) -> bool {
        let dead = 1 - host;
        if !self.reachable || self.hosts[dead].runs || self.hosts[dead].ok.is_some() {
            return false;
        }
        let old = self.arbiter.clone();
        let Change::Write(epoch) = take_over(&old, &name(host), &name(dead)) else { return false };
        let cutover = supersede(old.cutover.as_ref(), "a person");
        let new = lease(host, epoch, Standing::Active, format!("taken-{epoch}"), cutover.clone());
        self.swap(&old, &new);
        let here = &mut self.hosts[host];
        here.file = Some(LeaseFile { lease: new, pending: None });
        here.ok = None;
        here.quiesced = None;
        here.driver = cutover.or_else(|| here.driver.clone());
        // What the dead host had is lost by that person's word.
        self.acknowledged = self.hosts[host].work;
        true
    }

    /// Everything a host, the network or a person at a host can do next.
    pub fn host_acts(&self) -> Vec<World> {
        let mut all = Vec::new();
        let mut with = |act: &mut dyn FnMut(&mut World) -> bool| {
            let mut next = self.clone();
            if act(&mut next) {
                all.push(next);
            }
        };
        for host in 0..2 {
            with(&mut |w| w.acquire(host, 3));
            with(&mut |w| w.beat(host));
            with(&mut |w| w.start(host));
            if self.budget.boots > 0 {
                for writes in 0..3 {
                    with(&mut |w| {
                        w.budget.boots -= 1;
                        let acquired = writes == 0 || w.acquire(host, writes);
                        w.reboot(host);
                        acquired
                    });
                }
            }
            if self.budget.commits > 0 && self.hosts[host].runs {
                with(&mut |w| {
                    w.budget.commits -= 1;
                    w.hosts[host].work += 1;
                    w.acknowledged += 1;
                    true
                });
            }
            if self.budget.takeovers > 0 {
                with(&mut |w| {
                    w.budget.takeovers -= 1;
                    w.takeover(host)
                });
            }
        }
        if self.budget.cuts > 0 || !self.reachable {
            with(&mut |w| {
                w.budget.cuts -= u8::from(w.reachable);
                w.reachable = !w.reachable;
                true
            });
        }
        all
    }

    /// What must never be, whatever happened.
    pub fn wrong(&self) -> Option<String> {
        let [a, b] = &self.hosts;
        if a.runs && b.runs {
            return Some("both hosts run the loops".into());
        }
        let lost = self.hosts.iter().find(|host| host.runs && host.work < self.acknowledged);
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
