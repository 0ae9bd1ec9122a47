//! The server's end: many sessions, one queue of outputs.

mod limits;

use crate::{Code, Counters, Method};
use std::collections::VecDeque;
use std::time::Duration;

pub use limits::*;

/// Answers the requests of many sessions. Feed what arrived, [`poll`](Server::poll) until [`Output::Wait`], which is always
/// last, and call again when something arrives or the wait is over.
#[derive(Debug)]
pub struct Server {
    counters: Counters,
    outputs: VecDeque<Output>,
}

/// What the server wants done.
#[derive(Debug)]
pub enum Output {
    /// Carry this message to the peer.
    Send {
        /// Whose.
        session: u64,
        /// One CoAP message.
        bytes: Vec<u8>,
    },
    /// Answer this with [`Server::respond`]: at once, or when the answer is there.
    Request(Request),
    /// Nothing more; poll again at this uptime (`None`: not before the next datagram).
    Wait(Option<Duration>),
}

/// One request, whole, delivered once however often it arrived.
#[derive(Debug)]
pub struct Request {
    /// What [`Server::respond`] asks for.
    pub exchange: Exchange,
    /// Who asks.
    pub session: u64,
    /// What for.
    pub method: Method,
    /// Uri-Path, a segment each; percent signs are characters like others.
    pub path: Vec<String>,
    /// Uri-Query, a `name=value` each, an empty value kept.
    pub query: Vec<String>,
    /// What the payload is; 60 is CBOR.
    pub content_format: Option<u16>,
    /// The only format the peer takes.
    pub accept: Option<u16>,
    /// Blocks already joined.
    pub payload: Vec<u8>,
    /// Whether the peer wanted the request acknowledged.
    pub confirmable: bool,
}

/// One request that is not answered yet. It belongs to the server that gave it, and is good for one answer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

/// An answer. Blocks, ETag, tokens and acknowledgements are the server's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// A response code.
    pub code: Code,
    /// What the payload is; left out when the payload is empty.
    pub content_format: Option<u16>,
    /// Seconds for which the answer holds; `None` leaves the option out, which means 60 (RFC 7252 §5.10.5).
    pub max_age: Option<u32>,
    /// The whole body; sliced if it is larger than a block.
    pub payload: Vec<u8>,
}

impl Response {
    /// A code and nothing else.
    pub fn new(code: Code) -> Response {
        Response {
            code,
            content_format: None,
            max_age: None,
            payload: Vec::new(),
        }
    }

    /// With a body of this format.
    pub fn payload(mut self, content_format: u16, payload: Vec<u8>) -> Response {
        self.content_format = Some(content_format);
        self.payload = payload;
        self
    }

    /// With Max-Age, in seconds.
    pub fn max_age(mut self, seconds: u32) -> Response {
        self.max_age = Some(seconds);
        self
    }
}

impl Server {
    /// A server without sessions. The seed decides jitter and message ids.
    pub fn new(_limits: Limits, _seed: u64) -> Server {
        Server {
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// A datagram of this session arrived. A session begins with its first datagram.
    pub fn feed(&mut self, _session: u64, datagram: &[u8], _now: Duration) {
        self.counters.received(datagram.len());
    }

    /// The answer to a request. Late is fine (it then travels as a message of its own); for a forgotten session, or after
    /// [`APPLICATION_TIMEOUT`], it is dropped.
    pub fn respond(&mut self, _exchange: Exchange, _response: Response, _now: Duration) {}

    /// The session ended: everything kept for it goes, answers under way included.
    pub fn forget(&mut self, _session: u64) {}

    /// The next thing to do. [`Output::Wait`] is always last.
    pub fn poll(&mut self, _now: Duration) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Wait(None))
    }

    /// Of all sessions together.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Of one session since it began; zero for one that is not known.
    pub fn session_counters(&self, _session: u64) -> Counters {
        Counters::default()
    }

    /// Sessions something is kept of.
    pub fn sessions(&self) -> usize {
        0
    }

    /// Bytes kept for all peers: bodies being assembled, answers that may be asked for again, message ids.
    pub fn bytes_held(&self) -> usize {
        0
    }

    /// The same of one session, never more than [`SESSION_BYTES_MAX`].
    pub fn session_bytes_held(&self, _session: u64) -> usize {
        0
    }
}
