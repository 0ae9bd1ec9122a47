//! One peer: its messages, its open requests, its bodies.

use super::bodies::{Assemblies, Joined, Representation, Representations};
use super::limits::{
    ANSWER_BYTES_MAX, APPLICATION_TIMEOUT, DATAGRAM_BYTES_MAX, EXCHANGES_MAX, SEPARATE_AFTER,
};
use super::seen::{Reply, Seen, Slice};
use super::{EXCHANGES_TOTAL_MAX, Exchange, Limits, Output, Request, Response};
use crate::block::Block;
use crate::chance::Chance;
use crate::message::{Draft, Kind, Message, Token, Unreadable, empty, option};
use crate::options::RequestOptions;
use crate::timing::{ACK_TIMEOUT, Backoff, MAX_RETRANSMIT};
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

    /// A duplicate gets what the first one got.
    fn again(&mut self, kind: Kind, id: u16, now: Duration, shared: &mut Shared) {
        if kind != Kind::Confirmable {
            return;
        }
        let bytes = match self.seen.find(id, now) {
            Some(Reply::Working) => return self.acknowledge(id, shared),
            Some(Reply::Acknowledged) => empty(Kind::Acknowledgement, id),
            Some(Reply::Message(bytes)) => bytes.to_vec(),
            Some(Reply::Slice(slice)) => {
                let slice = *slice;
                match self.representations.by_etag(slice.etag) {
                    Some(kept) => cut(kept, &slice, Kind::Acknowledgement, id).0,
                    None => return,
                }
            }
            Some(Reply::Nothing) | None => return,
        };
        self.counters.sent_again(bytes.len());
        shared.outputs.push_back(Output::Send {
            session: self.number,
            bytes,
        });
    }

    /// Tells an impatient peer that the request is here.
    fn acknowledge(&mut self, id: u16, shared: &mut Shared) {
        for open in self
            .open
            .iter_mut()
            .filter(|open| open.id == id && open.confirmable)
        {
            open.acknowledged = true;
        }
        self.seen.answered(id, Reply::Acknowledged);
        self.transmit(empty(Kind::Acknowledgement, id), 0, shared);
    }

    /// An answer of the endpoint's own, with a code and no payload.
    fn refuse(&mut self, asked: &Asked, code: Code, block1: Option<Block>, shared: &mut Shared) {
        let (kind, id) = self.answer_header(asked);
        let mut draft = Draft::new(kind, code.0, id, &asked.token);
        if let Some(block) = block1 {
            draft.option(option::BLOCK1, block.encode());
        }
        if code == Code::REQUEST_ENTITY_TOO_LARGE {
            draft.uint(option::SIZE1, self.body_bytes_max(shared) as u32);
        }
        let bytes = draft.encode(&[]);
        self.counters.round_trips += 1;
        if asked.kind == Kind::Confirmable {
            self.seen
                .answered(asked.id, Reply::Message(bytes.clone().into()));
        }
        self.transmit(bytes, 0, shared);
    }

    fn send_slice(&mut self, asked: &Asked, slice: Slice, shared: &mut Shared) {
        let (kind, id) = self.answer_header(asked);
        let Some(kept) = self.representations.by_etag(slice.etag) else {
            return;
        };
        let (bytes, payload_bytes) = cut(kept, &slice, kind, id);
        self.counters.round_trips += 1;
        if asked.kind == Kind::Confirmable {
            self.seen.answered(asked.id, Reply::Slice(slice));
        }
        self.transmit(bytes, payload_bytes, shared);
    }

    /// An acknowledgement carries the answer under the request's id, everything else has an id of ours.
    fn answer_header(&mut self, asked: &Asked) -> (Kind, u16) {
        match asked.kind {
            Kind::Confirmable => (Kind::Acknowledgement, asked.id),
            _ => (Kind::NonConfirmable, self.fresh_id()),
        }
    }

    fn fresh_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    pub(super) fn respond(
        &mut self,
        number: u64,
        mut response: Response,
        now: Duration,
        shared: &mut Shared,
    ) {
        let Some(place) = self.open.iter().position(|open| open.number == number) else {
            return;
        };
        let open = self.open.swap_remove(place);
        shared.open -= 1;
        if response.payload.len() > ANSWER_BYTES_MAX || !response.code.is_response() {
            response = Response::new(Code::INTERNAL);
        }
        self.representations.remove(&open.key);
        let late = open.confirmable && open.acknowledged;
        let (kind, id) = if late {
            (Kind::Confirmable, self.fresh_id())
        } else {
            let kind = if open.confirmable {
                Kind::Confirmable
            } else {
                Kind::NonConfirmable
            };
            self.answer_header(&Asked {
                kind,
                id: open.id,
                token: open.token,
            })
        };
        let size = open.block2.map_or(shared.limits.block_size, |block| {
            block.size.min(shared.limits.block_size)
        });
        // A later block of an answer that is not kept any more: this answer is another one, and cut where the peer asks.
        let offset = open
            .block2
            .filter(|_| response.code.is_success())
            .map_or(0, Block::offset);
        if offset > 0 && offset >= response.payload.len() {
            response = Response::new(Code::BAD_REQUEST);
        }
        let (bytes, payload_bytes, reply) = if response.payload.len() > size.bytes() {
            let offset = if response.code.is_success() {
                offset
            } else {
                0
            };
            let etag = shared.next_etag;
            shared.next_etag = shared.next_etag.wrapping_add(1);
            self.representations.keep(etag, open.key, response, now);
            let slice = Slice {
                etag,
                block: Block::at(offset, false, size)
                    .expect("an offset in blocks of a larger size is one in blocks of a smaller"),
                token: open.token,
                block1: open.block1,
                size2: open.size2,
            };
            let kept = self
                .representations
                .by_etag(etag)
                .expect("it was just kept");
            let (bytes, payload_bytes) = cut(kept, &slice, kind, id);
            (bytes, payload_bytes, Reply::Slice(slice))
        } else {
            let mut draft = Draft::new(kind, response.code.0, id, &open.token);
            describe(&mut draft, &response);
            if let Some(block) = open.block1 {
                draft.option(option::BLOCK1, block.encode());
            }
            let bytes = draft.encode(&response.payload);
            let reply = if late {
                Reply::Acknowledged
            } else {
                Reply::Message(bytes.clone().into())
            };
            (bytes, response.payload.len(), reply)
        };
        self.counters.round_trips += 1;
        if late {
            self.separate.push_back(Separate {
                id,
                bytes,
                payload_bytes,
                backoff: None,
            });
            self.next_separate(now, shared);
        } else {
            if open.confirmable {
                self.seen.answered(open.id, reply);
            }
            self.transmit(bytes, payload_bytes, shared);
        }
    }

    /// Sends the first waiting answer, unless one is under way.
    fn next_separate(&mut self, now: Duration, shared: &mut Shared) {
        let Some(first) = self
            .separate
            .front_mut()
            .filter(|first| first.backoff.is_none())
        else {
            return;
        };
        first.backoff = Some(Backoff::start(
            ACK_TIMEOUT,
            MAX_RETRANSMIT,
            &mut shared.chance,
            now,
        ));
        let (bytes, payload_bytes) = (first.bytes.clone(), first.payload_bytes);
        self.transmit(bytes, payload_bytes, shared);
    }

    /// The peer has our answer, or does not want it.
    fn acknowledged(&mut self, id: u16, now: Duration, shared: &mut Shared) {
        if self
            .separate
            .front()
            .is_some_and(|first| first.backoff.is_some() && first.id == id)
        {
            self.separate.pop_front();
            self.next_separate(now, shared);
        }
    }

    /// Does what is due.
    pub(super) fn wake(&mut self, now: Duration, shared: &mut Shared) {
        self.expire(now);
        while let Some(number) = self
            .open
            .iter()
            .find(|open| open.at.saturating_add(APPLICATION_TIMEOUT) <= now)
            .map(|open| open.number)
        {
            self.respond(number, Response::new(BUSY), now, shared);
        }
        let patience_ends = |open: &&Open| {
            open.confirmable && !open.acknowledged && open.at.saturating_add(SEPARATE_AFTER) <= now
        };
        while let Some(id) = self.open.iter().find(patience_ends).map(|open| open.id) {
            self.acknowledge(id, shared);
        }
        while let Some(first) = self.separate.front_mut()
            && let Some(backoff) = first.backoff.as_mut()
            && backoff.due() <= now
        {
            if backoff.again(now) {
                let bytes = first.bytes.clone();
                self.counters.sent_again(bytes.len());
                shared.outputs.push_back(Output::Send {
                    session: self.number,
                    bytes,
                });
            } else {
                self.separate.pop_front();
                self.next_separate(now, shared);
            }
        }
        // A quiet session costs nothing but itself.
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        if self.separate.is_empty() {
            self.separate = VecDeque::new();
        }
    }

    fn expire(&mut self, now: Duration) {
        self.seen.expire(now);
        self.assemblies.expire(now);
        self.representations.expire(now);
    }

    /// When [`wake`](Session::wake) has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        let open = self.open.iter().map(|open| {
            let patient = !open.confirmable || open.acknowledged;
            let wait = if patient {
                APPLICATION_TIMEOUT
            } else {
                SEPARATE_AFTER
            };
            open.at.saturating_add(wait)
        });
        let separate = self
            .separate
            .front()
            .and_then(|first| first.backoff.as_ref())
            .map(Backoff::due);
        open.chain(separate)
            .chain(self.seen.due())
            .chain(self.assemblies.due())
            .chain(self.representations.due())
            .min()
    }

    /// Drops everything but the requests that the application has, and what keeps them from running twice. The peer asks
    /// again.
    pub(super) fn release(&mut self) {
        if self.open.is_empty() {
            self.seen = Seen::default();
        }
        self.separate = VecDeque::new();
        self.assemblies = Assemblies::default();
        self.representations = Representations::default();
    }

    /// Requests the application has.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.seen.bytes()
            + self.assemblies.bytes()
            + self.representations.bytes()
            + self.open.capacity() * size_of::<Open>()
            + self
                .open
                .iter()
                .map(|open| open.key.capacity())
                .sum::<usize>()
            + self.separate.capacity() * size_of::<Separate>()
            + self
                .separate
                .iter()
                .map(|separate| separate.bytes.capacity())
                .sum::<usize>()
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

/// One block of an answer, and how many bytes of it are payload.
fn cut(kept: &Representation, slice: &Slice, kind: Kind, id: u16) -> (Vec<u8>, usize) {
    let body = &kept.response.payload;
    let start = slice.block.offset().min(body.len());
    let end = body.len().min(start + slice.block.size.bytes());
    let mut draft = Draft::new(kind, kept.response.code.0, id, &slice.token);
    describe(&mut draft, &kept.response);
    draft.option(option::ETAG, kept.etag.to_be_bytes().to_vec());
    draft.option(
        option::BLOCK2,
        Block {
            more: end < body.len(),
            ..slice.block
        }
        .encode(),
    );
    if let Some(block) = slice.block1 {
        draft.option(option::BLOCK1, block.encode());
    }
    if slice.size2 {
        draft.uint(option::SIZE2, body.len() as u32);
    }
    (draft.encode(&body[start..end]), end - start)
}

fn describe(draft: &mut Draft, response: &Response) {
    if let Some(format) = response
        .content_format
        .filter(|_| !response.payload.is_empty())
    {
        draft.uint(option::CONTENT_FORMAT, format.into());
    }
    if let Some(seconds) = response.max_age {
        draft.uint(option::MAX_AGE, seconds);
    }
}
