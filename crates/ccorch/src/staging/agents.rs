//! The agents' own state: transcripts and settings. A login is never carried.

use anyhow::{Context as _, Result};
use ccorch_core::stage::{Base, agent_state, merge_claude_json};
use serde_json::{Value, json};

use super::pair::Pair;
use super::{Carried, Mode};

/// Carries what the adapters of the rig's loops name.
pub fn sync(pair: &Pair, mode: Mode, carried: &mut Carried) -> Result<()> {
    eprintln!("{}: the agents' own state", pair.target.name);
    let state = agent_state(pair.rig);
    for (base, paths) in &state.paths {
        let (from, to) = folders(pair, base);
        if !pair.source.exists(&from)? {
            continue;
        }
        if !pair.target.exists(&to)? {
            if mode == Mode::DryRun {
                carried.notes.push(format!("{to} would be created on {} and filled", pair.target.name));
                continue;
            }
            pair.target.command(&["install", "-d", "-m", "700", "-o", pair.user, "--", &to]).run()?;
        }
        let list: Vec<Vec<u8>> = paths.iter().map(|path| path.clone().into_bytes()).collect();
        carried.add(pair.transfer(&from, &to, Some(&list), mode)?);
    }
    for (base, name) in &state.claude_json {
        let (from, to) = folders(pair, base);
        let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
        let Some(source) = pair.source.read_file(&from)? else { continue };
        let source: Value = serde_json::from_slice(&source)
            .with_context(|| format!("{}: {from} is not JSON", pair.source.name))?;
        let target = match pair.target.read_file(&to)? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{}: {to} is not JSON", pair.target.name))?,
            None => json!({}),
        };
        let Some(merged) = merge_claude_json(&source, &target, &state.workdirs) else { continue };
        let text = serde_json::to_vec_pretty(&merged).context("render the agents' answers")?;
        carried.files += 1;
        carried.bytes += text.len() as u64;
        if mode == Mode::Carry {
            write_as_user(pair, &to, text)?;
        }
    }
    Ok(())
}

/// The base on both hosts.
pub fn folders(pair: &Pair, base: &Base) -> (String, String) {
    match base {
        Base::Home => (pair.source_home.clone(), pair.target_home.clone()),
        Base::Dir(dir) => (dir.clone(), dir.clone()),
    }
}

/// Content goes over standard input; the file is the user's alone, and whole or not there.
fn write_as_user(pair: &Pair, path: &str, bytes: Vec<u8>) -> Result<()> {
    let script = r#"set -eu; umask 077; t="$1.ccorch-new"; cat >"$t"; sync "$t"; mv -f -T -- "$t" "$1""#;
    let command = pair.target.command_as(pair.user, "/", &["sh", "-c", script, "write", path]);
    Ok(command.shown_as(format!("write {path}")).input(bytes).run().map(drop)?)
}
