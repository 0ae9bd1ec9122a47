//! Where a webhook may lead: a service that fetches what its users name must not become their arm into the network it stands in.
//!
//! | address | who may |
//! |---|---|
//! | link-local (169.254/16, fe80::/10), the metadata services of clouds, unspecified, multicast, broadcast | nobody, ever |
//! | loopback, private (RFC 1918, fc00::/7), shared (100.64/10) | as [`Private`] says; by default the home's own team |
//! | all others | everybody, by `https` only |
//!
//! A name is resolved once, each address is judged, and the connection goes to the one that was judged, so that a name
//! cannot change its mind in between. A name that leads nowhere it may is answered like one that is not there. IPv4 inside IPv6 (mapped, NAT64, 6to4) is judged as IPv4.

use crate::settings::Private;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What an address is to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody's business.
    Never,
    /// In the own network.
    Private,
    /// The internet.
    Public,
}

/// Metadata services outside of link-local addresses: Alibaba, Oracle, and AWS over IPv6.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Where an address leads.
pub(crate) fn place_of(address: IpAddr) -> Place {
    if METADATA.contains(&address) {
        return Place::Never;
    }
    match address {
        IpAddr::V4(address) => place_of_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => place_of(IpAddr::V4(inner)),
            None => place_of_v6(address),
        },
    }
}

fn place_of_v4(address: Ipv4Addr) -> Place {
    let [a, b, ..] = address.octets();
    let never = address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_broadcast()
        || a == 0
        || a >= 240;
    let shared = a == 100 && (64..128).contains(&b);
    match () {
        () if never => Place::Never,
        () if address.is_loopback() || address.is_private() || shared => Place::Private,
        () => Place::Public,
    }
}

fn place_of_v6(address: Ipv6Addr) -> Place {
    let first = address.segments()[0];
    let link_local = first & 0xffc0 == 0xfe80;
    let unique_local = first & 0xfe00 == 0xfc00;
    match () {
        () if link_local || address.is_unspecified() || address.is_multicast() => Place::Never,
        () if address.is_loopback() || unique_local => Place::Private,
        () => Place::Public,
    }
}

/// IPv4 inside: mapped or compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052, and the local prefix of RFC 8215), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let at = |from: usize| {
        Ipv4Addr::new(
            octets[from],
            octets[from + 1],
            octets[from + 2],
            octets[from + 3],
        )
    };
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] => Some(at(12)),
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => {
            Some(at(12))
        }
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        _ => None,
    }
}

/// Why an address is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotCalled {
    /// See [`Place::Never`].
    #[error(
        "{0} is a link-local, metadata or otherwise special address, which no webhook is sent to"
    )]
    Never(IpAddr),
    /// See [`Place::Private`].
    #[error(
        "{0} is an address of the own network, which webhooks of this team are not sent to (`webhooks.private` in sectag.toml)"
    )]
    Private(IpAddr),
    /// Not encrypted, and on the way through networks of others.
    #[error("{0} is on the internet, where only `https` is used")]
    Plain(IpAddr),
}

/// Whether a webhook may lead here.
pub(crate) fn judge(
    address: IpAddr,
    tls: bool,
    private: Private,
    is_home: bool,
) -> Result<(), NotCalled> {
    match (place_of(address), private) {
        (Place::Never, _) => Err(NotCalled::Never(address)),
        (Place::Private, Private::All) => Ok(()),
        (Place::Private, Private::Home) if is_home => Ok(()),
        (Place::Private, _) => Err(NotCalled::Private(address)),
        (Place::Public, _) if !tls => Err(NotCalled::Plain(address)),
        (Place::Public, _) => Ok(()),
    }
}

/// Those of a name's addresses that may be called.
///
/// # Errors
/// In words for whoever gave the name: as if those that are not allowed were not there. Else everybody with a webhook could ask
/// the resolver of the own network which names there are.
pub(crate) fn choose(
    name: &str,
    found: &[SocketAddr],
    judge: impl Fn(IpAddr) -> Result<(), NotCalled>,
) -> Result<Vec<SocketAddr>, String> {
    let (mut chosen, mut is_plain) = (Vec::new(), false);
    for address in found {
        match judge(address.ip()) {
            Ok(()) => chosen.push(*address),
            Err(NotCalled::Plain(_)) => is_plain = true,
            Err(reason) => {
                tracing::info!(name, %reason, "the name of a webhook's receiver leads where it must not");
            }
        }
    }
    match (chosen.is_empty(), is_plain) {
        (false, _) => Ok(chosen),
        (true, true) => Err(format!(
            "`{name}` is on the internet, where only `https` is used"
        )),
        (true, false) => Err(format!(
            "`{name}` leads nowhere that webhooks of this team may go: it has no address, or none that is allowed; the service's log says which"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_calls_link_local_addresses_in_whatever_dress() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "fd00:ec2::254",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
            "240.0.0.1",
            "64:ff9b:1::a9fe:a9fe",
        ] {
            let address: IpAddr = text.parse().unwrap();
            for is_home in [false, true] {
                let judged = judge(address, true, Private::All, is_home);
                assert!(
                    matches!(judged, Err(NotCalled::Never(_))),
                    "{text}: {judged:?}"
                );
            }
        }
    }

    #[test]
    fn the_own_network_is_for_whom_the_setting_says() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            for tls in [false, true] {
                let may = |private, is_home| judge(address, tls, private, is_home).is_ok();
                assert!(may(Private::Home, true), "{text}");
                assert!(!may(Private::Home, false), "{text}");
                assert!(may(Private::All, false), "{text}");
                assert!(!may(Private::None, true), "{text}");
            }
        }
    }

    #[test]
    fn the_internet_is_called_by_https_only() {
        for text in [
            "93.184.216.34",
            "2606:2800:220:1::1",
            "172.32.0.1",
            "100.128.0.1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert!(judge(address, true, Private::None, false).is_ok(), "{text}");
            assert!(
                matches!(
                    judge(address, false, Private::All, true),
                    Err(NotCalled::Plain(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn of_a_name_nobody_learns_what_there_is_beside_what_is_allowed() {
        let at = |text: &str| SocketAddr::new(text.parse().unwrap(), 443);
        let (never, private) = (at("169.254.169.254"), at("10.1.2.3"));
        let public = at("93.184.216.34");
        for tls in [false, true] {
            let chosen = |found: &[SocketAddr]| {
                choose("x.example", found, |address| {
                    judge(address, tls, Private::Home, false)
                })
            };
            let nothing = chosen(&[]);
            assert!(nothing.as_ref().is_err_and(|told| !told.contains("10.")));
            for hidden in [&[never][..], &[private], &[private, never]] {
                assert_eq!(chosen(hidden), nothing);
            }
            let alone = chosen(&[public]);
            assert_ne!(alone, nothing);
            assert_eq!(chosen(&[public, private]), alone);
            assert_eq!(chosen(&[never, public]), alone);
        }
    }
}
