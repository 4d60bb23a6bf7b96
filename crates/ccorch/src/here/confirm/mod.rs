//! This host's confirm window: opened when a cutover starts the rig here, watched by a unit of its own until this host
//! has confirmed itself or has not. What is decided is in `ccorch_core::cutover::confirm`.

mod alone;
mod checks;
mod evidence;
mod left;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use ccorch_core::cutover::confirm::{Event, Facts, Judgement, LoopFacts, Stage, Terms, Verdict, Window};
use ccorch_core::cutover::confirm::{judge, rule};
use ccorch_core::lease::Standing;
use ccorch_io::lock::{self, Held};
use ccorch_io::{clock, durable, systemd};

use super::runtime::Runtime;
use super::status::{LoopWord, Status, parts, word};
use super::{Here, events, handoff, handover, lease, letters, loop_state};
use evidence::Baseline;
pub use left::rescue;

/// The unit that watches.
const UNIT: &str = "ccorch-confirm.service";
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// The window of the last cutover to this host.
pub fn read(here: &Here) -> Result<Option<Window>> {
    durable::read_json(&file(here))
}

/// Opens the window of a cutover, before anything of the rig starts: what the agents have done until now is not work on
/// this host. Repeatable.
pub fn open(here: &Here, journal: &str, terms: Terms) -> Result<()> {
    let _turn = turn(here)?;
    if read(here)?.is_some_and(|window| window.journal == journal) {
        return Ok(());
    }
    Baseline::take(here)?.write(here)?;
    let window = Window {
        journal: journal.into(),
        opened: clock::now(),
        terms,
        stage: Stage::Watching,
        verdict: Verdict::Open,
        missing: Vec::new(),
        worked: [].into(),
        spent_ms: 0,
        stood_down: false,
    };
    durable::replace_json(&file(here), &window, 0o644)
}

/// Whether this host has said of a cutover that it does not run the rig: nothing starts it again.
pub fn has_failed(here: &Here, journal: &str) -> Result<bool> {
    let failed =
        |window: &Window| matches!(window.verdict, Verdict::Failed { .. } | Verdict::FellBack { .. });
    Ok(read(here)?.is_some_and(|window| window.journal == journal && failed(&window)))
}

/// Has the window's unit watch it, and returns at once. Without systemd whoever keeps the host up runs `confirm watch`.
pub fn start_watching(here: &Here) -> Result<()> {
    if Runtime::of(here) == Runtime::Systemd {
        systemd::systemctl(&["start", "--no-block", UNIT])?;
    }
    Ok(())
}

