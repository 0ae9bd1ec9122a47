//! One request from its first block to the last block of its answer (RFC 7959).

use super::{ClientRequest, Failure};
use crate::Code;
use crate::block::{Block, BlockSize};
use crate::message::{Draft, Kind, Message, Token, option};
use crate::options::ResponseOptions;

/// How often a transfer may begin again: because the server wants smaller blocks, lost the ones it had, or changed its
/// answer halfway. A server that keeps doing it is broken.
const RESTARTS_MAX: u32 = 3;

/// Bytes of one path segment or query (RFC 7252 §5.10).
const TEXT_BYTES_MAX: usize = 255;

#[derive(Debug)]
pub(super) struct Transfer {
    request: ClientRequest,
    size: BlockSize,
    body_bytes_max: usize,
    stage: Stage,
    restarts: u32,
}

#[derive(Debug)]
enum Stage {
    /// The block of the request that begins here waits for its response.
    Up { offset: usize },
    /// The next block of the answer is asked for.
    Down { answer: Answer, block: Block },
}

/// An answer, so far.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Code,
    pub(super) content_format: Option<u16>,
    pub(super) max_age: Option<u32>,
    pub(super) body: Vec<u8>,
    etag: Option<Token>,
}

/// What comes after a response.
pub(super) enum Step {
    Next(Box<Transfer>),
    Done(Answer),
    Failed(Failure),
}

impl Transfer {
    pub(super) fn new(
        request: ClientRequest,
        size: BlockSize,
        body_bytes_max: usize,
    ) -> Result<Transfer, Failure> {
        let long = |text: &String| text.len() > TEXT_BYTES_MAX;
        let last = request.payload.len().saturating_sub(1) / size.bytes() * size.bytes();
        if request.path.iter().any(long)
            || request.query.iter().any(long)
            || Block::at(last, false, size).is_none()
        {
            return Err(Failure::TooLarge);
        }
        Ok(Transfer {
            request,
            size,
            body_bytes_max,
            stage: Stage::Up { offset: 0 },
            restarts: 0,
        })
    }

    pub(super) fn confirmable(&self) -> bool {
        self.request.confirmable
    }

    /// The message to send, and how many bytes of it are payload.
    pub(super) fn message(&self, id: u16, token: &Token) -> (Vec<u8>, usize) {
        let request = &self.request;
        let kind = if request.confirmable {
            Kind::Confirmable
        } else {
            Kind::NonConfirmable
        };
        let mut draft = Draft::new(kind, request.method.code(), id, token);
        for segment in &request.path {
            draft.option(option::URI_PATH, segment.clone().into_bytes());
        }
        for query in &request.query {
            draft.option(option::URI_QUERY, query.clone().into_bytes());
        }
        let payload = match &self.stage {
            Stage::Up { offset } => {
                let end = self.end_of(*offset);
                let more = end < request.payload.len();
                if let Some(format) = request
                    .content_format
                    .filter(|_| !request.payload.is_empty())
                {
                    draft.uint(option::CONTENT_FORMAT, format.into());
                }
                if (*offset > 0 || more)
                    && let Some(block) = Block::at(*offset, more, self.size)
                {
                    draft.option(option::BLOCK1, block.encode());
                }
                if *offset == 0 && more {
                    draft.uint(option::SIZE1, request.payload.len() as u32);
                }
                // With the block that has the answer (RFC 7959 §3.3).
                if request.block2 && !more {
                    draft.option(
                        option::BLOCK2,
                        Block {
                            number: 0,
                            more: false,
                            size: self.size,
                        }
                        .encode(),
                    );
                }
                &request.payload[*offset..end]
            }
            Stage::Down { block, .. } => {
                draft.option(option::BLOCK2, block.encode());
                &[]
            }
        };
        (draft.encode(payload), payload.len())
    }

    /// What follows from the response to the last message.
    pub(super) fn answered(self, message: Message, options: ResponseOptions) -> Step {
        match self.stage {
            Stage::Up { offset } => self.went_up(offset, message, options),
            Stage::Down { .. } => self.came_down(message, options),
        }
    }

