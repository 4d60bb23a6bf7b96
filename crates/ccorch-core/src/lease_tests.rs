//! Tests of the lease decisions: tables of situations, and a model of many hosts under crashes.

use proptest::prelude::*;

use super::*;

pub(super) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(super) fn lease(holder: &str, epoch: u64, state: Standing, nonce: &str) -> Lease {
    Lease {
        rig: RigName::new("r").unwrap(),
        holder: host(holder),
        epoch: Epoch(epoch),
        state,
        boot_id: None,
        nonce: nonce.into(),
        journal: None,
        cutover: None,
        renewal: 0,
        at: Timestamp::UNIX_EPOCH,
    }
}

fn file(lease: Lease) -> LeaseFile {
    LeaseFile { lease, pending: None }
}

fn boot(file: Option<&LeaseFile>, arbiter: &Arbiter<'_>, offline: Offline) -> AtBoot {
    at_boot(&host("a"), file, arbiter, offline)
}

#[test]
fn the_holder_acquires_at_each_boot() {
    let mine = file(lease("a", 3, Standing::Active, "x"));
    let same = lease("a", 3, Standing::Active, "x");
    assert_eq!(boot(Some(&mine), &Arbiter::Holds(&same), Offline::Wait), AtBoot::Acquire(Epoch(4)));
    assert_eq!(boot(Some(&mine), &Arbiter::NotConfigured, Offline::Wait), AtBoot::Acquire(Epoch(4)));
}

#[test]
fn a_crash_between_push_and_file_is_not_a_stranger() {
    let mut mine = file(lease("a", 3, Standing::Active, "x"));
    mine.pending = Some(Pending { nonce: "y".into() });
    let pushed = lease("a", 4, Standing::Active, "y");
    assert_eq!(boot(Some(&mine), &Arbiter::Holds(&pushed), Offline::Wait), AtBoot::Acquire(Epoch(5)));
}

/// One boot pushed and died before its file; the next died before its own push.
#[test]
fn two_crashes_in_a_row_are_not_a_stranger_either() {
    let mine = LeaseFile::before_push(&lease("a", 3, Standing::Active, "x"), "y".into());
    let pushed = lease("a", 4, Standing::Active, "y");
    assert_eq!(boot(Some(&mine), &Arbiter::Holds(&pushed), Offline::Wait), AtBoot::Acquire(Epoch(5)));
    let again = LeaseFile::before_push(&pushed, "z".into());
    assert_eq!(boot(Some(&again), &Arbiter::Holds(&pushed), Offline::Wait), AtBoot::Acquire(Epoch(5)));
}

#[test]
fn whoever_is_not_the_holder_stays_down() {
    let mine = file(lease("a", 3, Standing::Active, "x"));
    let standby = file(lease("a", 4, Standing::Standby, "x"));
    let b = lease("b", 5, Standing::Active, "z");
    let a_standby = lease("a", 4, Standing::Standby, "x");
    let copy = lease("a", 4, Standing::Active, "other");
    let cases = [
        (None, Arbiter::Holds(&b)),
        (None, Arbiter::NotConfigured),
        (Some(&standby), Arbiter::NotConfigured),
        (Some(&standby), Arbiter::Away),
        (Some(&standby), Arbiter::Holds(&b)),
        (Some(&mine), Arbiter::Absent),
    ];
    for (file, arbiter) in cases {
        let verdict = boot(file, &arbiter, Offline::Trust);
        assert!(matches!(verdict, AtBoot::Standby(_)), "{file:?} {arbiter:?}: {verdict:?}");
    }
    // What its own file says is over, whatever it was about to push.
    let pushing = LeaseFile::before_push(&lease("a", 3, Standing::Active, "x"), "p".into());
    for theirs in [&b, &a_standby, &copy] {
        for file in [&mine, &pushing] {
            let verdict = boot(Some(file), &Arbiter::Holds(theirs), Offline::Trust);
            assert!(matches!(verdict, AtBoot::Deposed(_)), "{file:?} {theirs:?}: {verdict:?}");
        }
    }
}

