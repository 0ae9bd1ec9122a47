//! Where the listeners are: ports, addresses, interfaces, and whether strangers can come in (E4, E5, E6, E16).

use std::net::{IpAddr, Ipv4Addr};

use super::words::list;
use super::{Finding, FindingId, Found, Severity};
use crate::facts::Facts;
use crate::settings::{External, Host, Internal, Level, Settings};

const ADDRESS: &str = "mqtt.external.bind.address";
const INTERFACE: &str = "mqtt.external.bind.interface";
const PORT: &str = "mqtt.external.bind.port";
/// Ports to propose: MQTT's customary ones and their neighbours.
const PORTS: [u16; 4] = [8883, 8884, 1883, 1884];

pub(super) fn check(settings: &Settings, external: &External, facts: &Facts, found: &mut Found) {
    interface(external, facts, found);
    address(external, facts, found);
    overlap(settings, external, facts, found);
    open(external, facts, found);
}

/// The internal listener in plaintext for everyone: E16 as well.
pub(super) fn internal(internal: &Internal, found: &mut Found) {
    if !internal.enabled || internal.address.is_loopback() {
        return;
    }
    let sentence = format!(
        "port {} of {} is open without TLS and without a user name (mqtt.bind.*): everyone who reaches it can read and publish everything",
        internal.port,
        place(Some(internal.address))
    );
    found.add(
        Finding::new(FindingId::E16, Severity::Warn, sentence)
            .value("mqtt.bind.address", internal.address)
            .fix(&["sectag config unset mqtt.bind.address".to_owned()]),
    );
}

/// The addresses that the external listener is opened on; an unspecified one stands for all.
pub(super) fn listening(external: &External, facts: &Facts) -> Option<Vec<IpAddr>> {
    match (&external.interface, &external.address) {
        (Some(name), _) if name == "lo" => Some(vec![Ipv4Addr::LOCALHOST.into()]),
        (Some(name), _) => Some(facts.machine.interface(name)?.addresses.clone()),
        (None, None) => Some(vec![Ipv4Addr::UNSPECIFIED.into()]),
        (None, Some(host)) => match facts.machine.addresses(host) {
            found if found.is_empty() => None,
            found => Some(found),
        },
    }
}

/// E5, E6.
fn interface(external: &External, facts: &Facts, found: &mut Found) {
    let Some(name) = &external.interface else {
        return;
    };
    if let Some(all) = &facts.machine.interfaces
        && facts.machine.interface(name).is_none()
    {
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        let best = names
            .iter()
            .find(|one| **one != "lo")
            .unwrap_or(&"<interface>");
        found.add(
            Finding::new(
                FindingId::E6,
                Severity::Warn,
                format!("this host has no interface `{name}`"),
            )
            .value(INTERFACE, name)
            .value("interfaces", list(&names))
            .fix(&[
                format!("sectag config set {INTERFACE} {best}"),
                format!("sectag config unset {INTERFACE}"),
            ]),
        );
    }
    let Some(address) = &external.address else {
        return;
    };
    let wildcard = matches!(address, Host::Ip(address) if address.is_unspecified());
    let own = facts.machine.interface(name).map(|one| {
        let addresses = facts.machine.addresses(address);
        !addresses.is_empty() && addresses.iter().all(|it| one.addresses.contains(it))
    });
    let (severity, sentence) = match (wildcard, own) {
        (true, _) => (
            Severity::Note,
            format!(
                "{ADDRESS} {address} is dropped, because {INTERFACE} {name} says where to listen"
            ),
        ),
        (false, Some(false)) => (
            Severity::Warn,
            format!("{ADDRESS} {address} is not an address of {name}, and the interface decides"),
        ),
        (false, _) => return,
    };
    found.add(
        Finding::new(FindingId::E5, severity, sentence)
            .value(ADDRESS, address)
            .value(INTERFACE, name)
            .fix(&[
                format!("sectag config unset {ADDRESS}"),
                format!("sectag config unset {INTERFACE}"),
            ]),
    );
}

