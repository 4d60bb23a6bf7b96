//! `cargo xtask meddle`: cutovers in which somebody meddles: what was carried is changed before it is compared, the rig is started
//! by hand on the source while the target is on trial, every loop is held, the target's disk is full and stays so.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use ccorch_core::cutover::Step;
use clap::Args;
use serde_json::Value;

use crate::local::host::{self, Host};
use crate::local::world::{World, journals, operator, path};
use crate::local::{WORKSPACE, judge};
use crate::matrix::cell::Point;
use crate::matrix::gate::{Gate, Moment};
use crate::matrix::play::{self, last_words};
use crate::matrix::{Ground, Pool};
use crate::report::Report;

/// Change, start, hold and fill what a cutover does not expect, and see it found
///
/// Needs root. Each story is a world of its own: two hosts without systemd, real git remotes, agents that commit all the while.
#[derive(Debug, Args)]
pub struct MeddleArgs {
    /// Only stories whose name has this in it
    #[arg(long, value_name = "STORY")]
    only: Option<String>,
}

/// A story: its name, and what is done.
type Story = (&'static str, fn(&World) -> Result<String>);

const STORIES: [Story; 4] = [
    ("carried-state-changed", carried_state),
    ("started-by-hand", by_hand),
    ("all-held", all_held),
    ("full-target", full_target),
];
/// The exit statuses of what was taken back, and of what cannot be done.
const TAKEN_BACK: i32 = 8;
const CONFLICT: i32 = 6;
/// Longer than a process that is started by hand is given to leave by itself.
const SETTLE: &str = "30s";
/// What is started by hand, by the name of its process.
const BY_HAND: &str = "tail";

/// Runs them.
pub fn run(args: &MeddleArgs) -> Result<ExitCode> {
    let ground = Ground::prepare(&mut Report::default())?;
    let failed = on(&ground, args.only.as_deref().unwrap_or_default(), 2)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays the stories whose names have this in them; how many failed.
pub fn on(ground: &Ground, only: &str, jobs: usize) -> Result<usize> {
    let names: Vec<&str> = STORIES.iter().map(|story| story.0).collect();
    Pool { ground, jobs }.stories("meddle", &names, only)
}

/// Plays one; its last line tells how it went.
pub fn story(tools: &Path, template: &Path, name: &str) -> Result<()> {
    let (_, play) =
        STORIES.iter().find(|story| story.0 == name).with_context(|| format!("no story {name}"))?;
    let world = World::of(tools, template)?;
    judge::at_work(&world)?;
    match play(&world) {
        Ok(said) => println!("{said}"),
        Err(error) => {
            last_words(&world);
            return Err(error);
        }
    }
    Ok(())
}

/// A byte of what is kept of a loop changes on the target between carrying and comparing.
fn carried_state(world: &World) -> Result<String> {
    let gate = Gate::at(vec![Point::After(Step::FinalSync)], &journals())?;
    let mut driver = play::start(world, &["cutover"], "first")?;
    let mut changed = false;
    let status = gate.follow(&mut driver, |moment, _| {
        if matches!(moment, Moment::At(_)) {
            changed = true;
            one_byte(&world.hosts[1])?;
        }
        Ok(())
    })?;
    let said = fs::read_to_string(path("first"))?;
    ensure!(changed && status.code() == Some(TAKEN_BACK), "the driver ended with {status}: {said}");
    for words in ["one and two differ:", "loop builder: its conversation"] {
        ensure!(said.contains(words), "`{words}` is not said: {said}");
    }
    ensure!(world.journal().contains("loop builder: its conversation"), "the journal does not say it");
    judge::works_on(world, "one")?;
    // Carried anew, it is the same.
    let again = play::run(world, &["cutover"], "second")?;
    ensure!(again.0 == Some(0), "the next cutover ended with {:?}: {}", again.0, again.1);
    judge::works_on(world, "two")?;
    Ok("refused, and carried anew".into())
}

fn one_byte(host: &Host) -> Result<()> {
    let file = host.path("var/lib/ccorch/loops/builder.json");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let state: Value = serde_json::from_str(&text)?;
    let session = state["session"].as_str().context("the builder has no conversation")?;
    let other = if session.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{other}", &session[..session.len() - 1]);
    Ok(fs::write(&file, text.replace(session, &changed))?)
}

/// Somebody starts something in the source's workspace while the target is on trial.
fn by_hand(world: &World) -> Result<String> {
    let gate = Gate::at(vec![Point::Before(Step::Verify)], &journals())?;
    let mut driver = play::start(world, &["cutover", "--settle", SETTLE], "first")?;
    let (mut begun, mut verdict) = (false, None);
    let window = world.hosts[1].path("var/lib/ccorch/confirm.json");
    let status = gate.follow(&mut driver, |moment, _| {
        match moment {
            Moment::At(_) => {
                start_by_hand(&world.hosts[0])?;
                ensure!(is_there(&world.hosts[0])?, "what was started by hand is not there");
                begun = true;
            }
            Moment::Meanwhile if begun && verdict.is_none() && !is_there(&world.hosts[0])? => {
                let text = fs::read_to_string(&window)?;
                verdict = Some(serde_json::from_str::<Value>(&text)?["verdict"].clone());
            }
            Moment::Meanwhile => {}
        }
        Ok(())
    })?;
    let said = fs::read_to_string(path("first"))?;
    ensure!(status.success(), "the driver ended with {status}: {said}");
    ensure!(verdict == Some("open".into()), "it was ended when the verdict was {verdict:?}: {said}");
    let found = "started by hand on one meanwhile, and ended: pid ";
    let done = world
        .journal()
        .lines()
        .find(|line| line.contains(r#""entry":"done","step":"verify""#))
        .map(str::to_owned);
    ensure!(
        done.is_some_and(|line| line.contains(found)),
        "the journal does not say it: {}",
        world.journal()
    );
    ensure!(said.contains("warning: on one: started by hand, and ended: pid "), "nobody is told: {said}");
    judge::works_on(world, "two")?;
    Ok("ended before the target had a verdict, and told".into())
}

fn start_by_hand(host: &Host) -> Result<()> {
    let script = format!(
        "cd {WORKSPACE}/build && setsid runuser -u loops -- {BY_HAND} -f /dev/null < /dev/null > /dev/null 2>&1 &"
    );
    let status = Command::new("ssh")
        .args(["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"])
        .arg(operator().join("id"))
        .arg(format!("root@{}", host.address))
        .arg(format!(
            "{script} n=0; until pidof {BY_HAND}; do n=$((n + 1)); [ $n -lt 500 ] || exit 1; sleep 0.02; done"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run ssh")?;
    ensure!(status.success(), "it cannot be started by hand: {status}");
    Ok(())
}

fn is_there(host: &Host) -> Result<bool> {
    Ok(host.processes()?.iter().any(|one| one.name == BY_HAND))
}

/// With every loop held nothing is moved; one at work is enough, and the other one arrives held.
fn all_held(world: &World) -> Result<String> {
    for name in ["builder", "judge"] {
        world.runs(&["loops", "stop", name, "--host", "one"])?;
    }
    let (status, said) = play::run(world, &["cutover"], "first")?;
    ensure!(status == Some(CONFLICT), "the cutover ended with {status:?}: {said}");
    for words in ["on one: every loop is held (builder, judge)", "`ccorch loops start builder --host one`"] {
        ensure!(said.contains(words), "`{words}` is not said: {said}");
    }
    let lease = world.runs(&["lease", "check", "--host", "one"]);
    ensure!(lease.is_ok(), "something was changed: {lease:?}");
    world.runs(&["loops", "start", "builder", "--host", "one"])?;
    let (status, said) = play::run(world, &["cutover"], "second")?;
    ensure!(status == Some(0), "the cutover ended with {status:?}: {said}");
    ensure!(said.contains("nothing shows whether these have worked: judge"), "{said}");
    let loops: Value = serde_json::from_str(&world.runs(&["loops", "list", "--host", "two", "--json"])?)?;
    let state = |name| {
        loops.as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).map(|one| &one["state"])
    };
    ensure!(state("judge") == Some(&"held".into()) && state("builder") == Some(&"running".into()), "{loops}");
    Ok("refused with none at work, moved with one".into())
}

/// The target's disk is full and stays so: a driver that died in the dark is taken back, by the host that has room.
fn full_target(world: &World) -> Result<String> {
    let gate = Gate::at(vec![Point::Before(Step::FinalSync)], &journals())?;
    let mut driver = play::start(world, &["cutover"], "first")?;
    let disk = world.hosts[1].disk();
    gate.follow(&mut driver, |moment, driver| match moment {
        Moment::At(_) => host::fill(&disk).and_then(|()| driver.kill().context("kill the driver")),
        Moment::Meanwhile => Ok(()),
    })?;
    let (status, said) = play::run(world, &["cutover", "--abort"], "second")?;
    ensure!(status == Some(TAKEN_BACK), "the abort ended with {status:?}: {said}");
    ensure!(said.contains("warning: one host has no copy of the journal for now: "), "{said}");
    judge::works_on(world, "one")?;
    // With room again, all of it goes.
    host::empty(&disk)?;
    let (status, said) = play::run(world, &["cutover"], "third")?;
    ensure!(status == Some(0), "the next cutover ended with {status:?}: {said}");
    judge::works_on(world, "two")?;
    Ok("taken back while the disk was full, and moved afterwards".into())
}
