//! Places that addresses share: one alone gets half of them, and there is always room for the next.
//!
//! Behind a translator or a proxy many are one address, and half of the places is what they have together.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// A bounded number of places that addresses share: one address may hold as many as are free. So one alone gets half of
/// them, each of nine others that come along a tenth, and there is always room for the next.
#[derive(Debug)]
pub(crate) struct Shares<A = IpAddr> {
    places: usize,
    taken: usize,
    by: HashMap<A, usize>,
}

impl<A: Eq + Hash> Shares<A> {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places,
            taken: 0,
            by: HashMap::new(),
        }
    }

    /// Takes a place, if this address may have one more. Whoever got one gives it back.
    pub(crate) fn take(&mut self, address: A) -> bool {
        let free = self.places.saturating_sub(self.taken);
        let held = self.by.get(&address).copied().unwrap_or(0);
        if held >= free {
            return false;
        }
        *self.by.entry(address).or_insert(0) += 1;
        self.taken += 1;
        true
    }

    /// Places that this address has.
    #[cfg_attr(
        not(feature = "coap"),
        expect(dead_code, reason = "only DTLS sessions make room for each other")
    )]
    pub(crate) fn held(&self, address: &A) -> usize {
        self.by.get(address).copied().unwrap_or(0)
    }

    pub(crate) fn give_back(&mut self, address: &A) {
        if let Some(held) = self.by.get_mut(address) {
            *held -= 1;
            self.taken -= 1;
            if *held == 0 {
                self.by.remove(address);
            }
        }
    }
}

/// Whom a share belongs to: an IPv4 address, or the /48 that one customer of an IPv6 network may have (RFC 6177 §2). A /64 would
/// be one of the 256 and more that most of them have, and ten of those hold nearly all places.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80).into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_half_and_many_leave_room_for_the_next() {
        let mut shares = Shares::new(100);
        let alone = (0..100).filter(|_| shares.take(1)).count();
        assert_eq!(alone, 50);
        assert_eq!((0..100).filter(|_| shares.take(2)).count(), 25);
        for address in 3..1000 {
            for _ in 0..100 {
                shares.take(address);
            }
        }
        assert!(
            shares.by.len() <= 100,
            "nothing is kept for who has nothing"
        );
        for _ in 0..alone {
            shares.give_back(&1);
        }
        assert!(shares.take(5000));
    }

    #[test]
    fn a_share_is_an_address_or_a_network_of_one_customer() {
        let same = |a: &str, b: &str| {
            neighbourhood(a.parse().unwrap()) == neighbourhood(b.parse().unwrap())
        };
        assert!(same("2001:db8:1:2::1", "2001:db8:1:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:2:2::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
