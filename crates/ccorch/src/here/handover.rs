//! A driver on the source hands over to this host, the target: it keeps who drives and by which rig file, and begins to drive,
//! in a unit of its own, as soon as it has judged itself and the source answers it. Nothing is taken in hand before. A driver that
//! is killed, or ends with its machine, is started anew at the next heartbeat.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::Journal;
use ccorch_core::cutover::confirm::{Verdict, Window};
use ccorch_core::cutover::itself::{HandOver, MOST_DRIVERS, Unit, takes_up, unit_name};
use ccorch_core::lease::Driver;
use ccorch_io::command::Command;
use ccorch_io::{durable, systemd};

use super::runtime::Runtime;
use super::{Here, confirm, driver, events, journals, letters};

/// A source that reboots is asked again so much later, for as long as the driving is this host's.
const AGAIN: Duration = Duration::from_secs(5);
/// It logs in to both hosts.
const ASK: Duration = Duration::from_secs(60);

/// Keeps it, in the name of the driver whose act this is.
pub fn keep(here: &Here, by: &Driver, user: &str, rig: &str) -> Result<()> {
    let text = journals::read(here, &by.journal)?.context("this host has no copy of the journal")?;
    let plan = Journal::read(&text).context("this host's copy of the journal")?.plan;
    let handed = HandOver {
        journal: by.journal.clone(),
        turn: by.turn,
        from: plan.from.name,
        to: plan.to.name,
        user: user.into(),
        rig: rig.into(),
        started: 0,
    };
    // A driver that asks once more, not having heard the answer, hands over nothing new.
    match durable::read_json::<HandOver>(&file(here)) {
        Ok(Some(known)) if HandOver { started: 0, ..known.clone() } == handed => Ok(()),
        _ => durable::replace_json(&file(here), &handed, 0o600),
    }
}

/// At every heartbeat: a driver that this host started and that died before the end is started anew, by who watches the window.
pub fn heed(here: &Here) -> Result<()> {
    match due(here)? {
        Some((handed, _)) if !drives(&handed)? => confirm::start_watching(here),
        _ => Ok(()),
    }
}

/// Whether a driver of this host's is at work.
fn drives(handed: &HandOver) -> Result<bool> {
    Ok(systemd::main_process(&unit_name(&handed.journal))?.0)
}

/// Begins to drive, if that is this host's to do. A host that failed does not wait for a source that does not answer: it has a
/// way of its own back. What keeps it from driving is an event; a person can still go on.
pub fn take_up(here: &Here) {
    let mut told = None;
    loop {
        let (due, failed) = match due(here) {
            Ok(Some((due, window))) => (due, matches!(window.verdict, Verdict::Failed { .. })),
            Ok(None) => return,
            Err(error) => return events::record(here, "driving-not-taken-up", None, format!("{error:#}")),
        };
        match drives(&due) {
            Ok(true) => return,
            Ok(false) if due.started >= MOST_DRIVERS => return give_up(here, due),
            _ => {}
        }
        match drive(here, &due) {
            Ok(unit) => return events::record(here, "driving-taken-up", None, format!("in {unit}")),
            Err(error) => {
                let why = format!("{error:#}");
                if told.as_ref() != Some(&why) {
                    events::record(here, "driving-not-taken-up", None, &why);
                    told = Some(why);
                }
            }
        }
        if failed {
            return;
        }
        thread::sleep(AGAIN);
    }
}

/// Says once that a person has to look.
fn give_up(here: &Here, handed: HandOver) {
    let said = format!(
        "{MOST_DRIVERS} drivers of cutover {} ended here before it was over; `journalctl -u {}` tells why, and `ccorch cutover \
         --resume` goes on",
        handed.journal,
        unit_name(&handed.journal)
    );
    events::record(here, "driving-given-up", None, &said);
    letters::tell(here, &said);
    let kept = durable::replace_json(&file(here), &HandOver { started: MOST_DRIVERS + 1, ..handed }, 0o600);
    if let Err(error) = kept {
        eprintln!("warning: {error:#}");
    }
}

/// What is handed over to this host, as long as that is not in anybody else's hand.
fn due(here: &Here) -> Result<Option<(HandOver, Window)>> {
    let handed: Option<HandOver> = durable::read_json(&file(here))?;
    let (Some(handed), Some(window)) = (handed, confirm::read(here)?) else { return Ok(None) };
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let due = takes_up(&handed, &window, driver::seen(here)?.as_ref(), machine.trim());
    Ok((due && Runtime::of(here) == Runtime::Systemd).then_some((handed, window)))
}

/// Starts the driver, once its user reaches both hosts.
fn drive(here: &Here, handed: &HandOver) -> Result<String> {
    let program = std::env::current_exe().context("find this very program")?;
    let program = program.to_str().context("the program's path is no UTF-8")?;
    let text = journals::read(here, &handed.journal)?.context("this host has no copy of the journal")?;
    let hash = Journal::read(&text).context("this host's copy of the journal")?.origin.plan_hash;
    let (rig, from, to) = (handed.rig.as_str(), handed.from.as_str(), handed.to.as_str());
    let asks = [program, "--rig", rig, "can-drive", "--from", from, "--to", to, "--plan-hash", &hash];
    let drives = [program, "--rig", rig, "cutover", "--from", from, "--to", to, "--resume"];
    start(handed, &format!("{}-asks", handed.journal), &asks, &["--wait", "--pipe"])?;
    // First: what it has in hand is this host's to go on with, however soon it dies.
    let counted = HandOver { started: handed.started + 1, ..handed.clone() };
    durable::replace_json(&file(here), &counted, 0o600)?;
    start(handed, &handed.journal, &drives, &[])
}

fn start(handed: &HandOver, id: &str, argv: &[&str], options: &[&str]) -> Result<String> {
    let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
    let unit = Unit { id, user: &handed.user, environment: &[], files: None, argv: &argv };
    let start = unit.start();
    let line = argv[1..].join(" ");
    Command::new(&start[0])
        .args(options)
        .args(&start[1..])
        .deadline(ASK)
        .shown_as(format!("ccorch {line}"))
        .run()?;
    Ok(unit.name())
}

fn file(here: &Here) -> PathBuf {
    here.paths.state().join("handover.json")
}
