//! What a run cost on the air, by layer: cellular devices pay for every byte and every handshake.
//!
//! ```text
//!   UDP payload = handshake │ record overhead │ CoAP (again: sent a second time) │ token │ CBOR
//!   TCP payload = handshake │ record overhead │ HTTP head                        │ token │ CBOR
//! ```
//!
//! What IP, UDP and TCP add is not counted: 28 bytes for each datagram of IPv4, and over TCP the opening, the closing and
//! the acknowledgements as well.

use sectag_proto::device::Transport;
use serde_json::{Value, json};

/// The cost of one run, from START to STOP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// By which way.
    pub transport: Transport,
    /// Handshakes with certificates.
    pub handshakes_full: u64,
    /// Handshakes that resumed a session.
    pub handshakes_resumed: u64,
    /// Answers that were waited for, each block of a transfer being one; those inside a handshake are not counted.
    pub round_trips: u64,
    /// To the service.
    pub sent: Layers,
    /// From the service.
    pub received: Layers,
}

/// Bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layers {
    /// Records of handshakes.
    pub handshake: u64,
    /// What records add to what they carry, and records that carry nothing of the layers above.
    pub record: u64,
    /// HTTP heads, or CoAP headers and options, without the token.
    pub head: u64,
    /// JWTs.
    pub token: u64,
    /// Commands and responses.
    pub cbor: u64,
    /// CoAP messages that went more than once, from the second time on. What TCP sends again is the operating system's.
    pub again: u64,
}

impl Layers {
    /// All layers.
    pub const fn total(&self) -> u64 {
        self.handshake + self.record + self.head + self.token + self.cbor + self.again
    }

    fn each(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            handshake: join(self.handshake, other.handshake),
            record: join(self.record, other.record),
            head: join(self.head, other.head),
            token: join(self.token, other.token),
            cbor: join(self.cbor, other.cbor),
            again: join(self.again, other.again),
        }
    }

    fn json(&self) -> Value {
        json!({
            "total": self.total(),
            "handshake": self.handshake,
            "record": self.record,
            "head": self.head,
            "token": self.token,
            "cbor": self.cbor,
            "retransmitted": self.again,
        })
    }
}

impl Budget {
    pub(crate) fn of(transport: Transport) -> Self {
        Self {
            transport,
            ..Self::default()
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What came on top of an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.each(earlier, u64::saturating_sub)
    }

    fn each(self, other: Self, join: impl Fn(u64, u64) -> u64 + Copy) -> Self {
        Self {
            transport: self.transport,
            handshakes_full: join(self.handshakes_full, other.handshakes_full),
            handshakes_resumed: join(self.handshakes_resumed, other.handshakes_resumed),
            round_trips: join(self.round_trips, other.round_trips),
            sent: self.sent.each(other.sent, join),
            received: self.received.each(other.received, join),
        }
    }

    /// `{"transport": "coap", "handshakes": {"full": 1, "resumed": 0}, "roundTrips": 2, "sent": {…}, "received": {…}}`,
    /// bytes throughout.
    pub fn json(&self) -> Value {
        json!({
            "transport": match self.transport {
                Transport::Https => "https",
                Transport::Coap => "coap",
            },
            "handshakes": { "full": self.handshakes_full, "resumed": self.handshakes_resumed },
            "roundTrips": self.round_trips,
            "sent": self.sent.json(),
            "received": self.received.json(),
        })
    }
}

impl std::fmt::Display for Budget {
    /// `coap: 1 handshake, 3 round trips, 1204 + 893 bytes`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let transport = match self.transport {
            Transport::Https => "https",
            Transport::Coap => "coap",
        };
        let counted = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        write!(f, "{transport}: ")?;
        match (self.handshakes_full, self.handshakes_resumed) {
            (0, 0) => f.write_str("no handshake")?,
            (full, 0) => f.write_str(&counted(full, "handshake"))?,
            (0, resumed) => f.write_str(&counted(resumed, "resumed handshake"))?,
            (full, resumed) => write!(
                f,
                "{}, {}",
                counted(full, "handshake"),
                counted(resumed, "resumed handshake")
            )?,
        }
        write!(
            f,
            ", {}, {} + {} bytes",
            counted(self.round_trips, "round trip"),
            self.sent.total(),
            self.received.total()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_the_difference_of_two_readings() {
        let mut reading = Budget::of(Transport::Coap);
        reading.handshakes_full = 1;
        reading.sent.handshake = 700;
        let before = reading;
        reading.round_trips = 1;
        reading.sent.cbor = 5;
        reading.received.record = 29;
        let run = reading.since(before);
        assert_eq!((run.sent.total(), run.received.total()), (5, 29));
        assert_eq!(
            run.to_string(),
            "coap: no handshake, 1 round trip, 5 + 29 bytes"
        );
        assert_eq!(before.plus(run), reading);
        assert_eq!(run.json()["sent"]["cbor"], 5);
    }
}
