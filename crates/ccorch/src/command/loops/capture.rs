//! `ccorch loops capture`: saves what the verdict on a loop rests on, in the form that `ccorch watchdog explain` reads.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};
use ccorch_core::names::LoopName;
use ccorch_io::{clock, durable, quote};

use crate::error::{Kind, Problem};
use crate::here::{Here, loop_state};
use crate::supervisor::control::{Evidence, Reply, Request, call, unexpected};
use crate::supervisor::look;

/// Saves the evidence into `dir`, which is new or empty, and prints how to have it explained.
pub(super) fn capture(here: &Here, name: &LoopName, dir: &Path, json: bool) -> Result<()> {
    prepare(dir)?;
    let evidence = match call(&here.paths, &Request::Evidence { name: name.clone() }) {
        Ok(Reply::Evidence(evidence)) => evidence,
        Ok(other) => return Err(unexpected(&other)),
        Err(error) => {
            eprintln!("warning: without the hooks, which the supervisor keeps: {error:#}");
            Evidence { stall_after: 1200, ..Evidence::default() }
        }
    };
    let session = loop_state::read(here, name)?.session;
    let (seen, now) = (look::look(here, name, session), clock::now());
    let save = |file: &str, text: &str| -> Result<String> {
        let path = dir.join(file);
        durable::replace(&path, text.as_bytes(), 0o600)?;
        Ok(path.display().to_string())
    };
    let mut argv: Vec<String> = ["ccorch", "watchdog", "explain", "--agent"].map(Into::into).into();
    let agent = here.rig.loops.get(name).map(|spec| serde_json::to_value(spec.agent)).transpose()?;
    argv.push(agent.as_ref().and_then(|agent| agent.as_str()).unwrap_or("claude").into());
    argv.extend(["--screen".into(), save("screen.txt", &seen.screen)?]);
    argv.extend(["--hooks".into(), save("hooks.jsonl", &evidence.hooks)?]);
    argv.extend(["--transcript".into(), save("transcript.jsonl", &seen.transcript.text)?]);
    argv.extend(["--now".into(), now.to_string()]);
    if let Some(seen_at) = evidence.seen_at.filter(|at| *at <= now) {
        argv.extend(["--seen-at".into(), seen_at.to_string()]);
    }
    if let Some(zone) = look::zone(here, name).iana_name() {
        argv.extend(["--tz".into(), zone.into()]);
    }
    argv.push(format!("--stall-after={}s", evidence.stall_after));
    let line = quote::argv(&argv);
    save("explain.sh", &format!("{line}\n"))?;
    if json {
        let said = serde_json::json!({ "loop": name, "dir": dir, "at": now, "explain": argv });
        println!("{}", serde_json::to_string_pretty(&said)?);
    } else {
        println!("{line}");
    }
    Ok(())
}

/// A folder for root's eyes: screens and transcripts hold what agents read and write.
fn prepare(dir: &Path) -> Result<()> {
    let full = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        entries => entries.with_context(|| format!("look into {}", dir.display()))?.next().is_some(),
    };
    if full {
        let problem = Problem::new(Kind::Conflict, format!("{} is not empty", dir.display()));
        return Err(problem.hint("name a new folder").into());
    }
    durable::create_dir(dir, 0o700)
}
