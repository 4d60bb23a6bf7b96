//! What a person sees of a cutover: each step as it happens, and at the end where the time went.

use std::time::Duration;

use anyhow::Result;
use ccorch_core::cutover::{Entry, Journal, Outcome, Plan, Step};
use jiff::Timestamp;

use super::live;
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

/// A step is undone.
pub fn undoes(step: Step, does: &str) {
    live::end(&format!("{:<13} undo: {does}", step.name()));
}

/// The end: a table of steps and times, and how long nobody worked.
pub fn end(journal: &Journal, outcome: Outcome, json: bool) -> Result<()> {
    let times = times(journal);
    let dark = dark(journal);
    if json {
        let steps: Vec<_> = times
            .iter()
            .map(|(step, took)| serde_json::json!({ "step": step, "ms": u64::try_from(took.as_millis()).unwrap_or(0) }))
            .collect();
        let value = serde_json::json!({
            "journal": journal.id, "outcome": outcome, "from": journal.plan.from.name, "to": journal.plan.to.name,
            "steps": steps, "downtime_ms": dark.map(|d| u64::try_from(d.as_millis()).unwrap_or(0)),
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    let rows: Vec<[String; 2]> = times
        .iter()
        .map(|(step, took)| [step.name().into(), format!("{:.1} s", took.as_secs_f64())])
        .collect();
    print!("{}", table::render(["STEP", "TOOK"], &rows));
    if let Some(dark) = dark {
        println!(
            "downtime: {:.1} s, from the first stop on {} to work on {}",
            dark.as_secs_f64(),
            journal.plan.from.name,
            journal.plan.to.name
        );
    }
    match outcome {
        Outcome::Completed => {
            println!("cutover {} completed: {} runs the rig", journal.id, journal.plan.to.name)
        }
        Outcome::RolledBack => {
            println!("cutover {} rolled back: {} runs the rig", journal.id, journal.plan.from.name)
        }
    }
    Ok(())
}

/// How long each step took: from its last start to its end.
fn times(journal: &Journal) -> Vec<(Step, Duration)> {
    let ends = |step: Step| at(journal, |entry| matches!(entry, Entry::Done { step: s, .. } if *s == step));
    let starts = |step: Step| at(journal, |entry| matches!(entry, Entry::Started { step: s } if *s == step));
    let took = |step: &Step| Some((*step, between(starts(*step)?, ends(*step)?)));
    journal.plan.steps.iter().filter_map(took).collect()
}

/// From the moment the source is stopped to the target's proof of work.
fn dark(journal: &Journal) -> Option<Duration> {
    let from = journal.lines.iter().find(|l| matches!(l.entry, Entry::Started { step: Step::Quiesce }))?.at;
    let to = at(journal, |entry| matches!(entry, Entry::Done { step: Step::Verify, .. }))?;
    Some(between(from, to))
}

fn at(journal: &Journal, wanted: impl Fn(&Entry) -> bool) -> Option<Timestamp> {
    journal.lines.iter().rfind(|line| wanted(&line.entry)).map(|line| line.at)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// What would be done, step by step, with the undo of each.
pub fn dry_run(plan: &Plan) {
    for step in &plan.steps {
        println!("{:<13} {}", step.name(), plan.describe(*step));
        if step.has_undo() {
            println!("{:<13}   undo: {}", "", plan.describe_undo(*step));
        }
    }
}
