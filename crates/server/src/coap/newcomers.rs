//! Sessions that have not said who they are: they get a minute, a bounded number of refusals, and places of their own, so that
//! whoever only shakes hands costs no device its session.
//!
//! ```text
//!   connected ─► newcomer ── authorised ──► kept by the endpoint, idle for as long as it likes
//!                   ├── [`stranger_time_max`](crate::settings::Coap::stranger_time_max) over, or [`NEWCOMER_REFUSALS_MAX`] refusals ──► closed
//!                   └── over its address's share, or the oldest of a full room ──► closed
//! ```

use crate::admission::{Shares, neighbourhood};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Sessions that are not authorised, at the same time, about 10 kB each: at the pace of handshakes those of the last ten
/// seconds, which is what a modem on a slow link needs to show its token. One more ends the oldest.
pub(crate) const NEWCOMERS_MAX: usize = 4_000;
/// Requests of one session that are refused before it is authorised. A device has one or two and goes home.
pub(crate) const NEWCOMER_REFUSALS_MAX: u32 = 32;

/// The sessions that are not authorised.
#[derive(Debug)]
pub(super) struct Newcomers {
    sessions: HashMap<u64, Newcomer>,
    /// In the order in which they came; entries of sessions that are none of these any more are skipped.
    order: VecDeque<(u64, Duration)>,
    shares: Shares,
    time_max: Duration,
}

#[derive(Debug)]
struct Newcomer {
    since: Duration,
    address: IpAddr,
    refusals: u32,
}

impl Newcomers {
    pub(super) fn new(time_max: Duration) -> Self {
        Self {
            sessions: HashMap::new(),
            order: VecDeque::new(),
            shares: Shares::new(NEWCOMERS_MAX),
            time_max,
        }
    }

    /// A session begins, or has lost its authorisation. Gives the session that has to be closed for it, which may be itself.
    pub(super) fn arrived(&mut self, session: u64, peer: SocketAddr, now: Duration) -> Option<u64> {
        if self.sessions.contains_key(&session) {
            return None;
        }
        let address = neighbourhood(peer.ip());
        let mut closed = None;
        if !self.shares.take(address) {
            if self.sessions.len() < NEWCOMERS_MAX {
                return Some(session);
            }
            let (oldest, _) = self.oldest()?;
            let is_its_own = self.sessions[&oldest].address == address;
            // The oldest goes only for somebody who may have its place, or it would be neither closed nor counted.
            if self.shares.held(&address) > usize::from(is_its_own) {
                return Some(session);
            }
            self.gone(oldest);
            self.shares.take(address);
            closed = Some(oldest);
        }
        let newcomer = Newcomer {
            since: now,
            address,
            refusals: 0,
        };
        self.sessions.insert(session, newcomer);
        self.order.push_back((session, now));
        if self.order.len() > 2 * self.sessions.len() + 64 {
            let sessions = &self.sessions;
            self.order
                .retain(|(session, since)| is_there(sessions, *session, *since));
        }
        closed
    }

    /// The session is authorised, or over.
    pub(super) fn gone(&mut self, session: u64) {
        if let Some(newcomer) = self.sessions.remove(&session) {
            self.shares.give_back(&newcomer.address);
        }
    }

    /// A request of this session was refused; whether it was one too many.
    pub(super) fn refused(&mut self, session: u64) -> bool {
        self.sessions.get_mut(&session).is_some_and(|newcomer| {
            newcomer.refusals += 1;
            newcomer.refusals >= NEWCOMER_REFUSALS_MAX
        })
    }

    /// The next one whose time is over; it is none of these any more.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<u64> {
        let (session, since) = self.oldest()?;
        (since.saturating_add(self.time_max) <= now).then(|| {
            self.gone(session);
            session
        })
    }

    /// When the next one's time is over.
    pub(super) fn when(&mut self) -> Option<Duration> {
        let (_, since) = self.oldest()?;
        Some(since.saturating_add(self.time_max))
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    fn oldest(&mut self) -> Option<(u64, Duration)> {
        while let Some((session, since)) = self.order.front().copied() {
            if is_there(&self.sessions, session, since) {
                return Some((session, since));
            }
            self.order.pop_front();
        }
        None
    }
}

