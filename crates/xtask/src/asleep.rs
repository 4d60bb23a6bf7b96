//! `cargo xtask asleep`: cutovers whose target cannot confirm itself, with driver, source and target asleep, waking in every
//! order. In the end the source is at work and the target is not, whoever was there to see to it. And ([`late`]) cutovers that
//! another machine ends while their driver sleeps.

mod late;

use std::fs;
use std::path::Path;
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ccorch_core::cutover::Step;
use clap::Args;
use late::Late;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::local::LOOPS;
use crate::local::host::agents;
use crate::local::judge::{self, Sampler};
use crate::local::world::{World, journals};
use crate::matrix::cell::Point;
use crate::matrix::gate::{Gate, Moment};
use crate::matrix::play::{self, last_words};
use crate::matrix::{Ground, Pool};
use crate::report::Report;
use crate::wait;

/// Have the target of a cutover fail while driver, source and target sleep, and let them wake in every order; have a driver
/// sleep at every step while another machine ends the cutover
///
/// Needs root. Each story is a world of its own: two hosts, real git remotes, agents that commit all the while, and on the
/// target agents that always die, but for the stories of a late driver.
#[derive(Debug, Args)]
pub struct AsleepArgs {
    /// Only stories whose name has this in it
    #[arg(long, value_name = "STORY")]
    only: Option<String>,
    /// So many at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// What happens, in this order, from the moment on at which the target was told to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The driver is killed, and never comes back.
    Kill,
    /// Its machine sleeps, or wakes.
    Sleep(Who),
    Wake(Who),
    /// The target has given up.
    Fails,
    /// The source is at work again.
    Back,
    /// No git remote answers, or all do again.
    Git(bool),
    /// Nothing answers for longer than the driver asks again, which then has the source run as before.
    NoFence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Driver,
    Source,
    Target,
}

/// How long a failed target waits for a driver here: longer than a driver that is there needs, where one is to be faster.
const SHORT: &str = "4s";
const LONG: &str = "600s";
/// Everything here takes seconds; a loaded machine gets far more.
const PATIENCE: Duration = Duration::from_secs(120);
/// The exit statuses of what was taken back, of what is over, and of a host that does not answer.
const TAKEN_BACK: i32 = 8;
const CONFLICT: i32 = 6;
const UNREACHABLE: i32 = 4;