#[test]
fn a_remote_that_is_away_is_waited_for_or_trusted_as_configured() {
    let mine = file(lease("a", 3, Standing::Active, "x"));
    assert!(matches!(boot(Some(&mine), &Arbiter::Away, Offline::Wait), AtBoot::Wait(_)));
    assert!(matches!(boot(Some(&mine), &Arbiter::Away, Offline::Trust), AtBoot::Trust(_)));
}

#[test]
fn a_running_holder_stops_for_a_stranger_and_not_for_silence() {
    let mine = file(lease("a", 3, Standing::Active, "x"));
    let ok = LeaseOk { epoch: Epoch(3), nonce: "x".into(), boot_id: "b".into() };
    let beat = |arbiter: &Arbiter<'_>| at_heartbeat(&host("a"), Some(&mine), &ok, arbiter);
    assert_eq!(beat(&Arbiter::Holds(&lease("a", 3, Standing::Active, "x"))), Heartbeat::Held);
    assert!(matches!(beat(&Arbiter::Away), Heartbeat::Unknown(_)));
    assert!(matches!(beat(&Arbiter::Absent), Heartbeat::Unknown(_)));
    assert!(matches!(beat(&Arbiter::Holds(&lease("a", 4, Standing::Standby, "y"))), Heartbeat::Demote(_)));
    assert!(matches!(beat(&Arbiter::Holds(&lease("a", 4, Standing::Active, "y"))), Heartbeat::Demote(_)));
    assert!(matches!(beat(&Arbiter::Holds(&lease("b", 5, Standing::Active, "z"))), Heartbeat::Demote(_)));
    assert!(matches!(at_heartbeat(&host("a"), None, &ok, &Arbiter::Away), Heartbeat::Demote(_)));
}

#[test]
fn a_start_needs_this_very_boot_and_epoch() {
    let mine = file(lease("a", 3, Standing::Active, "x"));
    let ok = LeaseOk { epoch: Epoch(3), nonce: "x".into(), boot_id: "b1".into() };
    let (a, b) = (host("a"), host("b"));
    let facts = StartFacts { me: &a, boot_id: "b1", file: Some(&mine), ok: Some(&ok), quiesced_by: None };
    assert_eq!(may_start(&facts), Ok(Epoch(3)));
    let moved = file(lease("a", 4, Standing::Standby, "y"));
    let newer = file(lease("a", 4, Standing::Active, "y"));
    let refused = [
        StartFacts { boot_id: "b2", ..facts },
        StartFacts { ok: None, ..facts },
        StartFacts { file: None, ..facts },
        StartFacts { me: &b, ..facts },
        StartFacts { file: Some(&moved), ..facts },
        StartFacts { file: Some(&newer), ..facts },
        StartFacts { quiesced_by: Some("j1"), ..facts },
    ];
    for facts in refused {
        assert!(may_start(&facts).is_err(), "{facts:?}");
    }
}

fn driver(journal: &str, turn: u64) -> Driver {
    Driver { journal: journal.into(), turn: Turn(turn) }
}

/// A lease that a driver of cutover `j` at turn 1 owns.
fn owned(lease: Lease) -> Lease {
    let owner = Owner { journal: "j".into(), turn: Turn(1), by: "ann@desk".into(), open: true };
    Lease { cutover: Some(owner), ..lease }
}

#[test]
fn a_change_is_legal_once_and_repeatable() {
    let (a, b, ours) = (host("a"), host("b"), driver("j", 1));
    let active = owned(lease("a", 1, Standing::Active, "x"));
    let to = |host, state| Wanted { host, state, driver: &ours };
    assert_eq!(change(&active, &to(&a, Standing::Standby)), Change::Write(Epoch(2)));
    assert!(matches!(change(&active, &to(&b, Standing::Standby)), Change::Refused(_)));
    assert!(matches!(change(&active, &to(&b, Standing::Active)), Change::Refused(_)));
    let standby = owned(lease("a", 2, Standing::Standby, "y"));
    assert_eq!(change(&standby, &to(&a, Standing::Standby)), Change::Done);
    assert_eq!(change(&standby, &to(&b, Standing::Active)), Change::Write(Epoch(3)));
    assert_eq!(change(&standby, &to(&a, Standing::Active)), Change::Write(Epoch(3)));
    let moved = owned(lease("b", 3, Standing::Active, "z"));
    assert_eq!(change(&moved, &to(&b, Standing::Active)), Change::Done);
    assert!(matches!(change(&moved, &to(&a, Standing::Standby)), Change::Refused(_)));
}

