//! One cell, played: the rig at work, a cutover that is broken at its moment, everything mended, the end asked for; then
//! everything is as after an undisturbed cutover, or as if none had begun.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ccorch_core::cutover::Step;

use super::cell::{Cell, End, Fault, Point, Who};
use super::gate::{Gate, Moment};
use crate::local::LOOPS;
use crate::local::host;
use crate::local::judge::{self, Sampler};
use crate::local::state::State;
use crate::local::world::{World, journals, operator, path};
use crate::run::Run;
use crate::wait;

/// What is broken is mended when the driver has given up, or so long after it broke: it asks again for two seconds where nobody
/// works meanwhile, and waits for a target on trial.
const OUTAGE: Duration = Duration::from_secs(10);
/// More than two heartbeats of a host here.
const HEARTBEATS: Duration = Duration::from_secs(15);
/// How many commands each step runs on each host, from an undisturbed run.
const COMMANDS: &str = "commands.json";
/// The exit status of what was taken back, of what does not answer, and of what cannot be done.
const TAKEN_BACK: i32 = 8;
const UNREACHABLE: i32 = 4;
const CONFLICT: i32 = 6;

/// Source and target: commands, and those among them that are acts.
type Commands = BTreeMap<String, [[usize; 2]; 2]>;

/// Plays one cell; its last line tells how it went.
pub fn cell(tools: &Path, template: &Path, states: &Path, name: &str) -> Result<()> {
    let cell = Cell::named(name)?;
    let mut world = World::of(tools, template)?;
    judge::at_work(&world)?;
    let sampler = Sampler::start();
    let played = play(&mut world, cell, states);
    let samples = sampler.stop();
    let said = played.and_then(|said| Ok((said, samples?)));
    match said {
        Ok((said, samples)) => println!("{said}, {samples} samples"),
        Err(error) => {
            last_words(&world);
            return Err(error);
        }
    }
    Ok(())
}

fn play(world: &mut World, cell: Cell, states: &Path) -> Result<String> {
    let Some(first) = broken(world, cell, states)? else { return Ok("no such command there".into()) };
    ensure!(first.code().is_some() || cell.fault == Fault::Kill, "the driver ended by a signal: {first}");
    if matches!(cell.fault, Fault::Cut(_) | Fault::Remote) {
        let of_silence = [Some(0), Some(UNREACHABLE), Some(TAKEN_BACK)];
        ensure!(of_silence.contains(&first.code()), "silence is told as something else: {first}");
    }
    if must_be_taken_back(cell) {
        ensure!(first.code() == Some(TAKEN_BACK), "what cannot go on is not taken back: {first}");
    }
    let option = if cell.end == End::Resume { "--resume" } else { "--abort" };
    let (second, said) = run(world, &["cutover", option], "second")?;
    // The second is an abort that came too late for anything but the last line.
    let too_late = ["no cutover is unfinished", "was not taken back"];
    let over = second == Some(CONFLICT) && too_late.iter().any(|words| said.contains(words));
    ensure!(
        over || second == Some(0) || second == Some(TAKEN_BACK),
        "`cutover {option}` ended with {second:?} after everything was mended"
    );
    let reference = same_end(world, cell, states)?;
    let first = first.code().map_or("killed".to_owned(), |code| code.to_string());
    let second = second.map_or("killed".to_owned(), |code| code.to_string());
    Ok(format!("{first} then {second}: {reference}"))
}

/// Where a target that can keep nothing keeps the driver from the next step, with the source as all it needs for the way back.
fn must_be_taken_back(cell: Cell) -> bool {
    let next = match cell.point {
        Point::Before(step) => Some(step),
        Point::After(step) => Step::ALL.into_iter().skip_while(|other| *other != step).nth(1),
        Point::Claim | Point::End => None,
    };
    let dark = [Step::Quiesce, Step::Fence, Step::FinalSync, Step::Prove, Step::Activate];
    cell.fault == Fault::Disk(Who::Target) && next.is_some_and(|step| dark.contains(&step))
}