/// A story: its name, how long the failed target waits, and what happens.
type Story = (String, &'static str, Vec<Event>);

fn stories() -> Vec<Story> {
    use Event::{Back, Fails, Git, Kill, NoFence, Sleep, Wake};
    use Who::{Driver, Source, Target};
    let mut all = vec![
        ("driver-dies".into(), SHORT, vec![Kill, Fails, Back]),
        ("driver-sleeps".into(), SHORT, vec![Sleep(Driver), Fails, Back, Wake(Driver)]),
        ("driver-sleeps-over-the-verdict-alone".into(), LONG, vec![Sleep(Driver), Fails, Wake(Driver), Back]),
        ("no-fence".into(), LONG, vec![NoFence]),
        ("remote-away".into(), SHORT, vec![Kill, Git(true), Fails, Git(false), Back]),
    ];
    let names = |who| match who {
        Driver => "driver",
        Source => "source",
        Target => "target",
    };
    for first in [Driver, Source, Target] {
        for second in [Driver, Source, Target].into_iter().filter(|who| *who != first) {
            let third = [Driver, Source, Target].into_iter().find(|who| ![first, second].contains(who));
            let order: Vec<Who> = [first, second].into_iter().chain(third).collect();
            let name = order.iter().map(|who| names(*who)).collect::<Vec<_>>().join("-then-");
            let mut events: Vec<Event> = [Driver, Source, Target].map(Sleep).to_vec();
            for who in order {
                events.push(Wake(who));
                if who == Target {
                    events.push(Fails);
                }
            }
            events.push(Back);
            all.push((format!("all-sleep-{name}"), SHORT, events));
        }
    }
    all
}

/// Runs them.
pub fn run(args: &AsleepArgs) -> Result<ExitCode> {
    let ground = Ground::prepare(&mut Report::default())?;
    let failed = on(&ground, args.only.as_deref().unwrap_or_default(), args.jobs, |_| true)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays those of every test run: of a driver that falls asleep in a step, one end each; how many failed.
pub fn sample(ground: &Ground, jobs: usize) -> Result<usize> {
    on(ground, "", jobs, Late::is_in_sample)
}

fn on(ground: &Ground, only: &str, jobs: usize, which: impl Fn(&Late) -> bool) -> Result<usize> {
    let stories = stories();
    let late: Vec<String> = late::all().iter().filter(|late| which(late)).map(ToString::to_string).collect();
    let names: Vec<&str> = stories.iter().map(|story| &story.0).chain(&late).map(String::as_str).collect();
    Pool { ground, jobs }.stories("asleep", &names, only)
}

/// Plays one; its last line tells how it went.
pub fn story(tools: &Path, template: &Path, name: &str) -> Result<()> {
    if let Some(late) = late::all().into_iter().find(|story| story.to_string() == name) {
        let world = World::of(tools, template)?;
        judge::at_work(&world)?;
        let sampler = Sampler::start();
        // The references of a run lie beside its template.
        let played = late.play(&world, template.parent().context("a template lies in a folder")?);
        return told(&world, played, sampler);
    }
    let (_, fallback, events) =
        stories().into_iter().find(|story| story.0 == name).with_context(|| format!("no story {name}"))?;
    let mut world = World::of(tools, template)?;
    let rig = world.hosts[1].path("etc/ccorch/rig.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&rig)?)?;
    json["cutover"]["confirm"]["fallback"] = fallback.into();
    fs::write(&rig, serde_json::to_string_pretty(&json)?)?;
    judge::at_work(&world)?;
    let sampler = Sampler::start();
    let plague = Plague::on(&world)?;
    let played = match events.as_slice() {
        [Event::NoFence] => no_fence(&world, &plague),
        _ => play(&mut world, &plague, &events),
    };
    told(&world, played, sampler)
}

fn told(world: &World, played: Result<String>, sampler: Sampler) -> Result<()> {
    let samples = sampler.stop();
    let told = played.and_then(|said| {
        println!("{said}, {} samples", samples?);
        Ok(())
    });
    if told.is_err() {
        last_words(world);
    }
    told
}

/// The agents of the target always die.
struct Plague {
    /// The target's process namespace; 0 while it is off, 1 when it is over.
    namespace: Arc<AtomicU64>,
}

impl Plague {
    fn on(world: &World) -> Result<Self> {
        let namespace = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&namespace);
        thread::spawn(move || {
            while shared.load(Ordering::Relaxed) != 1 {
                let there = shared.load(Ordering::Relaxed);
                let agents = agents().unwrap_or_default().into_iter();
                for one in agents.filter(|one| one.namespace == there) {
                    // It may be over by itself.
                    let _ = kill_process(one.pid, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let plague = Self { namespace };
        plague.follow(world)?;
        Ok(plague)
    }

    /// After a boot it is another namespace.
    fn follow(&self, world: &World) -> Result<()> {
        let namespace = world.hosts[1].namespace().context("the target is off")?;
        self.namespace.store(namespace, Ordering::Relaxed);
        Ok(())
    }

    fn ends(&self) {
        self.namespace.store(1, Ordering::Relaxed);
    }
}

fn play(world: &mut World, plague: &Plague, events: &[Event]) -> Result<String> {
    let mut driver = play::start(world, &["cutover"], "first")?;
    up_to_the_verify(&mut driver)?;
    let mut slept = false;
    for event in events {
        match event {
            Event::Kill => driver.kill()?,
            Event::Sleep(Who::Driver) => {}
            Event::Sleep(Who::Source) => world.hosts[0].power_off()?,
            Event::Sleep(Who::Target) => {
                world.hosts[1].power_off()?;
            }
            Event::Wake(Who::Driver) => {
                slept = true;
                signal(&driver, Signal::CONT)?;
            }
            Event::Wake(Who::Source) => world.hosts[0].boot()?,
            Event::Wake(Who::Target) => {
                world.hosts[1].boot()?;
                plague.follow(world)?;
            }
            Event::Fails => fails(world)?,
            Event::Git(away) => world.git(*away)?,
            Event::NoFence => bail!("a story of its own"),
            // A driver that was there and could not finish is run again.
            Event::Back if slept => {
                let status = ended(&mut driver)?;
                if status == Some(UNREACHABLE) {
                    let again = play::run(world, &["cutover", "--resume"], "second")?.0;
                    ensure!(
                        matches!(again, Some(TAKEN_BACK | CONFLICT)),
                        "`cutover --resume` ended with {again:?}"
                    );
                }
                judge::works_on(world, "one")?;
            }
            Event::Back => judge::works_on(world, "one")?,
        }
    }
    let status = ended(&mut driver)?;
    ensure!(
        status.is_none_or(|code| [TAKEN_BACK, CONFLICT, UNREACHABLE].contains(&code)),
        "the driver ended with {status:?}"
    );
    // Whoever took it back, nothing is in the way of another one.
    judge::works_on(world, "one")?;
    plague.ends();
    let begun = play::run(world, &["cutover"], "second")?;
    // Who typed the command of that cutover hears first how it ended.
    let begun = if begun.0 == Some(CONFLICT) { play::run(world, &["cutover"], "second")? } else { begun };
    ensure!(begun.0 == Some(0), "the next cutover ended with {:?}: {}", begun.0, begun.1);
    judge::works_on(world, "two")?;
    Ok(format!("the driver {}", status.map_or("was killed".into(), |code| format!("ended with {code}"))))
}

/// The git remotes go before the fence and stay away: the driver asks again for a minute, then turns back; the source works
/// before they are there again, as far as it can.
fn no_fence(world: &World, plague: &Plague) -> Result<String> {
    plague.ends();
    let gate = Gate::at(vec![Point::Before(Step::Fence)], &journals())?;
    let mut driver = play::start(world, &["cutover"], "first")?;
    let began = Instant::now();
    let status = gate.follow(&mut driver, |moment, _| match moment {
        Moment::At(_) => world.git(true),
        Moment::Meanwhile if began.elapsed() > 3 * PATIENCE => bail!("the driver does not give up"),
        Moment::Meanwhile => Ok(()),
    })?;
    ensure!(matches!(status.code(), Some(TAKEN_BACK | UNREACHABLE)), "the driver ended with {status}");
    wait::until("the source's agents", PATIENCE, || {
        Ok((world.hosts[0].agents()?.len() == LOOPS.len()).then_some(()))
    })?;
    world.git(false)?;
    let closed = play::run(world, &["cutover", "--abort"], "second")?.0;
    ensure!(matches!(closed, Some(TAKEN_BACK | CONFLICT)), "`cutover --abort` ended with {closed:?}");
    judge::works_on(world, "one")?;
    Ok(format!("the driver ended with {status}"))
}

/// The driver stands still where the target is to judge itself.
fn up_to_the_verify(driver: &mut Child) -> Result<()> {
    let gate = Gate::at(vec![Point::Before(Step::Verify)], &journals())?;
    let mut there = false;
    let pid = driver.id();
    // Whoever is stopped does not end; the gate is left as soon as it is.
    let followed = gate.follow(driver, |moment, driver| {
        if matches!(moment, Moment::At(_)) {
            there = true;
        } else if there {
            signal(driver, Signal::STOP)?;
            bail!("there");
        }
        Ok(())
    });
    ensure!(there, "the driver (pid {pid}) ended before the verify: {followed:?}");
    Ok(())
}

fn signal(driver: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(driver.id()).ok().and_then(Pid::from_raw).context("the driver has no pid")?;
    kill_process(pid, signal).context("signal the driver")
}

/// The target has no loop at work any more, by its own window.
fn fails(world: &World) -> Result<()> {
    let window = world.hosts[1].path("var/lib/ccorch/confirm.json");
    wait::until("the target's bad verdict", PATIENCE, || {
        let text = fs::read_to_string(&window).unwrap_or_default();
        Ok(["failed", "fell-back", "withdrawn"]
            .iter()
            .any(|one| text.contains(&format!("\"{one}\"")))
            .then_some(()))
    })
}

fn ended(driver: &mut Child) -> Result<Option<i32>> {
    let status: ExitStatus = wait::until("the driver's end", 2 * PATIENCE, || Ok(driver.try_wait()?))?;
    Ok(status.code())
}
