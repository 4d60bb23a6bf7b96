//! `ccorch notify`: a message to the people who look after the rig.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::names::{HostName, LoopName};
use ccorch_io::spool::{self, Full};
use serde_json::json;

use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::letters::{LONGEST, Letter};
use crate::here::{Here, events};
use crate::remote;

/// Tell the people who look after the rig something, as its `notify` says
///
/// Agents run it inside their loop: the message is marked with the loop's name. The supervisor sends it, at once or when it
/// is back; each text goes out once an hour, and no more than ten of a loop within ten minutes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ccorch notify \"phase 2 needs a decision\"\n  make 2>&1 | tail -n 20 | ccorch notify"
)]
pub struct Args {
    /// The words [default: standard input]
    text: Vec<String>,
    /// The loop that says it
    #[arg(long = "loop", value_name = "LOOP", env = "CCORCH_LOOP")]
    name: Option<LoopName>,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// On this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let here = Here::load(context)?;
    let folder = match &args.name {
        Some(name) if here.rig.loops.contains_key(name) => here.paths.loop_outbox(name),
        Some(name) => {
            let names = here.rig.loops.keys().map(LoopName::as_str).collect::<Vec<_>>().join(", ");
            return Err(Problem::new(Kind::General, format!("no loop `{name}`"))
                .hint(format!("the loops are: {names}"))
                .into());
        }
        None => here.paths.outbox(),
    };
    let letter = Letter::new(args.name.as_ref(), &words(&args.text)?);
    if letter.text.is_empty() {
        return Err(Problem::new(Kind::General, "there is nothing to say")
            .hint("give the words as an argument, or on standard input")
            .into());
    }
    if !args.dry_run {
        spool::leave(&folder, &serde_json::to_vec(&letter)?, Full::Refuse).map_err(|error| {
            Problem::new(Kind::General, format!("the message could not be left: {error:#}"))
                .hint("run it inside the loop, as the loop's user; or as root, without `--loop`")
        })?;
        if args.name.is_none() {
            events::record(&here, "notify", None, &letter.text);
        }
    }
    let sinks = here.rig.notify.len();
    if args.json {
        println!(
            "{}",
            json!({ "loop": letter.about, "text": letter.text, "sinks": sinks, "left": !args.dry_run })
        );
        return Ok(ExitCode::SUCCESS);
    }
    let would = if args.dry_run { "would be " } else { "" };
    match sinks {
        0 => println!("{would}written to the events alone: the rig's `notify` names nobody"),
        1 => println!("{would}left for the supervisor to send"),
        _ => println!("{would}left for the supervisor to send, to {sinks} places"),
    }
    Ok(ExitCode::SUCCESS)
}

fn words(given: &[String]) -> Result<String> {
    if !given.is_empty() {
        return Ok(given.join(" "));
    }
    let mut bytes = Vec::new();
    // What is longer is cut anyway.
    std::io::stdin().take(LONGEST as u64 * 2).read_to_end(&mut bytes).context("read standard input")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
