//! Who is let in when many come at once: places for decisions, a device's own share, an address's share of work for strangers,
//! and how many log lines strangers may cause.
//!
//! ```text
//!   connection ─► [`Shares`]: as many for one address as are free ─► bytes of a body: [`BODY_BYTES_TOTAL_MAX`]
//!   request ─► a place: [`DECISIONS_MAX`], half of them for strangers ─► who is it? ─► its own share: [`Admission::enter`]
//!                   │ none free                                                             │ over it
//!                   └────────► 500 / 5.00, and when to return: [`returns_in_s`] ◄───────────┘
//! ```
//! 500 and never 503, because that is the one status every client reads as "busy, later" (spec/device-protocol §5.1). The
//! calendar is an argument; nothing here waits.

use sectag_proto::{DeviceId, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests of devices in the hands of the use cases, over HTTPS and CoAP together. The store takes some thousand decisions a
/// second, so the last of these waits for a fraction of a second; one more would wait longer than it takes to come again.
pub const DECISIONS_MAX: usize = 2_000;
/// How many of these may belong to requests that have not proven who asks: every one over HTTPS, `p/auth-jwt` over CoAP. The
/// other half is for sessions that have, whatever strangers do.
pub const STRANGER_DECISIONS_MAX: usize = DECISIONS_MAX / 2;
/// Requests of one device in hand. It has one; the others are answers it no longer waits for (it gives up after 30 s and
/// comes again).
pub const DEVICE_REQUESTS_MAX: u32 = 4;
/// Requests of one device per minute, and how many of them may come at once. A round of a modem takes two seconds at least
/// (spec/device-protocol §8, step 4) and has two to four requests, so an honest one stays below half of this.
pub const DEVICE_REQUESTS_PER_MINUTE: u32 = 240;
/// Devices whose share is kept in mind, about 40 bytes each; when full those go that have not used theirs.
const DEVICES_MAX: usize = 65_536;
/// Bytes of reports that are being received over HTTPS before anybody knows whose they are, beyond the first
/// [`BODY_BYTES_FREE`] of each: as many as 170 of the largest. One more is told to come again.
pub const BODY_BYTES_TOTAL_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a body that count against nothing: most reports are smaller, and a connection costs ten times as much.
pub const BODY_BYTES_FREE: usize = 4 * 1024;
/// Requests of one API key in hand; more are told 429. A program with a connection for each of as many cores as there are
/// stays below it, and one key alone cannot take all connections of the owner's door.
pub const KEY_REQUESTS_MAX: u32 = 64;
/// Whoever was told that we are busy comes back after this many seconds at the earliest: by then whatever fills the places has
/// been decided many times over.
pub const RETURN_MIN_S: u32 = 30;
/// And at the latest so many seconds later, by chance: 2,000 a second that came at one moment come back as a few dozen a second.
pub const RETURN_SPREAD_S: u32 = 90;
/// Seconds after which an owner's program may ask again: it waits for its own requests, or for a full disk.
pub const OWNER_RETURN_S: u32 = 2;
/// Log lines in a minute about requests and handshakes that anybody can send; the rest is counted.
pub const STRANGER_LINES_PER_MINUTE: u32 = 60;

const MINUTE_MS: u64 = 60_000;
const REQUEST_MS: u64 = MINUTE_MS / DEVICE_REQUESTS_PER_MINUTE as u64;

/// The doorkeeper of one service.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    stranger_places: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
    devices: Mutex<HashMap<DeviceId, Used>>,
    keys: Mutex<HashMap<String, u32>>,
    lines: Mutex<Lines>,
    counters: Counters,
}

/// Why somebody has to come again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// [`DECISIONS_MAX`] or [`STRANGER_DECISIONS_MAX`].
    #[error("too many requests are in hand")]
    Decisions,
    /// [`BODY_BYTES_TOTAL_MAX`].
    #[error("too many bodies are being received")]
    Bodies,
    /// [`DEVICE_REQUESTS_MAX`].
    #[error("{DEVICE_REQUESTS_MAX} requests of this device are in hand already")]
    DeviceInHand,
    /// [`DEVICE_REQUESTS_PER_MINUTE`].
    #[error("this device asked more than {DEVICE_REQUESTS_PER_MINUTE} times in a minute")]
    DevicePace,
}

/// A place among [`DECISIONS_MAX`], until it is dropped.
#[derive(Debug)]
pub struct Place {
    _one: OwnedSemaphorePermit,
    _stranger: Option<OwnedSemaphorePermit>,
}

/// A device's request in hand, until it is dropped.
#[derive(Debug)]
pub struct Stay<'a> {
    admission: &'a Admission,
    device: DeviceId,
}

