//! What the daemon is told: address, bridge, project, profile, trust.
//!
//! Each part is looked at first and made only when it is not there, so a
//! second run is a handful of reads.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::api::Api;
use super::layout::Layout;
use super::pool::POOL;
use super::{certificate, subnet};

/// Has the REST API on a loopback port; returns its URL, the fingerprint of
/// the daemon's certificate and whether that was so before.
pub fn https(api: &Api) -> Result<(String, String, bool)> {
    let server = api.get("/1.0")?.context("the daemon does not answer")?;
    let fingerprint = server["environment"]["certificate_fingerprint"].as_str();
    let fingerprint = fingerprint.context("the daemon names no certificate")?.to_owned();
    if let Some(address) = server["config"]["core.https_address"].as_str().filter(|address| accepts(address))
    {
        return Ok((format!("https://{address}"), fingerprint, true));
    }
    let mut last = None;
    // Between the choice and the daemon's bind somebody else may take the port.
    for _ in 0..5 {
        let address = format!("127.0.0.1:{}", free_port()?);
        let config =
            json!({ "config": { "core.https_address": address, "images.auto_update_interval": "0" } });
        match api.send("PATCH", "/1.0", &config) {
            Ok(()) => return Ok((format!("https://{address}"), fingerprint, false)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no port was tried")))
        .context("the daemon takes no loopback port")
}

fn accepts(address: &str) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

/// A port on loopback that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?.port())
}

/// The bridge; returns its subnet and whether it was made now.
pub fn network(api: &Api, layout: &Layout) -> Result<(String, bool)> {
    let name = layout.bridge();
    let path = format!("/1.0/networks/{name}");
    let there = api.get(&path)?.filter(|network| network["managed"] == true);
    if let Some(address) = there.as_ref().and_then(|network| network["config"]["ipv4.address"].as_str()) {
        return Ok((subnet_of(address)?, false));
    }
    // One of that name which the daemon does not manage is left from a bed that crashed.
    super::sweep::link(&name)?;
    let chosen = subnet::free(&layout.id)?;
    if let Err(error) = api.send("POST", "/1.0/networks", &bridge(&name, chosen, true)) {
        // Kernels without nftables still make a bridge; inside it nothing needs a firewall.
        api.delete(&path)?;
        api.send("POST", "/1.0/networks", &bridge(&name, chosen, false)).map_err(|_| error)?;
    }
    Ok((chosen.to_string(), true))
}

/// No NAT: the instances talk to each other and to this machine, nowhere else.
fn bridge(name: &str, subnet: subnet::Network, firewall: bool) -> Value {
    json!({
        "name": name,
        "type": "bridge",
        "config": {
            "ipv4.address": format!("{}/24", subnet.host(1)),
            "ipv4.dhcp.ranges": format!("{}-{}", subnet.host(100), subnet.host(250)),
            "ipv4.nat": "false",
            "ipv4.firewall": firewall.to_string(),
            "ipv6.address": "none",
            "dns.domain": "incus",
        },
    })
}

fn subnet_of(address: &str) -> Result<String> {
    let (host, prefix) =
        address.split_once('/').with_context(|| format!("`{address}` is no network address"))?;
    Ok(subnet::Network::new(host.parse()?, prefix.parse()?).to_string())
}

/// The project, with images and profiles of its own as a shared server has it.
pub fn project(api: &Api, layout: &Layout) -> Result<bool> {
    let config =
        json!({ "features.images": "true", "features.profiles": "true", "features.storage.volumes": "true" });
    let wanted = json!({ "name": api.project, "description": "ccorch test bed", "config": config });
    let made = made_unless_there(api, &format!("/1.0/projects/{}", api.project), "/1.0/projects", &wanted)?;
    let path = format!("/1.0/profiles/default?project={}", api.project);
    let profile = api.get(&path)?.context("the project has no default profile")?;
    let devices = json!({
        "root": { "type": "disk", "path": "/", "pool": POOL },
        "eth0": { "type": "nic", "name": "eth0", "network": layout.bridge() },
    });
    if profile["devices"] == devices {
        return Ok(made);
    }
    api.send("PATCH", &path, &json!({ "devices": devices }))?;
    Ok(true)
}

/// Has the client certificate trusted, for the project alone.
pub fn trust(api: &Api, pem: &str) -> Result<bool> {
    let known = api.get("/1.0/certificates?recursion=1")?.unwrap_or_default();
    let ours = certificate::body(pem);
    let same =
        |entry: &&Value| entry["certificate"].as_str().is_some_and(|pem| certificate::body(pem) == ours);
    if let Some(entry) = known.as_array().into_iter().flatten().find(same) {
        if entry["projects"] == json!([api.project]) {
            return Ok(false);
        }
        let fingerprint = entry["fingerprint"].as_str().context("a certificate has no fingerprint")?;
        api.delete(&format!("/1.0/certificates/{fingerprint}"))?;
    }
    let entry = json!({
        "name": "ccorch-testbed", "type": "client", "certificate": ours, "restricted": true, "projects": [api.project],
    });
    api.send("POST", "/1.0/certificates", &entry)?;
    Ok(true)
}

fn made_unless_there(api: &Api, path: &str, collection: &str, wanted: &Value) -> Result<bool> {
    if api.get(path)?.is_some() {
        return Ok(false);
    }
    api.send("POST", collection, wanted)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound() {
        let port = free_port().unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn the_bridge_has_its_gateway_and_no_way_out() {
        let subnet = subnet::Network::new(Ipv4Addr::new(10, 18, 52, 0), 24);
        let rendered = bridge("ccb1", subnet, true);
        assert_eq!(rendered["config"]["ipv4.address"], "10.18.52.1/24");
        assert_eq!(rendered["config"]["ipv4.nat"], "false");
        assert_eq!(rendered["config"]["ipv4.dhcp.ranges"], "10.18.52.100-10.18.52.250");
        assert_eq!(subnet_of("10.18.52.1/24").unwrap(), "10.18.52.0/24");
    }
}
