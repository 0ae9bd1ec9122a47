//! The client's end: requests in a row to one server.

use crate::{BlockSize, Code, Counters, Method, timing};
use std::collections::VecDeque;
use std::time::Duration;

/// Asks one server. Feed what arrived, [`poll`](Client::poll) until [`ClientOutput::Wait`], which is always last.
/// A client lives as long as its DTLS session; a new session gets a new client.
#[derive(Debug)]
pub struct Client {
    counters: Counters,
    outputs: VecDeque<ClientOutput>,
    next: u64,
}

/// How a client behaves. The default is RFC 7252's, with the block size of a modem's library.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// Largest block sent, and the size suggested for answers; default 256 (`CONFIG_COAP_CLIENT_BLOCK_SIZE`,
    /// spec/device-protocol §6.2). Larger blocks are fewer round trips.
    pub block_size: BlockSize,
    /// First wait for an acknowledgement; default 2 s, times 1 to 1.5 by chance, doubled at each retransmission.
    pub ack_timeout: Duration,
    /// Retransmissions of one message; default 4.
    pub max_retransmit: u32,
    /// How long one message may wait for its response, retransmissions included; default 30 s (spec/device-protocol §6.2).
    /// A request in blocks is several messages, and each has this long.
    pub exchange_timeout: Duration,
    /// Requests open at once; default 1. More wait in line.
    pub nstart: usize,
    /// Bytes of an answer's body; default 48 KiB. A larger one fails with [`Failure::TooLarge`].
    pub body_bytes_max: usize,
    /// Length of tokens, 1 to 8; default 2. They are counted, so that none returns within a session of 65,536 messages
    /// (RFC 9175 §4.2); the firmware's have 8.
    pub token_bytes: u8,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            block_size: BlockSize::B256,
            ack_timeout: timing::ACK_TIMEOUT,
            max_retransmit: timing::MAX_RETRANSMIT,
            exchange_timeout: Duration::from_secs(30),
            nstart: timing::NSTART,
            body_bytes_max: crate::server::BODY_BYTES_MAX,
            token_bytes: 2,
        }
    }
}

/// One request of a client, never used again within its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// What for.
    pub method: Method,
    /// Uri-Path, a segment each.
    pub path: Vec<String>,
    /// Uri-Query, a `name=value` each.
    pub query: Vec<String>,
    /// What the payload is; left out when the payload is empty.
    pub content_format: Option<u16>,
    /// The whole body; sent by Block1 if it is larger than a block.
    pub payload: Vec<u8>,
    /// Whether to send until acknowledged; otherwise it is sent once.
    pub confirmable: bool,
    /// Whether to suggest a size for the blocks of the answer (Block2 0/0/SZX). Without it the server chooses.
    pub block2: bool,
}

impl ClientRequest {
    /// Confirmable, without query and payload.
    pub fn new(method: Method, path: &[&str]) -> ClientRequest {
        ClientRequest {
            method,
            path: path.iter().map(|segment| String::from(*segment)).collect(),
            query: Vec::new(),
            content_format: None,
            payload: Vec::new(),
            confirmable: true,
            block2: false,
        }
    }

    /// With one more Uri-Query.
    pub fn query(mut self, query: &str) -> ClientRequest {
        self.query.push(query.into());
        self
    }

    /// With a body of this format.
    pub fn payload(mut self, content_format: u16, payload: Vec<u8>) -> ClientRequest {
        self.content_format = Some(content_format);
        self.payload = payload;
        self
    }
}

/// What the client wants done, or found out.
#[derive(Debug)]
pub enum ClientOutput {
    /// Carry this message to the server.
    Send(Vec<u8>),
    /// A request has its answer.
    Response(ClientResponse),
    /// A request will have no answer.
    Failed {
        /// Which.
        id: RequestId,
        /// Why.
        why: Failure,
    },
    /// Nothing more; poll again at this uptime (`None`: not before the next request or datagram).
    Wait(Option<Duration>),
}

/// An answer, blocks joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientResponse {
    /// To which request.
    pub id: RequestId,
    /// Success or not, as the server says.
    pub code: Code,
    /// What the payload is.
    pub content_format: Option<u16>,
    /// Seconds for which it holds; `None`: the server did not say, which means 60.
    pub max_age: Option<u32>,
    /// The whole body.
    pub payload: Vec<u8>,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing came within the retransmissions or the exchange timeout.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server does not know the exchange any more.
    #[error("the server reset the exchange")]
    Reset,
    /// The answer is larger than this client takes, or the request larger than blocks can number.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// The answer breaks the protocol: a critical option nobody knows, or blocks that do not fit each other.
    #[error("the server's answer breaks the protocol")]
    Garbage,
}

impl Client {
    /// A client without requests. The seed decides jitter, message ids and where tokens begin.
    pub fn new(_config: ClientConfig, _seed: u64) -> Client {
        Client {
            counters: Counters::default(),
            outputs: VecDeque::new(),
            next: 0,
        }
    }

    /// Asks, when requests before it are answered. Exactly one [`ClientOutput::Response`] or [`ClientOutput::Failed`] follows.
    pub fn request(&mut self, _request: ClientRequest, _now: Duration) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    /// A datagram of the server arrived.
    pub fn feed(&mut self, datagram: &[u8], _now: Duration) {
        self.counters.received(datagram.len());
    }

    /// Forgets a request; neither answer nor failure follows. The server may have seen it.
    pub fn cancel(&mut self, _id: RequestId) {}

    /// The next thing to do. [`ClientOutput::Wait`] is always last.
    pub fn poll(&mut self, _now: Duration) -> ClientOutput {
        self.outputs.pop_front().unwrap_or(ClientOutput::Wait(None))
    }

    /// Since the client began.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
