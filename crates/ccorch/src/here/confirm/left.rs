//! What a target that stood down has not saved: rescued while nobody drives the cutover, so that the source, which gets the
//! rig without anything being carried there, has it from the remotes.

use std::time::Duration;

use anyhow::Result;
use ccorch_core::cutover::confirm::Verdict;
use ccorch_io::host::{Host, Reach};

use super::read;
use crate::context::LoadedRig;
use crate::here::runtime::Runtime;
use crate::here::{Here, events, letters, outside};
use crate::staging;

/// So long nobody works anywhere for the sake of it; what takes longer goes on beside.
const DEADLINE: Duration = Duration::from_secs(120);

/// [`rescue`] from within the window's unit, whose sandbox does not write to the workspace. What fails is told and keeps the
/// rig from nothing.
pub fn rescue_from_confirm_unit(here: &Here) {
    let done = match Runtime::of(here) {
        Runtime::Direct => rescue(here),
        Runtime::Systemd => outside::run("ccorch-rescue", &["confirm", "rescue"], DEADLINE),
    };
    if let Err(error) = done {
        let why = format!("what {} has not saved is not rescued: {error:#}", here.name);
        events::record(here, "warning", None, &why);
        letters::tell(here, &why);
    }
}

/// Rescues it: pushed where it may be, else in refs of this host's clones. Nothing on a host that did not stand down.
/// Repeatable: the same work becomes the same commits.
pub fn rescue(here: &Here) -> Result<()> {
    let failed = |verdict: &Verdict| matches!(verdict, Verdict::Failed { .. } | Verdict::FellBack { .. });
    let Some(window) = read(here)?.filter(|window| window.stood_down && failed(&window.verdict)) else {
        return Ok(());
    };
    let loaded = LoadedRig { rig: here.rig.clone(), file: here.paths.rig() };
    let host = Host::connect(here.name.as_str(), Reach::Local)?;
    let stamp = staging::stamp(here.name.as_str(), &window.journal);
    let rescued = staging::rescue_left(&loaded, &host, None, &stamp);
    if !rescued.is_empty() {
        let said = format!("cutover {}, on {}: {}", window.journal, here.name, rescued.join("; "));
        events::record(here, "work-rescued", None, &said);
        letters::tell(here, &said);
    }
    Ok(())
}
