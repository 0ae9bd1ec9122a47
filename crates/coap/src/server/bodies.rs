//! Bodies larger than a block: requests being joined, answers being cut (RFC 7959 §2.3 to §2.9).

use super::Response;
use super::limits::{ANSWER_BYTES_MAX, ASSEMBLIES_MAX, BODY_LIFETIME, REPRESENTATIONS_MAX};
use crate::Code;
use crate::block::Block;
use crate::options::RequestOptions;
use std::time::Duration;

/// Space is reserved in steps of this many bytes, whatever Size1 promises: what a peer did not send costs nothing.
const STEP_BYTES: usize = 1024;

/// The half-sent bodies of one session.
#[derive(Debug, Default)]
pub(super) struct Assemblies(Vec<Assembly>);

#[derive(Debug)]
struct Assembly {
    key: Vec<u8>,
    content_format: Option<u16>,
    body: Vec<u8>,
    touched: Duration,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It is kept; ask for the next one.
    More,
    /// It was the last: the body, and the format its first block named.
    Whole(Vec<u8>, Option<u16>),
    /// It does not fit: 4.00, 4.08 or 4.13.
    Refused(Code),
}

impl Assemblies {
    /// Takes one block of a body.
    pub(super) fn join(
        &mut self,
        options: &RequestOptions,
        block: Block,
        payload: &[u8],
        bytes_max: usize,
        now: Duration,
    ) -> Joined {
        let fits = if block.more {
            payload.len() == block.size.bytes()
        } else {
            payload.len() <= block.size.bytes()
        };
        if !fits {
            return Joined::Refused(Code::BAD_REQUEST);
        }
        let place = self
            .0
            .iter()
            .position(|assembly| assembly.key == options.key);
        let announced = options.size1.unwrap_or(0) as usize;
        if block.offset().saturating_add(payload.len()).max(announced) > bytes_max {
            if let Some(place) = place {
                self.0.swap_remove(place);
            }
            return Joined::Refused(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        if block.number == 0 {
            if let Some(place) = place {
                self.0.swap_remove(place);
            }
            if !block.more {
                return Joined::Whole(payload.to_vec(), options.content_format);
            }
            self.make_room();
            self.0.push(Assembly {
                key: options.key.clone(),
                content_format: options.content_format,
                body: payload.to_vec(),
                touched: now,
            });
            return Joined::More;
        }
        let Some(place) = place else {
            return Joined::Refused(Code::REQUEST_ENTITY_INCOMPLETE);
        };
        let assembly = &mut self.0[place];
        // RFC 7959 §2.9.2: another format is another body.
        if options.content_format.is_some() && options.content_format != assembly.content_format {
            return Joined::Refused(Code::REQUEST_ENTITY_INCOMPLETE);
        }
        let end = block.offset() + payload.len();
        if block.offset() != assembly.body.len() {
            // A block once more, under a new message id, changes nothing.
            let again = block.more && assembly.body.get(block.offset()..end) == Some(payload);
            return if again {
                Joined::More
            } else {
                Joined::Refused(Code::REQUEST_ENTITY_INCOMPLETE)
            };
        }
        assembly.touched = now;
        if assembly.body.capacity() < end {
            assembly.body.reserve_exact(payload.len().max(STEP_BYTES));
        }
        assembly.body.extend_from_slice(payload);
        if block.more {
            return Joined::More;
        }
        let assembly = self.0.swap_remove(place);
        Joined::Whole(assembly.body, assembly.content_format)
    }

    fn make_room(&mut self) {
        if self.0.len() >= ASSEMBLIES_MAX
            && let Some(oldest) = (0..self.0.len()).min_by_key(|index| self.0[*index].touched)
        {
            self.0.swap_remove(oldest);
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        self.0
            .retain(|assembly| now < assembly.touched.saturating_add(BODY_LIFETIME));
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.0
            .iter()
            .map(|assembly| assembly.touched.saturating_add(BODY_LIFETIME))
            .min()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Assembly>()
            + self
                .0
                .iter()
                .map(|assembly| assembly.key.capacity() + assembly.body.capacity())
                .sum::<usize>()
    }
}

/// The sliced answers of one session.
#[derive(Debug, Default)]
pub(super) struct Representations(Vec<Representation>);

/// An answer that is fetched block by block.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) etag: u32,
    key: Vec<u8>,
    pub(super) response: Response,
    touched: Duration,
}

impl Representations {
    /// The newest answer to this request.
    pub(super) fn of(&mut self, key: &[u8], now: Duration) -> Option<&Representation> {
        let found = self
            .0
            .iter_mut()
            .find(|kept| kept.key == key && now < kept.touched.saturating_add(BODY_LIFETIME))?;
        found.touched = now;
        Some(found)
    }

    pub(super) fn by_etag(&self, etag: u32) -> Option<&Representation> {
        self.0.iter().find(|kept| kept.etag == etag)
    }

    /// Keeps an answer in place of the one before to the same request.
    pub(super) fn keep(&mut self, etag: u32, key: Vec<u8>, mut response: Response, now: Duration) {
        debug_assert!(response.payload.len() <= ANSWER_BYTES_MAX);
        self.remove(&key);
        if self.0.len() >= REPRESENTATIONS_MAX
            && let Some(oldest) = (0..self.0.len()).min_by_key(|index| self.0[*index].touched)
        {
            self.0.swap_remove(oldest);
        }
        response.payload.shrink_to_fit();
        self.0.push(Representation {
            etag,
            key,
            response,
            touched: now,
        });
    }

    /// The answer to this request is another one from here on.
    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.retain(|kept| kept.key != key);
    }

    pub(super) fn expire(&mut self, now: Duration) {
        self.0
            .retain(|kept| now < kept.touched.saturating_add(BODY_LIFETIME));
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.0
            .iter()
            .map(|kept| kept.touched.saturating_add(BODY_LIFETIME))
            .min()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Representation>()
            + self
                .0
                .iter()
                .map(|kept| kept.key.capacity() + kept.response.payload.capacity())
                .sum::<usize>()
    }
}
