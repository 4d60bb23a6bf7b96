//! The orchestrator's routine on the target, outside git: the file is excluded in that clone, so that it is neither unsaved
//! work nor a difference between the hosts.

use anyhow::{Context as _, Result};
use ccorch_core::names::HostName;
use ccorch_core::rig::Rig;
use ccorch_core::stage::routine;
use ccorch_io::host::Host;

use super::Mode;

/// Which of two names git does not hold, and the text that is there. $1, $2: the names.
const READ: &str = r#"set -eu
name=$1
if git ls-files --error-unmatch -- "$1" >/dev/null 2>&1; then name=$2; fi
printf '%s\n' "$name"
if [ -e "$name" ]; then cat -- "$name"; fi"#;

/// Writes it and has git pass it over. $1: the name.
const WRITE: &str = r#"set -eu
umask 022
trap 'rm -f -- "$1.ccorch-new"' EXIT
cat >"$1.ccorch-new"
mv -fT -- "$1.ccorch-new" "$1"
if exclude=$(git rev-parse --git-path info/exclude 2>/dev/null); then
    line=/$(git rev-parse --show-prefix)$1
    mkdir -p -- "${exclude%/*}"
    if ! grep -qxF -- "$line" "$exclude" 2>/dev/null; then printf '%s\n' "$line" >>"$exclude"; fi
fi"#;

/// Writes the routine of every orchestrator session; what was done, in words. A second run does nothing.
pub fn write(rig: &Rig, target: &Host, name: &HostName, mode: Mode) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for orchestrator in routine::orchestrators(rig) {
        let Some(spec) = rig.loops.get(orchestrator) else { continue };
        let (user, dir) = (rig.workspace.user.as_str(), rig.place(&spec.workdir));
        if !target.exists(&dir)? {
            continue;
        }
        let run = |script: &str, names: &[&str]| {
            let argv = [&["sh", "-c", script, "routine"], names].concat();
            target.command_as(user, &dir, &argv).shown_as(format!("the routine in {dir}"))
        };
        let told = run(READ, &[routine::FILE, routine::BESIDE]).run()?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let (file, text) = told.split_once('\n').context("the routine's file was not told")?;
        let wanted = routine::put(text, &routine::routine(rig, name, orchestrator));
        if wanted == text {
            continue;
        }
        if mode == Mode::Carry {
            run(WRITE, &[file]).input(wanted).run()?;
        }
        let verb = if mode == Mode::Carry { "wrote" } else { "would write" };
        notes.push(format!("{verb} the routine of {orchestrator} to {dir}/{file}, outside git"));
    }
    Ok(notes)
}
