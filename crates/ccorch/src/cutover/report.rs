//! What a person sees of a cutover: each step as it happens, and at the end where the time went, on the terminal and as a
//! page beside the journal.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use ccorch_core::cutover::work::Gap;
use ccorch_core::cutover::{Entry, Journal, Outcome, Plan, SideKind, Step, page};
use ccorch_io::durable;
use jiff::Timestamp;

use super::log::Log;
use super::{live, signs};
use crate::context::LoadedRig;
use crate::table;

/// A step begins.
pub fn begins(step: Step, does: &str) {
    live::begin(step.name(), does);
}

/// A step is done.
pub fn done(step: Step, took: Duration, note: &str) {
    live::end(&format!("{:<13} done in {:.1} s: {note}", step.name(), took.as_secs_f64()));
}

/// A step failed.
pub fn failed(step: Step, why: &str) {
    live::end(&format!("{:<13} failed: {why}", step.name()));
}

/// A step is about to be undone.
pub fn undoes(step: Step, does: &str) {
    live::end(&format!("{:<13} undo: {does}", step.name()));
}

/// A step is undone, and something was kept.
pub fn undone(step: Step, note: &str) {
    if !note.is_empty() {
        live::end(&format!("{:<13} undone: {note}", step.name()));
    }
}

/// The end: a table of steps and times, how long nobody worked, and the page.
pub fn end(loaded: &LoadedRig, log: &Log, outcome: Outcome, json: bool) -> Result<()> {
    let journal = &log.journal;
    let gap = signs::read(loaded, &journal.id)?.filter(|_| outcome == Outcome::Completed);
    let page = write_page(log, gap.as_ref());
    let times = times(journal);
    if json {
        let steps: Vec<_> =
            times.iter().map(|(step, took)| serde_json::json!({ "step": step, "ms": ms(*took) })).collect();
        let value = serde_json::json!({
            "journal": journal.id, "outcome": outcome, "from": journal.plan.from.name, "to": journal.plan.to.name,
            "steps": steps, "downtime_ms": gap.map(|gap| ms(gap.length())), "gap": gap,
            "report": page.as_ref().ok(),
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    let rows: Vec<[String; 2]> = times
        .iter()
        .map(|(step, took)| [step.name().into(), format!("{:.1} s", took.as_secs_f64())])
        .collect();
    print!("{}", table::render(["STEP", "TOOK"], &rows));
    let (from, to) = (&journal.plan.from.name, &journal.plan.to.name);
    match (outcome, gap) {
        (Outcome::Completed, Some(gap)) => println!("downtime: {}", words(&gap, from.as_str(), to.as_str())),
        (Outcome::Completed, None) => println!("downtime: not known"),
        (Outcome::RolledBack | Outcome::Superseded, _) => {}
    }
    match page {
        Ok(path) => println!("report: {}", path.display()),
        // The cutover is over, whether or not there is room for a page about it.
        Err(error) => eprintln!("warning: there is no report: {error:#}"),
    }
    if outcome == Outcome::Completed {
        println!("cutover {} completed: {}", journal.id, result(&journal.plan));
    }
    Ok(())
}

fn result(plan: &Plan) -> String {
    let to = &plan.to.name;
    match (plan.in_place(), plan.to.kind) {
        (false, _) => format!("{to} runs the rig"),
        (true, SideKind::Ccorch) => {
            format!(
                "ccorch runs the rig on {to}; take `hosts.{to}.runs` out of the rig file when you are sure"
            )
        }
        (true, SideKind::Legacy) => format!("{to} runs the rig as it did before ccorch"),
    }
}

fn words(gap: &Gap, from: &str, to: &str) -> String {
    let seconds = gap.length().as_secs_f64();
    let first = if from == to { "to the first after it".to_owned() } else { format!("to the first on {to}") };
    format!("{seconds:.1} s, from the last sign of work on {from} {first}")
}

/// Writes the page beside the journal; where.
fn write_page(log: &Log, gap: Option<&Gap>) -> Result<PathBuf> {
    let path = log.path.with_extension("html");
    durable::replace(&path, page::render(&log.journal, gap).as_bytes(), 0o600)?;
    Ok(path)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(0)
}

/// How long each step took: from its last start to its end.
pub fn times(journal: &Journal) -> Vec<(Step, Duration)> {
    let ends = |step: Step| at(journal, |entry| matches!(entry, Entry::Done { step: s, .. } if *s == step));
    let starts = |step: Step| at(journal, |entry| matches!(entry, Entry::Started { step: s } if *s == step));
    let took = |step: &Step| Some((*step, between(starts(*step)?, ends(*step)?)));
    journal.plan.steps.iter().filter_map(took).collect()
}

fn at(journal: &Journal, wanted: impl Fn(&Entry) -> bool) -> Option<Timestamp> {
    journal.lines.iter().rfind(|line| wanted(&line.entry)).map(|line| line.at)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
