//! The late driver: it falls asleep at each step, with every process it started, another machine ends the cutover, and it wakes.
//! Whatever it was about to do, it does nothing more, and says so.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ccorch_core::cutover::Step;
use rustix::process::{Pid, Signal, kill_process};

use super::{CONFLICT, PATIENCE, TAKEN_BACK, UNREACHABLE, ended};
use crate::local::judge;
use crate::local::state::State;
use crate::local::world::{World, journals, operator, path};
use crate::matrix::cell::{End, Point};
use crate::matrix::gate::{Gate, Moment};
use crate::matrix::play::{self, acts_of};
use crate::wait;

/// More than two heartbeats of a host here, by which it hears of an end.
const HEARTBEATS: Duration = Duration::from_secs(15);
/// What agents write beside its place is gone by then; a heartbeat, which would mend a host, comes later.
const FLICKER: Duration = Duration::from_secs(1);

/// When it falls asleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// The step is begun in the journal, and nothing of it is done.
    Before,
    /// An act of it has reached the host, and goes on there without its driver.
    Amid(usize),
    /// An act of it is on its way to the host, and comes there when the driver wakes.
    Over(usize),
}

/// One story: `late-WHEN-STEP-HOST-END`.
#[derive(Debug, Clone, Copy)]
pub struct Late {
    step: Step,
    when: When,
    end: End,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.name();
        match self.when {
            When::Before => write!(f, "late-before-{step}")?,
            When::Amid(host) => write!(f, "late-amid-{step}-{}", ["source", "target"][host])?,
            When::Over(host) => write!(f, "late-over-{step}-{}", ["source", "target"][host])?,
        }
        f.write_str(if self.end == End::Resume { "-resume" } else { "-abort" })
    }
}

/// All of them, for every step there is.
pub fn all() -> Vec<Late> {
    let whens = [When::Before, When::Amid(0), When::Amid(1), When::Over(0), When::Over(1)];
    let each = |step| {
        whens.into_iter().flat_map(move |when| [End::Resume, End::Abort].map(|end| Late { step, when, end }))
    };
    Step::ALL.into_iter().flat_map(each).collect()
}

impl Late {
    /// Whether every test run plays it: before each step both ends, in a step one of them.
    pub fn is_in_sample(&self) -> bool {
        match self.when {
            When::Before => true,
            When::Amid(_) => self.end == End::Abort,
            When::Over(_) => self.end == End::Resume,
        }
    }

    /// Plays it; how it went. `states`: where the run's references lie.
    pub fn play(self, world: &World, states: &Path) -> Result<String> {
        let machine = Machine::another()?;
        let Some(mut driver) = self.asleep(world, states)? else { return Ok("no such act there".into()) };
        // Nobody else can know of it yet.
        let unknown = self.step == Step::Preflight && self.when == When::Before;
        let (second, said) = self.ends(world, &machine, unknown)?;
        let works = if self.end == End::Resume { "two" } else { "one" };
        if unknown && self.end == End::Abort {
            // There was nothing to take back, and there is nothing in its way.
            signal_all(Signal::CONT)?;
            let first = ended(&mut driver)?;
            ensure!(first == Some(0), "the driver ended with {first:?}: {}", words()?);
            judge::works_on(world, "two")?;
            return Ok("nothing to take back, then 0".into());
        }
        let wanted = if self.end == End::Resume { 0 } else { TAKEN_BACK };
        ensure!(second == Some(wanted), "the second driver ended with {second:?}: {said}");
        judge::works_on(world, works)?;
        let reference = State::read(&states.join(if works == "two" { "completed" } else { "begun" }))?;
        same(world, &reference, HEARTBEATS).context("after the second driver")?;
        let before = State::of(world)?;

        world.hosts.iter().try_for_each(|host| host.let_go())?;
        signal_all(Signal::CONT)?;
        let first = ended(&mut driver)?;
        same(world, &before, FLICKER).context("right after the late driver")?;
        let good = [CONFLICT, UNREACHABLE, wanted];
        ensure!(
            first.is_some_and(|code| good.contains(&code)),
            "the late driver ended with {first:?}: {}",
            words()?
        );
        judge::works_on(world, works)?;
        same(world, &before, FLICKER).context("a while after the late driver")?;
        if self.end == End::Resume {
            judge::conversations(world)?;
        }
        Ok(format!("{wanted} and then {}", first.unwrap_or_default()))
    }