    fn went_up(mut self, offset: usize, message: Message, options: ResponseOptions) -> Step {
        let code = Code(message.code);
        let end = self.end_of(offset);
        let more = end < self.request.payload.len();
        let in_blocks = more || offset > 0;
        let smaller = options
            .block1
            .map(|block| block.size)
            .filter(|size| *size < self.size);
        match code {
            // RFC 7959 §2.9.3: too large as it was cut; try as the server would have it.
            Code::REQUEST_ENTITY_TOO_LARGE
                if offset == 0
                    && let Some(size) = smaller
                    && self.may_restart() =>
            {
                self.size = size;
                self.from(0)
            }
            // §2.9.2: what it had is gone, so nothing has run yet.
            Code::REQUEST_ENTITY_INCOMPLETE if in_blocks && self.may_restart() => self.from(0),
            _ if more && code.is_success() => match options.block1 {
                Some(block) if block.offset() == offset => {
                    // §2.3: from the next block on; a block in full stays acknowledged.
                    self.size = smaller.unwrap_or(self.size);
                    self.from(end)
                }
                _ => Step::Failed(Failure::Garbage),
            },
            Code::CONTINUE => Step::Failed(Failure::Garbage),
            _ => self.first_part(message, options),
        }
    }

    fn from(mut self, offset: usize) -> Step {
        self.stage = Stage::Up { offset };
        Step::Next(Box::new(self))
    }

    /// A response with the whole answer, or with its first block.
    fn first_part(mut self, mut message: Message, options: ResponseOptions) -> Step {
        let announced = options.size2.unwrap_or(0) as usize;
        if message.payload().len().max(announced) > self.body_bytes_max {
            return Step::Failed(Failure::TooLarge);
        }
        let answer = Answer {
            code: Code(message.code),
            content_format: options.content_format,
            max_age: options.max_age,
            body: message.take_payload(),
            etag: options.etag,
        };
        match options.block2 {
            None => Step::Done(answer),
            Some(block) if block.number > 0 => Step::Failed(Failure::Garbage),
            Some(block) if !block.more => Step::Done(answer),
            Some(block) if block.size.bytes() != answer.body.len() => {
                Step::Failed(Failure::Garbage)
            }
            Some(block) => {
                self.stage = Stage::Down {
                    answer,
                    block: Block {
                        number: 1,
                        more: false,
                        size: block.size,
                    },
                };
                Step::Next(Box::new(self))
            }
        }
    }

    fn came_down(mut self, mut message: Message, options: ResponseOptions) -> Step {
        let Stage::Down {
            mut answer,
            block: asked,
        } = std::mem::replace(&mut self.stage, Stage::Up { offset: 0 })
        else {
            return Step::Failed(Failure::Garbage);
        };
        // An error, or the whole of another answer.
        let Some(block) = options.block2.filter(|_| Code(message.code).is_success()) else {
            return self.first_part(message, options);
        };
        if options.etag != answer.etag {
            // RFC 7959 §2.4: blocks of two answers do not mix. Only reading may be asked for twice.
            if !self.request.method.is_safe() || !self.may_restart() {
                return Step::Failed(Failure::Garbage);
            }
            return self.from(0);
        }
        let payload = message.take_payload();
        let full = payload.len() == block.size.bytes();
        let fits = if block.more {
            full
        } else {
            payload.len() <= block.size.bytes()
        };
        if block.offset() != asked.offset() || answer.code != Code(message.code) || !fits {
            return Step::Failed(Failure::Garbage);
        }
        if answer.body.len() + payload.len() > self.body_bytes_max {
            return Step::Failed(Failure::TooLarge);
        }
        answer.body.extend_from_slice(&payload);
        if !block.more {
            return Step::Done(answer);
        }
        match Block::at(answer.body.len(), false, block.size) {
            Some(block) => {
                self.stage = Stage::Down { answer, block };
                Step::Next(Box::new(self))
            }
            None => Step::Failed(Failure::Garbage),
        }
    }

    fn may_restart(&mut self) -> bool {
        self.restarts += 1;
        self.restarts <= RESTARTS_MAX
    }

    fn end_of(&self, offset: usize) -> usize {
        self.request.payload.len().min(offset + self.size.bytes())
    }
}
