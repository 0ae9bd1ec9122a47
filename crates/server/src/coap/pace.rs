//! Who is let in first when all come at once, as after a start: whoever has a session, then whoever resumes one, then
//! new ones at a measured pace.
//!
//! ```text
//!   datagram ──► a ClientHello with a good cookie that resumes nothing? ──no──► fed at once
//!                                  │ yes
//!                                  ▼
//!                    waiting, one per address ── [`HANDSHAKES_PER_S`] ──► fed
//! ```
//! Whether it is one says the endpoint ([`sectag_dtls::Endpoint::opens_handshake`]): nothing is kept for an address that has
//! not proven itself by a cookie.

use crate::admission::{Shares, neighbourhood};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Full handshakes per second; more wait. One takes 1.2 ms of a core (spec/dependencies §2), so this is half a core, and the
/// other half is for the sessions that are there. 10,000 devices without tickets are in after half a minute, before a
/// client gives up (it retransmits for a minute).
pub(crate) const HANDSHAKES_PER_S: u32 = 400;
/// Handshakes that may begin at once after a pause: 60 ms of a core, unnoticed by those who wait for an answer.
pub(crate) const HANDSHAKES_AT_ONCE: u32 = 50;
/// ClientHellos that wait, one per address, about 300 bytes each; the endpoint takes none larger than one datagram on a LAN. What comes on top is not taken: its client sends it again
/// after one second, then after two.
pub(crate) const WAITING_MAX: usize = 8192;
/// A ClientHello that waited longer is thrown away: its client has sent another.
pub(crate) const WAITING_TIME_MAX: Duration = Duration::from_secs(30);

/// The waiting room.
#[derive(Debug)]
pub(super) struct Pace {
    /// Handshakes that may begin, in thousandths.
    credit: u64,
    refilled: Duration,
    waiting: HashMap<SocketAddr, (Vec<u8>, Duration)>,
    order: VecDeque<SocketAddr>,
    /// An address with many ports has no more places than are free.
    shares: Shares,
    /// ClientHellos that were not taken because the room was full, or their address's share of it.
    pub(super) turned_away: u64,
}

const HANDSHAKE: u64 = 1000;

