//! `ccorch standby-status` and `ccorch forget-source`: what an old source still holds, and its end.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::names::HostName;

use crate::context::Context;
use crate::cutover::standby::{self, Holding};
use crate::error::{Kind, Problem};
use crate::table;

/// Show what the old source of a cutover still holds; exit status 1 when it is no proper standby
///
/// Since when it is standby, whether anything of the rig runs there or would start, and what is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch standby-status --host pi")]
pub struct StatusArgs {
    /// The host [default: the source of the last completed cutover]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Remove for good what the old source of a cutover keeps to go back to
///
/// Only some days after the cutover, after the target has come back from a reboot in order, and when nothing of the rig
/// runs on the source. What goes: the workspace, and the agents' conversations in it. What stays: the fence and the disabled
/// units, copied folders, the agents' login and settings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch forget-source --host pi --dry-run")]
pub struct ForgetArgs {
    /// The host [default: the source of the last completed cutover]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
    /// How many days it has to have been standby
    #[arg(long, default_value_t = 7, value_name = "DAYS")]
    days: u32,
    /// The host's name once more, in place of typing it when asked
    #[arg(long, value_name = "HOST")]
    really: Option<HostName>,
    /// Show what would be removed and what is in the way, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `ccorch standby-status`.
pub fn status(context: &Context, args: &StatusArgs) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let source = standby::connect(&loaded, &standby::which(&loaded, args.host.as_ref())?)?;
    let holding = standby::look(&loaded, &source)?;
    let wrong = holding.wrong();
    if args.json {
        let value = serde_json::json!({ "holding": holding, "wrong": wrong });
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        print!("{}", render(&holding));
        wrong.iter().for_each(|wrong| println!("! {wrong}"));
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Kind::General as u8) })
}

fn render(holding: &Holding) -> String {
    let since = holding.standby.as_ref().map_or("never made standby".to_owned(), |standby| {
        let since = standby.since.strftime("%Y-%m-%d %H:%M:%SZ");
        format!("standby since {since}, cutover {} to {}", standby.journal, standby.to)
    });
    let active = holding.active.as_ref().map_or("not known".to_owned(), ToString::to_string);
    let runs = if holding.running.is_empty() { "nothing" } else { "see below" };
    let workspace = if holding.writable { "can be written to" } else { "read-only" };
    let mut text = format!(
        "{:<10} {since}\n{:<10} {active}\n{:<10} {runs}\n{:<10} {workspace}\n",
        holding.host, "active", "runs here", "workspace"
    );
    let word = |word: &str| if word.is_empty() { "-".to_owned() } else { word.to_owned() };
    let units: Vec<[String; 3]> =
        holding.units.iter().map(|u| [u.name.clone(), word(&u.enabled), word(&u.active)]).collect();
    if !units.is_empty() {
        text += &table::render(["UNIT", "ENABLED", "ACTIVE"], &units);
    }
    let kept: Vec<[String; 2]> = holding.kept.iter().map(|k| [size(k.bytes), k.path.clone()]).collect();
    if !kept.is_empty() {
        text += &table::render(["SIZE", "KEPT"], &kept);
    }
    text
}

fn size(bytes: u64) -> String {
    let mib = bytes.div_ceil(1 << 20);
    if mib < 1024 { format!("{mib} MiB") } else { format!("{}.{} GiB", mib >> 10, (mib % 1024) * 10 / 1024) }
}

/// Runs `ccorch forget-source`.
pub fn forget(context: &Context, args: &ForgetArgs) -> Result<ExitCode> {
    let loaded = context.rig()?;
    let _lock = (!args.dry_run).then(|| loaded.lock("forget-source")).transpose()?;
    let source = standby::connect(&loaded, &standby::which(&loaded, args.host.as_ref())?)?;
    let holding = standby::look(&loaded, &source)?;
    if holding.is_forgotten() {
        if args.json {
            println!("{}", serde_json::json!({ "host": source.name, "removed": [] }));
        } else {
            println!("nothing is kept on {}: there is nothing to forget", source.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let obstacles = standby::obstacles(&loaded, &source, &holding, args.days)?;
    if !args.json {
        print!("{}", render(&holding));
    }
    if args.dry_run {
        return dry_run(&holding, &obstacles, args.json);
    }
    if !obstacles.is_empty() {
        let list: String = obstacles.iter().map(|one| format!("\n  - {one}")).collect();
        let message = format!("{} cannot be forgotten yet:{list}", source.name);
        return Err(Problem::new(Kind::Conflict, message)
            .hint("`ccorch forget-source --dry-run` shows the same; `--days` sets the days")
            .into());
    }
    sure(&source.name, args.really.as_ref())?;
    standby::forget(&loaded, &source)?;
    if args.json {
        println!("{}", serde_json::json!({ "host": source.name, "removed": holding.kept }));
    } else {
        println!("{} is forgotten; its fence and its disabled units stay", source.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn dry_run(holding: &Holding, obstacles: &[String], json: bool) -> Result<ExitCode> {
    if json {
        let value =
            serde_json::json!({ "dry_run": true, "would_remove": holding.kept, "obstacles": obstacles });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("would remove on {}:", holding.host);
    holding.kept.iter().for_each(|kept| println!("  {}", kept.path));
    obstacles.iter().for_each(|one| println!("! not yet: {one}"));
    Ok(ExitCode::SUCCESS)
}

/// Nothing brings it back, so a person says the name.
fn sure(host: &HostName, really: Option<&HostName>) -> Result<()> {
    let said = match really {
        Some(name) => name.to_string(),
        None if std::io::stdin().is_terminal() => {
            eprint!("This cannot be undone. Type the name of the host ({host}) to go on: ");
            std::io::stderr().flush().context("ask")?;
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("read the answer")?;
            line.trim().to_owned()
        }
        None => String::new(),
    };
    if said == host.as_str() {
        return Ok(());
    }
    Err(Problem::new(Kind::Conflict, format!("nothing was removed: `{said}` is not `{host}`"))
        .hint(format!("say that it is meant: `--really {host}`"))
        .into())
}
