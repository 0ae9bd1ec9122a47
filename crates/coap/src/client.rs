//! The client's end: requests in a row to one server.

mod transfer;

use crate::chance::Chance;
use crate::message::{Kind, Message, Token, Unreadable, empty};
use crate::options::ResponseOptions;
use crate::timing::{self, Backoff, EXCHANGE_LIFETIME};
use crate::{BlockSize, Code, Counters, Method};
use std::collections::VecDeque;
use std::time::Duration;
use transfer::{Step, Transfer};

/// Separate answers whose message ids are remembered, so that a duplicate is acknowledged and not taken for a new one. The
/// server has one under way at a time.
const SEEN_MAX: usize = 16;

/// A larger datagram is rejected unread, as by the server.
const DATAGRAM_BYTES_MAX: usize = crate::server::DATAGRAM_BYTES_MAX;

/// Asks one server. Feed what arrived, [`poll`](Client::poll) until [`ClientOutput::Wait`], which is always last.
/// A client lives as long as its DTLS session; a new session gets a new client.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    chance: Chance,
    counters: Counters,
    outputs: VecDeque<ClientOutput>,
    waiting: VecDeque<(RequestId, Transfer)>,
    open: Vec<Open>,
    /// Separate answers taken, oldest first.
    seen: VecDeque<(u16, Duration)>,
    next_request: u64,
    next_message: u16,
    next_token: u64,
}

/// A request under way: its transfer, and the message that waits for a response.
#[derive(Debug)]
struct Open {
    id: RequestId,
    transfer: Transfer,
    message: u16,
    token: Token,
    bytes: Vec<u8>,
    /// `None` when the message needs no acknowledgement or has it.
    backoff: Option<Backoff>,
    gives_up: Duration,
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
    pub fn new(config: ClientConfig, seed: u64) -> Client {
        let mut chance = Chance::new(seed);
        Client {
            config: ClientConfig {
                nstart: config.nstart.max(1),
                token_bytes: config.token_bytes.clamp(1, 8),
                ..config
            },
            counters: Counters::default(),
            outputs: VecDeque::new(),
            waiting: VecDeque::new(),
            open: Vec::new(),
            seen: VecDeque::new(),
            next_request: 0,
            next_message: chance.next() as u16,
            next_token: chance.next(),
            chance,
        }
    }