/// The defect this module once had: a standby that another cutover wrote was taken for one's own.
#[test]
fn what_another_driver_wrote_is_never_ones_own() {
    let a = host("a");
    for (journal, turn) in [("k", 1), ("k", 2), ("j", 0), ("j", 2)] {
        let theirs = driver(journal, turn);
        for state in [Standing::Standby, Standing::Active] {
            for now in [Standing::Standby, Standing::Active] {
                let current = owned(lease("a", 2, now, "y"));
                let change = change(&current, &Wanted { host: &a, state, driver: &theirs });
                assert!(matches!(change, Change::Stale(_)), "{journal} {turn} {state:?}: {change:?}");
            }
        }
    }
    let nobody = lease("a", 2, Standing::Standby, "y");
    let wanted = Wanted { host: &a, state: Standing::Standby, driver: &driver("j", 1) };
    assert_eq!(change(&nobody, &wanted), Change::Stale(Refused::Nobody));
}

#[test]
fn a_persons_word_moves_the_lease_from_the_host_it_names_alone() {
    let (a, b) = (host("a"), host("b"));
    let theirs = lease("a", 4, Standing::Active, "x");
    assert_eq!(take_over(&theirs, &b, &a), Change::Write(Epoch(5)));
    assert!(matches!(take_over(&theirs, &b, &host("c")), Change::Refused(_)));
    assert_eq!(take_over(&lease("b", 4, Standing::Active, "x"), &b, &a), Change::Done);
    assert_eq!(release(&theirs, &a), Change::Write(Epoch(5)));
    assert!(matches!(release(&theirs, &b), Change::Refused(_)));
    assert!(matches!(release(&owned(theirs), &a), Change::Stale(Refused::Taken(_))));
}

#[test]
fn a_holder_that_lost_its_file_waits_for_a_person() {
    let mine = lease("a", 3, Standing::Active, "x");
    let AtBoot::Standby(why) = boot(None, &Arbiter::Holds(&mine), Offline::Trust) else { panic!() };
    assert!(why.starts_with(LOST_FILE), "{why}");
}

/// One machine of the model: its name, disk and memory.
#[derive(Debug, Clone)]
struct Machine {
    name: HostName,
    file: Option<LeaseFile>,
    ok: Option<LeaseOk>,
    boot: u32,
}

impl Machine {
    fn boot_id(&self) -> String {
        format!("{}-{}", self.name, self.boot)
    }
    fn runs(&self) -> bool {
        let boot_id = self.boot_id();
        let (file, ok) = (self.file.as_ref(), self.ok.as_ref());
        may_start(&StartFacts { me: &self.name, boot_id: &boot_id, file, ok, quiesced_by: None }).is_ok()
    }
}

#[derive(Debug, Clone)]
enum Act {
    Reboot(usize),
    /// A boot's acquire that dies after the given number of its three writes.
    Acquire(usize, usize),
    Beat(usize),
    ToStandby(usize, usize),
    ToActive(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let machine = 0..3_usize;
    prop_oneof![
        machine.clone().prop_map(Act::Reboot),
        (machine.clone(), 0..4_usize).prop_map(|(m, n)| Act::Acquire(m, n)),
        machine.clone().prop_map(Act::Beat),
        (machine.clone(), 0..3_usize).prop_map(|(m, n)| Act::ToStandby(m, n)),
        (machine, 0..3_usize).prop_map(|(m, n)| Act::ToActive(m, n)),
    ]
}

struct World {
    machines: Vec<Machine>,
    arbiter: Lease,
    nonces: u32,
}

impl World {
    fn next(&mut self, holder: &HostName, epoch: Epoch, state: Standing) -> Lease {
        self.nonces += 1;
        let mut next = lease(holder.as_str(), epoch.0, state, &format!("n{}", self.nonces));
        next.cutover = self.arbiter.cutover.clone();
        next
    }