/// E6 for an address: it is on no interface.
fn address(external: &External, facts: &Facts, found: &mut Found) {
    let (Some(host), None, Some(all)) = (
        &external.address,
        &external.interface,
        &facts.machine.interfaces,
    ) else {
        return;
    };
    let wanted = facts.machine.addresses(host);
    let own = |one: &IpAddr| facts.machine.is_own(&Host::Ip(*one)) == Some(true);
    if wanted.is_empty() || wanted.iter().all(own) {
        return;
    }
    let mine: Vec<String> = all
        .iter()
        .flat_map(|one| &one.addresses)
        .map(IpAddr::to_string)
        .collect();
    let best = mine.iter().find(|one| !is_loopback(one));
    let best = best.map_or("<address>", String::as_str);
    found.add(
        Finding::new(
            FindingId::E6,
            Severity::Warn,
            format!("this host has no address {host}"),
        )
        .value(ADDRESS, host)
        .value("addresses", list(&mine))
        .fix(&[
            format!("sectag config set {ADDRESS} {best}"),
            format!("sectag config unset {ADDRESS}"),
        ]),
    );
}

fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|one: IpAddr| one.is_loopback())
}

/// E4.
fn overlap(settings: &Settings, external: &External, facts: &Facts, found: &mut Found) {
    let internal = &settings.internal;
    if !internal.enabled || internal.port != external.port.value {
        return;
    }
    let Some(addresses) = listening(external, facts) else {
        return;
    };
    let contains = |one: IpAddr| {
        one == internal.address || one.is_unspecified() || internal.address.is_unspecified()
    };
    let Some(shared) = addresses.into_iter().find(|one| contains(*one)) else {
        return;
    };
    let port = internal.port.get();
    let free = PORTS
        .into_iter()
        .filter(|candidate| (*candidate >= 8883) == (external.level() != Level::None))
        .find(|candidate| *candidate != port);
    let sentence = format!(
        "both listeners want port {port}: the external one on {}, the internal one on {}",
        place(Some(shared)),
        place(Some(internal.address))
    );
    let mut finding = Finding::new(FindingId::E4, Severity::Error, sentence)
        .value(PORT, format!("{port} ({})", external.port.source))
        .value("mqtt.bind.port", port)
        .value("mqtt.bind.address", internal.address)
        .fix(&[
            format!("sectag config set {PORT} {}", free.unwrap_or(8884)),
            "sectag config set mqtt.bind.enabled false".to_owned(),
        ]);
    if let Some(address) = &external.address {
        finding = finding.value(ADDRESS, address);
    }
    found.add(finding);
}

/// E16.
fn open(external: &External, facts: &Facts, found: &mut Found) {
    if external.level() != Level::None {
        return;
    }
    let addresses = listening(external, facts);
    let local = |all: &Vec<IpAddr>| !all.is_empty() && all.iter().all(IpAddr::is_loopback);
    if addresses.as_ref().is_some_and(local) {
        return;
    }
    let place = match (&external.interface, &external.address) {
        (Some(name), _) => format!("interface {name}"),
        (None, Some(host)) => place_of(host),
        (None, None) => place(None),
    };
    let port = external.port.value;
    let sentence = format!(
        "port {port} of {place} is open without TLS and without a user name (mqtt.external.*): everyone who reaches it can read and publish everything"
    );
    let mut finding = Finding::new(FindingId::E16, Severity::Warn, sentence)
        .value(PORT, format!("{port} ({})", external.port.source))
        .fix(&[
            "sectag gateway init --level server".to_owned(),
            "sectag config set mqtt.external.cert_file <path> mqtt.external.key_file <path>"
                .to_owned(),
            format!("sectag config set {ADDRESS} 127.0.0.1"),
        ]);
    if let Some(address) = &external.address {
        finding = finding.value(ADDRESS, address);
    }
    found.add(finding);
}

fn place(address: Option<IpAddr>) -> String {
    match address {
        Some(address) if !address.is_unspecified() => address.to_string(),
        _ => "all addresses of this machine".to_owned(),
    }
}

fn place_of(host: &Host) -> String {
    match host {
        Host::Ip(address) => place(Some(*address)),
        Host::Name(name) => name.clone(),
    }
}
