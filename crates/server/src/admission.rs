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

mod devices;
mod lines;
mod shares;

pub use devices::{DEVICE_REQUESTS_MAX, DEVICE_REQUESTS_PER_MINUTE};
pub use lines::STRANGER_LINES_PER_MINUTE;
pub(crate) use shares::{Shares, neighbourhood};

use crate::device_api::REPORT_BYTES_MAX;
use devices::Devices;
use lines::{Line, Lines};
use sectag_proto::{DeviceId, Timestamp};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests of devices in the hands of the use cases, over HTTPS and CoAP together. The store takes some thousand decisions a
/// second, so the last of these waits for a fraction of a second; one more would wait longer than it takes to come again.
pub const DECISIONS_MAX: usize = 2_000;
/// How many of these may belong to requests that have not proven who asks: every one over HTTPS, `p/auth-jwt` over CoAP. The
/// other half is for sessions that have, whatever strangers do.
pub const STRANGER_DECISIONS_MAX: usize = DECISIONS_MAX / 2;
/// Bytes of reports that are being received over HTTPS before anybody knows whose they are, beyond the first
/// [`BODY_BYTES_FREE`] of each: as many as 170 of the largest, of one address as many as are free. One more is told to come
/// again.
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

/// Bodies that are being received at the same time: each counts as one of the largest.
const BODIES_MAX: usize = BODY_BYTES_TOTAL_MAX / REPORT_BYTES_MAX;
const MINUTE_MS: u64 = 60_000;

/// The doorkeeper of one service.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    stranger_places: Arc<Semaphore>,
    bodies: Mutex<Shares>,
    devices: Mutex<Devices>,
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

/// Room for a body, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    admission: &'a Admission,
    address: IpAddr,
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

impl Default for Admission {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(DECISIONS_MAX)),
            stranger_places: Arc::new(Semaphore::new(STRANGER_DECISIONS_MAX)),
            bodies: Mutex::new(Shares::new(BODIES_MAX)),
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
        let devices = self.devices.lock();
        devices
            .map_or(Ok(()), |devices| devices.room(device, now))
            .map_err(|full| self.turned(full))
    }

    /// A request of a device that has proven who it is: counted until the stay is dropped, and for a minute.
    ///
    /// # Errors
    /// [`Full::DeviceInHand`], [`Full::DevicePace`].
    pub fn enter(&self, device: DeviceId, now: Timestamp) -> Result<Stay<'_>, Full> {
        if let Ok(mut devices) = self.devices.lock() {
            let taken = devices.take(device, now);
            taken.map_err(|full| self.turned(full))?;
        }
        Ok(Stay {
            admission: self,
            device,
        })
    }

    /// Room for a body that comes from this address; `None`: there is none.
    pub(crate) fn body(&self, from: IpAddr) -> Option<Room<'_>> {
        let address = neighbourhood(from);
        let taken = self
            .bodies
            .lock()
            .is_ok_and(|mut bodies| bodies.take(address));
        if !taken {
            self.turned(Full::Bodies);
            return None;
        }
        Some(Room {
            admission: self,
            address,
        })
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

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if let Ok(mut devices) = self.admission.devices.lock() {
            devices.give_back(self.device);
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Ok(mut bodies) = self.admission.bodies.lock() {
            bodies.give_back(&self.address);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([7; 16]);
    const START: Timestamp = Timestamp(1_800_000_000_000);

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
    fn one_address_leaves_half_of_the_room_for_bodies_to_others() {
        let admission = Admission::default();
        let all = |from: [u8; 4]| -> Vec<Room<'_>> {
            std::iter::from_fn(|| admission.body(from.into())).collect()
        };
        let one = all([192, 0, 2, 1]);
        assert_eq!(one.len(), BODIES_MAX / 2);
        let other = all([192, 0, 2, 2]);
        assert!(!other.is_empty());
        assert_eq!(admission.turned_away().bodies, 2);
        drop(one);
        assert!(admission.body([192, 0, 2, 3].into()).is_some());
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