impl Pace {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            credit: u64::from(HANDSHAKES_AT_ONCE) * HANDSHAKE,
            refilled: now,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            shares: Shares::new(WAITING_MAX),
            turned_away: 0,
        }
    }

    /// Whether this datagram, of which `opens_handshake` is known, has to wait its turn; if so it is kept, and comes back by
    /// [`Pace::next`].
    pub(super) fn holds(
        &mut self,
        opens_handshake: bool,
        datagram: &[u8],
        from: SocketAddr,
        now: Duration,
    ) -> bool {
        if !opens_handshake {
            return false;
        }
        if let Some(waiting) = self.waiting.get_mut(&from) {
            // The client is tired of waiting and has sent it again.
            waiting.0 = datagram.to_vec();
        } else if !self.shares.take(neighbourhood(from.ip())) {
            self.turned_away += 1;
        } else {
            self.waiting.insert(from, (datagram.to_vec(), now));
            self.order.push_back(from);
        }
        true
    }

    /// The next one that may be fed. [`Pace::began`] says whether it was one for the pace.
    pub(super) fn next(&mut self, now: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        self.refill(now);
        while let Some(from) = self.order.front().copied() {
            let since = self.waiting.get(&from).map(|(_, since)| *since);
            let in_time = since.is_some_and(|since| now.saturating_sub(since) < WAITING_TIME_MAX);
            if in_time && self.credit < HANDSHAKE {
                return None;
            }
            self.order.pop_front();
            if let Some((hello, _)) = self.waiting.remove(&from) {
                self.shares.give_back(&neighbourhood(from.ip()));
                if in_time {
                    return Some((hello, from));
                }
            }
        }
        None
    }

    /// A handshake began with what [`Pace::next`] gave.
    pub(super) fn began(&mut self) {
        self.credit = self.credit.saturating_sub(HANDSHAKE);
    }

    /// When the next one may be fed; `None`: nobody waits.
    pub(super) fn when(&self, now: Duration) -> Option<Duration> {
        if self.order.is_empty() {
            return None;
        }
        let lacks = HANDSHAKE.saturating_sub(self.credit);
        let wait_ms = lacks.div_ceil(u64::from(HANDSHAKES_PER_S));
        Some(now.max(self.refilled) + Duration::from_millis(wait_ms))
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.refilled);
        let ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        // Thousandths of a handshake per millisecond are handshakes per second.
        let fresh = ms.saturating_mul(u64::from(HANDSHAKES_PER_S));
        if fresh > 0 {
            self.credit = (self.credit + fresh).min(u64::from(HANDSHAKES_AT_ONCE) * HANDSHAKE);
            self.refilled += Duration::from_millis(ms);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HELLO: [u8; 200] = [22; 200];

    /// Everybody at home in a network of its own.
    fn from(port: u16) -> SocketAddr {
        let [high, low] = port.to_be_bytes();
        ([127, 0, high, low], port).into()
    }

    #[test]
    fn what_opens_no_handshake_never_waits() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.credit = 0;
        for port in 0..10_000 {
            assert!(!pace.holds(false, &HELLO, from(port), Duration::ZERO));
        }
        assert_eq!((pace.waiting(), pace.turned_away), (0, 0));
    }

    #[test]
    fn new_handshakes_come_at_the_pace_and_in_their_order() {
        let mut pace = Pace::new(Duration::ZERO);
        let all = u16::try_from(HANDSHAKES_AT_ONCE).unwrap() + 3;
        for port in 1..=all {
            assert!(pace.holds(true, &HELLO, from(port), Duration::ZERO));
        }
        let mut fed = 0;
        while let Some((_, peer)) = pace.next(Duration::ZERO) {
            fed += 1;
            assert_eq!(peer, from(fed));
            pace.began();
        }
        assert_eq!((u32::from(fed), pace.waiting()), (HANDSHAKES_AT_ONCE, 3));
        let when = pace.when(Duration::ZERO).unwrap();
        assert!(when > Duration::ZERO && when <= Duration::from_millis(3));
        assert!(pace.next(when).is_some());
        pace.began();
        assert!(pace.next(when).is_none());
        let later = Duration::from_secs(1);
        assert!(pace.next(later).is_some() && pace.next(later).is_some());
        assert_eq!(pace.when(later), None);
    }

    #[test]
    fn hellos_that_begin_nothing_use_up_nothing() {
        let mut pace = Pace::new(Duration::ZERO);
        for port in 1..=1000 {
            pace.holds(true, &HELLO, from(port), Duration::ZERO);
        }
        let fed = std::iter::from_fn(|| pace.next(Duration::ZERO)).count();
        assert_eq!(fed, 1000);
    }

    #[test]
    fn an_address_with_many_ports_leaves_half_of_the_room_to_others() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.credit = 0;
        for port in 1..=u16::MAX {
            pace.holds(true, &HELLO, ([127, 0, 0, 1], port).into(), Duration::ZERO);
        }
        assert_eq!(pace.waiting(), WAITING_MAX / 2);
        pace.holds(true, &HELLO, ([127, 0, 0, 2], 1).into(), Duration::ZERO);
        assert_eq!(pace.waiting(), WAITING_MAX / 2 + 1);
        assert!(pace.next(WAITING_TIME_MAX).is_none());
        assert!((1..=99).all(|port| {
            pace.holds(
                true,
                &HELLO,
                ([127, 0, 0, 1], port).into(),
                WAITING_TIME_MAX,
            )
        }));
        assert_eq!(pace.waiting(), 99);
    }

    #[test]
    fn the_room_is_bounded_one_place_per_address_and_nobody_waits_for_ever() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.credit = 0;
        for round in 0..3 {
            for port in 0..u16::try_from(WAITING_MAX).unwrap() {
                pace.holds(true, &HELLO, from(port), Duration::ZERO);
            }
            assert_eq!(
                (pace.waiting(), pace.turned_away),
                (WAITING_MAX, 0),
                "{round}"
            );
        }
        assert!(pace.holds(true, &HELLO, from(u16::MAX), Duration::ZERO));
        assert_eq!((pace.waiting(), pace.turned_away), (WAITING_MAX, 1));
        assert!(pace.next(WAITING_TIME_MAX).is_none());
        assert_eq!((pace.waiting(), pace.when(WAITING_TIME_MAX)), (0, None));
    }
}
