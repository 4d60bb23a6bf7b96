//! Months of bad luck in a second: a simulated clock drives a fleet through crashes, limits, stalls, lost messages,
//! deaths of the supervisor (its state read back from what it had kept), reboots and floods. Every run is its seed's
//! alone; what must hold is checked at every step.

mod agent;
mod check;
mod disk;
mod life;
mod perform;
mod queue;
mod random;
mod trouble;
mod world;

use std::collections::BTreeMap;

use crate::names::LoopName;
use crate::rig::{Phase, Role};

use super::steady::{HOUR, MINUTE};
use super::{Fleets, Spec};

pub use check::Tally;
use world::World;

/// How long and how large.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Loops.
    pub loops: usize,
    /// Simulated days.
    pub days: u64,
    /// Looks after every step whether the engine named all that it changed, and reads files at every start.
    pub exact: bool,
}

impl Size {
    /// What one seed stands for.
    pub const WHOLE: Self = Self { loops: 200, days: 30, exact: false };
}

/// Runs one seed.
///
/// # Errors
/// What did not hold, with the simulated time at which it was seen.
pub fn run(seed: u64, size: Size) -> Result<Tally, String> {
    let mut world = World::new(seed, plan(seed, size)?, size);
    world.run().map_err(|error| format!("seed {seed}, after {}: {error}", world.passed()))?;
    Ok(world.tally())
}

/// Runs one seed and tells what happened to one loop before it failed.
///
/// # Errors
/// As [`run`], with that loop's last inputs and actions.
pub fn follow(seed: u64, size: Size, name: LoopName) -> Result<Tally, String> {
    let mut world = World::new(seed, plan(seed, size)?, size);
    world.follow(name);
    world
        .run()
        .map_err(|error| format!("seed {seed}, after {}: {error}\n{}", world.passed(), world.trail()))?;
    Ok(world.tally())
}

/// Half of them work by themselves, half wait for a person; five logins; two decide when a phase is done.
fn plan(seed: u64, size: Size) -> Result<Fleets, String> {
    let mut loops = BTreeMap::new();
    for n in 0..size.loops {
        let name = LoopName::new(format!("l{n}")).map_err(|error| error.to_string())?;
        let spec = Spec {
            watched: n % 50 != 49,
            role: if n % 2 == 0 { Role::Worker } else { Role::Orchestrator },
            account: format!("account-{}", n % 5),
            stall_after: if n % 50 == 0 { 20 * MINUTE } else { 2 * HOUR },
            continue_after: 5 * MINUTE,
        };
        loops.insert(name, spec);
    }
    let phases = (0..8).map(|n| Phase { id: n.to_string(), plan: format!("{n}.md") }).collect();
    let done_when = ["l0", "l2"].map(LoopName::new).into_iter().flatten().collect();
    Ok(Fleets { loops, phases, done_when, seed })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Seeds of the test command; `cargo xtask chaos` runs any number.
    const SEEDS: u64 = 100;

    #[test]
    fn a_hundred_seeds_of_200_loops_and_30_days() {
        let next = AtomicU64::new(1);
        let failed = std::sync::Mutex::new(Vec::new());
        let total = std::sync::Mutex::new(Tally::default());
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed > SEEDS || !failed.lock().unwrap().is_empty() {
                            break;
                        }
                        match run(seed, Size::WHOLE) {
                            Ok(tally) => total.lock().unwrap().add(&tally),
                            Err(error) => failed.lock().unwrap().push(error),
                        }
                    }
                });
            }
        });
        assert!(failed.lock().unwrap().is_empty(), "{:?}", failed.lock().unwrap());
        // A simulation in which nothing happens proves nothing.
        let total = total.into_inner().unwrap();
        println!("{total:?}");
        assert!(total.all_happened(), "{total:?}");
    }

    #[test]
    fn a_seed_is_played_again_to_the_letter() {
        let size = Size { loops: 40, days: 10, exact: false };
        assert_eq!(run(7, size), run(7, size));
        assert_ne!(run(7, size), run(8, size));
    }

    #[test]
    fn what_changes_is_named_at_every_step() {
        for seed in 1..=5 {
            let size = Size { loops: 20, days: 10, exact: true };
            let exact = run(seed, size);
            assert_eq!(exact, run(seed, Size { exact: false, ..size }));
            assert!(exact.is_ok(), "{exact:?}");
        }
    }
}
