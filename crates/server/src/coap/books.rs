//! What each session costs, byte by byte and layer by layer, and what all of them did.
//!
//! ```text
//!   datagrams = handshakes + records;  records = CoAP messages + what DTLS adds;  messages = CBOR + headers + what was sent again
//! ```

use super::answers::Done;
use sectag_dtls::{CloseReason, HandshakeBytes, Refused, Resumed};
use sectag_proto::DeviceId;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Log lines about refused handshakes in [`LINES_EVERY`]: anybody can send ClientHellos that we refuse.
const REFUSED_LINES_MAX: u32 = 20;
/// See [`REFUSED_LINES_MAX`].
const LINES_EVERY: Duration = Duration::from_secs(60);

/// The books of a listener.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) figures: Arc<Mutex<Figures>>,
    sessions: HashMap<u64, Session>,
    /// Bytes of the datagram at hand, until a session has said that it is its.
    arrived: u64,
    /// Whose message is on its way out.
    speaker: Option<u64>,
    /// Requests answered with 5.00 because too many were in hand.
    pub(super) busy: u64,
    /// Datagrams that the socket did not take.
    unsent: u64,
    /// Sessions taken over from the last run.
    pub(super) loaded: u64,
    refused_lines: (Option<Instant>, u32),
}

#[derive(Debug)]
struct Session {
    peer: SocketAddr,
    cid: bool,
    resumed: Option<Resumed>,
    device: Option<DeviceId>,
    handshake: HandshakeBytes,
    records: Bytes,
    /// As they were when they were last told.
    told: (Bytes, sectag_coap::Counters),
}

/// One layer, both ways.
#[derive(Debug, Default, Clone, Copy)]
struct Bytes {
    sent: u64,
    received: u64,
}

/// How a session ended.
pub(super) struct Closing {
    pub(super) peer: SocketAddr,
    pub(super) reason: CloseReason,
    pub(super) used: sectag_coap::Counters,
    pub(super) failed: bool,
}

/// What all sessions did, for `sectag status`.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(super) dtls: sectag_dtls::Counters,
    pub(super) coap: sectag_coap::Counters,
    pub(super) sessions: usize,
    pub(super) authorised: usize,
    pub(super) newcomers: usize,
    pub(super) waiting: usize,
    pub(super) turned_away: u64,
    pub(super) busy: u64,
    pub(super) unsent: u64,
    pub(super) loaded: u64,
}

impl Books {
    /// Where a session is; `None` for one that is over.
    pub(super) fn peer(&self, session: u64) -> Option<SocketAddr> {
        self.sessions.get(&session).map(|known| known.peer)
    }

    pub(super) const fn arrived(&mut self, bytes: usize) {
        self.arrived = bytes as u64;
    }

    /// The datagram at hand carried a record of this session.
    pub(super) fn heard(&mut self, session: u64) {
        let bytes = std::mem::take(&mut self.arrived);
        if let Some(session) = self.sessions.get_mut(&session) {
            session.records.received += bytes;
        }
    }

    /// What leaves from here on is this session's.
    pub(super) const fn speaks(&mut self, session: u64) {
        self.speaker = Some(session);
    }

    pub(super) const fn silence(&mut self) {
        self.arrived = 0;
        self.speaker = None;
    }

    pub(super) fn left(&mut self, bytes: usize) {
        let speaker = self
            .speaker
            .and_then(|session| self.sessions.get_mut(&session));
        if let Some(session) = speaker {
            session.records.sent += bytes as u64;
        }
    }

    pub(super) fn not_sent(&mut self, e: &io::Error) {
        self.unsent += 1;
        tracing::debug!(reason = %e, "a datagram was not sent");
    }

    pub(super) fn connected(
        &mut self,
        session: u64,
        peer: SocketAddr,
        cid: bool,
        resumed: Option<Resumed>,
        handshake: HandshakeBytes,
    ) {
        let begun = Session::new(peer, cid, resumed, handshake);
        self.sessions.insert(session, begun);
    }

    /// A session of the last run; without a handshake.
    pub(super) fn loaded(
        &mut self,
        session: u64,
        peer: SocketAddr,
        cid: bool,
        device: Option<DeviceId>,
    ) {
        self.loaded += 1;
        let begun = Session::new(peer, cid, None, HandshakeBytes::default());
        self.sessions.insert(session, Session { device, ..begun });
    }

