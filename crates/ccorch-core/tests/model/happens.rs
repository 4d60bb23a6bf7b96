//! Everything that hosts, the network and people can do next, whatever the drivers do.

use std::rc::Rc;

use ccorch_core::lease::{Change, Standing, supersede, take_over};

use crate::window::active;
use crate::world::{World, lease, name};

impl World {
    /// A person takes over for a host that is switched off; or that is believed to be. Not where the rig of either is its
    /// owner's: nothing there asks the arbiter, so that person's word has to be true for good.
    fn takeover(&mut self, host: usize, living: bool) -> bool {
        let dead = 1 - host;
        let lives = self.hosts[dead].runs || self.hosts[dead].ok.is_some();
        if !self.reachable || lives != living || self.legacy.is_some() {
            return false;
        }
        let old = Rc::clone(&self.arbiter);
        let Change::Write(epoch) = take_over(&old, &name(host), &name(dead)) else { return false };
        let cutover = supersede(old.cutover.as_ref(), "a person");
        let new = lease(host, epoch, Standing::Active, format!("taken-{epoch}"), cutover.clone());
        self.swap(&old, &new);
        self.host(dead).deposed = living;
        let here = self.host(host);
        here.file = active(new);
        here.quiesced = None;
        here.deposed = false;
        here.driver = cutover.or_else(|| here.driver.clone());
        // What the dead host had is lost by that person's word.
        self.acknowledged = self.hosts[host].work;
        true
    }

    fn commit(&mut self, host: usize) -> bool {
        // Who was taken over from works for nobody.
        if self.budget.commits == 0 || !self.hosts[host].runs || self.hosts[host].deposed {
            return false;
        }
        self.budget.commits -= 1;
        self.host(host).work += 1;
        self.acknowledged += 1;
        true
    }

    /// A boot, in the middle of the acquire of the one before.
    fn boots(&mut self, host: usize, writes: u8) -> bool {
        if self.budget.boots == 0 {
            return false;
        }
        self.budget.boots -= 1;
        let acquired = writes == 0 || self.acquire(host, writes);
        self.reboot(host);
        acquired
    }

    /// A target that fails, by its own verdict.
    fn fails(&mut self, host: usize) -> bool {
        if self.budget.fails == 0 {
            return false;
        }
        self.budget.fails -= 1;
        self.fail(host)
    }

    /// Every state that can follow from what hosts, the network and people do.
    pub fn happens(&self, all: &mut Vec<Self>) {
        let mut with = |act: &dyn Fn(&mut Self) -> bool| {
            let mut next = self.clone();
            if act(&mut next) {
                all.push(next);
            }
        };
        for host in 0..2 {
            with(&|w| w.acquire(host, 3));
            with(&|w| w.beat(host, true));
            with(&|w| w.beat(host, false));
            with(&|w| w.start(host));
            with(&|w| w.commit(host));
            with(&|w| w.confirm(host));
            with(&|w| w.fails(host));
            with(&|w| w.alone(host));
            for writes in 0..3 {
                with(&|w| w.boots(host, writes));
            }
            if self.budget.takeovers > 0 {
                with(&|w| {
                    w.budget.takeovers -= 1;
                    w.takeover(host, false)
                });
            }
            if self.budget.living > 0 {
                with(&|w| {
                    w.budget.living -= 1;
                    w.takeover(host, true)
                });
            }
            for machine in 0..2 {
                with(&|w| w.split(machine, host));
            }
        }
        if self.budget.cuts > 0 || !self.reachable {
            with(&|w| {
                w.budget.cuts -= u8::from(w.reachable);
                w.reachable = !w.reachable;
                true
            });
        }
    }

    /// A machine and a host lose each other, or find each other again.
    fn split(&mut self, machine: usize, host: usize) -> bool {
        if self.links[machine][host] {
            if self.budget.splits == 0 {
                return false;
            }
            self.budget.splits -= 1;
        }
        self.links[machine][host] ^= true;
        true
    }
}
