//! What an endpoint and a client say: datagrams to send, records that arrived, what happened, when to come back.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::CachedSession;

/// One session of an [`Endpoint`](crate::Endpoint). Never reused within the endpoint's life.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(pub u64);

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What [`Endpoint::poll`](crate::Endpoint::poll) answers.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// One UDP payload.
        bytes: Vec<u8>,
    },
    /// The peer of a session said this: the plaintext of one record, never of two.
    Record {
        /// Whose.
        session: SessionKey,
        /// One record's plaintext.
        bytes: Vec<u8>,
    },
    /// Something happened.
    Event(Event),
    /// Nothing more; come back at this uptime, or with the next datagram. Always last.
    Wait(Option<Duration>),
}

/// What happened at an endpoint.
#[derive(Debug)]
pub enum Event {
    /// A handshake is complete.
    Connected {
        /// The new session.
        session: SessionKey,
        /// Its address.
        peer: SocketAddr,
        /// Whether the peer's records carry a Connection ID, so that its address may change.
        cid: bool,
        /// Whether and how an earlier session was resumed.
        resumed: Option<Resumed>,
        /// The cipher suite, IANA number; [`suite_name`](crate::suite_name) names it.
        suite: u16,
        /// What the handshake cost, from the ClientHello that brought its cookie on.
        handshake: HandshakeBytes,
    },
    /// A session's peer sent a fresh authenticated record from a new address and is answered there.
    Moved {
        /// Which.
        session: SessionKey,
        /// The old address.
        from: SocketAddr,
        /// The new address.
        to: SocketAddr,
    },
    /// A session is over, or a handshake came to nothing.
    Closed {
        /// Which.
        session: SessionKey,
        /// Its last address.
        peer: SocketAddr,
        /// Why.
        reason: CloseReason,
    },
    /// A ClientHello with a good cookie offered nothing that we have. No session comes of it.
    Refused {
        /// Who asked.
        peer: SocketAddr,
        /// What was missing.
        reason: Refused,
    },
    /// A full handshake made a session that can be resumed by its ID. Whoever wants that to work after a crash keeps this
    /// (encrypted) and gives it back to [`Endpoint::remember`](crate::Endpoint::remember).
    Cache {
        /// The session ID.
        id: Vec<u8>,
        /// The session, secret.
        session: CachedSession,
    },
}

/// How a session was resumed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resumed {
    /// By a ticket that the client kept (RFC 5077).
    ByTicket,
    /// By a session ID that the server remembers.
    BySessionId,
}

/// What a handshake cost, in UDP payload bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HandshakeBytes {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent again, counted in `datagrams_sent` as well.
    pub retransmitted: u64,
}

/// Why a session is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// The peer said so (close_notify).
    ByPeer,
    /// Nothing was heard for [`Limits::idle`](crate::Limits::idle).
    Idle,
    /// It was idle for the longest time when a newer peer needed the place.
    Evicted,
    /// The handshake did not end in time.
    HandshakeTimeout,
    /// The protocol failed.
    Failed {
        /// What went wrong, in words.
        text: String,
        /// Mbed TLS's number.
        code: i32,
    },
    /// [`Endpoint::close`](crate::Endpoint::close) was called.
    ByUs,
    /// The same peer came back with a new handshake.
    Replaced,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("closed by the peer"),
            Self::Idle => f.write_str("idle"),
            Self::Evicted => f.write_str("idle for the longest time, and the place was needed"),
            Self::HandshakeTimeout => f.write_str("the handshake did not end in time"),
            Self::Failed { text, code } => write!(f, "{text} (-0x{:04x})", code.unsigned_abs()),
            Self::ByUs => f.write_str("closed by us"),
            Self::Replaced => f.write_str("the peer came back with a new handshake"),
        }
    }
}

