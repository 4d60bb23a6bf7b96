//! What a host that runs ccorch keeps of each loop, and the proof that it came along: both hosts list it, and the lists are
//! compared.

use anyhow::Result;

use super::side::Side;
use crate::error::{Kind, Problem};
use crate::here::carried::{self, List};
use crate::staging;

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
