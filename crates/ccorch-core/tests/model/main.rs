//! The model check: lease, journal, two hosts, two drivers, the remote, the network, and everything that can happen to them, in
//! every order. The decisions are the program's own; only files, pushes and processes are the model's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acts;
mod driver;
mod happens;
mod luck;
mod mutant;
mod search;
mod settle;
mod window;
mod world;

use std::sync::Mutex;
use std::time::Instant;

use ccorch_core::cutover::Step;
use driver::STEPS;
use mutant::Mutant;
use search::{Known, Search, search};
use world::{Budget, World};

const NOTHING: Budget = Budget {
    boots: 0,
    dies: 0,
    cuts: 0,
    splits: 0,
    aborts: 0,
    fails: 0,
    takeovers: 0,
    living: 0,
    commits: 1,
    cutovers: 1,
    claims: 2,
};

/// A cutover that went well, and then another one.
const BACK: Budget = Budget { cutovers: 2, claims: 4, cuts: 1, aborts: 1, ..NOTHING };

const EVERYTHING: Budget = Budget {
    boots: 2,
    dies: 1,
    cuts: 1,
    splits: 2,
    aborts: 1,
    fails: 2,
    takeovers: 1,
    living: 1,
    commits: 3,
    cutovers: 2,
    claims: 5,
};

/// What may go wrong, by name; a source whose rig is its owner's, or not.
fn budgets() -> Vec<(&'static str, Budget, bool)> {
    vec![
        ("a driver that dies, its last command late", Budget { dies: 1, ..NOTHING }, false),
        ("the same from its owner's rig", Budget { dies: 1, ..NOTHING }, true),
        ("hosts that boot, a step or a target that fails", Budget { boots: 1, fails: 1, ..NOTHING }, false),
        ("two cutovers", Budget { cutovers: 2, claims: 3, ..NOTHING }, false),
        ("a takeover", Budget { takeovers: 1, boots: 1, ..NOTHING }, false),
        ("a takeover from a host that lives", Budget { living: 1, commits: 2, ..NOTHING }, false),
        ("the remote away, a person who turns back", Budget { cuts: 1, aborts: 1, ..NOTHING }, false),
        ("a machine cut off from a host, a failure", Budget { splits: 1, fails: 1, ..NOTHING }, true),
        ("the way back, the remote away, a person who turns back", BACK, true),
        ("a machine cut off, a person who turns back", Budget { splits: 1, aborts: 1, ..NOTHING }, false),
    ]
}

/// Plays jobs on all cores; the first thing that is wrong.
fn on_all_cores<J: Sync, T: Send>(
    jobs: &[J],
    one: impl Fn(&J) -> Result<T, String> + Sync,
) -> Result<Vec<T>, String> {
    let (next, done) = (Mutex::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let at = {
                        let mut next = next.lock().unwrap();
                        *next += 1;
                        *next - 1
                    };
                    let Some(job) = jobs.get(at) else { return };
                    let came = one(job);
                    if let Err(why) = &came {
                        println!("{why}");
                    }
                    done.lock().unwrap().push(came);
                }
            });
        }
    });
    let (good, wrong): (Vec<_>, Vec<_>) = done.into_inner().unwrap().into_iter().partition(Result::is_ok);
    let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(good.into_iter().flatten().collect()) } else { Err(wrong.join("\n\nand ")) }
}

/// Where a search begins: at the very beginning, or where an undisturbed cutover has come to a step.
fn beginnings() -> impl Iterator<Item = Option<Step>> {
    [None].into_iter().chain(STEPS.iter().copied().map(Some))
}

fn begun(first: World, at: Option<Step>) -> World {
    at.map_or_else(|| first.clone(), |step| settle::come_to(&first, step))
}

