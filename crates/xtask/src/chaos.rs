//! `cargo xtask chaos`: the supervisor's decisions through any number of seeded months of bad luck.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use ccorch_core::fleet::chaos::{self, Size, Tally};
use ccorch_core::names::LoopName;
use rustix::time::{ClockId, clock_gettime};

/// Play seeded months of crashes, limits, stalls, deaths of the supervisor, reboots and floods
///
/// Each seed is 200 loops for 30 simulated days. A failing one is printed, and the others go on. For thousands there is
/// a build of its own: `cargo run --profile chaos -p xtask -- chaos --seeds 10000`.
#[derive(Debug, clap::Args)]
pub struct ChaosArgs {
    /// How many seeds
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How many at once [default: as many as there are processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// Play the first seed alone, and tell what happened to this loop if it fails
    #[arg(long, value_name = "LOOP")]
    follow: Option<LoopName>,
}

/// What came of the seeds so far.
#[derive(Default)]
struct Sum {
    held: u64,
    /// The seeds that failed.
    failed: Vec<u64>,
    total: Tally,
}

/// Runs the job.
pub fn run(args: &ChaosArgs) -> Result<ExitCode> {
    let began = Instant::now();
    if let Some(name) = &args.follow {
        let tally = chaos::follow(args.first, Size::WHOLE, name.clone()).map_err(anyhow::Error::msg)?;
        println!("seed {}: {tally:?}", args.first);
        return Ok(ExitCode::SUCCESS);
    }
    let (next, end) = (AtomicU64::new(args.first), args.first.saturating_add(args.seeds));
    let sum = Mutex::new(Sum::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            let played = play(seed);
            let Ok(mut sum) = sum.lock() else { break };
            match played {
                Ok(tally) => {
                    sum.total.add(&tally);
                    sum.held += 1;
                    if sum.held.is_multiple_of(100) {
                        eprintln!("{} seeds held, after {:.0} s", sum.held, began.elapsed().as_secs_f64());
                    }
                }
                Err(error) => {
                    println!("FAILED: {error}");
                    sum.failed.push(seed);
                }
            }
        }
    };
    let jobs = match args.jobs {
        Some(jobs) => jobs.max(1),
        None => thread::available_parallelism().context("count the processors")?.get(),
    };
    thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    let sum = sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    // What the process used until now, of which nearly all is the seeds'.
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let used = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    println!(
        "{} of {} seeds held, in {:.1} s ({:.2} s of CPU time each): {:?}",
        sum.held,
        args.seeds,
        began.elapsed().as_secs_f64(),
        used / args.seeds.max(1) as f64,
        sum.total
    );
    if sum.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("failed: {:?}", sum.failed);
    Ok(ExitCode::FAILURE)
}

/// One seed; one that panics has failed like any other.
fn play(seed: u64) -> Result<Tally, String> {
    std::panic::catch_unwind(|| chaos::run(seed, Size::WHOLE))
        .unwrap_or_else(|_| Err(format!("seed {seed}: it panicked")))
}
