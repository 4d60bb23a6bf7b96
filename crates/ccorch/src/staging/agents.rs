//! The agents' own state: transcripts and settings. A login is never carried.

use anyhow::{Context as _, Result};
use ccorch_core::rig::Rig;
use ccorch_core::stage::{self, Base, agent_state, merge_claude_json};
use ccorch_io::host::Host;
use serde_json::{Value, json};

use super::cache::both;
use super::pair::Pair;
use super::{Carried, Mode};

/// What of the agents' state stays where it is, in words; nothing when all of it is carried.
pub fn stays_apart(rig: &Rig) -> Option<String> {
    let loops: Vec<String> = stage::apart(rig).map(|(name, user)| format!("{name} (user {user})")).collect();
    let words =
        "conversations and settings are not carried of loops with a user of their own, which begin anew";
    (!loops.is_empty()).then(|| format!("{words}: {}", loops.join(", ")))
}

/// Carries what the adapters of the rig's loops name.
pub fn sync(pair: &Pair, mode: Mode) -> Result<Carried> {
    eprintln!("{}: the agents' own state", pair.target.name);
    let mut carried = Carried::default();
    carried.notes.extend(stays_apart(pair.rig));
    let state = agent_state(pair.rig);
    let asked: Vec<(String, String)> = state.paths.keys().map(|base| folders(pair, base)).collect();
    let names: Vec<&str> =
        state.paths.keys().map(|base| state.claude_json.get(base).map_or("", String::as_str)).collect();
    let side = |first: bool| -> Vec<(&str, &str)> {
        asked
            .iter()
            .zip(&names)
            .map(|((f, t), n)| (if first { f.as_str() } else { t.as_str() }, *n))
            .collect()
    };
    let (ours, theirs) =
        both(|| peek(pair.source, pair.user, &side(true)), || peek(pair.target, pair.user, &side(false)))?;
    for (index, (base, paths)) in state.paths.iter().enumerate() {
        let (from, to) = folders(pair, base);
        if !ours[index].0 {
            continue;
        }
        if !theirs[index].0 {
            if mode == Mode::DryRun {
                carried.notes.push(format!("{to} would be created on {} and filled", pair.target.name));
                continue;
            }
            pair.target.command(&["install", "-d", "-m", "700", "-o", pair.user, "--", &to]).run()?;
        }
        let list: Vec<Vec<u8>> = paths.iter().map(|path| path.clone().into_bytes()).collect();
        carried.add(pair.transfer(&from, &to, Some(&list), mode)?);
    }
    for (index, ((from, to), name)) in asked.iter().zip(&names).enumerate() {
        let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
        let Some(source) = &ours[index].1 else { continue };
        let source: Value = serde_json::from_slice(source)
            .with_context(|| format!("{}: {from} is not JSON", pair.source.name))?;
        let target = match &theirs[index].1 {
            Some(bytes) => serde_json::from_slice(bytes)
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
    Ok(carried)
}

/// For each folder: whether it is there, and the content of a file in it, in one call.
fn peek(host: &Host, user: &str, asked: &[(&str, &str)]) -> Result<Vec<(bool, Option<Vec<u8>>)>> {
    let script = r#"set -eu; while [ $# -gt 0 ]; do
if [ -e "$1" ]; then printf 'there\0'; else printf 'no\0'; fi
if [ -n "$2" ] && [ -e "$1/$2" ]; then printf 'file\0'; cat -- "$1/$2"; else printf 'no\0'; fi
printf '\0'; shift 2; done"#;
    let words: Vec<&str> = ["sh", "-c", script, "peek"]
        .into_iter()
        .chain(asked.iter().flat_map(|(dir, name)| [*dir, *name]))
        .collect();
    // With the rights of whose they are, and what stands in them is no error's to show.
    let command = host.command_as(user, "/", &words).shown_as("look at the agents' state");
    let output = command.private().run()?.stdout;
    let fields: Vec<&[u8]> = output.split(|b| *b == 0).collect();
    // JSON has no NUL: three fields for each folder.
    let answer = |three: &[&[u8]]| (three[0] == b"there", (three[1] == b"file").then(|| three[2].to_vec()));
    let all: Vec<_> = fields.chunks_exact(3).map(answer).collect();
    anyhow::ensure!(all.len() == asked.len(), "{}: the agents' state cannot be read", host.name);
    Ok(all)
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
    let script = r#"set -eu; umask 077; t="$1.ccorch-new"; trap 'rm -f -- "$t"' EXIT
cat >"$t"; sync "$t"; mv -f -T -- "$t" "$1""#;
    let command = pair.target.command_as(pair.user, "/", &["sh", "-c", script, "write", path]);
    Ok(command.shown_as(format!("write {path}")).input(bytes).run().map(drop)?)
}
