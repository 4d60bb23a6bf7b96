//! The receipt: the machine-readable proof, per boot, that every part came back.

use std::fs;

use anyhow::Result;
use ccorch_core::boot::Reboot;
use ccorch_io::durable;
use serde::{Deserialize, Serialize};

use super::status::Status;
use super::{Here, boot};

/// Receipts kept; older boots' are removed, so the folder cannot grow.
const KEPT: usize = 100;

/// The proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether every part came back.
    pub complete: bool,
    /// From the call to this receipt, in milliseconds.
    pub waited_ms: u64,
    /// The reboot this boot was, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<Reboot>,
    /// Everything, as it was then.
    #[serde(flatten)]
    pub status: Status,
}

/// Writes the receipt of this boot, in place of an earlier one of the same boot. Strangers are named in it; whether they
/// are there or not, every part came back.
pub fn write(here: &Here, status: Status, waited_ms: u64) -> Result<Receipt> {
    let dir = here.paths.receipts();
    let (complete, reboot) = (status.degraded.is_empty(), boot::of_this_boot(here));
    let receipt = Receipt { complete, waited_ms, reboot, status: status.with_strangers(here) };
    durable::replace_json(&dir.join(format!("{}.json", receipt.status.boot_id)), &receipt, 0o644)?;
    let mut old: Vec<_> = fs::read_dir(&dir)?.flatten().collect();
    old.sort_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok());
    for entry in old.iter().take(old.len().saturating_sub(KEPT)) {
        durable::remove(&entry.path())?;
    }
    Ok(receipt)
}