/// Demands the end of an undisturbed cutover, or of none; which of both it is.
fn same_end(world: &World, cell: Cell, states: &Path) -> Result<&'static str> {
    let completed = outcome(&world.journal())?;
    if cell.fault == Fault::Kill && cell.point != Point::End {
        ensure!(
            completed == (cell.end == End::Resume),
            "nothing but the driver failed; completed: {completed}"
        );
    }
    let (reference, works) = if completed { ("completed", "two") } else { ("begun", "one") };
    judge::works_on(world, works)?;
    if completed {
        judge::conversations(world)?;
    }
    let wanted = State::read(&states.join(reference))?;
    // A host that was not told the end hears of it by its next heartbeat.
    let mut differs = None;
    let waited = wait::until("the same state", HEARTBEATS, || {
        differs = wanted.same_as(&State::of(world)?).err();
        Ok(differs.is_none().then_some(()))
    });
    waited.map_err(|error| differs.unwrap_or(error)).context(format!("as {reference}"))?;
    Ok(reference)
}

/// The cutover that breaks; how its driver ended. Nothing when there is no such command to be killed.
fn broken(world: &mut World, cell: Cell, states: &Path) -> Result<Option<ExitStatus>> {
    let (point, nth) = match (cell.fault, cell.point) {
        (Fault::Command(who), Point::Before(step) | Point::After(step)) => {
            let all = count_of(states, step, who)?;
            if all == 0 {
                return Ok(None);
            }
            // How often a verify asks is not known, nor what a presync finds changed by agents at work.
            let last = if matches!(step, Step::Presync | Step::Verify) { 1 } else { all };
            (Point::Before(step), if cell.point == point_before(step) { 1 } else { last })
        }
        (_, point) => (point, 0),
    };
    let gate = Gate::at(vec![point], &journals())?;
    let mut driver = start(world, &["cutover"], "first")?;
    let mut since: Option<Instant> = None;
    // One command is killed, once: there is nothing to mend, and the trace of it is looked for below.
    let mut mended = matches!(cell.fault, Fault::Command(_));
    let followed = gate.follow(&mut driver, |moment, driver| {
        match moment {
            Moment::At(_) => {
                since = Some(Instant::now());
                break_it(world, cell, nth, driver)?;
            }
            Moment::Meanwhile if !mended && since.is_some_and(|since| since.elapsed() > OUTAGE) => {
                mended = true;
                mend(world)?;
            }
            Moment::Meanwhile => {}
        }
        Ok(())
    });
    if followed.is_err() {
        let _ = driver.kill();
    }
    let status = followed?;
    ensure!(since.is_some(), "the cutover ended ({status}) and its moment never came");
    if let Fault::Command(who) = cell.fault {
        ensure!(world.hosts[index(who)].killed_one(), "no command was killed");
    }
    mend(world)?;
    Ok(Some(status))
}

fn point_before(step: Step) -> Point {
    Point::Before(step)
}

fn break_it(world: &mut World, cell: Cell, nth: usize, driver: &mut Child) -> Result<()> {
    match cell.fault {
        Fault::Kill => driver.kill().context("kill the driver"),
        Fault::Cut(who) => world.hosts[index(who)].cut_off(),
        Fault::Command(who) => {
            let when = if matches!(cell.point, Point::After(_)) { "late" } else { "early" };
            world.hosts[index(who)].kill_command(nth, when)
        }
        Fault::Reboot(who) => world.hosts[index(who)].reboot(),
        Fault::Remote => world.git(true),
        Fault::Disk(Who::Driver) => host::fill(&operator()),
        Fault::Disk(who) => host::fill(&world.hosts[index(who)].disk()),
    }
}

/// Everything works again, whatever was broken.
pub fn mend(world: &World) -> Result<()> {
    world.git(false)?;
    host::empty(&operator())?;
    for host in &world.hosts {
        host::empty(&host.disk())?;
        host.spare()?;
        host.reconnect()?;
    }
    Ok(())
}

fn index(who: Who) -> usize {
    usize::from(who == Who::Target)
}

/// Starts the operator's program; what it says goes to a file of that name.
pub fn start(world: &World, args: &[&str], name: &str) -> Result<Child> {
    let file = File::create(path(name))?;
    world.driver(args).stdout(file.try_clone()?).stderr(file).spawn().context("cannot run ccorch")
}

/// Runs it to its end: exit status and words.
pub fn run(world: &World, args: &[&str], name: &str) -> Result<(Option<i32>, String)> {
    let status = start(world, args, name)?.wait()?;
    Ok((status.code(), fs::read_to_string(path(name))?))
}