/// An owner's request in hand, until it is dropped.
#[derive(Debug)]
pub(crate) struct KeyStay<'a> {
    admission: &'a Admission,
    key: String,
}

/// What was turned away since the start.
#[derive(Debug, Default)]
struct Counters {
    decisions: AtomicU64,
    bodies: AtomicU64,
    devices: AtomicU64,
    owners: AtomicU64,
    shares: AtomicU64,
    untold: AtomicU64,
}

/// What the doorkeeper counted; each number since the start, but for `in_hand`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turned {
    /// Decisions in hand.
    pub in_hand: usize,
    /// Told busy because all places for decisions were taken.
    pub decisions: u64,
    /// Told busy because too many bodies were being received.
    pub bodies: u64,
    /// Told busy because the device was over its own share.
    pub devices: u64,
    /// Owners told 429.
    pub owners: u64,
    /// Connections and handshakes closed because their address held too many.
    pub shares: u64,
    /// Log lines about strangers that were left out.
    pub untold_lines: u64,
}

/// What one device has used of its share.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// When all it asked for would be over, had it come at its pace.
    until: Timestamp,
    in_hand: u32,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(DECISIONS_MAX)),
            stranger_places: Arc::new(Semaphore::new(STRANGER_DECISIONS_MAX)),
            body_bytes: Arc::new(Semaphore::new(BODY_BYTES_TOTAL_MAX)),
            devices: Mutex::default(),
            keys: Mutex::default(),
            lines: Mutex::default(),
            counters: Counters::default(),
        }
    }
}

impl Admission {
    /// A place for a decision; `stranger`: nobody has proven yet who asks.
    ///
    /// # Errors
    /// [`Full::Decisions`].
    pub fn place(&self, stranger: bool) -> Result<Place, Full> {
        let take = |from: &Arc<Semaphore>| from.clone().try_acquire_owned().ok();
        let place = take(&self.places).and_then(|one| {
            Some(Place {
                _one: one,
                _stranger: if stranger {
                    Some(take(&self.stranger_places)?)
                } else {
                    None
                },
            })
        });
        place.ok_or_else(|| self.turned(Full::Decisions))
    }

    /// Whether a device that says this name may be heard at all. Only its own proven requests use its share up, so nobody
    /// locks out another.
    ///
    /// # Errors
    /// [`Full::DeviceInHand`], [`Full::DevicePace`].
    pub fn may_ask(&self, device: DeviceId, now: Timestamp) -> Result<(), Full> {
        let used = self.devices.lock().ok();
        let used = used.as_ref().and_then(|devices| devices.get(&device));
        used.map_or(Ok(()), |used| used.room(now))
            .map_err(|full| self.turned(full))
    }

