//! Keys of periods: what a server derives from its home's secret, so that it is the same after a crash.
//!
//! Tickets (RFC 5077) and cookies (RFC 6347 §4.2.1) are the server's notes to itself, kept by the client. Their keys are
//! `HMAC-SHA256(secret, label ‖ period)`, where the period counts days for tickets and minutes for cookies: nothing is stored, a key
//! is used for its period, accepted for as long as what it protects may live, and never again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::MasterSecret;
use crate::ffi;

/// Seals and opens tickets: period (4 bytes), nonce (12 bytes), AES-256-GCM over the session with the period as header.
pub(crate) struct TicketKeys {
    secret: MasterSecret,
    lifetime_s: u32,
}

impl TicketKeys {
    pub(crate) fn new(secret: MasterSecret, lifetime: Duration) -> Self {
        Self {
            secret,
            lifetime_s: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Seconds for which a ticket can be resumed.
    pub(crate) fn lifetime_s(&self) -> u32 {
        self.lifetime_s
    }

    pub(crate) fn seal(&self, now_s: u64, nonce: &[u8; 12], session: &[u8]) -> Option<Vec<u8>> {
        let period = period(now_s, TICKET_PERIOD_S);
        let header = period.to_be_bytes();
        let sealed = ffi::seal(&*self.key(period)?, nonce, &header, session)?;
        Some([&header, &nonce[..], &sealed].concat())
    }

    pub(crate) fn open(&self, now_s: u64, ticket: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (header, rest) = ticket.split_first_chunk::<4>()?;
        let (nonce, sealed) = rest.split_first_chunk::<12>()?;
        let (sealed_in, now) = (u32::from_be_bytes(*header), period(now_s, TICKET_PERIOD_S));
        let periods_max = self.lifetime_s / u32::try_from(TICKET_PERIOD_S).unwrap_or(u32::MAX) + 1;
        if sealed_in > now.saturating_add(1) || now.saturating_sub(sealed_in) > periods_max {
            return None;
        }
        ffi::open(&*self.key(sealed_in)?, nonce, header, sealed)
    }

    fn key(&self, period: u32) -> Option<Key> {
        derive(&self.secret, b"sectag dtls ticket", period)
    }
}

/// Makes and checks the cookies of HelloVerifyRequests: a MAC over the client's address and random.
pub(crate) struct CookieKeys {
    secret: MasterSecret,
    /// The period at hand, its key and the one before.
    at_hand: Option<(u32, Key, Key)>,
}

type Key = Zeroizing<[u8; 32]>;

/// A cookie: the first half of an HMAC-SHA256. DTLS 1.0 clients take up to 32 bytes.
pub(crate) type Cookie = [u8; 16];

impl CookieKeys {
    pub(crate) fn new(secret: MasterSecret) -> Self {
        Self {
            secret,
            at_hand: None,
        }
    }

    /// The cookie for a client, good until the end of the next period. `None` when the library has no memory left.
    pub(crate) fn make(
        &mut self,
        now_s: u64,
        from: SocketAddr,
        random: &[u8; 32],
    ) -> Option<Cookie> {
        let (current, _) = self.keys(now_s)?;
        mac(current, from, random)
    }

    /// Whether this is the client's cookie, of this period or the one before.
    pub(crate) fn check(
        &mut self,
        now_s: u64,
        from: SocketAddr,
        random: &[u8; 32],
        cookie: &[u8],
    ) -> bool {
        let Some((current, before)) = self.keys(now_s) else {
            return false;
        };
        [current, before]
            .into_iter()
            .any(|key| mac(key, from, random).is_some_and(|good| same(&good, cookie)))
    }

    fn keys(&mut self, now_s: u64) -> Option<(&[u8; 32], &[u8; 32])> {
        let period = period(now_s, COOKIE_PERIOD_S);
        if self
            .at_hand
            .as_ref()
            .is_none_or(|at_hand| at_hand.0 != period)
        {
            let key = |period| derive(&self.secret, b"sectag dtls cookie", period);
            self.at_hand = Some((period, key(period)?, key(period.wrapping_sub(1))?));
        }
        self.at_hand
            .as_ref()
            .map(|(_, current, before)| (&**current, &**before))
    }
}

fn mac(key: &[u8; 32], from: SocketAddr, random: &[u8; 32]) -> Option<Cookie> {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut text = [0; 16 + 2 + 32];
    text[..16].copy_from_slice(&ip.octets());
    text[16..18].copy_from_slice(&from.port().to_be_bytes());
    text[18..].copy_from_slice(random);
    ffi::hmac(key, &text)?.first_chunk().copied()
}

/// Compares without telling by time where the difference is.
fn same(good: &Cookie, cookie: &[u8]) -> bool {
    cookie.len() == good.len() && good.iter().zip(cookie).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

fn derive(secret: &MasterSecret, label: &[u8], period: u32) -> Option<Key> {
    ffi::hmac(&*secret.0, &[label, &period.to_be_bytes()].concat())
}

fn period(now_s: u64, period_s: u64) -> u32 {
    u32::try_from(now_s / period_s).unwrap_or(u32::MAX)
}

/// A day: tickets of one key are few enough for random nonces (2³² of them would be too many), and a key found out opens one day.
const TICKET_PERIOD_S: u64 = 86_400;

/// A minute: a client answers a HelloVerifyRequest within one round trip, or its retransmission of 1, 2, 4 … seconds.
const COOKIE_PERIOD_S: u64 = 60;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> MasterSecret {
        MasterSecret::new([byte; 32])
    }

    #[test]
    fn a_ticket_opens_after_a_restart_with_the_same_secret_and_within_its_lifetime_only() {
        let week = Duration::from_secs(7 * 86_400);
        let ticket = TicketKeys::new(secret(1), week)
            .seal(1_000_000_000, &[3; 12], b"session")
            .unwrap();
        let again = TicketKeys::new(secret(1), week);
        assert_eq!(
            again
                .open(1_000_000_000 + 6 * 86_400, &ticket)
                .unwrap()
                .as_slice(),
            b"session"
        );
        assert!(again.open(1_000_000_000 + 9 * 86_400, &ticket).is_none());
        assert!(
            TicketKeys::new(secret(2), week)
                .open(1_000_000_000, &ticket)
                .is_none()
        );
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert!(again.open(1_000_000_000, &forged).is_none(), "byte {at}");
            assert!(
                again.open(1_000_000_000, &ticket[..at]).is_none(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_cookie_belongs_to_an_address_and_a_random_and_lives_for_the_next_period() {
        let mut keys = CookieKeys::new(secret(1));
        let (from, other): (SocketAddr, SocketAddr) = (
            "192.0.2.1:5".parse().unwrap(),
            "192.0.2.1:6".parse().unwrap(),
        );
        let cookie = keys.make(600, from, &[1; 32]).unwrap();
        assert!(keys.check(600, from, &[1; 32], &cookie));
        assert!(keys.check(719, from, &[1; 32], &cookie));
        assert!(!keys.check(720, from, &[1; 32], &cookie));
        assert!(!keys.check(600, other, &[1; 32], &cookie));
        assert!(!keys.check(600, from, &[2; 32], &cookie));
        assert!(!keys.check(600, from, &[1; 32], &cookie[..15]));
        assert!(!CookieKeys::new(secret(2)).check(600, from, &[1; 32], &cookie));
    }
}
