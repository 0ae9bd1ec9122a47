//! One peer: its messages, its open requests, its bodies. What arrives is read here; `answers` is what leaves, `upkeep` what
//! comes with time.

mod answers;
mod upkeep;

use super::bodies::{Assemblies, Joined, Representations};
use super::limits::{DATAGRAM_BYTES_MAX, EXCHANGES_MAX};
use super::seen::{Seen, Slice};
use super::{EXCHANGES_TOTAL_MAX, Exchange, Limits, Output, Request};
use crate::block::Block;
use crate::chance::Chance;
use crate::message::{Kind, Message, Token, Unreadable, empty};
use crate::options::RequestOptions;
use crate::timing::Backoff;
use crate::{Code, Counters, Method};
use std::collections::VecDeque;
use std::time::Duration;

/// A server that cannot take one more request says 5.00, which every generation of the device reads as "busy, later"
/// (spec/device-protocol §6.2); 5.03 is not known to all of them.
const BUSY: Code = Code::INTERNAL;

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) chance: Chance,
    pub(super) outputs: VecDeque<Output>,
    /// Requests the application has, of all sessions.
    pub(super) open: usize,
    pub(super) next_exchange: u64,
    pub(super) next_etag: u32,
}

#[derive(Debug)]
pub(super) struct Session {
    number: u64,
    pub(super) counters: Counters,
    next_id: u16,
    seen: Seen,
    open: Vec<Open>,
    /// Confirmable answers; the first is under way (NSTART 1), the others wait for its acknowledgement.
    separate: VecDeque<Separate>,
    assemblies: Assemblies,
    representations: Representations,
    /// Where the server's list of timers has this session.
    pub(super) scheduled: Option<Duration>,
    /// Whether the server's list of holders has this session.
    pub(super) holding: bool,
    /// Whether something arrived since the server last looked for quiet sessions.
    pub(super) active: bool,
    /// Whether the application knows who this is.
    pub(super) trusted: bool,
}

/// A request that the application has.
#[derive(Debug)]
struct Open {
    number: u64,
    id: u16,
    token: Token,
    confirmable: bool,
    acknowledged: bool,
    at: Duration,
    block1: Option<Block>,
    block2: Option<Block>,
    size2: bool,
    key: Vec<u8>,
}

/// A confirmable answer of ours.
#[derive(Debug)]
struct Separate {
    id: u16,
    bytes: Vec<u8>,
    payload_bytes: usize,
    /// `None` while it waits.
    backoff: Option<Backoff>,
}

/// A request, header and options read.
struct Asked {
    kind: Kind,
    id: u16,
    token: Token,
}

impl Session {
    pub(super) fn new(number: u64, chance: &mut Chance) -> Session {
        Session {
            number,
            counters: Counters::default(),
            next_id: chance.next() as u16,
            seen: Seen::default(),
            open: Vec::new(),
            separate: VecDeque::new(),
            assemblies: Assemblies::default(),
            representations: Representations::default(),
            scheduled: None,
            holding: false,
            active: true,
            trusted: false,
        }
    }

    pub(super) fn feed(&mut self, datagram: &[u8], now: Duration, shared: &mut Shared) {
        self.active = true;
        self.counters.received(datagram.len());
        self.expire(now);
        let message = match Message::parse(datagram, DATAGRAM_BYTES_MAX) {
            Ok(message) => message,
            Err(Unreadable::Reset(id)) => return self.reject(Kind::Confirmable, id, shared),
            Err(Unreadable::Ignore) => return self.counters.rejected_messages += 1,
        };
        match (message.kind, message.code) {
            (Kind::Acknowledgement | Kind::Reset, 0) => self.acknowledged(message.id, now, shared),
            (Kind::Acknowledgement | Kind::Reset, _) => self.counters.rejected_messages += 1,
            // A ping (RFC 7252 §4.3).
            (Kind::Confirmable, 0) => self.transmit(empty(Kind::Reset, message.id), 0, shared),
            (kind, code) if code == 0 || code > 0x1f => self.reject(kind, message.id, shared),
            _ => self.request(message, datagram.len(), now, shared),
        }
    }

    /// RFC 7252 §4.2, §4.3: a Reset for what asked to be acknowledged, silence for the rest.
    fn reject(&mut self, kind: Kind, id: u16, shared: &mut Shared) {
        self.counters.rejected_messages += 1;
        if kind == Kind::Confirmable {
            self.transmit(empty(Kind::Reset, id), 0, shared);
        }
    }