fn is_there(sessions: &HashMap<u64, Newcomer>, session: u64, since: Duration) -> bool {
    sessions
        .get(&session)
        .is_some_and(|newcomer| newcomer.since == since)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn from(host: u32) -> SocketAddr {
        (std::net::Ipv4Addr::from(host), 5684).into()
    }

    #[test]
    fn who_says_nothing_has_a_minute_and_who_is_known_has_no_end() {
        let mut newcomers = Newcomers::new(at(60));
        assert_eq!(newcomers.when(), None);
        for session in 1..=3 {
            assert_eq!(newcomers.arrived(session, from(1), at(session)), None);
        }
        newcomers.gone(1);
        assert_eq!(newcomers.when(), Some(at(62)));
        assert_eq!(newcomers.overdue(at(61)), None);
        assert_eq!(newcomers.overdue(at(63)), Some(2));
        assert_eq!(newcomers.overdue(at(63)), Some(3));
        assert_eq!((newcomers.overdue(at(1000)), newcomers.len()), (None, 0));
    }

    #[test]
    fn who_loses_its_authorisation_gets_another_minute() {
        let mut newcomers = Newcomers::new(at(60));
        newcomers.arrived(1, from(1), at(0));
        newcomers.gone(1);
        newcomers.arrived(1, from(1), at(50));
        assert_eq!(newcomers.overdue(at(70)), None);
        assert_eq!(newcomers.overdue(at(110)), Some(1));
    }

    #[test]
    fn an_address_leaves_half_of_the_room_to_others() {
        let mut newcomers = Newcomers::new(at(60));
        let half = NEWCOMERS_MAX as u64 / 2;
        for session in 0..half {
            assert_eq!(newcomers.arrived(session, from(1), at(0)), None);
        }
        assert_eq!(newcomers.arrived(half, from(1), at(0)), Some(half));
        assert_eq!(newcomers.arrived(half + 1, from(2), at(0)), None);
        assert_eq!(newcomers.len() as u64, half + 1);
    }

    #[test]
    fn a_flood_from_everywhere_pushes_out_its_own() {
        let mut newcomers = Newcomers::new(at(60));
        let mut closed = 0;
        for session in 0..100_000_u32 {
            closed += u32::from(
                newcomers
                    .arrived(session.into(), from(session), at(1))
                    .is_some(),
            );
            assert!(newcomers.len() <= NEWCOMERS_MAX && newcomers.order.len() <= 3 * NEWCOMERS_MAX);
        }
        assert_eq!(closed, 100_000 - NEWCOMERS_MAX as u32);
        assert_eq!(newcomers.overdue(at(61)).unwrap(), u64::from(closed));
    }

    #[test]
    fn whoever_is_not_let_into_a_full_room_pushes_nobody_out_of_sight() {
        let mut newcomers = Newcomers::new(at(60));
        for session in 0..NEWCOMERS_MAX as u32 {
            newcomers.arrived(session.into(), from(session), at(1));
        }
        for session in 5000..5100 {
            // Nobody's first session, so this one is closed and the others stay as they are.
            assert_eq!(newcomers.arrived(session, from(7), at(2)), Some(session));
            assert_eq!(newcomers.len(), NEWCOMERS_MAX);
        }
        // The oldest makes room for another one of its own.
        assert_eq!(newcomers.arrived(5100, from(0), at(2)), Some(0));
        let seen = std::iter::from_fn(|| newcomers.overdue(at(1000))).count();
        assert_eq!(seen, NEWCOMERS_MAX);
    }

    #[test]
    fn refusals_are_counted_for_those_who_are_not_known_only() {
        let mut newcomers = Newcomers::new(at(60));
        newcomers.arrived(1, from(1), at(0));
        let refusals = (0..).take_while(|_| !newcomers.refused(1)).count();
        assert_eq!(refusals + 1, NEWCOMER_REFUSALS_MAX as usize);
        newcomers.gone(1);
        assert!(!newcomers.refused(1));
    }
}
