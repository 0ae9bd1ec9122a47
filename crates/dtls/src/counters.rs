//! What went over the wire, counted.

/// Traffic in one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// UDP payloads.
    pub datagrams: u64,
    /// Bytes of UDP payloads that belong to handshakes (and cookies).
    pub handshake_bytes: u64,
    /// Bytes of UDP payloads that carry records of established sessions.
    pub record_bytes: u64,
    /// Bytes of plaintext in those records.
    pub payload_bytes: u64,
    /// Datagrams of a handshake that were sent again, also counted above.
    pub retransmissions: u64,
}

/// What an endpoint has done since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Towards the peers.
    pub sent: Traffic,
    /// From the peers.
    pub received: Traffic,
    /// Full handshakes completed.
    pub handshakes_full: u64,
    /// Handshakes completed by a ticket.
    pub resumed_by_ticket: u64,
    /// Handshakes completed by a session ID.
    pub resumed_by_session_id: u64,
    /// Handshakes that came to nothing.
    pub handshakes_failed: u64,
    /// HelloVerifyRequests sent: one per ClientHello without a good cookie.
    pub cookies_sent: u64,
    /// ClientHellos that brought a cookie of another address, of an old key, or an invented one.
    pub cookies_refused: u64,
    /// ClientHellos with a good cookie that offered nothing we have.
    pub refused: u64,
    /// Addresses moved.
    pub moved: u64,
    /// Sessions ended to make room.
    pub evicted: u64,
    /// Datagrams (or records) of no session.
    pub dropped_unknown: u64,
    /// Datagrams that are not DTLS.
    pub dropped_garbage: u64,
    /// Records that did not authenticate, were replayed, or came too late.
    pub dropped_records: u64,
    /// ClientHellos not answered since too many handshakes were under way.
    pub dropped_busy: u64,
    /// Outputs dropped since too much was waiting.
    pub dropped_full: u64,
}

/// What a client has done since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientCounters {
    /// Towards the server.
    pub sent: Traffic,
    /// From the server.
    pub received: Traffic,
    /// Handshakes completed, resumed ones included.
    pub handshakes: u64,
    /// Handshakes that resumed a session.
    pub resumed: u64,
    /// Records that did not authenticate, were replayed, or came too late; datagrams that are not DTLS.
    pub dropped_records: u64,
}
