//! What a target has not saved when the rig leaves it again: rescued there before its work is carried back, so that the refs go
//! along. The way back depends on none of it: what cannot be rescued stays where it is, and is told.

use ccorch_core::safepoint::Unsaved;
use ccorch_io::host::Host;

use super::cache::each;
use super::safe::{SHOWN, not_saved, rescue_of};
use crate::context::LoadedRig;

/// Rescues what `host`, on which nobody works any more, has not saved; `home` is where the rig goes back to. What came of it,
/// in words for the journal; empty when everything was saved. `stamp` is `HOST/TIME`. Without `home`, where nobody reaches it,
/// what cannot be pushed stays in refs of this host's clones.
pub fn rescue_left(loaded: &LoadedRig, host: &Host, home: Option<&Host>, stamp: &str) -> Vec<String> {
    let found = match not_saved(loaded, host) {
        Ok(found) => found,
        Err(error) => return vec![format!("what {} has not saved is not known: {error:#}", host.name)],
    };
    let rescued = each(&found, |one| {
        let one = std::slice::from_ref(one);
        Ok(match rescue_of(loaded, one, host, home, stamp) {
            Ok(rescued) => rescued.to_string(),
            Err(error) => {
                let dir = &one[0].facts.dir;
                let what = list(&one[0].unsaved);
                format!("not rescued, and still in {dir} on {}: {what} ({error:#})", host.name)
            }
        })
    });
    rescued
        .unwrap_or_else(|error| vec![format!("what {} has not saved is not rescued: {error:#}", host.name)])
}

fn list(unsaved: &[Unsaved]) -> String {
    let mut words: Vec<String> = unsaved.iter().take(SHOWN).map(ToString::to_string).collect();
    if unsaved.len() > SHOWN {
        words.push(format!("and {} more", unsaved.len() - SHOWN));
    }
    words.join(", ")
}
