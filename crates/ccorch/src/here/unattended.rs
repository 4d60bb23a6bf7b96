//! Whether the loops' agents would start without a question, from the files their users have on this machine.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ccorch_core::names::LoopName;
use ccorch_core::rig::{Agent, Loop};
use ccorch_core::unattended::{Files, Found, Login, Place, obstacles};
use ccorch_io::clock;

use super::runtime::home_of;
use super::{Here, isolation};

/// The agent's state file may have grown for months; a larger one is not looked at.
const LARGEST: u64 = 64 << 20;
const CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";

/// The folder of an agent's settings, login and transcripts.
pub fn claude_folder(here: &Here, spec: &Loop) -> PathBuf {
    match spec.env.get(CONFIG_DIR) {
        Some(folder) => folder.into(),
        None => home_of(here.rig.user_of(spec)).join(".claude"),
    }
}

/// What would hold a loop's agent up at its start, each with its fix.
pub fn look(here: &Here, spec: &Loop) -> Vec<String> {
    if spec.agent != Agent::Claude {
        return Vec::new();
    }
    let folder = claude_folder(here, spec);
    let user = here.rig.user_of(spec);
    let home = if spec.env.contains_key(CONFIG_DIR) { folder.clone() } else { home_of(user) };
    let state = home.join(".claude.json");
    let files = Files {
        state: json(&state),
        settings: json(&folder.join("settings.json")),
        login: match content(&folder.join(".credentials.json")) {
            Found::Says(bytes) => Login::read(&bytes).map_or_else(Found::Bad, Found::Says),
            Found::Absent => Found::Absent,
            Found::Bad(why) => Found::Bad(why),
        },
    };
    let place = Place {
        user,
        workdir: &here.rig.place(&spec.workdir),
        folder: &folder.display().to_string(),
        state: &state.display().to_string(),
        now: clock::now().as_millisecond(),
    };
    obstacles(spec, &files, &place)
}

/// Says before a start what will hold it up; the start goes on, and a person names the fix.
pub fn warn(here: &Here, name: &LoopName) {
    let Some(spec) = here.rig.loops.get(name) else { return };
    isolation::warn_once(here, name, "unattended", &look(here, spec).join("\n"));
}

fn json(path: &Path) -> Found<serde_json::Value> {
    match content(path) {
        Found::Says(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Found::Says(value),
            Err(error) => Found::Bad(format!("line {} is not JSON", error.line())),
        },
        Found::Absent => Found::Absent,
        Found::Bad(why) => Found::Bad(why),
    }
}

/// A file in an agent's home, which may have put anything in its place: no pipe is waited for, no device read.
fn content(path: &Path) -> Found<Vec<u8>> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(nonblock).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Found::Absent;
        }
        Err(error) => return Found::Bad(error.to_string()),
    };
    match file.metadata() {
        Ok(metadata) if !metadata.is_file() => return Found::Bad("it is not a file".into()),
        Ok(metadata) if metadata.len() > LARGEST => return Found::Bad("it is too large".into()),
        Ok(_) => {}
        Err(error) => return Found::Bad(error.to_string()),
    }
    let mut bytes = Vec::new();
    match file.take(LARGEST).read_to_end(&mut bytes) {
        Ok(_) => Found::Says(bytes),
        Err(error) => Found::Bad(error.to_string()),
    }
}
