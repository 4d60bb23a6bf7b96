//! `ccorch loops`: what a person needs beside the table.

mod capture;
mod nudge;
mod show;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ccorch_core::names::{HostName, LoopName};
use ccorch_core::units::loop_unit;
use clap::Subcommand;

use super::status::loops_table;
use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::here::runtime::{self, NO_TMUX, Runtime};
use crate::here::status::{LoopReport, LoopWord};
use crate::here::{Here, carried, events};
use crate::remote;
use crate::supervisor::control::{Request, ask, status};

/// How long `start` and `restart` wait until the loop runs.
const UP: Duration = Duration::from_secs(60);

/// List, attach to, stop, start and restart loops, and read what happened to them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ccorch loops list --host vm\n  ccorch loops attach builder --host vm")]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Do it on this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, global = true, value_name = "HOST")]
    host: Option<HostName>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One line a loop
    #[command(after_help = "Example: ccorch loops list --host vm --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Everything about one loop: state, reason, evidence, and its last events
    #[command(after_help = "Example: ccorch loops show builder --host vm")]
    Show {
        /// The loop
        name: LoopName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// See a loop's terminal (detach with C-b d)
    #[command(after_help = "Example: ccorch loops attach builder --host vm --read-only")]
    Attach {
        /// The loop
        name: LoopName,
        /// Look only: what is typed goes nowhere
        #[arg(long)]
        read_only: bool,
    },
    /// Stop a loop at its safe point and hold it down
    #[command(
        after_help = "Example: ccorch loops stop builder --host vm\n\nIt stays down over reboots, until `ccorch loops start`."
    )]
    Stop(Target),
    /// Let a loop run again
    #[command(after_help = "Example: ccorch loops start builder --host vm")]
    Start(Target),
    /// Stop a loop at its safe point and start it again
    #[command(after_help = "Example: ccorch loops restart builder --host vm")]
    Restart(Target),
    Nudge(nudge::Args),
    /// Save what the verdict on a loop rests on: screen, hooks, transcript
    ///
    /// The command that is printed shows the verdict on it. The folder is made on the loop's host, for root alone.
    #[command(after_help = "Example: ccorch loops capture builder /root/seen-1")]
    Capture {
        /// The loop
        name: LoopName,
        /// A new or empty folder
        dir: PathBuf,
        /// Print JSON: the folder, and the command as words
        #[arg(long)]
        json: bool,
    },
    /// What a cutover carries of every loop's state, by hashes, as JSON (what it compares both hosts by)
    #[command(hide = true)]
    Carried,
    /// What happened to a loop: its events and its unit's journal
    #[command(after_help = "Example: ccorch loops logs builder --host vm -n 50")]
    Logs {
        /// The loop
        name: LoopName,
        /// How many events and journal lines
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
        /// Print the events as a JSON array, and no journal
        #[arg(long)]
        json: bool,
    },
}

/// Which loop, and whether for real.
#[derive(Debug, clap::Args)]
struct Target {
    /// The loop
    name: LoopName,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the loop's entry of `loops list --json` afterwards
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return match &args.what {
            What::Nudge(nudge) => nudge::elsewhere(context, host, nudge),
            _ => remote::again(context, host),
        };
    }
    let here = Here::load(context)?;
    match &args.what {
        What::List { json } => {
            let loops = status(&here.paths)?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&loops)?);
            } else {
                print!("{}", loops_table(&loops));
            }
        }
        What::Show { name, json } => show::show(&here, known(&here, name)?, *json)?,
        What::Attach { name, read_only } => attach(&here, name, *read_only)?,
        What::Stop(target) if target.dry_run => {
            would(&here, target, "stopped at its safe point and held down")?
        }
        What::Start(target) if target.dry_run => would(&here, target, "started, if it does not run")?,
        What::Restart(target) if target.dry_run => {
            would(&here, target, "stopped at its safe point and started")?
        }
        What::Stop(target) => tell(&ask(&here.paths, &Request::Stop { name: target.name.clone() })?, target)?,
        What::Start(target) => up(&here, target, &Request::Start { name: target.name.clone() })?,
        What::Restart(target) => up(&here, target, &Request::Restart { name: target.name.clone() })?,
        What::Nudge(args) => {
            known(&here, &args.name)?;
            nudge::run(&here, args)?;
        }
        What::Capture { name, dir, json } => capture::capture(&here, known(&here, name)?, dir, *json)?,
        What::Carried => println!("{}", serde_json::to_string(&carried::list(&here))?),
        What::Logs { name, lines, json } => logs(&here, known(&here, name)?, *lines, *json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn known<'a>(here: &Here, name: &'a LoopName) -> Result<&'a LoopName> {
    if here.rig.loops.contains_key(name) {
        return Ok(name);
    }
    let names = here.rig.loops.keys().map(LoopName::as_str).collect::<Vec<_>>().join(", ");
    Err(Problem::new(Kind::General, format!("no loop `{name}`"))
        .hint(format!("the loops are: {names}"))
        .into())
}

