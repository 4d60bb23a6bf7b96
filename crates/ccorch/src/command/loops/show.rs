//! `ccorch loops show`: all that is known of one loop.

use anyhow::{Context as _, Result};
use ccorch_core::names::LoopName;

use crate::here::status::word;
use crate::here::{Here, events, exits};
use crate::supervisor::control::status;

/// How many events are shown.
const EVENTS: usize = 10;

/// Prints it.
pub(super) fn show(here: &Here, name: &LoopName, json: bool) -> Result<()> {
    let reports = status(&here.paths)?;
    let report =
        reports.iter().find(|report| report.name == *name).context("the supervisor does not know it")?;
    let spec = here.rig.loops.get(name).context("the rig does not have it")?;
    let events = events::last(here, EVENTS, |event| event.about.as_ref() == Some(name))?;
    let exit = exits::last(&here.paths, name);
    let stop = exits::last_stop(&here.paths, name);
    let account = here.rig.account_of(name);
    if json {
        let shown = serde_json::json!({
            "loop": report, "workdir": spec.workdir, "account": account, "last_exit": exit, "last_stop": stop,
            "events": events,
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let rows = [
        ("loop", name.to_string()),
        ("state", format!("{}, {}", word(report.state), or_dash(report.life.clone()))),
        ("since", report.since.to_string()),
        ("why", report.reason.clone()),
        ("evidence", or_dash(Some(report.evidence.clone()).filter(|text| !text.is_empty()))),
        ("asks", or_dash(report.dialog.clone())),
        ("until", or_dash(report.until.map(|at| at.to_string()))),
        ("goes on", or_dash(report.next.map(|at| at.to_string()))),
        ("pid", or_dash(report.pid.map(|pid| pid.to_string()))),
        ("session", or_dash(report.session.map(|id| id.to_string()))),
        ("account", account),
        ("workdir", spec.workdir.clone()),
        ("restarts", report.restarts.to_string()),
        ("nudges", format!("{} waiting", report.waiting)),
        ("last stop", or_dash(stop.map(|stop| format!("{}: {}", stop.at, stop.words())))),
        ("last end", or_dash(exit.map(|exit| format!("{}: {}", exit.ended, exit.words())))),
    ];
    for (key, value) in rows {
        println!("{key:<10}{}", value.replace('\n', "\n          "));
    }
    println!();
    for event in events {
        println!("{}  {:<14}  {}", event.at, event.what, event.detail.replace('\n', "\n    | "));
    }
    Ok(())
}
