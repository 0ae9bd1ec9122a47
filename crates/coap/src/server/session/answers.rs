//! What leaves for a peer: the application's answers, in blocks where they are long; our own; and both again.

use super::{Asked, Separate, Session, Shared};
use crate::Code;
use crate::block::Block;
use crate::message::{Draft, Kind, empty, option};
use crate::server::bodies::Representation;
use crate::server::limits::ANSWER_BYTES_MAX;
use crate::server::seen::{Reply, Slice};
use crate::server::{Output, Response};
use crate::timing::{ACK_TIMEOUT, Backoff, MAX_RETRANSMIT};
use std::time::Duration;

impl Session {
    pub(in crate::server) fn respond(
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

    /// An answer of the endpoint's own, with a code and no payload.
    pub(super) fn refuse(
        &mut self,
        asked: &Asked,
        code: Code,
        block1: Option<Block>,
        shared: &mut Shared,
    ) {
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

    pub(super) fn send_slice(&mut self, asked: &Asked, slice: Slice, shared: &mut Shared) {
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

    /// Tells an impatient peer that the request is here.
    pub(super) fn acknowledge(&mut self, id: u16, shared: &mut Shared) {
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

    /// Sends the first waiting answer, unless one is under way.
    pub(super) fn next_separate(&mut self, now: Duration, shared: &mut Shared) {
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
    pub(super) fn acknowledged(&mut self, id: u16, now: Duration, shared: &mut Shared) {
        if self
            .separate
            .front()
            .is_some_and(|first| first.backoff.is_some() && first.id == id)
        {
            self.separate.pop_front();
            self.next_separate(now, shared);
        }
    }

    /// A duplicate gets what the first one got.
    pub(super) fn again(&mut self, kind: Kind, id: u16, now: Duration, shared: &mut Shared) {
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