    pub(super) fn moved(&mut self, session: u64, to: SocketAddr) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.peer = to;
        }
    }

    /// A request was answered.
    pub(super) fn done(&mut self, session: u64, done: &Done, used: sectag_coap::Counters) {
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        match *done {
            Done::Authorised(device) => {
                known.device = Some(device);
                let Session {
                    peer,
                    cid,
                    resumed,
                    handshake,
                    ..
                } = known;
                tracing::info!(%device, session, %peer, cid, resumed = resumed_word(*resumed), handshake_sent = handshake.sent, handshake_received = handshake.received, "CoAP session authorised");
            }
            Done::Reported(device) => {
                let (records, before) = known.told;
                let round = used - before;
                tracing::info!(%device, session,
                    round_trips = round.round_trips,
                    record_sent = known.records.sent - records.sent,
                    record_received = known.records.received - records.received,
                    coap_sent = round.bytes_sent,
                    coap_received = round.bytes_received,
                    cbor_sent = round.payload_bytes_sent,
                    cbor_received = round.payload_bytes_received,
                    retransmitted = round.retransmitted_bytes + round.duplicate_bytes,
                    "CoAP session since its last report");
                known.told = (known.records, used);
            }
            Done::Other => {}
        }
    }

    pub(super) fn closed(&mut self, session: u64, closing: &Closing) {
        let Closing {
            peer,
            reason,
            used,
            failed,
        } = closing;
        let known = self.sessions.remove(&session);
        match known
            .as_ref()
            .and_then(|known| Some((known, known.device?)))
        {
            Some((known, device)) => {
                tracing::info!(%device, session, peer = %known.peer, %reason,
                    handshake_sent = known.handshake.sent,
                    handshake_received = known.handshake.received,
                    round_trips = used.round_trips,
                    record_sent = known.records.sent,
                    record_received = known.records.received,
                    coap_sent = used.bytes_sent,
                    coap_received = used.bytes_received,
                    cbor_sent = used.payload_bytes_sent,
                    cbor_received = used.payload_bytes_received,
                    retransmitted = used.retransmitted_bytes + used.duplicate_bytes,
                    "CoAP session ended");
            }
            None if known.is_none() && *failed => {
                if self.may_tell() {
                    tracing::info!(session, %peer, %reason, "DTLS handshake failed");
                }
            }
            None => tracing::debug!(session, %reason, "DTLS session without a device ended"),
        }
    }

    /// A handshake that could not be.
    pub(super) fn refused(&mut self, peer: SocketAddr, reason: &Refused) {
        if self.may_tell() {
            tracing::info!(%peer, %reason, "DTLS handshake refused");
        }
    }

    fn may_tell(&mut self) -> bool {
        let (since, lines) = &mut self.refused_lines;
        if since.is_none_or(|since| since.elapsed() >= LINES_EVERY) {
            (*since, *lines) = (Some(Instant::now()), 0);
        }
        *lines += 1;
        if *lines == REFUSED_LINES_MAX {
            tracing::info!(
                "more refused handshakes in this minute are only counted (`sectag status`)"
            );
        }
        *lines < REFUSED_LINES_MAX
    }

    pub(super) fn show(&self, figures: Figures) {
        if let Ok(mut shown) = self.figures.lock() {
            *shown = Figures {
                busy: self.busy,
                unsent: self.unsent,
                loaded: self.loaded,
                ..figures
            };
        }
    }
}

impl Session {
    fn new(
        peer: SocketAddr,
        cid: bool,
        resumed: Option<Resumed>,
        handshake: HandshakeBytes,
    ) -> Self {
        Self {
            peer,
            cid,
            resumed,
            device: None,
            handshake,
            records: Bytes::default(),
            told: <(Bytes, sectag_coap::Counters)>::default(),
        }
    }
}

const fn resumed_word(resumed: Option<Resumed>) -> &'static str {
    match resumed {
        None => "no",
        Some(Resumed::ByTicket) => "by ticket",
        Some(Resumed::BySessionId) => "by session id",
    }
}

impl Figures {
    /// For `sectag status --json`.
    pub(crate) fn json(&self) -> Value {
        let dtls = |traffic: sectag_dtls::Traffic| {
            json!({
                "datagrams": traffic.datagrams,
                "handshakeBytes": traffic.handshake_bytes,
                "recordBytes": traffic.record_bytes,
                "payloadBytes": traffic.payload_bytes,
                "retransmissions": traffic.retransmissions,
            })
        };
        let (d, c) = (&self.dtls, &self.coap);
        json!({
            "sessions": self.sessions,
            "authorised": self.authorised,
            "newcomers": self.newcomers,
            "takenOver": self.loaded,
            "handshakes": {
                "full": d.handshakes_full,
                "byTicket": d.resumed_by_ticket,
                "bySessionId": d.resumed_by_session_id,
                "failed": d.handshakes_failed,
                "refused": d.refused,
                "waiting": self.waiting,
                "turnedAway": self.turned_away,
            },
            "cookies": { "sent": d.cookies_sent, "refused": d.cookies_refused },
            "moved": d.moved,
            "evicted": d.evicted,
            "dropped": {
                "unknown": d.dropped_unknown,
                "garbage": d.dropped_garbage,
                "records": d.dropped_records,
                "unsent": self.unsent,
            },
            "dtls": { "sent": dtls(d.sent), "received": dtls(d.received) },
            "messages": {
                "sent": c.messages_sent,
                "received": c.messages_received,
                "bytesSent": c.bytes_sent,
                "bytesReceived": c.bytes_received,
                "payloadBytesSent": c.payload_bytes_sent,
                "payloadBytesReceived": c.payload_bytes_received,
                "retransmitted": c.retransmitted_messages,
                "duplicates": c.duplicate_messages,
                "rejected": c.rejected_messages,
                "roundTrips": c.round_trips,
            },
            "refusedBusy": self.busy,
        })
    }
}