    /// Whoever wants to change something is the newest driver of the one cutover.
    fn claim(&mut self) -> Driver {
        let owner = claim(self.arbiter.cutover.as_ref(), "j", "x", None).unwrap();
        let driver = Driver { journal: owner.journal.clone(), turn: owner.turn };
        self.arbiter.cutover = Some(owner);
        driver
    }

    fn acquire(&mut self, m: usize, writes: usize) {
        let machine = self.machines[m].clone();
        if machine.ok.is_some() {
            return;
        }
        let verdict =
            at_boot(&machine.name, machine.file.as_ref(), &Arbiter::Holds(&self.arbiter), Offline::Wait);
        let epoch = match (verdict, &mut self.machines[m].file) {
            (AtBoot::Acquire(epoch), _) => epoch,
            (AtBoot::Deposed(_), Some(file)) => {
                file.lease.state = Standing::Standby;
                file.pending = None;
                return;
            }
            _ => return,
        };
        let next = self.next(&machine.name, epoch, Standing::Active);
        if writes > 0 {
            self.machines[m].file = Some(LeaseFile::before_push(&self.arbiter, next.nonce.clone()));
        }
        if writes > 1 {
            self.arbiter = next.clone();
        }
        if writes > 2 {
            let (epoch, nonce) = (next.epoch, next.nonce.clone());
            self.machines[m].ok = Some(LeaseOk { epoch, nonce, boot_id: machine.boot_id() });
            self.machines[m].file = Some(LeaseFile { lease: next, pending: None });
        }
    }

    fn apply(&mut self, act: &Act) {
        match *act {
            Act::Reboot(m) => {
                self.machines[m].boot += 1;
                self.machines[m].ok = None;
            }
            Act::Acquire(m, writes) => self.acquire(m, writes),
            Act::Beat(m) => {
                let machine = &self.machines[m];
                let Some(ok) = machine.ok.clone() else { return };
                let arbiter = Arbiter::Holds(&self.arbiter);
                if let Heartbeat::Demote(_) =
                    at_heartbeat(&machine.name, machine.file.as_ref(), &ok, &arbiter)
                {
                    self.machines[m].ok = None;
                }
            }
            Act::ToStandby(m, writes) => {
                let name = self.machines[m].name.clone();
                let driver = self.claim();
                let wanted = Wanted { host: &name, state: Standing::Standby, driver: &driver };
                let Change::Write(epoch) = change(&self.arbiter, &wanted) else { return };
                let next = self.next(&name, epoch, Standing::Standby);
                if writes > 0 {
                    self.machines[m].file = Some(file(next.clone()));
                    self.machines[m].ok = None;
                }
                if writes > 1 {
                    self.arbiter = next;
                }
            }
            Act::ToActive(m, writes) => {
                let name = self.machines[m].name.clone();
                let driver = self.claim();
                let wanted = Wanted { host: &name, state: Standing::Active, driver: &driver };
                let Change::Write(epoch) = change(&self.arbiter, &wanted) else { return };
                let next = self.next(&name, epoch, Standing::Active);
                if writes > 0 {
                    self.arbiter = next.clone();
                }
                if writes > 1 {
                    let (epoch, nonce) = (next.epoch, next.nonce.clone());
                    self.machines[m].ok = Some(LeaseOk { epoch, nonce, boot_id: self.machines[m].boot_id() });
                    self.machines[m].file = Some(file(next));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever crashes, boots and changes in whatever order: the epoch grows, and no two machines run at once,
    /// the arbiter being reachable and every change made in the write order of the design.
    #[test]
    fn at_most_one_host_runs(acts in prop::collection::vec(act(), 1..60)) {
        let machine = |name: &str| Machine { name: host(name), file: None, ok: None, boot: 0 };
        let first = lease("a", 1, Standing::Active, "n0");
        let mut world = World {
            machines: vec![machine("a"), machine("b"), machine("c")],
            arbiter: first.clone(),
            nonces: 0,
        };
        world.machines[0].file = Some(file(first));
        for act in &acts {
            let before = world.arbiter.epoch;
            world.apply(act);
            prop_assert!(world.arbiter.epoch >= before);
            let running: Vec<_> = world.machines.iter().filter(|m| m.runs()).map(|m| m.name.clone()).collect();
            prop_assert!(running.len() <= 1, "{running:?} after {act:?}");
        }
    }
}