    fn request(&mut self, mut message: Message, bytes: usize, now: Duration, shared: &mut Shared) {
        if self.seen.find(message.id, now).is_some() {
            self.counters.duplicate(bytes);
            return self.again(message.kind, message.id, now, shared);
        }
        let asked = Asked {
            kind: message.kind,
            id: message.id,
            token: message.token,
        };
        let options = match RequestOptions::read(&message) {
            Ok(options) => options,
            // §5.4.1: answered if it was confirmable, rejected otherwise.
            Err(Code::BAD_OPTION) if asked.kind == Kind::NonConfirmable => {
                self.counters.rejected_messages += 1;
                return;
            }
            Err(code) => {
                self.seen
                    .insert(asked.id, asked.kind == Kind::Confirmable, now);
                return self.refuse(&asked, code, None, shared);
            }
        };
        self.seen
            .insert(asked.id, asked.kind == Kind::Confirmable, now);
        self.counters.payload_bytes_received += message.payload().len() as u64;
        let Some(method) = Method::from_code(message.code) else {
            return self.refuse(&asked, Code::METHOD_NOT_ALLOWED, None, shared);
        };
        let bytes_max = self.body_bytes_max(shared);
        let Some(block1) = options.block1 else {
            let payload = message.take_payload();
            if payload.len() > bytes_max {
                return self.refuse(&asked, Code::REQUEST_ENTITY_TOO_LARGE, None, shared);
            }
            let content_format = options.content_format;
            return self.whole(asked, method, options, content_format, payload, now, shared);
        };
        // A smaller size is asked for once, with the first block (RFC 7959 §2.3).
        let echo = Block {
            size: if block1.number == 0 {
                block1.size.min(shared.limits.block_size)
            } else {
                block1.size
            },
            ..block1
        };
        match self
            .assemblies
            .join(&options, block1, message.payload(), bytes_max, now)
        {
            Joined::More => self.refuse(&asked, Code::CONTINUE, Some(echo), shared),
            Joined::Refused(code) => self.refuse(&asked, code, None, shared),
            Joined::Whole(payload, content_format) => {
                let options = RequestOptions {
                    block1: Some(echo),
                    ..options
                };
                self.whole(asked, method, options, content_format, payload, now, shared);
            }
        }
    }

    /// A request with its whole body: a later block of an answer that is kept, or something for the application.
    #[allow(clippy::too_many_arguments)]
    fn whole(
        &mut self,
        asked: Asked,
        method: Method,
        options: RequestOptions,
        content_format: Option<u16>,
        payload: Vec<u8>,
        now: Duration,
        shared: &mut Shared,
    ) {
        if let Some(block) = options.block2.filter(|block| block.number > 0) {
            let size = block.size.min(shared.limits.block_size);
            if let Some(kept) = self.representations.of(&options.key, now) {
                let (etag, bytes) = (kept.etag, kept.response.payload.len());
                let cut = Block::at(block.offset(), false, size).filter(|cut| cut.offset() < bytes);
                let Some(cut) = cut else {
                    return self.refuse(&asked, Code::BAD_REQUEST, None, shared);
                };
                let slice = Slice {
                    etag,
                    block: cut,
                    token: asked.token,
                    block1: options.block1,
                    size2: options.size2,
                };
                return self.send_slice(&asked, slice, shared);
            }
            // Only reading may run once more for the sake of a later block.
            if !method.is_safe() {
                return self.refuse(&asked, Code::REQUEST_ENTITY_INCOMPLETE, None, shared);
            }
        }
        if self.open.len() + self.separate.len() >= EXCHANGES_MAX
            || shared.open >= EXCHANGES_TOTAL_MAX
        {
            return self.refuse(&asked, BUSY, None, shared);
        }
        let number = shared.next_exchange;
        shared.next_exchange += 1;
        shared.open += 1;
        let confirmable = asked.kind == Kind::Confirmable;
        self.open.push(Open {
            number,
            id: asked.id,
            token: asked.token,
            confirmable,
            acknowledged: false,
            at: now,
            block1: options.block1,
            block2: options.block2,
            size2: options.size2,
            key: options.key,
        });
        shared.outputs.push_back(Output::Request(Request {
            exchange: Exchange {
                session: self.number,
                number,
            },
            session: self.number,
            method,
            path: options.path,
            query: options.query,
            content_format,
            accept: options.accept,
            payload,
            confirmable,
        }));
    }

    const fn body_bytes_max(&self, shared: &Shared) -> usize {
        if self.trusted {
            shared.limits.body_bytes_max
        } else {
            shared.limits.stranger_body_bytes_max
        }
    }

    fn transmit(&mut self, bytes: Vec<u8>, payload_bytes: usize, shared: &mut Shared) {
        self.counters.sent(bytes.len(), payload_bytes);
        shared.outputs.push_back(Output::Send {
            session: self.number,
            bytes,
        });
    }
}
