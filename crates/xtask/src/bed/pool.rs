//! The storage pool: btrfs in a file where the kernel has it, else plain folders.
//!
//! With plain folders every launch unpacks the whole image: 4 s on an idle
//! machine, over 10 s on a busy one. With btrfs a launch is a snapshot of the
//! unpacked image, under half a second, and a size limit of a disk holds.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::api::Api;
use crate::run::Run;

/// The pool's name.
pub const POOL: &str = "default";

/// A sparse file: it takes what is written, not more.
const SIZE: &str = "40GiB";

/// Has the pool; says what it is made of and whether it was made now.
pub fn ensure(api: &Api) -> Result<(String, bool)> {
    if let Some(pool) = api.get(&format!("/1.0/storage-pools/{POOL}"))? {
        return Ok((describe(pool["driver"].as_str().unwrap_or_default()), false));
    }
    let mut last = Ok(());
    for driver in drivers(kernel_has_btrfs()) {
        last = api.send("POST", "/1.0/storage-pools", &wanted(driver));
        if last.is_ok() {
            return Ok((describe(driver), true));
        }
        // One that failed half-way would be in the way of the next.
        api.delete(&format!("/1.0/storage-pools/{POOL}"))?;
    }
    last.map(|()| (String::new(), false))
}

/// What to try, in order.
fn drivers(btrfs: bool) -> &'static [&'static str] {
    if btrfs { &["btrfs", "dir"] } else { &["dir"] }
}

fn wanted(driver: &str) -> Value {
    match driver {
        "btrfs" => json!({ "name": POOL, "driver": driver, "config": { "size": SIZE } }),
        _ => json!({ "name": POOL, "driver": driver }),
    }
}

fn describe(driver: &str) -> String {
    match driver {
        "dir" => "of plain folders".to_owned(),
        driver => format!("of {driver} in a file"),
    }
}

/// Whether btrfs on a loop device can be tried; loads the module if there is one.
fn kernel_has_btrfs() -> bool {
    let listed = || {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        known.lines().any(|line| line.trim() == "btrfs")
    };
    let load = |module: &str| Run::new(&["modprobe", "--quiet", module]).output();
    if !listed() {
        // Without the module, or without modprobe, it is not to be had.
        let _ = load("btrfs");
    }
    let control = Path::new("/dev/loop-control");
    if !control.exists() {
        let _ = load("loop");
    }
    listed() && control.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_folders_are_always_the_last_resort() {
        assert_eq!(drivers(true), ["btrfs", "dir"]);
        assert_eq!(drivers(false), ["dir"]);
        assert_eq!(wanted("btrfs")["config"]["size"], SIZE);
        assert_eq!(wanted("dir").get("config"), None);
    }
}
