//! Whose a record is, and how a stranger becomes a peer: ClientHello, cookie, room for one more.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::{CID_BYTES_MAX, Endpoint, HELLO_DATAGRAM_BYTES_MAX, padded};
use crate::config::Now;
use crate::event::{CloseReason, Event, Output, SessionKey};
use crate::ffi::{self, Context};
use crate::hello::{Hello, is_hello};
use crate::record::{Record, WITH_CID, split};
use crate::roster::Queue;
use crate::session::Session;

impl Endpoint {
    /// Whether this datagram would begin a full handshake: a ClientHello whose cookie is good for this address, that is no
    /// copy of one before and resumes no session that is known. For whoever lets handshakes in at a pace of his own; nothing is
    /// kept, counted or answered.
    pub fn opens_handshake(&mut self, datagram: &[u8], from: SocketAddr, now: Now) -> bool {
        ffi::at(now);
        let (records, _) = split(datagram, usize::from(self.config.cid_bytes));
        // The one that `feed` takes, whatever stands before it.
        let Some(hello) = records
            .iter()
            .find(|record| is_hello(record))
            .and_then(Hello::parse)
        else {
            return false;
        };
        datagram.len() <= HELLO_DATAGRAM_BYTES_MAX
            && !self.repeats(&self.handshaking_at, from, &hello)
            && !self.repeats(&self.established_at, from, &hello)
            && self
                .cookies
                .check(now.unix_s, from, hello.random, hello.cookie)
            && !self.resumes(&hello, now)
    }

    /// Whether this ClientHello goes on with a session that is known.
    fn resumes(&self, hello: &Hello<'_>, now: Now) -> bool {
        let config = &self.config;
        let id = config.session_ids.then_some(hello.session_id);
        let ticket = config.tickets.then_some(hello.ticket);
        self.hands.resumes(
            id.unwrap_or_default(),
            ticket.unwrap_or_default(),
            hello.suite(config.suites.numbers()),
            now.unix_s,
        )
    }

    /// Whether this is the ClientHello that began the session at its address.
    fn repeats(
        &self,
        sessions_at: &HashMap<SocketAddr, SessionKey>,
        from: SocketAddr,
        hello: &Hello<'_>,
    ) -> bool {
        sessions_at
            .get(&from)
            .and_then(|key| self.sessions.get(*key))
            .is_some_and(|session| session.hello == hello.random[..16])
    }

    /// Whose record this is. A ClientHello is dealt with here, up to the session it is to be given to.
    pub(super) fn route(
        &mut self,
        record: &Record<'_>,
        from: SocketAddr,
        now: Now,
    ) -> Option<SessionKey> {
        let key = if record.kind == WITH_CID {
            padded(record.cid).and_then(|cid| self.cids.get(&cid).copied())
        } else if is_hello(record) {
            return self.greet(record, from, now);
        } else {
            let (handshaking, established) = (
                self.handshaking_at.get(&from),
                self.established_at.get(&from),
            );
            match (handshaking, established) {
                // Plaintext is for a handshake only: nobody vouches for it.
                (handshaking, _) if record.epoch == 0 => handshaking.copied(),
                (Some(handshaking), Some(established)) => {
                    Some(self.whose(record, *established).unwrap_or(*handshaking))
                }
                (handshaking, established) => handshaking.or(established).copied(),
            }
        };
        self.counters.dropped_unknown += u64::from(key.is_none());
        key
    }

    /// With an old session and a new handshake at one address: the old one, if the record may be its next.
    pub(super) fn whose(&self, record: &Record<'_>, established: SessionKey) -> Option<SessionKey> {
        let session = self.sessions.get(established)?;
        // A new handshake's first encrypted record has number 0 (RFC 6347 §4.1), which the old session has seen long ago.
        (!session.cid_used()
            && session.context.window().0 > 0
            && record.sequence > session.context.window().0)
            .then_some(established)
    }

    /// A ClientHello: without a good cookie it gets one, and nothing is kept. The session it is to be given to, if any.
    pub(super) fn greet(
        &mut self,
        record: &Record<'_>,
        from: SocketAddr,
        now: Now,
    ) -> Option<SessionKey> {
        let Some(hello) = Hello::parse(record) else {
            self.counters.dropped_garbage += 1;
            return None;
        };
        if !self
            .cookies
            .check(now.unix_s, from, hello.random, hello.cookie)
        {
            self.counters.cookies_refused += u64::from(!hello.cookie.is_empty());
            if let Some(cookie) = self.cookies.make(now.unix_s, from, hello.random) {
                self.counters.cookies_sent += 1;
                self.push_handshake(from, hello.verify_request(&cookie));
            }
            return None;
        }
        if let Some(key) = self.handshaking_at.get(&from).copied() {
            if self.repeats(&self.handshaking_at, from, &hello) {
                return Some(key);
            }
            // The client has begun anew: the handshake it has given up is in the way of the next.
            self.end(key, CloseReason::Replaced);
        }
        if self.repeats(&self.established_at, from, &hello) {
            self.counters.dropped_records += 1; // a copy of the ClientHello that began this session
            return None;
        }
        if let Some((reason, alert)) = hello.refused(
            self.config.suites.numbers(),
            self.config.require_extended_master_secret,
        ) {
            self.counters.refused += 1;
            self.push_handshake(from, hello.alert(alert));
            self.push(Output::Event(Event::Refused { peer: from, reason }));
            return None;
        }
        if !self.make_room(now) {
            self.counters.dropped_busy += 1;
            return None;
        }
        self.begin(&hello, from, now)
    }

    /// A context for a client that has proven its address.
    pub(super) fn begin(
        &mut self,
        hello: &Hello<'_>,
        from: SocketAddr,
        now: Now,
    ) -> Option<SessionKey> {
        let mut bytes = [0; CID_BYTES_MAX];
        let cid = bytes.get_mut(..usize::from(self.config.cid_bytes))?;
        self.hands.fill(cid);
        let number = padded(cid)?;
        if self.cids.contains_key(&number) {
            return None; // once in 2^64 with eight bytes; the client comes again
        }
        let context =
            Context::new(&self.library, self.config.datagram_bytes_max, Some(cid)).ok()?;
        let key = self.next_key();
        let mut start = [0; 16];
        start.copy_from_slice(&hello.random[..16]);
        // The CID is listened for at once: the client's Finished carries it already.
        self.cids.insert(number, key);
        self.handshaking_at.insert(from, key);
        self.sessions.insert(
            key,
            Queue::Handshakes,
            Session::new(context, from, number, start, now.uptime),
        );
        Some(key)
    }

    /// Room for one more handshake, at the cost of an old handshake or of the session idle for the longest time.
    pub(super) fn make_room(&mut self, now: Now) -> bool {
        let limits = self.config.limits;
        if self.sessions.queue_len(Queue::Handshakes)
            >= limits.handshakes_max.min(limits.sessions_max)
        {
            let Some(oldest) = self.sessions.oldest(Queue::Handshakes) else {
                return false;
            };
            let young = |session: &Session| {
                now.uptime.saturating_sub(session.since) < crate::HANDSHAKE_YOUNG
            };
            if self.sessions.get(oldest).is_none_or(young) {
                return false;
            }
            self.end(oldest, CloseReason::HandshakeTimeout);
        }
        if self.sessions.len() >= limits.sessions_max {
            let Some(oldest) = self.sessions.oldest(Queue::Established) else {
                return false;
            };
            self.end(oldest, CloseReason::Evicted);
        }
        true
    }
}