/// Whether the cutover of this journal was completed; an error when it is not over.
pub fn outcome(journal: &str) -> Result<bool> {
    let last = journal.lines().last().unwrap_or_default();
    match (last.contains(r#""entry":"end""#), last.contains(r#""outcome":"completed""#)) {
        (true, completed) => Ok(completed),
        (false, _) => bail!("the journal has no end"),
    }
}

/// Writes down what a cell is compared with: a rig that never moved, or one that moved undisturbed.
pub fn reference(tools: &Path, template: &Path, state: &Path, completed: bool) -> Result<()> {
    let world = World::of(tools, template)?;
    judge::at_work(&world)?;
    let done = if completed { undisturbed(&world, state) } else { Ok("one") };
    let written =
        done.and_then(|name| judge::works_on(&world, name)).and_then(|()| State::of(&world)?.write(state));
    if written.is_err() {
        last_words(&world);
    }
    written
}

fn undisturbed(world: &World, state: &Path) -> Result<&'static str> {
    let points = Step::ALL.into_iter().flat_map(|step| [Point::Before(step), Point::After(step)]).collect();
    let gate = Gate::at(points, &journals())?;
    let mut driver = start(world, &["cutover"], "first")?;
    let mut commands = Commands::new();
    let count = || world.hosts.each_ref().map(|host| [host.commands(), host.acts()]);
    let status = gate.follow(&mut driver, |moment, _| {
        match moment {
            Moment::At(Point::Before(step)) => drop(commands.insert(step.name().into(), count())),
            Moment::At(Point::After(step)) => {
                let before = commands.get_mut(step.name()).context("a step ended that did not begin")?;
                let now = count();
                *before = [0, 1].map(|host| [0, 1].map(|kind| now[host][kind] - before[host][kind]));
            }
            _ => {}
        }
        Ok(())
    })?;
    ensure!(status.success(), "an undisturbed cutover ended with {status}");
    ensure!(commands.len() == Step::ALL.len(), "some steps were not seen: {commands:?}");
    fs::write(state.with_file_name(COMMANDS), serde_json::to_string(&commands)?)?;
    Ok("two")
}

fn count_of(states: &Path, step: Step, who: Who) -> Result<usize> {
    Ok(counts(states, step)?[index(who)][0])
}

/// How many acts a step has on source (0) or target (1).
pub fn acts_of(states: &Path, step: Step, host: usize) -> Result<usize> {
    Ok(counts(states, step)?[host][1])
}

fn counts(states: &Path, step: Step) -> Result<[[usize; 2]; 2]> {
    let commands: Commands = serde_json::from_str(&fs::read_to_string(states.join(COMMANDS))?)?;
    Ok(commands.get(step.name()).copied().unwrap_or_default())
}

/// What everybody said last, for people.
pub fn last_words(world: &World) {
    let tell = |what: &str, text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        println!("--- {what}");
        lines[lines.len().saturating_sub(12)..].iter().for_each(|line| println!("{line:.300}"));
    };
    for name in ["first", "second"] {
        tell(&format!("the {name} run"), &fs::read_to_string(path(name)).unwrap_or_default());
    }
    tell("journal", &world.journal());
    for (_, repository) in LOOPS {
        let log =
            Run::new(&["git", "-c", "safe.directory=*", "-C"]).arg(path(&format!("git/{repository}.git")));
        let log = log.args(&["log", "--format=%h %ct %p %s", "main"]).env("GIT_CONFIG_COUNT", "1");
        let log = log.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*").read();
        println!("--- remote {repository}\n{}", log.unwrap_or_else(|error| format!("{error:#}")));
    }
    for host in &world.hosts {
        for file in ["var/log/ccorch", "var/lib/ccorch/events.jsonl", "var/lib/ccorch/lease.json"] {
            tell(
                &format!("{} on {}", file, host.name),
                &fs::read_to_string(host.path(file)).unwrap_or_default(),
            );
        }
        let copies = fs::read_dir(host.path("var/lib/ccorch/journals")).into_iter().flatten().flatten();
        for copy in copies {
            tell(&format!("journal on {}", host.name), &fs::read_to_string(copy.path()).unwrap_or_default());
        }
    }
}
