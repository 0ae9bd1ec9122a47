//! The clock of RFC 7252 §4.8: how long to wait, how often to try, how long to remember.

use crate::chance::Chance;
use std::time::Duration;

/// How long the sender of a confirmable message waits for its acknowledgement before the first retransmission, at least.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// The first wait is between `ACK_TIMEOUT` and this much of it, so that two senders that met once do not meet again.
pub const ACK_RANDOM_FACTOR: f64 = 1.5;
/// How often a confirmable message is sent again; each wait is twice the one before.
pub const MAX_RETRANSMIT: u32 = 4;
/// Requests a client has open at once (RFC 7252 §4.7).
pub const NSTART: usize = 1;
/// From the first transmission to giving up, at most: 2 s × (2⁵ − 1) × 1.5. Nobody asks for a next block later than this.
pub const MAX_TRANSMIT_WAIT: Duration = Duration::from_secs(93);
/// How long a message id of a confirmable message means the same message (RFC 7252 §4.8.2).
pub const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// The same of a non-confirmable message.
pub const NON_LIFETIME: Duration = Duration::from_secs(145);

/// The waits of one confirmable message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    wait: Duration,
    due: Duration,
    left: u32,
}

impl Backoff {
    /// For a message sent at `now`.
    pub(crate) fn start(
        ack_timeout: Duration,
        max_retransmit: u32,
        chance: &mut Chance,
        now: Duration,
    ) -> Backoff {
        let wait = ack_timeout.mul_f64(1.0 + (ACK_RANDOM_FACTOR - 1.0) * chance.unit());
        Backoff {
            wait,
            due: now.saturating_add(wait),
            left: max_retransmit,
        }
    }

    /// When the acknowledgement is overdue.
    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// The wait is over: whether to send once more (the next wait begins) or to give up.
    pub(crate) fn again(&mut self, now: Duration) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.wait = self.wait.saturating_mul(2);
        self.due = now.saturating_add(self.wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_within_the_rfc_bound() {
        for seed in 0..200 {
            let mut backoff = Backoff::start(
                ACK_TIMEOUT,
                MAX_RETRANSMIT,
                &mut Chance::new(seed),
                Duration::ZERO,
            );
            assert!(
                (ACK_TIMEOUT..=ACK_TIMEOUT.mul_f64(ACK_RANDOM_FACTOR)).contains(&backoff.due())
            );
            let mut sent = 1;
            while backoff.again(backoff.due()) {
                sent += 1;
            }
            assert_eq!(sent, 1 + MAX_RETRANSMIT);
            assert!(backoff.due() <= MAX_TRANSMIT_WAIT);
        }
    }
}
