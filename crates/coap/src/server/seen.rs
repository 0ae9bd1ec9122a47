//! Message ids that were seen, and what was answered: a duplicate gets the same again (RFC 7252 §4.2, §4.5).

use super::limits::{SEEN_BYTES_MAX, SEEN_MAX};
use crate::block::Block;
use crate::message::Token;
use crate::timing::{EXCHANGE_LIFETIME, NON_LIFETIME};
use std::collections::VecDeque;
use std::time::Duration;

/// The newest ids of one session, oldest first.
#[derive(Debug, Default)]
pub(super) struct Seen {
    entries: VecDeque<Entry>,
    reply_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    id: u16,
    confirmable: bool,
    at: Duration,
    reply: Reply,
}

/// What a duplicate gets.
#[derive(Debug)]
pub(super) enum Reply {
    /// The application works on it and nothing was sent: an empty acknowledgement.
    Working,
    /// An empty acknowledgement was sent: one more.
    Acknowledged,
    /// The same message.
    Message(Box<[u8]>),
    /// A slice of an answer, cut again.
    Slice(Slice),
    /// Nothing: it was not confirmable, or its answer is forgotten.
    Nothing,
}

/// Which part of which answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) etag: u32,
    pub(super) block: Block,
    pub(super) token: Token,
    /// The last block of the request, confirmed in the same message.
    pub(super) block1: Option<Block>,
    pub(super) size2: bool,
}

impl Entry {
    fn ends(&self) -> Duration {
        self.at.saturating_add(if self.confirmable {
            EXCHANGE_LIFETIME
        } else {
            NON_LIFETIME
        })
    }
}

impl Reply {
    fn bytes(&self) -> usize {
        match self {
            Reply::Message(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

impl Seen {
    /// What the message of this id was answered; `None` if it is new.
    pub(super) fn find(&mut self, id: u16, now: Duration) -> Option<&mut Reply> {
        let entry = self.entries.iter_mut().rev().find(|entry| entry.id == id)?;
        (now < entry.ends()).then_some(&mut entry.reply)
    }

    /// A new message; of too many the oldest is forgotten.
    pub(super) fn insert(&mut self, id: u16, confirmable: bool, now: Duration) {
        if self.entries.len() >= SEEN_MAX {
            self.forget_oldest();
        }
        let reply = if confirmable {
            Reply::Working
        } else {
            Reply::Nothing
        };
        self.entries.push_back(Entry {
            id,
            confirmable,
            at: now,
            reply,
        });
    }

    /// Keeps what was answered. Of too many bytes the oldest answers are forgotten, never the newest; their ids stay, so
    /// that nothing runs twice.
    pub(super) fn answered(&mut self, id: u16, reply: Reply) {
        let Some(position) = self.entries.iter().rposition(|entry| entry.id == id) else {
            return;
        };
        let entry = &mut self.entries[position];
        self.reply_bytes -= entry.reply.bytes();
        self.reply_bytes += reply.bytes();
        entry.reply = reply;
        for (other, entry) in self.entries.iter_mut().enumerate() {
            if self.reply_bytes <= SEEN_BYTES_MAX {
                break;
            }
            if other != position && entry.reply.bytes() > 0 {
                self.reply_bytes -= entry.reply.bytes();
                entry.reply = Reply::Nothing;
            }
        }
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Duration) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.ends() <= now)
        {
            self.forget_oldest();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// When the oldest is over.
    pub(super) fn due(&self) -> Option<Duration> {
        self.entries.front().map(Entry::ends)
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.reply_bytes
    }

    fn forget_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.reply_bytes -= entry.reply.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn an_id_is_new_again_after_its_lifetime() {
        let mut seen = Seen::default();
        seen.insert(1, true, NOW);
        seen.insert(2, false, NOW);
        assert!(
            seen.find(1, NOW + EXCHANGE_LIFETIME - Duration::from_nanos(1))
                .is_some()
        );
        assert!(seen.find(1, NOW + EXCHANGE_LIFETIME).is_none());
        assert!(seen.find(2, NOW + NON_LIFETIME).is_none());
        seen.expire(NOW + EXCHANGE_LIFETIME);
        assert_eq!((seen.bytes(), seen.due()), (0, None));
    }

    #[test]
    fn the_oldest_id_makes_room() {
        let mut seen = Seen::default();
        for id in 0..=SEEN_MAX as u16 {
            seen.insert(id, true, NOW);
        }
        assert!(seen.find(0, NOW).is_none());
        assert!(seen.find(1, NOW).is_some());
    }

    #[test]
    fn the_oldest_answers_make_room_and_their_ids_stay() {
        let mut seen = Seen::default();
        for id in 0..10 {
            seen.insert(id, true, NOW);
            seen.answered(id, Reply::Message(vec![0; 1000].into()));
            assert!(seen.reply_bytes <= SEEN_BYTES_MAX);
        }
        assert!(matches!(seen.find(5, NOW), Some(Reply::Nothing)));
        assert!(matches!(seen.find(9, NOW), Some(Reply::Message(_))));
        seen.insert(10, true, NOW);
        seen.answered(10, Reply::Message(vec![0; 2 * SEEN_BYTES_MAX].into()));
        assert!(matches!(seen.find(10, NOW), Some(Reply::Message(_))));
    }
}
