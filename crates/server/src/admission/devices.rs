//! A device's own share: so many requests in hand, and so many in a minute.

use super::{Full, MINUTE_MS};
use sectag_proto::{DeviceId, Timestamp};
use std::collections::HashMap;

/// Requests of one device in hand. It has one; the others are answers it no longer waits for (it gives up after 30 s and
/// comes again).
pub const DEVICE_REQUESTS_MAX: u32 = 4;
/// Requests of one device per minute, and how many of them may come at once. A round of a modem takes two seconds at least
/// (spec/device-protocol §8, step 4) and has two to four requests, so an honest one stays below half of this.
pub const DEVICE_REQUESTS_PER_MINUTE: u32 = 240;
/// Devices whose share is kept in mind, about 40 bytes each; when full those go that have not used theirs.
const DEVICES_MAX: usize = 65_536;

const REQUEST_MS: u64 = MINUTE_MS / DEVICE_REQUESTS_PER_MINUTE as u64;

/// What devices have used of their shares.
#[derive(Debug, Default)]
pub(super) struct Devices(HashMap<DeviceId, Used>);

/// What one device has used of its share.
#[derive(Debug, Clone, Copy)]
struct Used {
    /// When all it asked for would be over, had it come at its pace.
    until: Timestamp,
    in_hand: u32,
}

impl Devices {
    /// Whether this one may ask once more.
    pub(super) fn room(&self, device: DeviceId, now: Timestamp) -> Result<(), Full> {
        self.0.get(&device).map_or(Ok(()), |used| used.room(now))
    }

    /// It asks; whoever may gives it back.
    pub(super) fn take(&mut self, device: DeviceId, now: Timestamp) -> Result<(), Full> {
        if self.0.len() >= DEVICES_MAX && !self.0.contains_key(&device) {
            self.0
                .retain(|_, used| used.in_hand > 0 || now < used.until);
            if self.0.len() >= DEVICES_MAX {
                self.0.retain(|_, used| used.in_hand > 0);
            }
        }
        let used = self.0.entry(device).or_insert(Used {
            until: now,
            in_hand: 0,
        });
        used.room(now)?;
        used.take(now);
        Ok(())
    }

    pub(super) fn give_back(&mut self, device: DeviceId) {
        if let Some(used) = self.0.get_mut(&device) {
            used.in_hand = used.in_hand.saturating_sub(1);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([7; 16]);
    const START: Timestamp = Timestamp(1_800_000_000_000);

    const fn at(ms: u64) -> Timestamp {
        Timestamp(START.0 + ms)
    }

    /// Asks and is answered.
    fn asks(devices: &mut Devices, device: DeviceId, now: Timestamp) -> bool {
        let taken = devices.take(device, now).is_ok();
        if taken {
            devices.give_back(device);
        }
        taken
    }

    #[test]
    fn a_device_in_a_loop_is_held_to_its_pace_and_let_in_again() {
        let mut devices = Devices::default();
        let mut asked = |ms| asks(&mut devices, DEVICE, at(ms));
        let at_once = (0..1000).filter(|_| asked(0)).count();
        assert_eq!(at_once, DEVICE_REQUESTS_PER_MINUTE as usize);
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
        let mut devices = Devices::default();
        while asks(&mut devices, DEVICE, at(86_400_000)) {}
        assert_eq!(devices.room(DEVICE, at(86_400_000)), Err(Full::DevicePace));
        assert!(asks(&mut devices, DEVICE, START));
    }

    #[test]
    fn devices_are_forgotten_when_there_are_too_many_but_not_those_in_hand() {
        let mut devices = Devices::default();
        assert!(devices.take(DEVICE, START).is_ok());
        for n in 0..2 * DEVICES_MAX as u128 {
            let device = DeviceId::from_bytes((n + 1).to_be_bytes());
            assert!(asks(&mut devices, device, START));
        }
        assert!(devices.0.len() <= DEVICES_MAX && devices.0.contains_key(&DEVICE));
    }
}