    /// A request of a device that has proven who it is: counted until the stay is dropped, and for a minute.
    ///
    /// # Errors
    /// [`Full::DeviceInHand`], [`Full::DevicePace`].
    pub fn enter(&self, device: DeviceId, now: Timestamp) -> Result<Stay<'_>, Full> {
        if let Ok(mut devices) = self.devices.lock() {
            if devices.len() >= DEVICES_MAX && !devices.contains_key(&device) {
                devices.retain(|_, used| used.in_hand > 0 || now < used.until);
                if devices.len() >= DEVICES_MAX {
                    devices.retain(|_, used| used.in_hand > 0);
                }
            }
            let used = devices.entry(device).or_insert(Used {
                until: now,
                in_hand: 0,
            });
            used.room(now).map_err(|full| self.turned(full))?;
            used.take(now);
        }
        Ok(Stay {
            admission: self,
            device,
        })
    }

    /// Room for `bytes` more of a body; `None`: there is none.
    pub(crate) fn body(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        let room = self.body_bytes.clone().try_acquire_many_owned(bytes).ok();
        if room.is_none() {
            self.turned(Full::Bodies);
        }
        room
    }

    /// A request under an API key; `None`: [`KEY_REQUESTS_MAX`] are in hand.
    pub(crate) fn key(&self, key: &str) -> Option<KeyStay<'_>> {
        if let Ok(mut keys) = self.keys.lock() {
            match keys.get_mut(key) {
                Some(count) if *count >= KEY_REQUESTS_MAX => {
                    self.counters.owners.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                Some(count) => *count += 1,
                None => {
                    keys.insert(key.to_owned(), 1);
                }
            }
        }
        Some(KeyStay {
            admission: self,
            key: key.to_owned(),
        })
    }

    /// A connection or a session was closed because its address held too many ([`Shares`]).
    pub(crate) fn over_its_share(&self) {
        self.counters.shares.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more line about a stranger may be written. Says by itself when lines are left out from here on, and how
    /// many were.
    pub(crate) fn may_tell(&self, now: Timestamp) -> bool {
        let told = self.lines.lock().map(|mut lines| lines.next(now));
        match told {
            Ok(Line::Tell { left_out: 0 }) | Err(_) => true,
            Ok(Line::Tell { left_out }) => {
                tracing::info!(
                    left_out,
                    "lines about refused requests were left out in the last busy minute"
                );
                true
            }
            Ok(Line::Last) => {
                tracing::info!(
                    "more refused requests in this minute are only counted (`sectag status`)"
                );
                self.counters.untold.fetch_add(1, Ordering::Relaxed);
                false
            }
            Ok(Line::Hush) => {
                self.counters.untold.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// What was turned away.
    pub fn turned_away(&self) -> Turned {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        Turned {
            in_hand: DECISIONS_MAX - self.places.available_permits(),
            decisions: get(&c.decisions),
            bodies: get(&c.bodies),
            devices: get(&c.devices),
            owners: get(&c.owners),
            shares: get(&c.shares),
            untold_lines: get(&c.untold),
        }
    }

    fn turned(&self, full: Full) -> Full {
        let counter = match full {
            Full::Decisions => &self.counters.decisions,
            Full::Bodies => &self.counters.bodies,
            Full::DeviceInHand | Full::DevicePace => &self.counters.devices,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        full
    }
}

impl Turned {
    /// For `sectag status --json`.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "inHand": self.in_hand,
            "busyDecisions": self.decisions,
            "busyBodies": self.bodies,
            "busyDevices": self.devices,
            "busyOwners": self.owners,
            "overShare": self.shares,
            "untoldLines": self.untold_lines,
        })
    }
}

impl Used {
    fn room(&self, now: Timestamp) -> Result<(), Full> {
        if self.in_hand >= DEVICE_REQUESTS_MAX {
            return Err(Full::DeviceInHand);
        }
        // What lies further ahead than a minute was written before the calendar was put back.
        let ahead = self.until.0.saturating_sub(now.0);
        if (MINUTE_MS - REQUEST_MS + 1..=MINUTE_MS).contains(&ahead) {
            return Err(Full::DevicePace);
        }
        Ok(())
    }

    fn take(&mut self, now: Timestamp) {
        let ahead = self.until.0.saturating_sub(now.0);
        let from = if ahead > MINUTE_MS { 0 } else { ahead };
        self.until = Timestamp(now.0 + from + REQUEST_MS);
        self.in_hand += 1;
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if let Ok(mut devices) = self.admission.devices.lock()
            && let Some(used) = devices.get_mut(&self.device)
        {
            used.in_hand = used.in_hand.saturating_sub(1);
        }
    }
}

impl Drop for KeyStay<'_> {
    fn drop(&mut self) {
        if let Ok(mut keys) = self.admission.keys.lock()
            && let Some(count) = keys.get_mut(&self.key)
        {
            *count -= 1;
            if *count == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

/// Seconds after which somebody who was told that we are busy shall come back, spread by `chance` (uniform) over
/// [`RETURN_MIN_S`] to [`RETURN_MIN_S`] + [`RETURN_SPREAD_S`], so that a herd does not come back as one.
pub const fn returns_in_s(chance: u32) -> u32 {
    RETURN_MIN_S + chance % (RETURN_SPREAD_S + 1)
}

/// [`returns_in_s`] by the operating system's chance.
pub(crate) fn returns_in() -> u32 {
    returns_in_s(getrandom::u32().unwrap_or_default())
}

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

/// Whom a share belongs to: an IPv4 address, or the /64 that one customer of an IPv6 network has.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// How many lines were written in this minute.
#[derive(Debug)]
struct Lines {
    since: Timestamp,
    told: u32,
    left_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Write it; so many were left out before.
    Tell { left_out: u64 },
    /// Leave it out, and say that the next ones are.
    Last,
    /// Leave it out.
    Hush,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            since: Timestamp(0),
            told: 0,
            left_out: 0,
        }
    }
}

impl Lines {
    fn next(&mut self, now: Timestamp) -> Line {
        // A calendar that was put back begins a minute as well.
        if now.0.abs_diff(self.since.0) >= MINUTE_MS {
            let left_out = std::mem::take(&mut self.left_out);
            (self.since, self.told) = (now, 1);
            return Line::Tell { left_out };
        }
        if self.told < STRANGER_LINES_PER_MINUTE {
            self.told += 1;
            return Line::Tell { left_out: 0 };
        }
        self.left_out += 1;
        if self.left_out == 1 {
            Line::Last
        } else {
            Line::Hush
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([7; 16]);
    const START: Timestamp = Timestamp(1_800_000_000_000);

    const fn at(ms: u64) -> Timestamp {
        Timestamp(START.0 + ms)
    }

    #[test]
    fn strangers_never_take_the_places_of_those_who_proved_themselves() {
        let admission = Admission::default();
        let strangers: Vec<Place> = std::iter::from_fn(|| admission.place(true).ok()).collect();
        assert_eq!(strangers.len(), STRANGER_DECISIONS_MAX);
        let known: Vec<Place> = std::iter::from_fn(|| admission.place(false).ok()).collect();
        assert_eq!(known.len(), DECISIONS_MAX - STRANGER_DECISIONS_MAX);
        assert_eq!(admission.place(true).unwrap_err(), Full::Decisions);
        assert_eq!(admission.turned_away().in_hand, DECISIONS_MAX);
        assert_eq!(admission.turned_away().decisions, 3);
        drop((strangers, known));
        assert!(admission.place(true).is_ok());
    }

    #[test]
    fn a_device_has_so_many_requests_in_hand_and_no_more() {
        let admission = Admission::default();
        let stays: Vec<Stay<'_>> =
            std::iter::from_fn(|| admission.enter(DEVICE, START).ok()).collect();
        assert_eq!(stays.len(), DEVICE_REQUESTS_MAX as usize);
        assert_eq!(admission.may_ask(DEVICE, START), Err(Full::DeviceInHand));
        let other = DeviceId::from_bytes([8; 16]);
        assert!(admission.may_ask(other, START).is_ok());
        drop(stays);
        assert!(admission.enter(DEVICE, START).is_ok());
    }

    #[test]
    fn a_device_in_a_loop_is_held_to_its_pace_and_let_in_again() {
        let admission = Admission::default();
        let asked = |ms| admission.enter(DEVICE, at(ms)).is_ok();
        let at_once = (0..1000).filter(|_| asked(0)).count();
        assert_eq!(at_once, DEVICE_REQUESTS_PER_MINUTE as usize);
        assert_eq!(admission.may_ask(DEVICE, START), Err(Full::DevicePace));
        assert!(!asked(REQUEST_MS - 1));
        assert!(asked(REQUEST_MS) && !asked(REQUEST_MS));
        // Ten times a second for ten minutes: as many as ten minutes have room for.
        let taken = (1..6000_u64)
            .filter(|n| asked(REQUEST_MS + n * 100))
            .count();
        let room = 10 * DEVICE_REQUESTS_PER_MINUTE as usize;
        assert!((room - 2..=room).contains(&taken), "{taken}");
    }

    #[test]
    fn a_calendar_put_back_locks_nobody_out() {
        let admission = Admission::default();
        while admission.enter(DEVICE, at(86_400_000)).is_ok() {}
        assert!(admission.enter(DEVICE, START).is_ok());
    }

    #[test]
    fn devices_are_forgotten_when_there_are_too_many_but_not_those_in_hand() {
        let admission = Admission::default();
        let _stay = admission.enter(DEVICE, START).unwrap();
        for n in 0..2 * DEVICES_MAX as u128 {
            let device = DeviceId::from_bytes((n + 1).to_be_bytes());
            assert!(admission.enter(device, START).is_ok());
        }
        let devices = admission.devices.lock().unwrap();
        assert!(devices.len() <= DEVICES_MAX && devices.contains_key(&DEVICE));
    }

    #[test]
    fn a_herd_comes_back_spread_over_a_minute_and_a_half() {
        let mut seconds = [0_u32; 121];
        for n in 0..9100_u32 {
            // Any uniform numbers.
            seconds[returns_in_s(n.wrapping_mul(0x9e37_79b9)) as usize] += 1;
        }
        assert_eq!(seconds[..30], [0; 30]);
        assert!(
            seconds[30..].iter().all(|n| (60..=140).contains(n)),
            "{seconds:?}"
        );
    }

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
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn lines_end_and_begin_again_and_none_is_forgotten_in_the_count() {
        let mut lines = Lines::default();
        let mut told = 0;
        for _ in 0..1000 {
            told += u32::from(matches!(lines.next(START), Line::Tell { .. }));
        }
        assert_eq!(told, STRANGER_LINES_PER_MINUTE);
        assert_eq!(lines.next(at(59_999)), Line::Hush);
        let left_out = 1001 - u64::from(STRANGER_LINES_PER_MINUTE);
        assert_eq!(lines.next(at(60_000)), Line::Tell { left_out });
        assert_eq!(lines.next(at(60_001)), Line::Tell { left_out: 0 });
    }

    #[test]
    fn an_api_key_has_its_share() {
        let admission = Admission::default();
        let stays: Vec<_> = std::iter::from_fn(|| admission.key("a")).collect();
        assert_eq!(stays.len(), KEY_REQUESTS_MAX as usize);
        assert!(admission.key("b").is_some());
        drop(stays);
        assert!(admission.key("a").is_some());
        assert!(admission.keys.lock().unwrap().is_empty());
    }
}
