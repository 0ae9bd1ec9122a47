//! One session of an endpoint: its context, where its peer is, and when to look at it again.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Limits;
use crate::event::SessionKey;
use crate::ffi::{Context, Fault};
use crate::progress::Progress;

/// A session, in its handshake or established.
pub(crate) struct Session {
    pub(crate) context: Context,
    pub(crate) peer: SocketAddr,
    /// Our Connection ID, by which its records find it.
    pub(crate) cid: Option<u128>,
    cid_used: bool,
    /// The beginning of the client's random, by which a copy of its ClientHello is known.
    pub(crate) hello: [u8; 16],
    /// Uptime when the handshake began, then when it was complete.
    pub(crate) since: Duration,
    /// Uptime when the peer was last heard.
    pub(crate) heard: Duration,
    /// Of a loaded session: how long it had been silent at `heard`, which may be longer than the uptime.
    pub(crate) silent: Duration,
    /// The entry among the timers that counts.
    pub(crate) scheduled: Option<Duration>,
    /// Of a peer that has moved and not been answered there yet.
    pub(crate) path: Option<Box<Path>>,
    /// Present during the handshake.
    pub(crate) progress: Option<Box<Progress>>,
    /// The last flight of the handshake is still kept, to be sent again.
    pub(crate) leftovers: bool,
    /// The ClientHello brought a ticket that opened.
    pub(crate) by_ticket: bool,
    /// The session that was at this address before, reachable by its CID only.
    pub(crate) shadow: Option<SessionKey>,
}

/// A new path to a moved peer, until the peer goes on from there.
pub(crate) struct Path {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Datagrams that would be more than the path has paid for.
    pub(crate) waiting: Vec<Vec<u8>>,
}

/// What a step has brought.
#[derive(Default)]
pub(crate) struct Advance {
    pub(crate) connected: bool,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) fault: Option<Fault>,
}

impl Session {
    pub(crate) fn new(
        context: Context,
        peer: SocketAddr,
        cid: u128,
        hello: [u8; 16],
        now: Duration,
    ) -> Self {
        Self {
            context,
            peer,
            cid: Some(cid),
            cid_used: false,
            hello,
            since: now,
            heard: now,
            silent: Duration::ZERO,
            scheduled: None,
            path: None,
            progress: Some(Box::default()),
            leftovers: false,
            by_ticket: false,
            shadow: None,
        }
    }

    pub(crate) fn loaded(
        context: Context,
        peer: SocketAddr,
        cid: Option<u128>,
        silent: Duration,
        now: Duration,
    ) -> Self {
        let cid_used = cid.is_some();
        Self {
            cid,
            cid_used,
            hello: [0; 16],
            silent,
            progress: None,
            ..Self::new(context, peer, 0, [0; 16], now)
        }
    }

    pub(crate) fn established(&self) -> bool {
        self.progress.is_none()
    }

    /// Whether its records carry our Connection ID.
    pub(crate) fn cid_used(&self) -> bool {
        self.cid_used
    }

    /// The handshake is complete; hands out what it cost.
    pub(crate) fn establish(&mut self, now: Duration) -> Progress {
        self.cid_used = self.context.peer_cid_bytes().is_some();
        if !self.cid_used {
            self.cid = None;
        }
        self.since = now;
        self.heard = now;
        self.leftovers = true;
        self.progress
            .take()
            .map_or_else(Progress::default, |progress| *progress)
    }

    pub(crate) fn drop_leftovers(&mut self) {
        self.context.drop_leftovers();
        self.leftovers = false;
    }

    /// Its peer has been heard.
    pub(crate) fn hear(&mut self, now: Duration) {
        self.heard = now;
        self.silent = Duration::ZERO;
    }

    /// Uptime when it has been silent for too long.
    pub(crate) fn idle_at(&self, limits: &Limits) -> Duration {
        self.heard
            .saturating_add(limits.idle.saturating_sub(self.silent))
    }

    /// When to look at it again.
    pub(crate) fn deadline(&self, limits: &Limits) -> Duration {
        let end = if self.established() {
            self.idle_at(limits)
        } else {
            self.since.saturating_add(limits.handshake)
        };
        let timer = if self.established() {
            None
        } else {
            self.context.deadline()
        };
        let leftovers = self
            .leftovers
            .then(|| self.since.saturating_add(limits.handshake));
        [timer, leftovers]
            .into_iter()
            .flatten()
            .fold(end, Duration::min)
    }

    /// Gives the context a record (none when a timer has run out), and takes what it says.
    pub(crate) fn advance(&mut self, bytes: &[u8], plaintext: &mut [u8]) -> Advance {
        let was_established = self.established();
        let advance = advance(&mut self.context, was_established, bytes, plaintext);
        if !advance.records.is_empty() {
            self.leftovers = false; // Mbed TLS has dropped them itself
        }
        advance
    }
}

/// Gives a context a datagram (none when a timer has run out), and takes what it says.
pub(crate) fn advance(
    context: &mut Context,
    established: bool,
    bytes: &[u8],
    plaintext: &mut [u8],
) -> Advance {
    let mut advance = Advance::default();
    let mut step = |context: &mut Context, advance: &mut Advance| -> Result<(), Fault> {
        if !established && !advance.connected {
            advance.connected = context.handshake()?;
        }
        while established || advance.connected {
            let Some(len) = context.read(plaintext)? else {
                break;
            };
            advance
                .records
                .push(plaintext.get(..len).unwrap_or_default().to_vec());
        }
        Ok(())
    };
    if bytes.is_empty() {
        advance.fault = step(context, &mut advance).err();
        return advance;
    }
    context.feed(bytes, |context| {
        // A retransmission that has become due is done first and leaves the datagram for the next call.
        for _ in 0..STEPS_MAX {
            if let Err(fault) = step(context, &mut advance) {
                advance.fault = Some(fault);
                break;
            }
            if context.hungry() {
                break;
            }
        }
    });
    advance
}

/// A due retransmission, the datagram, and one more for good measure.
const STEPS_MAX: usize = 3;

/// The name of an alert (RFC 5246 §7.2.2, RFC 6066 §9, RFC 7507).
pub(crate) fn alert_name(number: u8) -> &'static str {
    match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        _ => "unknown",
    }
}