/// Never two active, never a lost acknowledged commit, always a way on or back.
#[test]
fn whatever_happens_one_host_at_most_works_and_nothing_acknowledged_is_lost() {
    let (began, known) = (Instant::now(), Known::new());
    let every = |what| beginnings().map(move |at| (what, at));
    let jobs: Vec<_> = budgets().into_iter().flat_map(every).collect();
    let near = |((what, budget, legacy), at): &((&'static str, Budget, bool), Option<Step>)| {
        let how = Search { most: 40_000, sample: 61, seed: 1, walk: 0, near: true };
        let found = search(begun(World::new(*budget, *legacy), *at), how, &known);
        let found = found.map_err(|why| format!("{what}, from {at:?}: {why}"))?;
        Ok((*what, usize::from(found.whole), found.states))
    };
    let all = on_all_cores(&jobs, near).unwrap_or_else(|wrong| panic!("{wrong}"));
    for (what, ..) in budgets() {
        let of = all.iter().filter(|(name, ..)| *name == what);
        let (whole, states) = of.fold((0, 0), |sum, (_, whole, states)| (sum.0 + whole, sum.1 + states));
        println!("{what}: {states} states from {} beginnings, {whole} to their end", STEPS.len() + 1);
    }
    // The world in which all of that may happen is too large to be gone through: many searches, each into another corner.
    let swarm: Vec<u64> = (0..80).collect();
    let corner = |seed: &u64| {
        let how = Search { most: 20_000, sample: 61, seed: *seed, walk: *seed % 40, near: false };
        let found = search(World::new(EVERYTHING, seed % 2 == 1), how, &known);
        found.map(|found| found.states).map_err(|why| format!("corner {seed}: {why}"))
    };
    let corners: usize = on_all_cores(&swarm, corner).unwrap_or_else(|wrong| panic!("{wrong}")).iter().sum();
    let (distinct, settled) = (known.distinct(), known.settled.into_inner());
    println!("everything, from {} corners: {corners} states", swarm.len());
    println!("{distinct} distinct states, {settled} let settle, {:.1?}", began.elapsed());
    assert!(distinct >= 1_000_000, "only {distinct} states");
}

#[test]
fn an_undisturbed_cutover_gets_there() {
    for legacy in [false, true] {
        settle::gets_there(&World::new(NOTHING, legacy)).unwrap();
    }
}

/// A search that finds nothing is known to look: it is shown a fault of each kind first.
#[test]
fn every_rule_that_is_broken_is_found() {
    let found = |mutant: &Mutant| -> Result<(), String> {
        let planted = |budget, legacy| World { mutant: Some(*mutant), ..World::new(budget, legacy) };
        for legacy in [false, true] {
            if settle::gets_there(&planted(NOTHING, legacy)).is_err() {
                println!("{mutant:?}: an undisturbed cutover shows it");
                return Ok(());
            }
        }
        let anywhere = budgets().into_iter().flat_map(|(_, budget, legacy)| {
            beginnings().map(move |at| begun(planted(budget, legacy), at)).collect::<Vec<_>>()
        });
        let first: Vec<World> = match shows(*mutant) {
            Some(world) => vec![World { mutant: Some(*mutant), ..world }],
            None => anywhere.collect(),
        };
        let known = Known::new();
        if let Some(sound) = shows(*mutant) {
            let how = Search { most: 50_000, sample: 3, seed: 1, walk: 0, near: true };
            search(sound, how, &known).map_err(|why| format!("without {mutant:?}: {why}"))?;
        }
        let mut states = 0;
        for most in [2_000, 50_000] {
            for world in &first {
                let how = Search { most, sample: 3, seed: 1, walk: 0, near: true };
                match search(world.clone(), how, &known) {
                    Ok(found) => states += found.states,
                    Err(why) => {
                        println!(
                            "{mutant:?}: after {states} states: {:.90}",
                            why.lines().next().unwrap_or_default()
                        );
                        return Ok(());
                    }
                }
            }
        }
        Err(format!("{mutant:?} is not found in {states} states"))
    };
    on_all_cores(Mutant::ALL, found).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Where a fault shows that takes more than the others: what has to come together first has already.
fn shows(mutant: Mutant) -> Option<World> {
    let at = |budget, legacy, step| settle::come_to(&World::new(budget, legacy), step);
    let one_fails = Budget { fails: 1, ..NOTHING };
    Some(match mutant {
        Mutant::StandsDownAfterTheEnd => at(Budget { takeovers: 1, ..one_fails }, false, Step::Verify),
        Mutant::NoLookAfterTheClaim => {
            let budget = Budget { cutovers: 2, dies: 1, takeovers: 1, aborts: 1, claims: 4, ..NOTHING };
            World::new(Budget { commits: 0, ..budget }, false)
        }
        Mutant::OwnFileCounts => going_back(),
        Mutant::NobodyKeepsIt => cut_off(at(one_fails, true, Step::Quiesce), false),
        Mutant::HearOneHost => cut_off(at(one_fails, false, Step::Fence), true),
        Mutant::AskThenAct => cut_off(failed(at(NOTHING, true, Step::FinalSync)), false),
        Mutant::PassOverItsOwners => {
            cut_off(failed(at(Budget { splits: 1, ..NOTHING }, true, Step::FinalSync)), true)
        }
        _ => return None,
    })
}

/// The way back to its owner's rig has come to the sign of work there.
fn going_back() -> World {
    let once = Budget { cutovers: 1, claims: 1, ..BACK };
    let mut there = settle::gets_there(&World::new(once, true)).unwrap();
    // A journal of another name.
    there.budget.cutovers = 2;
    there.budget.claims = 3;
    let mut back = settle::come_to(&there, Step::Verify);
    assert!(back.hosts[0].runs && !back.hosts[1].runs);
    back.budget.cutovers = 0;
    back
}

/// The machine that drives does not reach the target; if both are cut off, the other one not the source.
fn cut_off(mut world: World, both: bool) -> World {
    world.links = [[true, false], [!both, true]];
    world
}

/// The step that is under way fails.
fn failed(mut world: World) -> World {
    let step = world.log(0).under_way().0;
    world.failed(0, step);
    world
}
