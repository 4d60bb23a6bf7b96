//! `ccorch status`: how the rig on a host is.

use std::process::ExitCode;

use anyhow::Result;
use ccorch_core::lease::Standing;
use ccorch_core::names::HostName;

use crate::context::Context;
use crate::error::Kind;
use crate::here::Here;
use crate::here::status::{LoopReport, LoopWord, Status, collect, word};
use crate::{remote, table};

/// Show how the rig on a host is; exit status 1 when it is degraded
///
/// Lease, phase, supervisor, proxy, reboots and every loop; at the end what is not as it should be.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ccorch status --host vm\n  ccorch status --json | jq .loops")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Of this host of the rig, over ssh [default: the machine this runs on]
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    if let Some(host) = &args.host {
        return remote::again(context, host);
    }
    let status = collect(&Here::load(context)?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", render(&status));
    }
    Ok(if status.degraded.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Kind::General as u8) })
}

/// The table people read.
pub fn render(status: &Status) -> String {
    let lease = match (status.lease.state, status.lease.may_start) {
        (Some(Standing::Active), true) => format!("active, epoch {}", status.lease.epoch),
        (Some(Standing::Active), false) => {
            format!("active, epoch {}, but {}", status.lease.epoch, status.lease.reason)
        }
        (Some(Standing::Standby), _) => format!("standby, epoch {}", status.lease.epoch),
        (None, _) => "never held".into(),
    };
    let phase =
        status.phase.as_ref().map_or("none".into(), |p| format!("{} (index {} of {})", p.id, p.index, p.of));
    let answers = |yes| if yes { "answers" } else { "does not answer" };
    let proxy =
        status.proxy.as_ref().map_or("none".into(), |p| format!("{} {}", p.listen, answers(p.answers)));
    let head = [
        ("rig", format!("{} on {}", status.rig, status.host)),
        ("lease", lease),
        ("phase", phase),
        ("supervisor", answers(status.supervisor).into()),
        ("proxy", proxy),
        ("reboots", status.reboots.to_string()),
    ];
    let deferred = status.deferred.map(|n| ("deferred", n.to_string()));
    let head = head.into_iter().chain(deferred);
    let mut text: String = head.map(|(key, value)| format!("{key:<12}{value}\n")).collect();
    if let Some(provisional) = &status.provisional {
        text += &format!("{:<12}{provisional}\n", "on trial");
    }
    text.push('\n');
    text.push_str(&loops_table(&status.loops));
    if status.degraded.is_empty() {
        text.push_str("\nall is well\n");
    } else {
        text.push_str("\ndegraded:\n");
        text.extend(status.degraded.iter().map(|reason| format!("  - {reason}\n")));
    }
    text
}

/// What is shown of a line that decided.
const SHOWN: usize = 160;

/// One line a loop, and below it what decided where that is not to be expected.
pub fn loops_table(loops: &[LoopReport]) -> String {
    let row = |report: &LoopReport| {
        let pid = report.pid.map_or("-".into(), |pid| pid.to_string());
        let since = report.since.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let (name, restarts) = (report.name.to_string(), report.restarts.to_string());
        let state = report.life.clone().filter(|_| report.state == LoopWord::Running);
        let state = state.unwrap_or_else(|| word(report.state).into());
        let state = state + if report.dialog.is_some() { " (asks)" } else { "" };
        let until = report.until.map(|until| format!(" (until {})", until.strftime("%Y-%m-%d %H:%MZ")));
        let reason = report.reason.replace('\n', " ");
        [name, state + &until.unwrap_or_default(), pid, restarts, since, reason]
    };
    let rows: Vec<_> = loops.iter().map(row).collect();
    let table = table::render(["LOOP", "STATE", "PID", "RESTARTS", "SINCE", "WHY"], &rows);
    let evidence = |report: &LoopReport| {
        let well = matches!(report.life.as_deref(), Some("working" | "idle")) && report.dialog.is_none();
        let line = report.evidence.lines().find(|line| !line.trim().is_empty()).filter(|_| !well)?;
        let line: String =
            line.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
        Some(format!("  evidence: {line}\n"))
    };
    let below = std::iter::once(None).chain(loops.iter().map(evidence));
    table.lines().zip(below).map(|(line, below)| format!("{line}\n{}", below.unwrap_or_default())).collect()
}
