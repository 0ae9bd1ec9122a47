//! The words between the link and its driver.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::super::config::{Conduct, Config};
use super::super::words::{Input, TransportError};
use crate::query::FetchQuery;
use crate::secret::{Secret, SecretText};

/// How the connection is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkConduct {
    /// One session for everything, kept between runs; authentication only when it is needed.
    Ours,
    /// As the event-API generation of the firmware library.
    Firmware {
        /// The modem keeps the socket through flight mode.
        keep_open: bool,
    },
}

/// What the driver tells the link.
#[derive(Debug, Clone)]
pub enum LinkInput {
    /// The session's [`Output::Fetch`](crate::device::Output::Fetch).
    Fetch {
        /// To authenticate with.
        jwt: SecretText,
        /// `after` and limits.
        query: FetchQuery,
    },
    /// The session's [`Output::Report`](crate::device::Output::Report).
    Report {
        /// To authenticate with.
        jwt: SecretText,
        /// CBOR responses.
        body: Vec<u8>,
    },
    /// The session's [`Event::Stop`](crate::device::Event::Stop).
    Stopped,
    /// Answer to [`LinkOutput::Connect`].
    Connected {
        /// Both ends negotiated a Connection ID, so that the session survives a change of address.
        cid: bool,
    },
    /// Answer to [`LinkOutput::Connect`]: it did not come about.
    NotConnected(TransportError),
    /// Answer to [`LinkOutput::Request`].
    Answered {
        /// Class in the upper three bits, detail below: 2.05 is 0x45.
        code: u8,
        /// Max-Age in seconds, if the answer has one.
        max_age_s: Option<u32>,
        /// Reassembled.
        payload: Vec<u8>,
    },
    /// Answer to [`LinkOutput::Request`]: there was none.
    NotAnswered(TransportError),
    /// The peer ended the session, or it broke, while no request was out.
    Lost,
    /// The network changed or came back: the way to the service may have another address.
    Moved,
    /// A connection of an earlier life of the driver, taken up again before the first request.
    Restored {
        /// As in [`LinkInput::Connected`].
        cid: bool,
        /// As [`CoapLink::granted`](super::CoapLink::granted) said then, less the time since.
        granted: Option<Grant>,
    },
}

/// What the link wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutput {
    /// A DTLS session, resumed where possible, with Connection ID where the peer takes it. One that is there is closed
    /// before.
    Connect,
    /// End the DTLS session, if there is one (close_notify); how to resume it may be remembered.
    Close,
    /// Send from a new local address; the session goes on by its Connection ID.
    Rebind,
    /// One exchange.
    Request(CoapRequest),
    /// For the session's `handle`.
    Answer(Input),
    /// Nothing more to do until an input comes. Always last.
    Wait,
}

/// A request as it travels, without message id and token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoapRequest {
    /// GET or POST.
    pub method: CoapMethod,
    /// One Uri-Path option for each.
    pub path: Vec<&'static str>,
    /// One Uri-Query option for each, `name=value`.
    pub query: Vec<String>,
    /// Content-Format; accompanies every payload.
    pub content_format: Option<u16>,
    /// The payload. It may be a token, so it has no printable form.
    pub payload: Secret<Vec<u8>>,
    /// CON; NON otherwise.
    pub confirmable: bool,
    /// Suggest a block size with an early Block2 option (0/0/SZX).
    pub block2: bool,
}

/// Method of a [`CoapRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoapMethod {
    /// 0.01
    Get,
    /// 0.02
    Post,
}

/// How long an authorisation lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Max-Age of the answer that granted it.
    For(Duration),
    /// The answer had none: until a 4.01 says otherwise.
    UntilRefused,
}

impl LinkConduct {
    /// What goes with the conduct of a session: ours, or the firmware's as this modem lets it. A modem of the nRF9160 kind
    /// (`mfw_nrf9160_…`) has no keep-open, all others have.
    pub fn of(config: &Config) -> Self {
        match config.conduct {
            Conduct::Careful => Self::Ours,
            Conduct::Firmware => Self::Firmware {
                keep_open: !config.modem_version.starts_with(WITHOUT_KEEP_OPEN),
            },
        }
    }

    /// Length of CoAP tokens: Zephyr's client draws 8 bytes each time, ours needs no more than are unique in a session.
    pub const fn token_bytes(self) -> u8 {
        match self {
            Self::Ours => 2,
            Self::Firmware { .. } => 8,
        }
    }
}

impl CoapRequest {
    pub(super) fn post(path: &[&'static str], query: Vec<String>, payload: Vec<u8>) -> Self {
        Self {
            method: CoapMethod::Post,
            path: path.to_vec(),
            query,
            content_format: Some(CONTENT_FORMAT_CBOR),
            payload: Secret::new(payload),
            confirmable: true,
            block2: false,
        }
    }

    pub(super) fn suspend() -> Self {
        Self {
            method: CoapMethod::Post,
            path: vec![".dtls", "suspend"],
            query: Vec::new(),
            content_format: None,
            payload: Secret::new(Vec::new()),
            confirmable: false,
            block2: false,
        }
    }
}

impl fmt::Display for CoapRequest {
    /// `POST p/auth-jwt`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.method {
            CoapMethod::Get => "GET ",
            CoapMethod::Post => "POST ",
        })?;
        f.write_str(&self.path.join("/"))
    }
}

/// A response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub(super) u8);

impl Code {
    pub(super) const CREATED: Self = Self(0x41);
    pub(super) const CHANGED: Self = Self(0x44);
    pub(super) const CONTENT: Self = Self(0x45);
    pub(super) const UNAUTHORIZED: Self = Self(0x81);

    pub(super) const fn is_error(self) -> bool {
        self.0 >> 5 >= 4
    }

    /// 4.04 is 404. A success of the wrong kind is one that no request has; anything else answers nothing.
    pub(super) const fn as_status(self) -> u16 {
        match self.0 >> 5 {
            class @ (4 | 5) => class as u16 * 100 + (self.0 & 0x1f) as u16,
            2 => UNEXPECTED_SUCCESS,
            _ => NO_ANSWER,
        }
    }
}

/// application/cbor; the firmware sends it with every payload, the token included.
const CONTENT_FORMAT_CBOR: u16 = 60;
/// Modem firmware of this kind closes its sockets in flight mode.
const WITHOUT_KEEP_OPEN: &str = "mfw_nrf9160";
/// Stands for a 2.xx that is not the one expected.
const UNEXPECTED_SUCCESS: u16 = 299;
/// Stands for a code that is none of an answer.
const NO_ANSWER: u16 = 599;
