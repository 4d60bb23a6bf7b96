//! `ccorch host install`: binary, units and rig file on a systemd host.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::install::{Action, FACTS_SCRIPT, Facts, Unfit, Wanted, plan};
use ccorch_core::names::HostName;
use ccorch_io::host::Host;
use serde_json::json;

use super::{perform, wanted};
use crate::context::{Context, LoadedRig};
use crate::error::{Kind, Problem};
use crate::reach;

/// Put the binary, the units and the rig file on a systemd host and enable ccorch.target
///
/// Debian, Raspberry Pi OS, or whatever else has systemd 247 or newer. Nothing is started: the lease decides that later. A second run changes nothing and says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch host install vm --ssh-config")]
pub struct Args {
    /// The host, as the rig file calls it
    host: HostName,
    /// The ccorch to put there [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write ssh_config entries for the machines of `proxy.hosts`, so that ssh reaches them through the proxy
    #[arg(long)]
    ssh_config: bool,
    /// Install missing programs with apt-get
    #[arg(long)]
    install_packages: bool,
    /// Show what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    reach::entry(&loaded, &args.host)?;
    let _lock = (!args.dry_run).then(|| loaded.lock("host install")).transpose()?;
    let binary = wanted::binary(args.binary.as_deref())?;
    let mut wanted = wanted::of(&loaded, &args.host, &binary)?;
    wanted.install_packages = args.install_packages;
    let host = reach::connect(&loaded, &args.host)?;
    let facts = facts(&host, &loaded, &wanted)?;
    wanted::add_ssh_config(&mut wanted, &loaded, &facts, args.ssh_config)?;
    let facts = if args.ssh_config { self::facts(&host, &loaded, &wanted)? } else { facts };
    let actions = plan(&facts, &wanted).map_err(|all| unfit(&host, &facts, &all))?;
    if !args.dry_run {
        for action in &actions {
            eprintln!("{}: {action}", host.name);
            perform::action(&host, &facts, &wanted, &binary, action)?;
        }
    }
    print(&host, &actions, args);
    Ok(ExitCode::SUCCESS)
}

/// Looks at the host.
pub(super) fn facts(host: &Host, loaded: &LoadedRig, wanted: &Wanted) -> Result<Facts> {
    let workspace = &loaded.rig.workspace;
    let loop_users = wanted.loop_users.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut argv = vec!["sh", "-c", FACTS_SCRIPT, "facts", &workspace.user, &workspace.root, &loop_users];
    argv.extend(wanted.programs.iter().map(String::as_str));
    argv.push("--");
    argv.extend(wanted.files.iter().map(|f| f.path.as_str()));
    let text = host.command(&argv).shown_as("look at the host").read();
    Ok(Facts::parse(&text.with_context(|| format!("{}: cannot look at the host", host.name))?))
}

fn unfit(host: &Host, facts: &Facts, all: &[Unfit]) -> Problem {
    let lines: Vec<String> = all.iter().map(|u| format!("\n    - {}", u.what)).collect();
    let hints: Vec<&str> = all.iter().map(|u| u.hint.as_str()).collect();
    let text = format!("{} ({}) cannot take the rig:{}", host.name, facts.machine(), lines.concat());
    Problem::new(Kind::Unfit, text).hint(hints.join("; "))
}

fn print(host: &Host, actions: &[Action], args: &Args) {
    let lines: Vec<String> = actions.iter().map(ToString::to_string).collect();
    if args.json {
        let changed = !args.dry_run && !actions.is_empty();
        println!(
            "{}",
            json!({ "host": host.name, "dry_run": args.dry_run, "changed": changed, "actions": lines })
        );
    } else if actions.is_empty() {
        println!("{}: nothing to do", host.name);
    } else if args.dry_run {
        println!("{}: would", host.name);
        lines.iter().for_each(|line| println!("  {line}"));
    } else {
        println!("{}: installed; ccorch.target is enabled, nothing was started", host.name);
    }
}
