//! `ccorch phase`: where in its plans the rig is.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::names::HostName;
use clap::Subcommand;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::{Here, events, phases};
use crate::remote;
use crate::supervisor::control::{self, Request};

/// Show the phase the rig is in, or move it
///
/// The phase index is the rig's resume point: loops are told of a change at once, or at their next start.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ccorch phase show --host vm\n  ccorch phase next --host vm")]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Do it on this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, global = true, value_name = "HOST")]
    host: Option<HostName>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The plans, and which of them it is at
    #[command(after_help = "Example: ccorch phase show --json")]
    Show,
    /// Go to a phase, by its index or its id
    #[command(after_help = "Example: ccorch phase set 1d --dry-run")]
    Set {
        /// Index (from 0; the number of phases means that all are done) or id
        phase: String,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Go to the next phase
    #[command(after_help = "Example: ccorch phase next")]
    Next {
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let here = Here::load(context)?;
    match &args.what {
        What::Show => show(&here, args.json)?,
        What::Set { phase, dry_run } => {
            let index = find(&here, phase)?;
            go(&here, index, *dry_run, args.json)?;
        }
        What::Next { dry_run } => {
            let index = here.phase_index()?.saturating_add(1);
            if index > here.rig.phases.len() {
                return Err(Problem::new(Kind::Conflict, "every phase is done already").into());
            }
            go(&here, index, *dry_run, args.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(here: &Here, json: bool) -> Result<()> {
    let index = here.phase_index()?;
    if json {
        let done =
            |name: &_| here.rig.phases.get(index).is_some_and(|phase| phases::says_done(here, name, phase));
        let says: Vec<_> =
            here.rig.done_when.iter().map(|name| (name.to_string(), done(name).into())).collect();
        let says: serde_json::Map<String, serde_json::Value> = says.into_iter().collect();
        let shown = serde_json::json!({
            "index": index, "phases": here.rig.phases, "says_done": says, "deferred": phases::deferred(here),
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    for (at, phase) in here.rig.phases.iter().enumerate() {
        let mark = if at == index { ">" } else { " " };
        let word = if at < index { "done" } else { "" };
        println!("{}", format!("{mark} {at:>3}  {:<8} {}  {word}", phase.id, phase.plan).trim_end());
    }
    if index >= here.rig.phases.len() {
        println!("every phase is done");
    }
    for name in &here.rig.done_when {
        if let Some(phase) = here.rig.phases.get(index) {
            let says = if phases::says_done(here, name, phase) { "says done" } else { "not done yet" };
            println!("{name}: {says}");
        }
    }
    Ok(())
}

fn find(here: &Here, wanted: &str) -> Result<usize> {
    let all = &here.rig.phases;
    // An id may look like an index; a person who has both means the id.
    let by_id = all.iter().position(|phase| phase.id == wanted);
    let by_index = || wanted.parse().ok().filter(|index| *index <= all.len());
    by_id.or_else(by_index).ok_or_else(|| {
        let ids = all.iter().map(|phase| phase.id.as_str()).collect::<Vec<_>>().join(", ");
        Problem::new(Kind::General, format!("no phase `{wanted}`"))
            .hint(format!("the phases are: {ids}; or an index from 0 to {}", all.len()))
            .into()
    })
}

fn go(here: &Here, index: usize, dry_run: bool, json: bool) -> Result<()> {
    let name =
        here.rig.phases.get(index).map_or("every phase done".to_owned(), |p| format!("phase {}", p.id));
    let there = here.phase_index().is_ok_and(|now| now == index);
    let said = match (there, dry_run) {
        (true, _) => format!("nothing to do: it is at index {index} ({name})"),
        (false, true) => format!("would go to index {index} ({name})"),
        (false, false) => format!("index {index} ({name})"),
    };
    let changed = !there && !dry_run;
    if changed {
        phases::write_index(here, index)?;
        events::record(here, "phase-set", None, format!("by hand to index {index} ({name})"));
    }
    if json {
        println!("{}", serde_json::json!({ "index": index, "changed": changed }));
    } else {
        println!("{said}");
    }
    if changed && control::ask(&here.paths, &Request::Phase).is_err() {
        eprintln!("the supervisor does not answer; it reads the phase when it starts");
    }
    Ok(())
}