fn would(here: &Here, target: &Target, what: &str) -> Result<()> {
    known(here, &target.name)?;
    tell(&status(&here.paths)?, target)?;
    // With JSON the entry is all there is to read; the sentence is for people.
    eprintln!("would be {what}");
    Ok(())
}

fn attach(here: &Here, name: &LoopName, read_only: bool) -> Result<()> {
    let tmux = runtime::tmux(here, known(here, name)?);
    if !tmux.is_alive() {
        let problem = Problem::new(Kind::General, format!("loop {name} does not run on {}", here.name));
        return Err(problem
            .hint(format!("`ccorch loops start {name}`, or `ccorch loops logs {name}`"))
            .into());
    }
    let argv = tmux.attach_argv(read_only);
    Err(Command::new(&argv[0]).args(&argv[1..]).exec()).context("attach with tmux")
}

fn up(here: &Here, target: &Target, request: &Request) -> Result<()> {
    let name = &target.name;
    let mut loops = ask(&here.paths, request)?;
    let until = Instant::now() + UP;
    loop {
        let word = loops.iter().find(|l| l.name == *name).map(|l| (l.state, l.pid, l.reason.clone()));
        match word {
            // It runs when its agent does: the terminal is there a moment before.
            Some((LoopWord::Running, Some(_), _)) => {
                return tell(&loops, target);
            }
            Some((LoopWord::Starting | LoopWord::Running, ..)) if Instant::now() < until => {}
            other => {
                let why = other.map_or("it is not known".into(), |(_, _, reason)| reason);
                let message = format!("loop {name} does not run: {why}");
                if why.starts_with(NO_TMUX) {
                    return Err(Problem::new(Kind::Unfit, message).hint("install tmux on this host").into());
                }
                let problem = Problem::new(Kind::General, message);
                return Err(problem.hint(format!("`ccorch loops logs {name}` tells more")).into());
            }
        }
        thread::sleep(Duration::from_millis(100));
        loops = status(&here.paths)?;
    }
}

fn tell(loops: &[LoopReport], target: &Target) -> Result<()> {
    let one: Vec<LoopReport> = loops.iter().filter(|l| l.name == target.name).cloned().collect();
    if target.json {
        println!("{}", serde_json::to_string_pretty(&one)?);
    } else {
        print!("{}", loops_table(&one));
    }
    Ok(())
}

fn logs(here: &Here, name: &LoopName, lines: usize, json: bool) -> Result<()> {
    let events = events::last(here, lines, |event| event.about.as_ref() == Some(name))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&events)?);
        return Ok(());
    }
    for event in events {
        println!("{}  {:<14}  {}", event.at, event.what, event.detail.replace('\n', "\n    | "));
    }
    if Runtime::of(here) == Runtime::Systemd {
        let unit = loop_unit(name);
        let journal = ccorch_io::command::Command::new("journalctl");
        let text =
            journal.args(["--no-pager", "-o", "short-iso", "-n", &lines.to_string(), "-u", &unit]).read()?;
        println!("\n{text}");
    }
    Ok(())
}