/// The cutover is taken back, or the rig moves on: nothing that is seen later confirms this host.
pub fn withdraw(here: &Here, journal: &str) -> Result<()> {
    let _turn = turn(here)?;
    match read(here)? {
        Some(mut window) if window.journal == journal || window.verdict == Verdict::Open => {
            window.verdict = rule(window.verdict, Event::Withdraw);
            durable::replace_json(&file(here), &window, 0o644)?;
            if window.journal == journal { handoff::forget(here) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Watches the open window until there is a verdict, and stays with one that failed until somebody has taken the cutover back.
/// Does nothing when somebody watches already.
pub fn watch_to_the_end(here: &Here) -> Result<()> {
    match watching(here)? {
        Some(_only) => loop {
            judge_it(here)?;
            handover::take_up(here);
            alone::stay(here)?;
            // Another cutover may have opened one meanwhile, and nobody else watches.
            if read(here)?.is_none_or(|window| window.verdict != Verdict::Open) {
                return Ok(());
            }
        },
        None => Ok(()),
    }
}

/// One watches at a time.
fn watching(here: &Here) -> Result<Option<lock::Lock>> {
    let who = format!("pid {}", std::process::id());
    match lock::acquire(&here.paths.state().join("confirm-watch.lock"), &who) {
        Err(error) if error.is::<Held>() => Ok(None),
        lock => lock.map(Some),
    }
}

fn judge_it(here: &Here) -> Result<()> {
    let mut began = Instant::now();
    let (mut quiet_since, mut ends) = (began, None);
    while let Some(window) = read(here)?.filter(|window| window.verdict == Verdict::Open) {
        let baseline = Baseline::read(here)?;
        let (mut facts, worked) = look(here, &window, &baseline)?;
        let counted: u64 = facts.loops.iter().map(|one| one.ends).sum();
        if ends.replace(counted).is_some_and(|before| before != counted) {
            quiet_since = Instant::now();
        }
        facts.watched = Duration::from_millis(window.spent_ms) + began.elapsed();
        facts.quiet = quiet_since.elapsed();
        let spent_ms = u64::try_from(facts.watched.as_millis()).unwrap_or(u64::MAX);
        match judge(&window.terms, &window.stage, &facts) {
            Judgement::Wait(missing) => {
                if missing != window.missing || worked != window.worked {
                    began = Instant::now();
                    change(here, &window, |w| {
                        (w.missing, w.worked, w.spent_ms) = (missing, worked, spent_ms)
                    })?;
                }
                thread::sleep(LOOK);
            }
            Judgement::Reboot => {
                reboot(here, &window, worked, &facts.boot_id)?;
                began = Instant::now();
                thread::sleep(LOOK);
            }
            Judgement::Decide(event) => {
                let said = match &event {
                    Event::Confirm => "every loop has worked and settled".to_owned(),
                    Event::Fail(why) => format!("not confirmed: {why}"),
                    Event::FallBack | Event::Withdraw => "taken back".to_owned(),
                };
                let failed = matches!(event, Event::Fail(_));
                change(here, &window, |w| {
                    (w.missing, w.worked) = (Vec::new(), worked);
                    w.verdict = rule(w.verdict.clone(), event);
                })?;
                let said = format!("{}: {said}", window.journal);
                if failed {
                    letters::tell(here, &format!("cutover {said}"));
                }
                events::record(here, "cutover-verdict", None, said);
            }
        }
    }
    Ok(())
}

/// Writes a change down, unless the window became another one meanwhile: then that one counts.
fn change(here: &Here, seen: &Window, change: impl FnOnce(&mut Window)) -> Result<()> {
    let _turn = turn(here)?;
    match read(here)? {
        Some(mut now) if now.journal == seen.journal && now.verdict == Verdict::Open => {
            change(&mut now);
            durable::replace_json(&file(here), &now, 0o644)
        }
        _ => Ok(()),
    }
}

type Worked = std::collections::BTreeMap<ccorch_core::names::LoopName, jiff::Timestamp>;

/// Looks at everything; also when each loop first worked.
fn look(here: &Here, window: &Window, baseline: &Baseline) -> Result<(Facts, Worked)> {
    let status = parts(here)?;
    let rebooted = match &window.stage {
        Stage::Rebooting { from } => *from != status.boot_id,
        Stage::Watching => false,
    };
    // What was written before this boot began proves nothing of this boot.
    let since = if rebooted { Some(clock::boot_time()?) } else { None };
    let mut worked = window.worked.clone();
    let mut loops = Vec::new();
    for report in status.loops.iter().filter(|report| report.state != LoopWord::Held) {
        let restarts = loop_state::read(here, &report.name)?.memory.restarts;
        let sign = baseline.sign_of(here, &report.name, since)?;
        if let Some(Some(at)) = sign {
            worked.entry(report.name.clone()).or_insert(at);
        }
        let wrong = (report.state != LoopWord::Running)
            .then(|| format!("loop {} is {}: {}", report.name, word(report.state), report.reason));
        loops.push(LoopFacts {
            name: report.name.clone(),
            wrong,
            worked: sign.map(|at| at.is_some()),
            ends: restarts.saturating_sub(baseline.restarts(&report.name)),
        });
    }
    let mut missing = machine(&status);
    if rebooted && !checks::has_receipt(here, &status.boot_id)? {
        missing.push("the receipt of this boot is not complete yet".into());
    }
    // Others are asked only when this host itself is well: they are no part of what is polled twice a second.
    if missing.is_empty() && loops.iter().all(|one| one.wrong.is_none() && one.worked != Some(false)) {
        missing.extend(checks::missing(here, baseline));
    }
    let (watched, quiet) = (Duration::ZERO, Duration::ZERO);
    let lost = lost(here)?;
    let all_held = loops.is_empty() && !status.loops.is_empty();
    Ok((Facts { boot_id: status.boot_id, loops, all_held, missing, lost, watched, quiet }, worked))
}

fn machine(status: &Status) -> Vec<String> {
    let mut missing = Vec::new();
    if !status.supervisor {
        missing.push("the supervisor does not answer".to_owned());
    }
    if !status.lease.may_start {
        missing.push(status.lease.reason.clone());
    }
    missing
}

/// A lease that went elsewhere comes back by another cutover only.
fn lost(here: &Here) -> Result<Option<String>> {
    let file = lease::file(here)?;
    let held = file.is_some_and(|f| f.lease.state == Standing::Active && f.lease.holder == here.name);
    Ok((!held).then(|| "this host does not hold the lease any more".to_owned()))
}

/// The mark first: a host that went down before it was written would be rebooted again.
fn reboot(here: &Here, window: &Window, worked: Worked, boot_id: &str) -> Result<()> {
    Baseline::take(here)?.keep_restarts_of(&Baseline::read(here)?).write(here)?;
    change(here, window, |w| {
        (w.stage, w.worked, w.spent_ms) = (Stage::Rebooting { from: boot_id.into() }, worked, 0);
        w.missing = vec!["it reboots".into()];
    })?;
    events::record(here, "cutover-reboot", None, format!("{}: a reboot is to be proven", window.journal));
    Ok(systemd::systemctl(&["reboot", "--no-block"])?)
}

fn file(here: &Here) -> PathBuf {
    here.paths.state().join("confirm.json")
}

fn turn(here: &Here) -> Result<lock::Lock> {
    lock::wait(&here.paths.state().join("confirm.lock"))
}
