//! A loop's state that is damaged: put aside, and as much of it found out again as others tell. The running agent and its
//! record tell the conversation; the events tell whether a person or a crash loop keeps the loop down, and carry as facts what
//! else would be done a second time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use ccorch_core::fleet::{Dated, Fleets, Memory, Now, Shared};
use ccorch_core::life::Desired;
use ccorch_core::names::LoopName;
use ccorch_core::watchdog::life::State;
use ccorch_io::{clock, durable};
use serde::de::DeserializeOwned;

use crate::here::loop_state::LoopState;
use crate::here::{Here, boot, events, exits, loop_state};

/// A person keeps a loop down from here on.
pub(super) const HELD: &str = "loop-held";
/// And no longer.
pub(super) const RELEASED: &str = "loop-released";
/// Its agent went over to another conversation, whose id comes first.
pub(super) const SESSION: &str = "loop-session";
/// It ended too often.
const CRASH_LOOPING: &str = "loop-crash-looping";
/// Damaged files of one name that are kept.
const KEPT: usize = 5;

/// Puts a damaged file aside; in words where it is now, or nothing when it is not damaged.
pub(super) fn aside<T: DeserializeOwned>(path: &Path) -> Option<String> {
    let error = durable::read_json::<T>(path).err()?;
    // A folder in its place is none either; what a disk does not give just now may be whole.
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    if error.downcast_ref::<durable::Damaged>().is_none() && is_file {
        eprintln!("warning: {error:#}");
        return None;
    }
    Some(format!("{error:#}; {}", put_aside(path)))
}

/// Where a file that was at the path is now, in words.
fn put_aside(path: &Path) -> String {
    let away = PathBuf::from(format!("{}.damaged-{}", path.display(), clock::now().as_millisecond()));
    let kept = match fs::rename(path, &away) {
        Ok(()) => format!("kept as {}", away.display()),
        Err(error) => format!("and it could not be put aside: {error}"),
    };
    forget_old(path);
    kept
}

/// A log of reboots with damaged lines, or that is no plain file or far too large: put aside, and written anew with what of
/// it can be read.
pub(super) fn reboot_log(here: &Here) {
    let path = here.paths.reboots();
    let mend = || -> Result<()> {
        let _turn = boot::turn(here)?;
        let large = fs::metadata(&path).is_ok_and(|found| found.len() > durable::LARGEST_LOG);
        let (log, why) = match boot::log(here) {
            Ok(log) if log.damaged == 0 && !large => return Ok(()),
            Ok(log) if large => (log, format!("it is larger than {} MiB", durable::LARGEST_LOG >> 20)),
            Ok(log) => {
                let why = format!("{} of its lines tell of no reboot", log.damaged);
                (log, why)
            }
            Err(error) if error.is::<durable::Damaged>() => (boot::Log::default(), format!("{error:#}")),
            Err(error) => return Err(error),
        };
        let kept = put_aside(&path);
        let lines = log.reboots.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        durable::replace(&path, text.as_bytes(), 0o644)?;
        let detail = format!(
            "the reboot log {}: {why}; {kept}; written anew with the {} reboots that can be read",
            path.display(),
            lines.len()
        );
        events::record(here, "state-damaged", None, detail);
        Ok(())
    };
    if let Err(error) = mend() {
        eprintln!("warning: the reboot log could not be mended: {error:#}");
    }
}

/// No more than a few are kept: whatever damages files may do so for ever.
fn forget_old(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let prefix = format!("{name}.damaged-");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut old: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()).collect();
    old.sort();
    old.truncate(old.len().saturating_sub(KEPT));
    for path in old {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
}

/// What is not one loop's, of which the file is put aside: accounts that wait, by the events.
pub(super) fn shared(here: &Here, said: String, now: Now) -> Shared {
    let (shared, known) = Shared::of_facts(&facts(here, None), now, Fleets::of(&here.rig).seed);
    rebuilt(here, None, &said, &known);
    shared
}

fn facts(here: &Here, about: Option<&LoopName>) -> Vec<Dated> {
    events::facts(here, about).unwrap_or_else(|error| {
        eprintln!("warning: what the events tell of it is not known: {error:#}");
        Vec::new()
    })
}

fn rebuilt(here: &Here, about: Option<&LoopName>, said: &str, known: &[String]) {
    let known = if known.is_empty() { "nothing more is known of it".to_owned() } else { known.join(", ") };
    events::record(here, "state-damaged", about, format!("{said}; rebuilt: {known}"));
}

/// The same for a loop's state, which is written anew from what is known elsewhere.
pub(super) fn loop_state(here: &Here, name: &LoopName, now: Now) {
    let Some(said) = aside::<LoopState>(&here.paths.loop_state(name)) else { return };
    let (state, known) = found_out(here, name, now);
    rebuilt(here, Some(name), &said, &known);
    if let Err(error) = loop_state::write(here, name, &state) {
        eprintln!("warning: {error:#}");
    }
}

fn found_out(here: &Here, name: &LoopName, now: Now) -> (LoopState, Vec<String>) {
    let (memory, told) = Memory::of_facts(&facts(here, Some(name)), now);
    let (mut state, mut known) = (LoopState { memory, ..LoopState::default() }, Vec::new());
    let others = here.rig.loops.keys().filter(|other| *other != name);
    let owned: BTreeSet<uuid::Uuid> =
        others.filter_map(|other| loop_state::read(here, other).ok()?.session).collect();
    let last = |words: &'static [&str]| {
        let wanted = |event: &events::Event| {
            event.about.as_ref() == Some(name) && words.contains(&event.what.as_str())
        };
        events::last(here, 1, wanted).ok().and_then(|mut last| last.pop())
    };
    // Its agent's user writes that record, and another loop's conversation is not for it to take.
    let agent = exits::running(&here.paths, name);
    // It may have gone over to another one since it began.
    let began = agent.as_ref().map(|agent| agent.started);
    let newer = last(&[SESSION]).filter(|event| began.is_none_or(|began| event.at >= began));
    let newer = newer.and_then(|event| event.detail.split(' ').next()?.parse().ok());
    let session = newer.or_else(|| agent.and_then(|agent| agent.session));
    state.session = session.filter(|session| !owned.contains(session));
    known.extend(state.session.map(|session| format!("the conversation {session} by its agent")));
    let held = last(&[HELD, RELEASED]).filter(|event| event.what == HELD);
    let crashed =
        last(&[CRASH_LOOPING, "loop-started", RELEASED]).filter(|event| event.what == CRASH_LOOPING);
    if let Some(event) = held.as_ref().or(crashed.as_ref()) {
        let memory = &mut state.memory;
        memory.state = if held.is_some() { State::Held } else { State::CrashLooping };
        memory.due = None;
        (memory.since, memory.reason) = (event.at, event.detail.lines().next().unwrap_or_default().into());
        known.push(format!("{} since {} by the events", ccorch_core::fleet::word(memory.state), event.at));
    }
    if held.is_some() {
        state.desired = Desired::Held;
    }
    known.extend(told);
    (state, known)
}
