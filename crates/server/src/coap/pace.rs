//! Who is let in first when all come at once, as after a start: whoever has a session, then whoever resumes one, then
//! new ones at a measured pace.
//!
//! ```text
//!   datagram ──► a ClientHello with a cookie that resumes nothing? ──no──► fed at once
//!                                  │ yes
//!                                  ▼
//!                    waiting, one per address ── [`HANDSHAKES_PER_S`] ──► fed
//! ```
//! A ClientHello whose cookie is not ours costs no place in the pace: only one that the endpoint took for a handshake does.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Full handshakes per second; more wait. One takes 1.2 ms of a core (spec/dependencies §2), so this is half a core, and the
/// other half is for the sessions that are there. 10,000 devices without tickets are in after half a minute, before a
/// client gives up (it retransmits for a minute).
pub(crate) const HANDSHAKES_PER_S: u32 = 400;
/// Handshakes that may begin at once after a pause: 60 ms of a core, unnoticed by those who wait for an answer.
pub(crate) const HANDSHAKES_AT_ONCE: u32 = 50;
/// ClientHellos that wait, one per address, about 300 bytes each. What comes on top is not taken: its client sends it again
/// after one second, then after two.
pub(crate) const WAITING_MAX: usize = 8192;
/// A ClientHello that waited longer is thrown away: its client has sent another.
pub(crate) const WAITING_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a ClientHello that waits; larger ones (none is known) are fed at once.
const HELLO_BYTES_MAX: usize = 1500;

