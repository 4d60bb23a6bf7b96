//! `cargo xtask chaos`: the supervisor's decisions through any number of seeded months of bad luck.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use ccorch_core::fleet::chaos::{self, Size, Tally};
use ccorch_core::names::LoopName;

/// Play seeded months of crashes, limits, stalls, deaths of the supervisor, reboots and floods
///
/// Each seed is 200 loops for 30 simulated days; a failing one is printed, and ends the run. Use a build with
/// optimisation for many: `cargo run --release -p xtask -- chaos --seeds 10000`.
#[derive(Debug, clap::Args)]
pub struct ChaosArgs {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Play the first seed alone, and tell what happened to this loop if it fails
    #[arg(long, value_name = "LOOP")]
    follow: Option<LoopName>,
}

/// Runs the job.
pub fn run(args: &ChaosArgs) -> Result<ExitCode> {
    let began = Instant::now();
    if let Some(name) = &args.follow {
        let tally = chaos::follow(args.first, Size::WHOLE, name.clone()).map_err(anyhow::Error::msg)?;
        println!("seed {}: {tally:?}", args.first);
        return Ok(ExitCode::SUCCESS);
    }
    let (next, end) = (AtomicU64::new(args.first), args.first + args.seeds);
    let held = AtomicU64::new(0);
    let (total, failed) = (Mutex::new(Tally::default()), Mutex::new(None));
    let work = || {
        while failed.lock().is_ok_and(|failed| failed.is_none()) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            match chaos::run(seed, Size::WHOLE) {
                Ok(tally) => {
                    drop(total.lock().map(|mut total| total.add(&tally)));
                    let held = held.fetch_add(1, Ordering::Relaxed) + 1;
                    // Thousands take hours.
                    if held.is_multiple_of(100) {
                        eprintln!("{held} seeds held, after {:.0} s", began.elapsed().as_secs_f64());
                    }
                }
                Err(error) => drop(failed.lock().map(|mut failed| *failed = Some(error))),
            }
        }
    };
    let cores = thread::available_parallelism().context("count the processors")?.get();
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    if let Some(error) = failed.into_inner().ok().flatten() {
        println!("FAILED, where {} held: {error}", held.into_inner());
        return Ok(ExitCode::FAILURE);
    }
    let total = total.into_inner().unwrap_or_default();
    println!("{} seeds in {:.1} s, all held: {total:?}", args.seeds, began.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}
