//! `cargo xtask trials`: random faults at random moments of random cutovers, in worlds of their own; what must never
//! happen does not: work lost or done twice, agents on both hosts, a rig that no command brings back.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::local::host;
use crate::local::judge::{self, Sampler};
use crate::local::world::{World, operator};
use crate::matrix::play::{self, mend};
use crate::matrix::{Ground, Job, Pool};
use crate::report::Report;

/// Break random cutovers at random moments, and see them end with one host at work and no work lost
///
/// Needs root. Each trial is a world of its own, made of its seed: two hosts, real git remotes, agents that commit all the
/// while, one or two cutovers there and back. A failing one is printed with its seed.
#[derive(Debug, Args)]
pub struct TrialsArgs {
    /// How many
    #[arg(long, default_value_t = 50)]
    n: u64,
    /// The first one's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many at a time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
}

/// Runs them.
pub fn run(args: &TrialsArgs) -> Result<ExitCode> {
    let ground = Ground::prepare(&mut Report::default())?;
    Ok(if on(&ground, args.n, args.seed, args.jobs)? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs `n` trials from this seed on; how many failed.
pub fn on(ground: &Ground, n: u64, seed: u64, jobs: usize) -> Result<usize> {
    let began = Instant::now();
    let job = |seed: u64| Job {
        name: format!("trial-{seed}"),
        args: vec!["trial".into(), "--template".into(), ground.path("template"), seed.to_string()],
        again: format!("cargo xtask trials --n 1 --seed {seed}"),
    };
    let failed = Pool { ground, jobs }.run((seed..seed + n).map(job).collect())?;
    println!("{n} trials in {:.1} s, {failed} failed", began.elapsed().as_secs_f64());
    Ok(failed)
}

/// Longer than an undisturbed cutover.
const MOMENTS: u64 = 7000;
/// The longest outage, in milliseconds.
const OUTAGES: u64 = 2500;
/// A driver is killed in one of so many runs that go on; the last one never.
const RUNS: usize = 4;

/// Plays one trial; its last line tells how it went.
pub fn trial(tools: &Path, template: &Path, seed: u64) -> Result<()> {
    let mut world = World::of(tools, template)?;
    judge::at_work(&world)?;
    let sampler = Sampler::start();
    let mut story = String::new();
    let played = play(&mut world, &mut Random(seed), &mut story);
    let samples = sampler.stop();
    match played.and(samples) {
        Ok(samples) => println!("{story}{samples} samples"),
        Err(error) => {
            println!("{story}");
            play::last_words(&world);
            return Err(error);
        }
    }
    Ok(())
}

fn play(world: &mut World, random: &mut Random, story: &mut String) -> Result<()> {
    let mut at = 0;
    for _ in 0..=random.below(2) {
        let verb = if at == 0 { "cutover" } else { "rollback" };
        one_run(world, random, &[verb], true, story)?;
        for run in 1..=RUNS {
            if play::outcome(&world.journal()).is_ok() {
                break;
            }
            let option = if random.below(2) == 0 { "--resume" } else { "--abort" };
            let broken = run < RUNS && random.below(3) == 0;
            one_run(world, random, &["cutover", option], broken, story)?;
        }
        // Refused before there was a journal, nothing has moved.
        let moved = !world.journal().is_empty() && play::outcome(&world.journal())?;
        at = if moved { 1 - at } else { at };
        let _ = write!(story, "{} at work; ", world.hosts[at].name);
        judge::works_on(world, world.hosts[at].name)?;
    }
    Ok(())
}

/// Runs the program, with a fault or without, until it is over and everything is mended.
fn one_run(
    world: &mut World,
    random: &mut Random,
    args: &[&str],
    broken: bool,
    story: &mut String,
) -> Result<()> {
    let (moment, outage) = (random.below(MOMENTS), random.below(OUTAGES));
    let (moment, outage) = (Duration::from_millis(moment), Duration::from_millis(outage));
    let fault = random.below(10);
    let mut driver = play::start(world, args, if args.len() == 1 { "first" } else { "second" })?;
    let began = Instant::now();
    let (mut done, mut mended) = (!broken, !broken);
    let status = loop {
        if let Some(status) = driver.try_wait()? {
            break status;
        }
        if !done && began.elapsed() >= moment {
            done = true;
            let name = break_it(world, fault, &mut driver)?;
            let _ = write!(story, "{name} at {} ms; ", moment.as_millis());
        }
        if done && !mended && began.elapsed() >= moment + outage {
            mended = true;
            mend(world)?;
        }
        if began.elapsed() > crate::local::LONGEST {
            driver.kill()?;
            bail!("`{}` does not end", args.join(" "));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    mend(world)?;
    let _ =
        write!(story, "{} {}; ", args.join(" "), status.code().map_or("killed".into(), |c| c.to_string()));
    ensure!(status.code() != Some(101), "a panic");
    ensure!(broken || matches!(status.code(), Some(0 | 6 | 8)), "undisturbed, it ended with {status}");
    Ok(())
}

fn break_it(world: &mut World, fault: u64, driver: &mut std::process::Child) -> Result<&'static str> {
    let [one, two] = &mut world.hosts;
    let name = match fault {
        0 => driver.kill().map(|()| "driver killed")?,
        1 => one.cut_off().map(|()| "one cut off")?,
        2 => two.cut_off().map(|()| "two cut off")?,
        3 => one.kill_command(1, "early").map(|()| "a command on one killed at its start")?,
        4 => two.kill_command(1, "late").map(|()| "a command on two killed at its end")?,
        5 => one.reboot().map(|()| "one rebooted")?,
        6 => two.reboot().map(|()| "two rebooted")?,
        7 => host::fill(&one.disk()).and_then(|()| host::fill(&two.disk())).map(|()| "both disks full")?,
        8 => host::fill(&operator()).map(|()| "the driver's disk full")?,
        _ => world.git(true).map(|()| "git away")?,
    };
    Ok(name)
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): a seed is a trial.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