/// The waiting room.
#[derive(Debug)]
pub(super) struct Pace {
    /// Handshakes that may begin, in thousandths.
    credit: u64,
    refilled: Duration,
    waiting: HashMap<SocketAddr, (Vec<u8>, Duration)>,
    order: VecDeque<SocketAddr>,
    /// ClientHellos that were not taken because the room was full.
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
            turned_away: 0,
        }
    }

    /// Whether this datagram has to wait its turn; if so it is kept, and comes back by [`Pace::next`].
    pub(super) fn holds(&mut self, datagram: &[u8], from: SocketAddr, now: Duration) -> bool {
        if datagram.len() > HELLO_BYTES_MAX || !is_new_handshake(datagram) {
            return false;
        }
        if let Some(waiting) = self.waiting.get_mut(&from) {
            // The client is tired of waiting and has sent it again.
            waiting.0 = datagram.to_vec();
        } else if self.waiting.len() >= WAITING_MAX {
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
            if let Some((hello, _)) = self.waiting.remove(&from)
                && in_time
            {
                return Some((hello, from));
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

/// Whether a datagram begins with a ClientHello (RFC 6347 §4.2.1) that brings a cookie, and neither a session ID nor a
/// ticket: the one that costs a full handshake. What cannot be read is none; the endpoint judges it.
fn is_new_handshake(datagram: &[u8]) -> bool {
    hello(datagram).unwrap_or(false)
}

fn hello(datagram: &[u8]) -> Option<bool> {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    const SESSION_TICKET: u16 = 35;
    let [kind, 0xfe, _, 0, 0, ..] = datagram else {
        return None;
    };
    // Record: 13 bytes. Handshake: type, length 3, sequence 2, offset 3, length 3. Then version 2, random 32.
    let message = datagram.get(13..)?;
    let [typ, _, _, _, _, _, 0, 0, 0, ..] = message else {
        return None;
    };
    if *kind != HANDSHAKE || *typ != CLIENT_HELLO {
        return None;
    }
    let body = message.get(12 + 34..)?;
    let (session_id, rest) = short(body)?;
    let (cookie, rest) = short(rest)?;
    if cookie.is_empty() || !session_id.is_empty() {
        return Some(false);
    }
    let (_suites, rest) = long(rest)?;
    let (_compression, rest) = short(rest)?;
    let Some((mut extensions, _)) = long(rest) else {
        return Some(true);
    };
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        let (value, rest) = long(rest)?;
        if u16::from_be_bytes(*kind) == SESSION_TICKET && !value.is_empty() {
            return Some(false);
        }
        extensions = rest;
    }
    Some(true)
}

/// A value with a length of one byte, and what follows.
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A value with a length of two bytes, and what follows.
fn long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client_hello(session_id: &[u8], cookie: &[u8], ticket: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([7; 32]);
        for part in [session_id, cookie] {
            body.push(u8::try_from(part.len()).unwrap());
            body.extend(part);
        }
        body.extend([0, 2, 0xc0, 0x2b, 1, 0]);
        let mut extensions = vec![0, 23, 0, 0];
        if let Some(ticket) = ticket {
            extensions.extend([0, 35, 0, u8::try_from(ticket.len()).unwrap()]);
            extensions.extend(ticket);
        }
        body.extend([0, u8::try_from(extensions.len()).unwrap()]);
        body.extend(extensions);
        let length = u8::try_from(body.len()).unwrap();
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, length + 12];
        datagram.extend([1, 0, 0, length, 0, 1, 0, 0, 0, 0, 0, length]);
        datagram.extend(body);
        datagram
    }

    fn from(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn only_a_hello_with_a_cookie_that_resumes_nothing_has_to_wait() {
        let cookie = [1; 16];
        assert!(is_new_handshake(&client_hello(&[], &cookie, None)));
        assert!(is_new_handshake(&client_hello(&[], &cookie, Some(&[]))));
        assert!(!is_new_handshake(&client_hello(&[], &[], None)));
        assert!(!is_new_handshake(&client_hello(&[9; 32], &cookie, None)));
        assert!(!is_new_handshake(&client_hello(
            &[],
            &cookie,
            Some(&[5; 9])
        )));
    }

    #[test]
    fn nothing_that_is_cut_short_or_altered_breaks_the_reader() {
        let whole = client_hello(&[], &[1; 16], Some(&[5; 9]));
        for cut in 0..whole.len() {
            let _ = is_new_handshake(&whole[..cut]);
            for value in [0, 1, 0x7f, 0xff] {
                let mut altered = whole.clone();
                altered[cut] = value;
                let _ = is_new_handshake(&altered);
            }
        }
        assert!(!is_new_handshake(&[25, 0xfe, 0xfd, 0, 1]));
    }

    #[test]
    fn new_handshakes_come_at_the_pace_and_in_their_order() {
        let mut pace = Pace::new(Duration::ZERO);
        let all = u16::try_from(HANDSHAKES_AT_ONCE).unwrap() + 3;
        let datagram = client_hello(&[], &[1; 16], None);
        for port in 1..=all {
            assert!(pace.holds(&datagram, from(port), Duration::ZERO));
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
        let datagram = client_hello(&[], &[1; 16], None);
        for port in 1..=1000 {
            pace.holds(&datagram, from(port), Duration::ZERO);
        }
        let fed = std::iter::from_fn(|| pace.next(Duration::ZERO)).count();
        assert_eq!(fed, 1000);
    }

    #[test]
    fn the_room_is_bounded_one_place_per_address_and_nobody_waits_for_ever() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.credit = 0;
        let datagram = client_hello(&[], &[1; 16], None);
        for round in 0..3 {
            for port in 0..u16::try_from(WAITING_MAX).unwrap() {
                pace.holds(&datagram, from(port), Duration::ZERO);
            }
            assert_eq!(
                (pace.waiting(), pace.turned_away),
                (WAITING_MAX, 0),
                "{round}"
            );
        }
        assert!(pace.holds(&datagram, from(u16::MAX), Duration::ZERO));
        assert_eq!((pace.waiting(), pace.turned_away), (WAITING_MAX, 1));
        assert!(pace.next(WAITING_TIME_MAX).is_none());
        assert_eq!((pace.waiting(), pace.when(WAITING_TIME_MAX)), (0, None));
    }
}
