//! What a driver of the model does to a host, and what the host makes of it.

use ccorch_core::lease::{Change, Driver, LeaseFile, Standing, Wanted, change};

use crate::driver::{Act, acts, under_way};
use crate::world::{Copy, World, lease, name, owner};

impl World {
    pub fn wanted(&self, log: &Copy) -> Vec<Act> {
        let (step, undo) = under_way(log);
        acts(step, undo, log.from)
    }

    pub fn keep(&mut self, host: usize, log: &Copy) -> bool {
        if !self.admit(host, &log.driver()) {
            return false;
        }
        let copies = &mut self.hosts[host].copies;
        if copies.get(&log.id).is_some_and(|old| old.newness() > log.newness()) {
            return false;
        }
        copies.insert(log.id.clone(), log.clone());
        if log.progress.outcome().is_some() {
            self.hosts[host].driver = Some(owner(&log.driver(), false));
        }
        true
    }

    /// Does the first of the acts; what is left, or a refusal.
    pub fn act(&mut self, acts: &[Act], driver: &Driver) -> Result<Vec<Act>, ()> {
        let mut left = acts[1..].to_vec();
        match &acts[0] {
            Act::Nothing => {}
            Act::Sync(to) => {
                let newest = self.hosts[0].work.max(self.hosts[1].work);
                self.hosts[*to].work = newest;
            }
            Act::Quiesce(host) => {
                self.admit(*host, driver).then_some(()).ok_or(())?;
                self.hosts[*host].quiesced = Some(driver.journal.clone());
                self.hosts[*host].runs = false;
            }
            Act::Unquiesce(host) => {
                self.admit(*host, driver).then_some(()).ok_or(())?;
                self.hosts[*host].quiesced = None;
            }
            Act::Activate(host) => {
                self.admit(*host, driver).then_some(()).ok_or(())?;
                if !self.may_start(*host) {
                    self.hosts[*host].quiesced = None;
                }
            }
            Act::GiveUp(host) => {
                if !self.reachable {
                    return Err(());
                }
                if self.arbiter.holder == name(*host) {
                    left.insert(0, Act::Sync(1 - host));
                    left.insert(0, Act::WriteLease(*host, Standing::Standby));
                }
            }
            Act::WriteLease(host, state) => {
                if let Some(push) = self.write_lease(*host, *state, driver)? {
                    left.insert(0, push);
                }
            }
            Act::Push(host, pair) => {
                let (old, new) = &**pair;
                self.swap(old, new).then_some(()).ok_or(())?;
                if new.state == Standing::Active {
                    self.hosts[*host].file = Some(LeaseFile { lease: new.clone(), pending: None });
                }
            }
        }
        Ok(left)
    }

    pub fn write_lease(&mut self, host: usize, state: Standing, driver: &Driver) -> Result<Option<Act>, ()> {
        if !self.admit(host, driver) || !self.reachable {
            return Err(());
        }
        let old = self.arbiter.clone();
        let epoch = match change(&old, &Wanted { host: &name(host), state, driver }) {
            Change::Write(epoch) => epoch,
            Change::Done => {
                let here = &mut self.hosts[host];
                let known =
                    here.file.as_ref().is_some_and(|f| f.lease.nonce == old.nonce && f.pending.is_none());
                if state == Standing::Standby {
                    here.ok = None;
                }
                if state == Standing::Standby || !known {
                    here.file = Some(LeaseFile { lease: old, pending: None });
                }
                return Ok(None);
            }
            Change::Refused(_) | Change::Stale(_) => return Err(()),
        };
        let nonce = format!("written-{host}-{epoch}-{}", driver.turn);
        let new = lease(host, epoch, state, nonce, old.cutover.clone());
        if state == Standing::Standby {
            self.hosts[host].ok = None;
            self.hosts[host].file = Some(LeaseFile { lease: new.clone(), pending: None });
        }
        Ok(Some(Act::Push(host, Box::new((old, new)))))
    }
}
