//! What comes with time: answers that are overdue, repetitions, what is forgotten, and what a session holds meanwhile.

use super::{BUSY, Open, Separate, Session, Shared};
use crate::server::bodies::{Assemblies, Representations};
use crate::server::limits::{APPLICATION_TIMEOUT, SEPARATE_AFTER};
use crate::server::seen::Seen;
use crate::server::{Output, Response};
use crate::timing::Backoff;
use std::collections::VecDeque;
use std::time::Duration;

impl Session {
    /// Does what is due.
    pub(in crate::server) fn wake(&mut self, now: Duration, shared: &mut Shared) {
        self.expire(now);
        while let Some(number) = self
            .open
            .iter()
            .find(|open| open.at.saturating_add(APPLICATION_TIMEOUT) <= now)
            .map(|open| open.number)
        {
            self.respond(number, Response::new(BUSY), now, shared);
        }
        let patience_ends = |open: &&Open| {
            open.confirmable && !open.acknowledged && open.at.saturating_add(SEPARATE_AFTER) <= now
        };
        while let Some(id) = self.open.iter().find(patience_ends).map(|open| open.id) {
            self.acknowledge(id, shared);
        }
        while let Some(first) = self.separate.front_mut()
            && let Some(backoff) = first.backoff.as_mut()
            && backoff.due() <= now
        {
            if backoff.again(now) {
                let bytes = first.bytes.clone();
                self.counters.sent_again(bytes.len());
                shared.outputs.push_back(Output::Send {
                    session: self.number,
                    bytes,
                });
            } else {
                self.separate.pop_front();
                self.next_separate(now, shared);
            }
        }
        // A quiet session costs nothing but itself.
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        if self.separate.is_empty() {
            self.separate = VecDeque::new();
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        self.seen.expire(now);
        self.assemblies.expire(now);
        self.representations.expire(now);
    }

    /// When [`wake`](Session::wake) has something to do.
    pub(in crate::server) fn due(&self) -> Option<Duration> {
        let open = self.open.iter().map(|open| {
            let patient = !open.confirmable || open.acknowledged;
            let wait = if patient {
                APPLICATION_TIMEOUT
            } else {
                SEPARATE_AFTER
            };
            open.at.saturating_add(wait)
        });
        let separate = self
            .separate
            .front()
            .and_then(|first| first.backoff.as_ref())
            .map(Backoff::due);
        open.chain(separate)
            .chain(self.seen.due())
            .chain(self.assemblies.due())
            .chain(self.representations.due())
            .min()
    }

    /// Drops everything but the requests that the application has, and what keeps them from running twice. The peer asks
    /// again.
    pub(in crate::server) fn release(&mut self) {
        if self.open.is_empty() {
            self.seen = Seen::default();
        }
        self.separate = VecDeque::new();
        self.assemblies = Assemblies::default();
        self.representations = Representations::default();
    }

    /// Requests the application has.
    pub(in crate::server) fn open(&self) -> usize {
        self.open.len()
    }

    pub(in crate::server) fn bytes(&self) -> usize {
        self.seen.bytes()
            + self.assemblies.bytes()
            + self.representations.bytes()
            + self.open.capacity() * size_of::<Open>()
            + self
                .open
                .iter()
                .map(|open| open.key.capacity())
                .sum::<usize>()
            + self.separate.capacity() * size_of::<Separate>()
            + self
                .separate
                .iter()
                .map(|separate| separate.bytes.capacity())
                .sum::<usize>()
    }
}
