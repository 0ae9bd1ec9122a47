//! Where the external listener is opened: an address, the addresses of a name, those of an interface, or all.

use crate::fault::{Fault, Outcome};
use sectag_gateway::External;
use sectag_gateway::facts::Machine;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The socket addresses of `mqtt.external.bind.*` on this machine.
pub(super) fn of(external: &External, machine: &Machine) -> Outcome<Vec<SocketAddr>> {
    let found = match (&external.interface, &external.address) {
        (Some(name), _) => of_interface(name, machine)?,
        (None, None) => all(has_ipv6(), is_ipv6_apart()),
        (None, Some(host)) => match machine.addresses(host) {
            found if !found.is_empty() => found,
            _ => {
                return Err(Fault::untried(format!(
                    "mqtt.external.bind.address {host} cannot be resolved"
                ))
                .hint("give an address of this machine, or a name that leads to one"));
            }
        },
    };
    let port = external.port.value.get();
    Ok(found
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

fn of_interface(name: &str, machine: &Machine) -> Outcome<Vec<IpAddr>> {
    let Some(interface) = machine.interface(name) else {
        let known = machine.interfaces.iter().flatten();
        let known: Vec<&str> = known.map(|one| one.name.as_str()).collect();
        return Err(
            Fault::untried(format!("this machine has no interface `{name}`")).hint(format!(
                "it has {}; set mqtt.external.bind.interface to one of them, or unset it",
                known.join(", ")
            )),
        );
    };
    let usable: Vec<IpAddr> = interface
        .addresses
        .iter()
        .copied()
        .filter(|address| !is_link_local(address))
        .collect();
    if usable.is_empty() {
        return Err(Fault::untried(format!(
            "the interface `{name}` has no address that a client could be told"
        ))
        .hint("is it up? `ip address` shows it; link-local IPv6 addresses do not count"));
    }
    Ok(usable)
}

/// Useless without a scope, which no client can know.
fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// One IPv6 socket takes IPv4 as well, unless the system keeps them apart.
fn all(has_ipv6: bool, is_apart: bool) -> Vec<IpAddr> {
    let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
    match (has_ipv6, is_apart) {
        (false, _) => vec![v4],
        (true, false) => vec![v6],
        (true, true) => vec![v4, v6],
    }
}

fn has_ipv6() -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

/// `net.ipv6.bindv6only` of Linux.
fn is_ipv6_apart() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only").is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_gateway::facts::Interface;
    use sectag_gateway::{Source, Sourced};

    fn external(address: Option<&str>, interface: Option<&str>) -> External {
        External {
            port: Sourced {
                value: 8883.try_into().unwrap(),
                source: Source::Inferred,
            },
            address: address.map(|address| address.parse().unwrap()),
            interface: interface.map(str::to_owned),
            ca_path: None,
            cert_file: None,
            key_file: None,
            crl_file: None,
        }
    }

    fn machine() -> Machine {
        let wlan = |addresses: &[&str]| Interface {
            name: "wlan0".into(),
            addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
        };
        Machine {
            interfaces: Some(vec![wlan(&["192.0.2.7", "2001:db8::7", "fe80::1"])]),
            resolved: [("gateway.local".into(), vec!["192.0.2.7".parse().unwrap()])].into(),
            ..Machine::default()
        }
    }

    fn found(address: Option<&str>, interface: Option<&str>) -> Result<Vec<String>, String> {
        of(&external(address, interface), &machine())
            .map(|all| all.iter().map(ToString::to_string).collect())
            .map_err(|fault| fault.text())
    }

    #[test]
    fn a_name_an_address_and_an_interface_lead_to_addresses() {
        assert_eq!(
            found(Some("gateway.local"), None).unwrap(),
            ["192.0.2.7:8883"]
        );
        assert_eq!(found(Some("::1"), None).unwrap(), ["[::1]:8883"]);
        // The wildcard is dropped: the interface decides.
        let both = ["192.0.2.7:8883", "[2001:db8::7]:8883"];
        assert_eq!(found(Some("0.0.0.0"), Some("wlan0")).unwrap(), both);
    }

    #[test]
    fn what_leads_nowhere_is_an_error_with_the_choices() {
        let text = found(Some("elsewhere.local"), None).unwrap_err();
        assert!(
            text.contains("elsewhere.local cannot be resolved"),
            "{text}"
        );
        let text = found(None, Some("eth9")).unwrap_err();
        assert!(
            text.contains("`eth9`") && text.contains("it has wlan0"),
            "{text}"
        );
    }

    #[test]
    fn all_addresses_are_one_socket_where_the_system_allows_it() {
        let text = |all: Vec<IpAddr>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(all(true, false)), ["::"]);
        assert_eq!(text(all(false, false)), ["0.0.0.0"]);
        assert_eq!(text(all(true, true)), ["0.0.0.0", "::"]);
    }
}
