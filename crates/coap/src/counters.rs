//! What was sent and received, by kind, for the byte budget.

use std::ops::{Add, AddAssign, Sub};

/// Counts since the beginning. Bytes are whole CoAP messages; what DTLS and UDP add is counted by whoever adds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages handed to `Send`, retransmissions included.
    pub messages_sent: u64,
    /// Bytes of these.
    pub bytes_sent: u64,
    /// Datagrams fed, whatever was in them.
    pub messages_received: u64,
    /// Bytes of these.
    pub bytes_received: u64,
    /// Of the messages sent: those sent before (by our timer, or in answer to a duplicate).
    pub retransmitted_messages: u64,
    /// Bytes of these.
    pub retransmitted_bytes: u64,
    /// Of the messages received: those seen before.
    pub duplicate_messages: u64,
    /// Bytes of these.
    pub duplicate_bytes: u64,
    /// Payload bytes in messages sent for the first time.
    pub payload_bytes_sent: u64,
    /// Payload bytes in messages received for the first time.
    pub payload_bytes_received: u64,
    /// Requests that got their response, each block counted as one: how often the radio waited for an answer.
    pub round_trips: u64,
    /// Messages that RFC 7252 §4.2 and §4.3 have rejected: malformed, reserved, or out of context.
    pub rejected_messages: u64,
}

impl Counters {
    pub(crate) fn sent(&mut self, bytes: usize, payload: usize) {
        self.messages_sent += 1;
        self.bytes_sent += bytes as u64;
        self.payload_bytes_sent += payload as u64;
    }

    pub(crate) fn sent_again(&mut self, bytes: usize) {
        self.sent(bytes, 0);
        self.retransmitted_messages += 1;
        self.retransmitted_bytes += bytes as u64;
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.messages_received += 1;
        self.bytes_received += bytes as u64;
    }

    pub(crate) fn duplicate(&mut self, bytes: usize) {
        self.duplicate_messages += 1;
        self.duplicate_bytes += bytes as u64;
    }
}

impl Add for Counters {
    type Output = Counters;

    fn add(self, other: Counters) -> Counters {
        self.each(other, |a, b| a.wrapping_add(b))
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        *self = *self + other;
    }
}

impl Sub for Counters {
    type Output = Counters;

    /// What happened between two readings; the earlier one is subtracted.
    fn sub(self, earlier: Counters) -> Counters {
        self.each(earlier, u64::saturating_sub)
    }
}

impl Counters {
    fn each(self, other: Counters, f: impl Fn(u64, u64) -> u64) -> Counters {
        Counters {
            messages_sent: f(self.messages_sent, other.messages_sent),
            bytes_sent: f(self.bytes_sent, other.bytes_sent),
            messages_received: f(self.messages_received, other.messages_received),
            bytes_received: f(self.bytes_received, other.bytes_received),
            retransmitted_messages: f(self.retransmitted_messages, other.retransmitted_messages),
            retransmitted_bytes: f(self.retransmitted_bytes, other.retransmitted_bytes),
            duplicate_messages: f(self.duplicate_messages, other.duplicate_messages),
            duplicate_bytes: f(self.duplicate_bytes, other.duplicate_bytes),
            payload_bytes_sent: f(self.payload_bytes_sent, other.payload_bytes_sent),
            payload_bytes_received: f(self.payload_bytes_received, other.payload_bytes_received),
            round_trips: f(self.round_trips, other.round_trips),
            rejected_messages: f(self.rejected_messages, other.rejected_messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_readings_is_what_happened_between() {
        let mut counters = Counters::default();
        counters.sent(20, 10);
        let before = counters;
        counters.sent_again(20);
        counters.received(7);
        let between = counters - before;
        assert_eq!(
            (
                between.messages_sent,
                between.retransmitted_bytes,
                between.bytes_received
            ),
            (1, 20, 7)
        );
        assert_eq!(between.payload_bytes_sent, 0);
        assert_eq!(before + between, counters);
    }
}
