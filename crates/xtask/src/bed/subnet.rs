//! A subnet for the bridge that nothing on this machine uses.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::run::Run;

/// An IPv4 network: its address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u32,
    prefix: u8,
}

impl Network {
    /// The network that an address with this prefix length lies in.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        Self { address: u32::from(address) & mask(prefix), prefix }
    }

    /// Reads `10.1.2.0/24`, `10.1.2.3` (one address) or `default` (all; none of ours).
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        Some(Self::new(address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
    }

    fn overlaps(self, other: Self) -> bool {
        let common = mask(self.prefix.min(other.prefix));
        self.address & common == other.address & common
    }

    /// The address at `offset` in the network.
    pub fn host(self, offset: u8) -> Ipv4Addr {
        Ipv4Addr::from(self.address + u32::from(offset))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", Ipv4Addr::from(self.address), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// A free `10.x.y.0/24`.
///
/// Where the search begins is the checkout's own, so that two beds that go up
/// at the same moment do not take the same one.
pub fn free(id: &str) -> Result<Network> {
    choose(id, &used()?)
}

fn choose(id: &str, used: &[Network]) -> Result<Network> {
    let start = u32::from_str_radix(id, 16).with_context(|| format!("`{id}` is no checkout id"))?;
    let candidate = |step: u32| {
        let block = start.wrapping_add(step) & 0xffff;
        Network { address: (10 << 24) | (block << 8), prefix: 24 }
    };
    let found =
        (0..=0xffff).map(candidate).find(|network| !used.iter().any(|other| network.overlaps(*other)));
    match found {
        Some(network) => Ok(network),
        None => bail!("no 10.x.y.0/24 is free on this machine\nhint: see `ip route`"),
    }
}

/// Everything that addresses and routes of this machine cover.
fn used() -> Result<Vec<Network>> {
    let routes = Run::new(&["ip", "-json", "-4", "route", "show", "table", "all"]).read()?;
    let addresses = Run::new(&["ip", "-json", "-4", "address"]).read()?;
    let mut used = routes_in(&routes).context("cannot read the output of `ip route`")?;
    used.extend(addresses_in(&addresses).context("cannot read the output of `ip address`")?);
    Ok(used)
}

fn routes_in(json: &str) -> Result<Vec<Network>> {
    let routes: Vec<Value> = serde_json::from_str(json)?;
    Ok(routes.iter().filter_map(|route| Network::parse(route["dst"].as_str()?)).collect())
}

fn addresses_in(json: &str) -> Result<Vec<Network>> {
    let links: Vec<Value> = serde_json::from_str(json)?;
    let addresses = links.iter().filter_map(|link| link["addr_info"].as_array()).flatten();
    let network = |entry: &Value| {
        let prefix = u8::try_from(entry["prefixlen"].as_u64()?).ok()?;
        Some(Network::new(entry["local"].as_str()?.parse().ok()?, prefix))
    };
    Ok(addresses.filter_map(network).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    #[test]
    fn takes_the_next_block_when_the_first_is_used() {
        assert_eq!(choose("00001234", &[]).unwrap(), network("10.18.52.0/24"));
        let used = [network("10.18.52.128/25"), network("10.18.53.7")];
        assert_eq!(choose("00001234", &used).unwrap(), network("10.18.54.0/24"));
        assert_eq!(
            choose("0000ffff", &[network("10.255.255.0/24")]).unwrap(),
            network("10.0.0.0/24"),
            "wraps"
        );
    }

    #[test]
    fn a_whole_used_range_is_refused() {
        let error = choose("00000000", &[network("10.0.0.0/8")]).unwrap_err();
        assert!(error.to_string().contains("hint:"), "{error}");
    }

    #[test]
    fn reads_what_ip_prints() {
        let routes = r#"[{"dst":"default","gateway":"192.0.2.1"},{"dst":"10.1.0.0/16","dev":"a"},{"type":"local","dst":"192.0.2.2"}]"#;
        assert_eq!(routes_in(routes).unwrap(), [network("10.1.0.0/16"), network("192.0.2.2/32")]);
        let links = r#"[{"ifname":"lo","addr_info":[{"local":"127.0.0.1","prefixlen":8}]},{"ifname":"x","addr_info":[{}]},{}]"#;
        assert_eq!(addresses_in(links).unwrap(), [network("127.0.0.0/8")]);
    }

    #[test]
    fn hosts_are_counted_from_the_network_address() {
        assert_eq!(network("10.1.2.0/24").host(10).to_string(), "10.1.2.10");
        assert_eq!(network("10.1.2.0/24").to_string(), "10.1.2.0/24");
    }
}
