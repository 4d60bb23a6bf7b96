//! What beside the loops has to be good: the proxy, the rig's health URLs, hand-offs between loops, the boot's receipt.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use ccorch_core::rig::{Confirm, Proxy};
use ccorch_core::target::Target;
use ccorch_io::{durable, health, socks};

use super::evidence::Baseline;
use crate::here::Here;

/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is missing at the moment, each in one line.
pub fn missing(here: &Here, baseline: &Baseline) -> Vec<String> {
    let default = Confirm::default();
    let confirm = here.rig.cutover.as_ref().and_then(|c| c.confirm.as_ref()).unwrap_or(&default);
    let mut missing: Vec<String> = proxy(&here.rig.proxy).err().into_iter().collect();
    for one in &confirm.health {
        let through = one.proxy.then(|| here.rig.proxy.listen.parse().ok()).flatten();
        if let Err(error) = health::ask(&one.url, through, PATIENCE) {
            missing.push(format!("{} is not well: {error}", one.shown()));
        }
    }
    for (index, handoff) in confirm.handoffs.iter().enumerate() {
        match baseline.handed_off(here, index, handoff) {
            Ok(true) => {}
            Ok(false) => missing.push(format!("waiting for {}", handoff.words())),
            Err(error) => missing.push(format!("{}: {error:#}", handoff.words())),
        }
    }
    missing
}

/// A real dialogue, and a host of the rig behind it where one is named.
fn proxy(proxy: &Proxy) -> Result<(), String> {
    if proxy.is_none() {
        return Ok(());
    }
    let address: SocketAddr = proxy.listen.parse().map_err(|_| format!("{} is no address", proxy.listen))?;
    let first = || proxy.hosts.first().map(|host| format!("{host}:22"));
    let done = match proxy.check.clone().or_else(first) {
        Some(target) => {
            let target: Target = target.parse().map_err(|bad| format!("{bad}"))?;
            socks::connect(address, &target, PATIENCE).map(drop)
        }
        None => socks::greet(address, PATIENCE),
    };
    done.map_err(|error| error.to_string())
}

/// Whether this boot has proven that every part came back.
pub fn has_receipt(here: &Here, boot_id: &str) -> Result<bool> {
    let receipt: Option<serde_json::Value> =
        durable::read_json(&here.paths.receipts().join(format!("{boot_id}.json")))?;
    Ok(receipt.is_some_and(|receipt| receipt["complete"] == true))
}