    /// A driver that sleeps at this story's moment. Nothing when there is no such act.
    fn asleep(self, world: &World, states: &Path) -> Result<Option<Child>> {
        let held = match self.when {
            When::Before => None,
            When::Amid(host) | When::Over(host) => {
                let acts = acts_of(states, self.step, host)?;
                if acts == 0 {
                    // What changes a host bears its driver's turn, or nobody could refuse it.
                    let some = acts_of(states, self.step, 0)? + acts_of(states, self.step, 1)? > 0;
                    ensure!(
                        some || !self.step.changes_a_host(),
                        "no command of {} is an act",
                        self.step.name()
                    );
                    return Ok(None);
                }
                // One in the middle; of two in the middle each has an end. How often a verify acts is not known.
                let later = self.end == End::Abort && self.step != Step::Verify;
                Some((host, if later { acts / 2 + 1 } else { acts.div_ceil(2) }))
            }
        };
        let gate = Gate::at(vec![Point::Before(self.step)], &journals())?;
        let mut driver = play::start(world, &["cutover"], "first")?;
        let mut asleep = false;
        // Who sleeps does not end; the gate is left as soon as it does.
        let followed = gate.follow(&mut driver, |moment, _| {
            let falls = match (moment, held) {
                (Moment::At(_), Some((host, nth))) => {
                    world.hosts[host].hold_act(nth)?;
                    false
                }
                (Moment::At(_), None) => true,
                (Moment::Meanwhile, Some((host, _))) => world.hosts[host].holds_one(),
                (Moment::Meanwhile, None) => false,
            };
            if falls {
                signal_all(Signal::STOP)?;
                asleep = true;
                bail!("asleep");
            }
            Ok(())
        });
        ensure!(asleep, "the driver did not come to its moment: {followed:?}: {}", words()?);
        if let When::Amid(host) = self.when {
            world.hosts[host].let_go()?;
        }
        Ok(Some(driver))
    }

    /// The second machine ends it; of what it cannot know it begins one of its own.
    fn ends(self, world: &World, machine: &Machine, unknown: bool) -> Result<(Option<i32>, String)> {
        let option = if self.end == End::Resume { "--resume" } else { "--abort" };
        let (status, said) = machine.run(world, &["cutover", option])?;
        if !unknown {
            return Ok((status, said));
        }
        ensure!(status == Some(CONFLICT), "`cutover {option}` of nothing ended with {status:?}: {said}");
        if self.end == End::Resume { machine.run(world, &["cutover"]) } else { Ok((status, said)) }
    }
}

/// Another machine of the operator's: the rig file and the key, no journal, and no connection that it shares.
struct Machine;

impl Machine {
    fn another() -> Result<Self> {
        for folder in ["elsewhere/runtime", "elsewhere/home/.ssh", "elsewhere/state"] {
            fs::create_dir_all(path(folder))?;
        }
        for file in ["ccorch.yaml", "id"] {
            fs::copy(operator().join(file), path("elsewhere").join(file))?;
        }
        Ok(Self)
    }

    fn run(&self, world: &World, args: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = world.driver(args);
        command.current_dir(path("elsewhere")).env("HOME", path("elsewhere/home"));
        command
            .env("XDG_STATE_HOME", path("elsewhere/state"))
            .env("XDG_RUNTIME_DIR", path("elsewhere/runtime"));
        let file = fs::File::create(path("second"))?;
        let status = command.stdout(file.try_clone()?).stderr(file).status().context("cannot run ccorch")?;
        Ok((status.code(), fs::read_to_string(path("second"))?))
    }
}

/// Stops or wakes the first machine: its driver and everything that it started, which bears its environment.
fn signal_all(signal: Signal) -> Result<()> {
    let mark = format!("XDG_RUNTIME_DIR={}", path("runtime").display());
    // Who is stopped while it forks has left a child that was not seen yet.
    wait::until("a machine to sleep or wake", PATIENCE, || {
        let mut all = true;
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            // It may be over by now.
            let (Some(pid), Ok(environment)) = (pid, fs::read(entry.path().join("environ"))) else {
                continue;
            };
            if !environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()) {
                continue;
            }
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next().unwrap_or_default());
            if (state == Some('T')) != (signal == Signal::STOP) {
                // Who waits for the kernel, as for a file at the gate, stops before it does anything else.
                all &= state == Some('D');
                let _ = kill_process(pid, signal);
            }
        }
        Ok(all.then_some(()))
    })
}

fn same(world: &World, wanted: &State, limit: Duration) -> Result<()> {
    let mut differs = None;
    let waited = wait::until("the same state", limit, || {
        differs = wanted.same_as(&State::of(world)?).err();
        Ok(differs.is_none().then_some(()))
    });
    waited.map_err(|error| differs.unwrap_or(error))
}

/// What the late driver said.
fn words() -> Result<String> {
    Ok(fs::read_to_string(path("first"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::HOSTS;
    use std::collections::BTreeSet;

    #[test]
    fn every_step_has_a_driver_that_sleeps_before_and_in_it_with_both_ends() {
        let names: BTreeSet<String> = all().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), Step::ALL.len() * (1 + 2 * HOSTS.len()) * 2);
    }
}
