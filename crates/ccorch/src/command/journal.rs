//! `ccorch journal`: what cutovers did, step by step, with times.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Journal, Status, timeline};
use ccorch_core::lease::{Driver, Turn};
use ccorch_core::names::HostName;
use clap::Subcommand;

use super::plumbing::ByDriver;
use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::{Here, driver, journals};
use crate::{remote, table};

/// See what cutovers did: each step with its time
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ccorch journal list\n  ccorch journal show\n  ccorch journal show --host vm"
)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Look at the copies on this host of the rig, over ssh [default: this machine's own]
    #[arg(long, global = true, value_name = "HOST")]
    host: Option<HostName>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every cutover, oldest first
    #[command(after_help = "Example: ccorch journal list --host vm")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One cutover: its steps, how long each took, who drove it
    #[command(after_help = "Example: ccorch journal show")]
    Show {
        /// Its id [default: the newest]
        id: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Keeps a driver's journal, which comes on standard input
    #[command(hide = true)]
    Keep {
        #[command(flatten)]
        by: ByDriver,
    },
    /// Prints this host's copy as it is; with a turn, this host first hears of the new driver
    #[command(hide = true)]
    Print {
        id: String,
        #[arg(long, requires = "by")]
        turn: Option<u64>,
        #[arg(long)]
        by: Option<String>,
    },
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    match &args.what {
        What::Keep { by } => {
            let here = Here::load(context)?;
            here.create_folders()?;
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("read the journal from standard input")?;
            let driver = by.driver();
            journals::keep(&here, &driver.journal, driver.turn, &text)?;
        }
        What::Print { id, turn, by } => {
            let here = Here::load(context)?;
            let driver = turn.map(|turn| Driver { journal: id.clone(), turn: Turn(turn) });
            let by = by.as_deref().unwrap_or_default();
            here.create_folders()?;
            let _act = driver.map(|driver| driver::admit(&here, &driver, by)).transpose()?;
            print!("{}", journals::read(&here, id)?.unwrap_or_default());
        }
        What::List { json } => list(&all(context)?, *json)?,
        What::Show { id, json } => {
            let mut all = all(context)?;
            let id = id.clone().or_else(|| all.keys().next_back().cloned());
            let journal = id.as_ref().and_then(|id| all.remove(id)).ok_or_else(|| {
                let what =
                    id.map_or("there is no journal yet".into(), |id| format!("there is no journal {id}"));
                Problem::new(Kind::General, what)
                    .hint("`ccorch journal list` names them, `--host HOST` looks at a host's copies")
            })?;
            show(&journal, *json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// This machine's journals: the driver's own, and copies where it is a host; of two the newer. One that cannot be read is
/// told of and passed over.
fn all(context: &Context) -> Result<BTreeMap<String, Journal>> {
    let mut folders: Vec<PathBuf> = vec![context.host_paths.journals()];
    if let Ok(loaded) = context.rig() {
        folders.push(loaded.operator()?.journals());
    }
    let mut all: BTreeMap<String, Journal> = BTreeMap::new();
    for path in folders.iter().flat_map(|folder| journals::files(folder)) {
        match journals::text(&path).and_then(|text| journals::parse(&text, &path)) {
            Ok(journal) if all.get(&journal.id).is_none_or(|other| journal.is_newer_than(other)) => {
                all.insert(journal.id.clone(), journal);
            }
            Ok(_) => {}
            Err(error) => eprintln!("warning: {error:#}"),
        }
    }
    Ok(all)
}

fn state(journal: &Journal) -> String {
    match journal.outcome() {
        Some(outcome) => serde_json::to_string(&outcome).unwrap_or_default().trim_matches('"').to_owned(),
        None if journal.goes_back() => "going back".into(),
        None => "unfinished".into(),
    }
}

fn list(all: &BTreeMap<String, Journal>, json: bool) -> Result<()> {
    if json {
        let values: Vec<_> = all.values().map(value).collect();
        println!("{}", serde_json::to_string_pretty(&values)?);
        return Ok(());
    }
    if all.is_empty() {
        println!("no cutover yet");
        return Ok(());
    }
    let rows: Vec<[String; 5]> = all
        .values()
        .map(|journal| {
            let plan = &journal.plan;
            let driver =
                journal.driver().map_or("nobody yet".into(), |(turn, by)| format!("{by}, turn {turn}"));
            [journal.id.clone(), plan.from.name.to_string(), plan.to.name.to_string(), state(journal), driver]
        })
        .collect();
    print!("{}", table::render(["CUTOVER", "FROM", "TO", "STATE", "DRIVER"], &rows));
    Ok(())
}

fn show(journal: &Journal, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(&value(journal))?);
        return Ok(());
    }
    let plan = &journal.plan;
    println!("cutover {} from {} to {}: {}", journal.id, plan.from.name, plan.to.name, state(journal));
    if let Some((turn, by)) = journal.driver() {
        println!("driven by {by} (turn {turn})");
    }
    let rows: Vec<[String; 5]> = timeline(journal)
        .into_iter()
        .map(|row| {
            let took = row.took().map_or("-".into(), |took| format!("{:.1} s", took.as_secs_f64()));
            let word = match row.status {
                Status::Pending => "pending",
                Status::Started => "begun",
                Status::Done => "done",
                Status::Failed => "failed",
                Status::Undoing => "undoing",
                Status::Undone => "undone",
            };
            let note = row.note.lines().next().unwrap_or_default().to_owned();
            [row.step.name().into(), word.into(), row.began.strftime("%H:%M:%S").to_string(), took, note]
        })
        .collect();
    print!("{}", table::render(["STEP", "STATE", "BEGAN", "TOOK", "NOTE"], &rows));
    Ok(())
}

fn value(journal: &Journal) -> serde_json::Value {
    let steps: Vec<_> = timeline(journal)
        .iter()
        .map(|row| {
            serde_json::json!({
                "step": row.step, "status": row.status, "began": row.began, "ended": row.ended,
                "ms": row.took().map(|took| took.as_millis()), "note": row.note,
            })
        })
        .collect();
    let driver = journal.driver().map(|(turn, by)| serde_json::json!({ "turn": turn, "by": by }));
    serde_json::json!({
        "id": journal.id, "rig": journal.rig, "from": journal.plan.from.name, "to": journal.plan.to.name,
        "state": state(journal), "driver": driver, "ccorch": journal.origin.ccorch, "steps": steps,
    })
}
