//! What a host that runs ccorch keeps of each loop: carried, and proven to have come along. Both hosts list it, and the lists
//! are compared.

use anyhow::Result;
use ccorch_core::rig::Rig;

use super::side::Side;
use crate::error::{Kind, Problem};
use crate::here::carried::{self, List};
use crate::staging;

/// The states of these loops as an archive; a loop that never ran has none.
const PACK_SESSIONS: &str = r#"set -eu; cd /var/lib/ccorch/loops 2>/dev/null || cd /run
for f do if [ -f "$f" ]; then printf '%s\0' "$f"; fi; done | tar --null --files-from=- -cf -"#;
/// Puts those of the archive in their places: each whole or not at all, and on the disk.
const TAKE_SESSIONS: &str = r#"set -eu; umask 077; mkdir -p /var/lib/ccorch/loops; cd /var/lib/ccorch/loops
t=.new; rm -rf -- "$t"; mkdir "$t"; trap 'rm -rf -- "$t"' EXIT
tar -C "$t" --no-same-owner -xf -
for f do if [ -f "$t/$f" ]; then chmod 600 "$t/$f"; sync "$t/$f"; mv -f -- "$t/$f" "$f"; fi; done"#;

/// The host's list.
pub fn of(side: &Side) -> Result<List> {
    side.ccorch_json(&["loops", "carried"])
}

/// In what the target differs, a line each. Both are asked at once.
pub fn differences(from: &Side, to: &Side) -> Result<Vec<String>> {
    let (ours, theirs) = staging::both(|| of(from), || of(to))?;
    let found = carried::differences(&ours, &theirs).map_err(|(name, why)| {
        let message = format!("what {} keeps of loop {name} cannot be read: {why}", from.name);
        let hint = format!(
            "`systemctl restart ccorch-supervisor` on {} puts a damaged file aside and finds out again what was in it; then \
             cut over again",
            from.name
        );
        Problem::new(Kind::Conflict, message).hint(hint)
    })?;
    Ok(found.into_iter().map(|(name, what)| format!("loop {name}: {what}")).collect())
}

/// Which conversation is which loop's: a few small files of the hosts' own state, in one go.
pub fn carry(rig: &Rig, from: &Side, to: &Side) -> Result<()> {
    let names: Vec<String> = rig.loops.keys().map(|name| format!("{name}.json")).collect();
    let words = |script: &'static str| {
        ["sh", "-c", script, "sessions"].into_iter().chain(names.iter().map(String::as_str))
    };
    let pack: Vec<&str> = words(PACK_SESSIONS).collect();
    let archive = from.host.command(&pack).shown_as("read the loops' states").run()?.stdout;
    let take: Vec<&str> = words(TAKE_SESSIONS).collect();
    to.acting().command(&take).shown_as("write the loops' states").input(archive).run()?;
    Ok(())
}
