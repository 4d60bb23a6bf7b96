//! Which of an instance's addresses ccorch talks to.

use std::net::IpAddr;

use super::instance::{Address, InstanceState, Interface};

/// The address to reach an instance at: a global one of an interface that Incus made, IPv4 before IPv6. Bridges that
/// programs inside the instance made (containers in the container) have no other end on the server and do not count.
pub fn address(state: &InstanceState) -> Option<IpAddr> {
    let made_by_incus = |interface: &&Interface| !interface.host_name.is_empty();
    let addresses: Vec<&Address> = state
        .network
        .iter()
        .flat_map(|interfaces| interfaces.values())
        .filter(made_by_incus)
        .flat_map(|interface| &interface.addresses)
        .filter(|address| address.scope == "global")
        .collect();
    let of = |family: &str| {
        addresses.iter().filter(|a| a.family == family).find_map(|a| a.address.parse::<IpAddr>().ok())
    };
    of("inet").or_else(|| of("inet6"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: &str) -> InstanceState {
        serde_json::from_str(json).unwrap()
    }

    const LOOPBACK: &str =
        r#""lo":{"host_name":"","addresses":[{"family":"inet","address":"127.0.0.1","scope":"local"}]}"#;
    const DOCKER: &str = r#""docker0":{"host_name":"","addresses":[{"family":"inet","address":"172.17.0.1","scope":"global"}]}"#;

    #[test]
    fn ipv4_of_the_incus_interface_is_taken() {
        let text = format!(
            r#"{{"network":{{{LOOPBACK},{DOCKER},"eth0":{{"host_name":"veth1","addresses":[
                {{"family":"inet6","address":"fd00::2","scope":"global"}},
                {{"family":"inet","address":"10.0.0.2","scope":"global"}}]}}}}}}"#
        );
        assert_eq!(address(&state(&text)), Some("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn ipv6_alone_will_do_but_a_link_local_one_will_not() {
        let with = |scope: &str| {
            format!(
                r#"{{"network":{{"eth0":{{"host_name":"veth1","addresses":[{{"family":"inet6","address":"fd00::2","scope":"{scope}"}}]}}}}}}"#
            )
        };
        assert_eq!(address(&state(&with("global"))), Some("fd00::2".parse().unwrap()));
        assert_eq!(address(&state(&with("link"))), None);
    }

    #[test]
    fn a_stopped_instance_has_none() {
        assert_eq!(address(&state(r#"{"network":null}"#)), None);
        assert_eq!(address(&state(&format!(r#"{{"network":{{{LOOPBACK},{DOCKER}}}}}"#))), None);
    }
}