/// What a refused ClientHello lacked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// No cipher suite in common.
    NoCommonSuite {
        /// What the client offered, IANA numbers, at most 64 of them.
        offered: Vec<u16>,
        /// It offered ECDHE-ECDSA with CBC, and the configuration has no CBC suite.
        only_cbc: bool,
    },
    /// The client knows none of our curves (P-256, P-384).
    NoCommonCurve,
    /// No extended master secret, which the configuration requires.
    NoExtendedMasterSecret,
    /// No DTLS 1.2.
    Version {
        /// What the client asked for, as on the wire: FEFF is DTLS 1.0.
        offered: u16,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommonSuite { offered, only_cbc } => {
                f.write_str(if *only_cbc {
                    "offers only CBC suites, which are off:"
                } else {
                    "no cipher suite in common; offered:"
                })?;
                offered
                    .iter()
                    .try_for_each(|suite| write!(f, " {suite:04X}"))
            }
            Self::NoCommonCurve => f.write_str("no curve in common; P-256 or P-384 is needed"),
            Self::NoExtendedMasterSecret => {
                f.write_str("no extended master secret, which is required")
            }
            Self::Version { offered } => write!(
                f,
                "asks for version {offered:04X}; DTLS 1.2 (FEFD) is needed"
            ),
        }
    }
}

/// What [`Client::poll`](crate::Client::poll) answers.
#[derive(Debug)]
pub enum ClientOutput {
    /// Send this to the server.
    Datagram(Vec<u8>),
    /// The server said this: the plaintext of one record, never of two.
    Record(Vec<u8>),
    /// Something happened.
    Event(ClientEvent),
    /// Nothing more; come back at this uptime, or with the next datagram. Always last.
    Wait(Option<Duration>),
}

/// What happened at a client.
#[derive(Debug)]
pub enum ClientEvent {
    /// The handshake is complete; records may be sent.
    Connected {
        /// Whether and how the earlier session was resumed.
        resumed: Option<Resumed>,
        /// Whether our records carry the server's Connection ID, so that our address may change.
        cid: bool,
        /// The cipher suite, IANA number.
        suite: u16,
        /// What it cost.
        handshake: HandshakeBytes,
    },
    /// The session, or the attempt at one, is over for this reason.
    Failed(ClientFailure),
    /// The server closed the session.
    Closed,
}

/// Why a client has no session.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClientFailure {
    /// The server's certificate is not accepted.
    #[error("the server's certificate is not accepted: {0}")]
    Certificate(CertificateFault),
    /// The server sent a fatal alert.
    #[error("the server refused: {name} (alert {number})")]
    Alert {
        /// Its number (RFC 5246 §7.2).
        number: u8,
        /// Its name.
        name: &'static str,
    },
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The protocol failed.
    #[error("{text} (-0x{:04x})", code.unsigned_abs())]
    Protocol {
        /// What went wrong, in words.
        text: String,
        /// Mbed TLS's number.
        code: i32,
    },
}

/// What is wrong with a server's certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateFault {
    /// A certificate of the chain is past its end.
    #[error("`{subject}` expired: valid until {until}, and the clock says {now}")]
    Expired {
        /// Whose.
        subject: String,
        /// `2026-11-21T03:00:00Z`.
        until: String,
        /// The clock, the same way.
        now: String,
    },
    /// A certificate of the chain is not valid yet.
    #[error("`{subject}` is not valid yet: valid from {from}, and the clock says {now}")]
    NotYetValid {
        /// Whose.
        subject: String,
        /// From when.
        from: String,
        /// The clock.
        now: String,
    },
    /// The certificate names somebody else.
    #[error("it is for {}, not for `{wanted}`", presented.join(", "))]
    Name {
        /// The name the client was told.
        wanted: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// No trusted authority signed it.
    #[error("no trusted authority signed it; its issuer is `{issuer}`")]
    UnknownAuthority {
        /// The issuer that the last certificate of the chain names.
        issuer: String,
    },
    /// Something else, in Mbed TLS's words.
    #[error("{0}")]
    Other(String),
}

/// Why bytes were not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SendError {
    /// There is no such session (any more).
    #[error("there is no such session")]
    NoSession,
    /// The handshake is not complete.
    #[error("the handshake is not complete")]
    NotConnected,
    /// Does not fit one record.
    #[error("{bytes} bytes do not fit one record of {bytes_max}")]
    TooLarge {
        /// What was to be sent.
        bytes: usize,
        /// What fits.
        bytes_max: usize,
    },
    /// The outputs that wait have reached [`Limits::queued_bytes_max`](crate::Limits::queued_bytes_max).
    #[error("too much is waiting to be sent")]
    Full,
    /// The library failed; the session is over.
    #[error("Mbed TLS failed (-0x{:04x})", .0.unsigned_abs())]
    Failed(i32),
}
