//! The sessions of an endpoint by their key, each in one of two queues, the longest unheard first: those in a handshake, and those
//! established. Every operation takes constant time.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::event::SessionKey;

/// Keys to values in two queues.
pub(crate) struct Roster<T> {
    places: HashMap<SessionKey, Box<Place<T>>, BuildHasherDefault<KeyHasher>>,
    queues: [Ends; 2],
}

/// Which queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Queue {
    Handshakes = 0,
    Established = 1,
}

#[derive(Clone, Copy, Default)]
struct Ends {
    oldest: Option<SessionKey>,
    newest: Option<SessionKey>,
    len: usize,
}

struct Place<T> {
    queue: Queue,
    older: Option<SessionKey>,
    newer: Option<SessionKey>,
    value: T,
}

impl<T> Roster<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: HashMap::default(),
            queues: [Ends::default(); 2],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn queue_len(&self, queue: Queue) -> usize {
        self.queues[queue as usize].len
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&T> {
        self.places.get(&key).map(|place| &place.value)
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut T> {
        self.places.get_mut(&key).map(|place| &mut place.value)
    }

    /// The one that was not touched for the longest time.
    pub(crate) fn oldest(&self, queue: Queue) -> Option<SessionKey> {
        self.queues[queue as usize].oldest
    }

    /// Adds as the newest.
    pub(crate) fn insert(&mut self, key: SessionKey, queue: Queue, value: T) {
        self.places.insert(
            key,
            Box::new(Place {
                queue,
                older: None,
                newer: None,
                value,
            }),
        );
        self.link(key, queue);
    }

    /// Makes it the newest of a queue.
    pub(crate) fn touch(&mut self, key: SessionKey, queue: Queue) {
        if self.queues[queue as usize].newest != Some(key) && self.places.contains_key(&key) {
            self.unlink(key);
            self.link(key, queue);
        }
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<T> {
        if !self.places.contains_key(&key) {
            return None;
        }
        self.unlink(key);
        self.places.remove(&key).map(|place| place.value)
    }

    /// All, in the order of their keys.
    pub(crate) fn drain(&mut self) -> Vec<(SessionKey, T)> {
        self.queues = [Ends::default(); 2];
        let mut all: Vec<_> = self
            .places
            .drain()
            .map(|(key, place)| (key, place.value))
            .collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    fn link(&mut self, key: SessionKey, queue: Queue) {
        let ends = &mut self.queues[queue as usize];
        let before = ends.newest.replace(key);
        ends.oldest.get_or_insert(key);
        ends.len += 1;
        if let Some(before) = before.and_then(|before| self.places.get_mut(&before)) {
            before.newer = Some(key);
        }
        if let Some(place) = self.places.get_mut(&key) {
            (place.queue, place.older, place.newer) = (queue, before, None);
        }
    }

    fn unlink(&mut self, key: SessionKey) {
        let Some(place) = self.places.get(&key) else {
            return;
        };
        let (queue, older, newer) = (place.queue, place.older, place.newer);
        let ends = &mut self.queues[queue as usize];
        ends.len -= 1;
        if ends.oldest == Some(key) {
            ends.oldest = newer;
        }
        if ends.newest == Some(key) {
            ends.newest = older;
        }
        if let Some(older) = older.and_then(|older| self.places.get_mut(&older)) {
            older.newer = newer;
        }
        if let Some(newer) = newer.and_then(|newer| self.places.get_mut(&newer)) {
            newer.older = older;
        }
    }
}

/// Keys are counted up by the endpoint, so nobody chooses them, and a multiplication spreads them well enough.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_untouched_is_first_in_its_queue() {
        let mut roster = Roster::new();
        for key in 1..=4 {
            roster.insert(SessionKey(key), Queue::Handshakes, key);
        }
        roster.touch(SessionKey(1), Queue::Handshakes);
        roster.touch(SessionKey(2), Queue::Established);
        roster.touch(SessionKey(3), Queue::Established);
        assert_eq!(roster.oldest(Queue::Handshakes), Some(SessionKey(4)));
        assert_eq!(roster.oldest(Queue::Established), Some(SessionKey(2)));
        roster.touch(SessionKey(2), Queue::Established);
        assert_eq!(roster.oldest(Queue::Established), Some(SessionKey(3)));
        assert_eq!(roster.remove(SessionKey(4)), Some(4));
        assert_eq!(roster.remove(SessionKey(4)), None);
        assert_eq!(roster.oldest(Queue::Handshakes), Some(SessionKey(1)));
        assert_eq!(roster.remove(SessionKey(1)), Some(1));
        assert_eq!(roster.oldest(Queue::Handshakes), None);
        assert_eq!(
            (
                roster.len(),
                roster.queue_len(Queue::Handshakes),
                roster.queue_len(Queue::Established)
            ),
            (2, 0, 2)
        );
        assert_eq!(roster.drain(), [(SessionKey(2), 2), (SessionKey(3), 3)]);
        assert_eq!(roster.oldest(Queue::Established), None);
    }
}