    /// Asks, when requests before it are answered. Exactly one [`ClientOutput::Response`] or [`ClientOutput::Failed`] follows,
    /// unless it is [cancelled](Client::cancel).
    pub fn request(&mut self, request: ClientRequest, now: Duration) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        match Transfer::new(request, self.config.block_size, self.config.body_bytes_max) {
            Ok(transfer) => self.waiting.push_back((id, transfer)),
            Err(why) => self.outputs.push_back(ClientOutput::Failed { id, why }),
        }
        self.start_waiting(now);
        id
    }

    /// A datagram of the server arrived.
    pub fn feed(&mut self, datagram: &[u8], now: Duration) {
        self.counters.received(datagram.len());
        let message = match Message::parse(datagram, DATAGRAM_BYTES_MAX) {
            Ok(message) => message,
            Err(Unreadable::Reset(id)) => return self.reject(Kind::Confirmable, id),
            Err(Unreadable::Ignore) => return self.counters.rejected_messages += 1,
        };
        let is_response = Code(message.code).is_response();
        let by_id = self.open.iter().position(|open| open.message == message.id);
        let by_token = self
            .open
            .iter()
            .position(|open| open.token == message.token);
        match message.kind {
            Kind::Acknowledgement if message.code == 0 => match by_id {
                Some(place) => self.open[place].backoff = None,
                None => self.counters.duplicate(datagram.len()),
            },
            // Piggybacked: id and token must be of the same request (RFC 7252 §5.3.2).
            Kind::Acknowledgement if is_response => match by_id {
                Some(place) if by_token == Some(place) => self.answer(place, message, now),
                Some(_) => self.counters.rejected_messages += 1,
                None => self.counters.duplicate(datagram.len()),
            },
            Kind::Reset if message.code == 0 => match by_id {
                Some(place) => self.fail(place, Failure::Reset, now),
                None => self.counters.duplicate(datagram.len()),
            },
            Kind::Acknowledgement | Kind::Reset => self.counters.rejected_messages += 1,
            // A ping.
            Kind::Confirmable if message.code == 0 => {
                self.transmit(empty(Kind::Reset, message.id), 0)
            }
            Kind::Confirmable if is_response => {
                self.seen
                    .retain(|(_, at)| now < at.saturating_add(EXCHANGE_LIFETIME));
                if self.seen.iter().any(|(id, _)| *id == message.id) {
                    self.counters.duplicate(datagram.len());
                    let bytes = empty(Kind::Acknowledgement, message.id);
                    self.counters.sent_again(bytes.len());
                    return self.outputs.push_back(ClientOutput::Send(bytes));
                }
                match by_token {
                    Some(place) => self.answer(place, message, now),
                    None => self.reject(Kind::Confirmable, message.id),
                }
            }
            Kind::NonConfirmable if is_response => match by_token {
                Some(place) => self.answer(place, message, now),
                None => self.counters.rejected_messages += 1,
            },
            kind => self.reject(kind, message.id),
        }
    }

    /// Forgets a request; neither answer nor failure follows. The server may have seen it.
    pub fn cancel(&mut self, id: RequestId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.open.retain(|open| open.id != id);
        self.outputs.retain(|output| match output {
            ClientOutput::Response(response) => response.id != id,
            ClientOutput::Failed { id: failed, .. } => *failed != id,
            ClientOutput::Send(_) | ClientOutput::Wait(_) => true,
        });
    }

    /// The next thing to do. [`ClientOutput::Wait`] is always last.
    pub fn poll(&mut self, now: Duration) -> ClientOutput {
        self.start_waiting(now);
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            let Some((place, due)) = self.next_due() else {
                return ClientOutput::Wait(None);
            };
            if due > now {
                return ClientOutput::Wait(Some(due));
            }
            let open = &mut self.open[place];
            let again = open.gives_up > now
                && open
                    .backoff
                    .as_mut()
                    .is_some_and(|backoff| backoff.again(now));
            if again {
                let bytes = open.bytes.clone();
                self.counters.sent_again(bytes.len());
                self.outputs.push_back(ClientOutput::Send(bytes));
            } else {
                self.fail(place, Failure::Timeout, now);
            }
        }
    }

    /// Since the client began.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn next_due(&self) -> Option<(usize, Duration)> {
        let due = |open: &Open| {
            open.backoff
                .as_ref()
                .map_or(open.gives_up, |backoff| backoff.due().min(open.gives_up))
        };
        self.open
            .iter()
            .map(due)
            .enumerate()
            .min_by_key(|(_, due)| *due)
    }

    fn start_waiting(&mut self, now: Duration) {
        while self.open.len() < self.config.nstart
            && let Some((id, transfer)) = self.waiting.pop_front()
        {
            self.send(id, transfer, now);
        }
    }

    /// Sends the next message of a transfer.
    fn send(&mut self, id: RequestId, transfer: Transfer, now: Duration) {
        self.next_message = self.next_message.wrapping_add(1);
        self.next_token = self.next_token.wrapping_add(1);
        let (message, token) = (
            self.next_message,
            Token::of(self.next_token, self.config.token_bytes),
        );
        let (bytes, payload_bytes) = transfer.message(message, &token);
        let backoff = transfer.confirmable().then(|| {
            Backoff::start(
                self.config.ack_timeout,
                self.config.max_retransmit,
                &mut self.chance,
                now,
            )
        });
        self.transmit(bytes.clone(), payload_bytes);
        let gives_up = now.saturating_add(self.config.exchange_timeout);
        self.open.push(Open {
            id,
            transfer,
            message,
            token,
            bytes,
            backoff,
            gives_up,
        });
    }

    /// A response to the message of this request.
    fn answer(&mut self, place: usize, message: Message, now: Duration) {
        let confirmable = message.kind == Kind::Confirmable;
        let Some(options) = ResponseOptions::read(&message) else {
            // A separate answer is rejected, and whoever asked need not wait for a better one (RFC 7252 §5.4.1).
            self.reject(message.kind, message.id);
            return self.fail(place, Failure::Garbage, now);
        };
        if confirmable {
            if self.seen.len() >= SEEN_MAX {
                self.seen.pop_front();
            }
            self.seen.push_back((message.id, now));
            self.transmit(empty(Kind::Acknowledgement, message.id), 0);
        }
        self.counters.round_trips += 1;
        self.counters.payload_bytes_received += message.payload().len() as u64;
        let Open { id, transfer, .. } = self.open.swap_remove(place);
        match transfer.answered(message, options) {
            Step::Next(transfer) => return self.send(id, *transfer, now),
            Step::Done(answer) => self
                .outputs
                .push_back(ClientOutput::Response(ClientResponse {
                    id,
                    code: answer.code,
                    content_format: answer.content_format,
                    max_age: answer.max_age,
                    payload: answer.body,
                })),
            Step::Failed(why) => self.outputs.push_back(ClientOutput::Failed { id, why }),
        }
        self.start_waiting(now);
    }

    fn fail(&mut self, place: usize, why: Failure, now: Duration) {
        let open = self.open.swap_remove(place);
        self.outputs
            .push_back(ClientOutput::Failed { id: open.id, why });
        self.start_waiting(now);
    }

    /// RFC 7252 §4.2, §4.3: a Reset for what asked to be acknowledged, silence for the rest.
    fn reject(&mut self, kind: Kind, id: u16) {
        self.counters.rejected_messages += 1;
        if kind == Kind::Confirmable {
            self.transmit(empty(Kind::Reset, id), 0);
        }
    }

    fn transmit(&mut self, bytes: Vec<u8>, payload_bytes: usize) {
        self.counters.sent(bytes.len(), payload_bytes);
        self.outputs.push_back(ClientOutput::Send(bytes));
    }
}
