//! A host and port that a SOCKS proxy is asked for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What was given is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not HOST:PORT: an IPv6 address goes in brackets, a name is ASCII of at most 255 bytes")]
pub struct BadTarget(String);

/// A host and port as a SOCKS proxy is asked for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: Address,
    /// The port, from 1.
    pub port: u16,
}

/// A host: an address, or a name that the proxy's far side resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6.
    Ip(IpAddr),
    /// 1 to 255 bytes of ASCII without spaces.
    Name(String),
}

impl Target {
    /// A target from a host (an IPv6 address with or without brackets) and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, BadTarget> {
        let bad = || BadTarget(format!("{host}:{port}"));
        if port == 0 {
            return Err(bad());
        }
        let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if let Some(inside) = inside {
            let address: Ipv6Addr = inside.parse().map_err(|_| bad())?;
            return Ok(Self { host: Address::Ip(address.into()), port });
        }
        let name_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        match host.parse() {
            Ok(address) => Ok(Self { host: Address::Ip(address), port }),
            Err(_) if (1..=255).contains(&host.len()) && host.bytes().all(name_byte) => {
                Ok(Self { host: Address::Name(host.into()), port })
            }
            Err(_) => Err(bad()),
        }
    }
}

impl FromStr for Target {
    type Err = BadTarget;
    fn from_str(given: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(given.into());
        let (host, port) = given.rsplit_once(':').ok_or_else(bad)?;
        // Without brackets nobody can tell where an IPv6 address ends and the port begins.
        if host.contains(':') && !host.starts_with('[') {
            return Err(bad());
        }
        Self::new(host, port.parse().map_err(|_| bad())?).map_err(|_| bad())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Address::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Address::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        for (given, shown) in [
            ("b1:22", "b1:22"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]:8443", "[::1]:8443"),
            ("1.2.3:9", "1.2.3:9"),
        ] {
            let target: Target = given.parse().unwrap();
            assert_eq!(target.to_string(), shown);
            assert_eq!(matches!(target.host, Address::Name(_)), given.starts_with('b') || given == "1.2.3:9");
        }
        assert_eq!(Target::new("::1", 22), Target::new("[::1]", 22), "ssh's %h has no brackets");
    }

    #[test]
    fn what_no_proxy_could_be_asked_for_is_refused() {
        let long = format!("{}:1", "x".repeat(256));
        for bad in
            ["", "b1", "b1:", ":22", "b1:0", "b1:65536", "::1:22", "[b1]:22", "a b:1", "ä:1", "a\0:1", &long]
        {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
