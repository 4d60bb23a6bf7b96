//! The model check: lease, journal, two hosts, two drivers, the remote, and everything that can happen to them, in every
//! order. The decisions are the program's own; only files, pushes and processes are the model's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acts;
mod driver;
mod world;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Instant;

use world::{Budget, World};

/// A state's fingerprint. That two of two million states share one by accident has a chance of one in ten million, and
/// would cost a state, not a false alarm.
fn fingerprint(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

fn after(world: &World) -> Vec<World> {
    let mut all = world.host_acts();
    for machine in 0..2 {
        all.extend(world.drive(machine));
        all.extend(world.bad_luck(machine));
    }
    all.extend(world.orphan_acts());
    all
}

/// From here nothing more goes wrong: one machine goes on with what there is, the hosts do what they do. In the end one
/// host runs and no cutover is open.
fn settles(world: &World) -> Result<(), String> {
    let mut world = world.clone();
    world.reachable = true;
    world.orphan = None;
    world.budget.claims = 9;
    world.budget.cutovers = 0;
    world.machines[1].run = None;
    world.machines[0].run = None;
    for _ in 0..200 {
        let before = world.clone();
        for host in 0..2 {
            world.acquire(host, 3);
            world.start(host);
        }
        if let Some(wrong) = world.wrong() {
            return Err(wrong);
        }
        if let Some(next) = world.drive(0).into_iter().next() {
            world = next;
        }
        if world == before {
            break;
        }
    }
    let open = world.arbiter.cutover.as_ref().is_some_and(|owner| owner.open);
    let running = world.hosts.iter().filter(|host| host.runs).count();
    if open || running != 1 {
        return Err(format!("{running} hosts run, a cutover is open: {open}; it ends as {world:#?}"));
    }
    Ok(())
}

struct Searched {
    states: usize,
    settled: usize,
    whole: bool,
}

/// Every state that can be reached, or as many as asked. One in `sample` is also let settle.
fn search(first: World, most: usize, sample: u64) -> Searched {
    let mut known = HashSet::from([fingerprint(&first)]);
    let mut open = vec![(first, 0_u32)];
    let mut settled = 0;
    while let Some((world, depth)) = open.pop() {
        if let Some(wrong) = world.wrong() {
            panic!("{wrong} after {depth} moves: {world:#?}");
        }
        if fingerprint(&world).is_multiple_of(sample) {
            settled += 1;
            if let Err(why) = settles(&world) {
                panic!("no way on or back after {depth} moves: {why}\nfrom {world:#?}");
            }
        }
        if known.len() >= most {
            return Searched { states: known.len(), settled, whole: false };
        }
        for next in after(&world) {
            if known.insert(fingerprint(&next)) {
                open.push((next, depth + 1));
            }
        }
    }
    Searched { states: known.len(), settled, whole: true }
}

const NOTHING: Budget = Budget {
    boots: 0,
    dies: 0,
    cuts: 0,
    aborts: 0,
    fails: 0,
    takeovers: 0,
    commits: 1,
    cutovers: 1,
    claims: 3,
};

/// Never two active, never a lost acknowledged commit, always a way on or back.
#[test]
fn whatever_happens_one_host_at_most_works_and_nothing_acknowledged_is_lost() {
    let began = Instant::now();
    let budgets = [
        ("a driver that dies, its last command late", Budget { dies: 1, claims: 2, ..NOTHING }),
        ("hosts that boot, a step that fails", Budget { boots: 1, fails: 1, claims: 2, ..NOTHING }),
        ("two cutovers", Budget { cutovers: 2, claims: 3, ..NOTHING }),
        ("a takeover", Budget { takeovers: 1, boots: 1, claims: 2, ..NOTHING }),
        ("the remote away, a person who turns back", Budget { cuts: 1, aborts: 1, claims: 2, ..NOTHING }),
        (
            "everything",
            Budget {
                boots: 2,
                dies: 1,
                cuts: 1,
                aborts: 1,
                fails: 1,
                takeovers: 1,
                commits: 2,
                cutovers: 2,
                claims: 4,
            },
        ),
    ];
    let searches = budgets.map(|(name, budget)| {
        std::thread::spawn(move || {
            let begun = Instant::now();
            let found = search(World::new(budget), 300_000, 61);
            let whole = if found.whole { "all of" } else { "the first of more than" };
            let (states, settled) = (found.states, found.settled);
            println!("{name}: {whole} {states} states, {settled} let settle, {:.1?}", begun.elapsed());
            states
        })
    });
    let states: usize =
        searches.map(|search| search.join().expect("every state is as it must be")).iter().sum();
    println!("{states} states in {:.1?}", began.elapsed());
    assert!(states >= 1_000_000, "only {states} states");
}
