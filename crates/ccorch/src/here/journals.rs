//! Copies of journals on this host, so that any machine can go on with a cutover whose driver is gone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ccorch_core::cutover::{Damage, Journal};
use ccorch_core::lease::{Driver, Turn};
use ccorch_io::durable;

use super::{Here, driver};
use crate::error::{Kind, Problem};

/// Keeps a driver's journal: appends what is new. A copy that went another way belongs to a driver that was replaced
/// before its lines reached the others; it is kept aside. Repeatable.
pub fn keep(here: &Here, id: &str, turn: Turn, text: &str) -> Result<()> {
    let new = Journal::read(text).with_context(|| format!("the journal {id} as it was sent"))?;
    let by = new.driver().map_or("an unknown driver", |(_, by)| by);
    let driver = Driver { journal: id.into(), turn };
    let admit = if new.outcome().is_some() { driver::admit_end } else { driver::admit };
    let _lock = admit(here, &driver, by)?;
    // It comes between two steps, or before one is repeated that was cut off.
    driver::end_acts(here)?;
    if new.id != id || new.turn() != Some(turn) {
        let message =
            format!("what was sent is journal {} of turn {:?}, not {id} of turn {turn}", new.id, new.turn());
        return Err(Problem::new(Kind::General, message).into());
    }
    if new.outcome().is_some() {
        // Whatever of this driver is still on its way comes too late.
        driver::over(here, &driver)?;
    }
    let folder = here.paths.journals();
    durable::create_dir(&folder, 0o700)?;
    let path = folder.join(format!("{id}.jsonl"));
    let old = fs::read(&path).unwrap_or_default();
    // A copy that is no text has nothing that could be gone on with.
    let whole = Journal::whole_lines(&old).ok();
    match whole.and_then(|whole| text.strip_prefix(whole)) {
        Some("") => Ok(()),
        Some(rest) if whole.is_some_and(|whole| whole.len() == old.len()) => {
            durable::append_line(&path, rest.trim_end_matches('\n'), 0o600)
        }
        Some(_) => durable::replace(&path, text.as_bytes(), 0o600),
        None => {
            let older = whole.and_then(|whole| Journal::read(whole).ok());
            if older.as_ref().is_some_and(|older| older.turn() >= Some(turn)) {
                let message = format!("{}: journal {id} went another way at this host", driver::STALE);
                let hint =
                    "two copies of one machine drive it: `ccorch cutover --resume` on one of them goes on";
                return Err(Problem::new(Kind::Conflict, message).hint(hint).into());
            }
            let aside = folder.join(format!("{id}.replaced-by-turn-{turn}"));
            fs::rename(&path, &aside).with_context(|| format!("move {} aside", path.display()))?;
            durable::replace(&path, text.as_bytes(), 0o600)
        }
    }
}

/// The first copy of a journal, before its driver has a turn; one that is there stays.
pub fn first(here: &Here, id: &str, text: &str) -> Result<()> {
    let new = Journal::read(text).with_context(|| format!("the journal {id} as it was sent"))?;
    let path = here.paths.journals().join(format!("{id}.jsonl"));
    if new.id != id || path.exists() {
        return Ok(());
    }
    durable::create_dir(&here.paths.journals(), 0o700)?;
    durable::replace(&path, text.as_bytes(), 0o600)
}

/// The text of this host's copy.
pub fn read(here: &Here, id: &str) -> Result<Option<String>> {
    let path = here.paths.journals().join(format!("{id}.jsonl"));
    if path.try_exists().with_context(|| format!("look for {}", path.display()))? {
        text(&path).map(Some)
    } else {
        Ok(None)
    }
}

/// The whole lines of a journal's file.
pub fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Journal::whole_lines(&bytes).map_err(|damage| damaged(path, &damage))?.to_owned())
}

/// What a journal's text says.
pub fn parse(text: &str, path: &Path) -> Result<Journal> {
    Ok(Journal::read(text).map_err(|damage| damaged(path, &damage))?)
}

fn damaged(path: &Path, damage: &Damage) -> Problem {
    Problem::new(Kind::General, format!("journal {}: {damage}", path.display())).hint(
        "look at the hosts with `ccorch status --host` and `ccorch lease show`; then move the file away",
    )
}

/// The files of a folder that are journals, oldest first.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl")).collect();
    paths.sort();
    paths
}
