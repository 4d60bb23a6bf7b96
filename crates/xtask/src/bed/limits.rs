//! Kernel limits that many containers share, raised for as long as the machine runs.

use std::fs;

use anyhow::{Context as _, Result};

/// Every inotify instance of every container counts for root, who made their namespaces, and a container takes a dozen:
/// at the kernel's default of 128 the tenth comes up without udev and network (seen). Incus asks servers for more:
/// <https://linuxcontainers.org/incus/docs/main/reference/server_settings/>.
const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";
const ENOUGH: u32 = 1024;

/// Raises what is too low; never lowers.
pub fn raise() -> Result<String> {
    let text = fs::read_to_string(INSTANCES).with_context(|| format!("cannot read {INSTANCES}"))?;
    let now: u32 = text.trim().parse().with_context(|| format!("{INSTANCES} holds {text:?}"))?;
    if now >= ENOUGH {
        return Ok(format!("{now} inotify instances"));
    }
    fs::write(INSTANCES, ENOUGH.to_string()).with_context(|| format!("cannot write {INSTANCES}"))?;
    Ok(format!("{ENOUGH} inotify instances, {now} before"))
}
