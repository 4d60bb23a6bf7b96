//! `ccorch host uninstall`: takes an installation back.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::install::{BINARY, Facts, MANIFEST, NEW_BINARY, USER_ENTRY, Wanted};
use ccorch_core::names::HostName;
use ccorch_io::host::Host;
use serde_json::{Value, json};

use super::{install, perform};
use crate::context::Context;
use crate::error::{Kind, Problem};
use crate::reach;

/// Take ccorch off a host: units, binary, ssh entries and /etc/ccorch; the workspace is never touched
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ccorch host uninstall vm --dry-run")]
pub struct Args {
    /// The host, as the rig file calls it
    host: HostName,
    /// Remove the state in /var/lib/ccorch too: lease, reboot log, receipts
    #[arg(long)]
    purge: bool,
    /// Even while the loops run there under the lease; they are stopped
    #[arg(long)]
    force: bool,
    /// Show what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Stops and removes what the units started; the order is the target, then all that is left.
const STOP: &str = r#"systemctl disable --now --quiet ccorch.target 2>/dev/null
units=$(systemctl list-units --all --plain --no-legend 'ccorch*' | cut -d' ' -f1)
[ -z "$units" ] || systemctl stop $units"#;
const RELOAD: &str = "systemctl daemon-reload && systemctl reset-failed 'ccorch*' 2>/dev/null; exit 0";

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let loaded = context.rig()?;
    reach::entry(&loaded, &args.host)?;
    let _lock = (!args.dry_run).then(|| loaded.lock("host uninstall")).transpose()?;
    let host = reach::connect(&loaded, &args.host)?;
    let nothing = Wanted {
        user: loaded.rig.workspace.user.clone(),
        loop_users: Default::default(),
        workspace: loaded.rig.workspace.root.clone(),
        binary: String::new(),
        binary_size: 0,
        programs: Vec::new(),
        install_packages: false,
        files: Vec::new(),
    };
    let facts = install::facts(&host, &loaded, &nothing)?;
    refuse_while_active(&host, &facts, args.force)?;
    let state: &[&str] = if args.purge { &["/var/lib/ccorch", "/var/lib/ccorch-loops"] } else { &[] };
    let mut there = Vec::new();
    for path in ["/etc/ccorch", BINARY, NEW_BINARY].iter().chain(state) {
        if host.exists(path)? {
            there.push((*path).to_owned());
        }
    }
    there.extend(facts.installed.iter().filter(|p| !p.starts_with("/etc/ccorch/")).cloned());
    if !args.dry_run && !there.is_empty() {
        remove(&host, &facts, &there, args.purge)?;
    }
    print(&host, &there, args);
    Ok(ExitCode::SUCCESS)
}

/// The manifest and the binary go last: until then a second run knows what is left.
fn remove(host: &Host, facts: &Facts, there: &[String], purge: bool) -> Result<()> {
    eprintln!("{}: stop and disable ccorch.target", host.name);
    host.command(&["sh", "-c", STOP]).shown_as("stop all ccorch units").run()?;
    for path in facts.installed.iter().filter(|path| *path != MANIFEST) {
        eprintln!("{}: remove {path}", host.name);
        match path.strip_prefix(USER_ENTRY) {
            Some(user) => {
                let home = if purge { "purge" } else { "keep" };
                host.command(&["sh", "-c", perform::REMOVE_USER, "remove-user", user, home]).run()?
            }
            None => host.command(&["sh", "-c", perform::REMOVE, "remove", path]).run()?,
        };
    }
    host.command(&["sh", "-c", RELOAD]).shown_as("systemctl daemon-reload").run()?;
    for path in there.iter().filter(|path| !facts.installed.contains(*path)).rev() {
        eprintln!("{}: remove {path}", host.name);
        host.command(&["rm", "-rf", "--", path]).run()?;
    }
    Ok(())
}

fn refuse_while_active(host: &Host, facts: &Facts, force: bool) -> Result<()> {
    let lease = host.read_file("/var/lib/ccorch/lease.json")?.unwrap_or_default();
    let lease: Value = serde_json::from_slice(&lease).unwrap_or_default();
    if force || facts.loops.is_empty() || lease["state"] != "active" {
        return Ok(());
    }
    let loops: Vec<&str> = facts.loops.iter().map(String::as_str).collect();
    let text = format!("{} holds the lease and runs {}", host.name, loops.join(", "));
    Err(Problem::new(Kind::Conflict, text)
        .hint("cut over to another host first, or give `--force` to stop the loops")
        .into())
}

fn print(host: &Host, paths: &[String], args: &Args) {
    if args.json {
        let changed = !args.dry_run && !paths.is_empty();
        println!(
            "{}",
            json!({ "host": host.name, "dry_run": args.dry_run, "changed": changed, "removed": paths })
        );
    } else if paths.is_empty() {
        println!("{}: nothing to do", host.name);
    } else if args.dry_run {
        println!("{}: would stop ccorch.target and remove", host.name);
        paths.iter().for_each(|path| println!("  {path}"));
    } else {
        let kept = if args.purge { "" } else { "; its state in /var/lib/ccorch is kept" };
        println!("{}: ccorch is gone{kept}", host.name);
    }
}
