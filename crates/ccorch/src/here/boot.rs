//! Recording boots: once per boot_id, whoever comes first; and the heartbeat that downtime is counted from.

use anyhow::{Context, Result};
use ccorch_core::boot::{BootState, Reboot, Seen, observe};
use ccorch_io::{clock, durable, lock};

use super::runtime::command_as;
use super::{Here, events};

/// Records this boot if it is new. Safe to call from several processes at once.
pub fn record(here: &Here) -> Result<Seen> {
    let _turn = lock::wait(&here.paths.state().join("boot.lock"))?;
    let last: Option<BootState> = durable::read_json(&here.paths.boot())?;
    let boot_id = clock::boot_id()?;
    let logged = reboots(here)?;
    let seen = observe(last.as_ref(), &boot_id, clock::boot_time()?, logged.len() as u64);
    if let Seen::Rebooted(reboot) = &seen {
        // First the log, then the mark: a crash in between repeats a line's attempt, and the boot_id tells.
        if logged.last().is_none_or(|r| r.boot_id != boot_id) {
            durable::append_line(&here.paths.reboots(), &serde_json::to_string(reboot)?, 0o644)?;
            events::record(here, "reboot", None, reboot.sentence());
            tell_people(here, reboot);
        }
    }
    if seen != Seen::Same {
        let state = BootState { boot_id, heartbeat: clock::now(), shut_down: false };
        durable::replace_json(&here.paths.boot(), &state, 0o644)?;
    }
    Ok(seen)
}

/// The sign of life, and whether the machine is going down in order.
pub fn heartbeat(here: &Here, shut_down: bool) -> Result<()> {
    let state = BootState { boot_id: clock::boot_id()?, heartbeat: clock::now(), shut_down };
    durable::replace_json(&here.paths.boot(), &state, 0o644)
}

/// All reboots, oldest first. Damaged lines are passed over.
pub fn reboots(here: &Here) -> Result<Vec<Reboot>> {
    let text = durable::read_log(&here.paths.reboots())?;
    Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
}

/// The reboot of this very boot, if this boot is one.
pub fn of_this_boot(here: &Here) -> Option<Reboot> {
    let boot_id = clock::boot_id().ok()?;
    reboots(here).ok()?.pop().filter(|reboot| reboot.boot_id == boot_id)
}

/// Appends to the log in the workspace, with its user's own rights: the folder belongs to the agents, and a link they
/// put there must not lead root astray.
fn tell_people(here: &Here, reboot: &Reboot) {
    let path = here.in_workspace(&here.rig.workspace.reboot_log);
    let line = format!("- {} Host `{}`, boot {}.\n", reboot.sentence(), here.name, reboot.boot_id);
    let append = command_as(&here.rig.workspace.user, &["tee", "-a", "--", &path.display().to_string()])
        .input(line)
        .run();
    if let Err(error) = append.context("the reboot log in the workspace was not written") {
        events::record(here, "warning", None, format!("{error:#}"));
    }
}
