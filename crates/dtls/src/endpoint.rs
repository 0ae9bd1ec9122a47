//! The server's side: many peers, one socket.
//!
//! ```text
//!   datagram ─► records ─┬─ CID ────────────────► its session
//!                        ├─ ClientHello ─► cookie good? ─ no ─► HelloVerifyRequest, nothing kept
//!                        │                      └─ yes ─► a new context beside the old one, if any
//!                        └─ any other ──────────► the session at that address
//! ```
//!
//! A session's life: handshake (bounded in number and time) → established (bounded in number and silence) → closed. A peer that
//! comes back with a new handshake gets a new session; the old one goes on until that handshake is complete, so that a forged or
//! repeated ClientHello ends nothing (RFC 6347 §4.2.8).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{CachedSession, ConfigError, Identity, Now, Random, ServerConfig};
use crate::counters::Counters;
use crate::event::{CloseReason, Event, Output, Resumed, SendError, SessionKey};
use crate::ffi::{self, Config, Context, Fault, Hands, Role, Settings};
use crate::hello::{Hello, is_hello};
use crate::layout;
use crate::record::{Record, WITH_CID, split};
use crate::roster::{Queue, Roster};
use crate::saved::{LoadError, SavedSession};
use crate::session::{Advance, Path, Session, alert_name};
use crate::tickets::{CookieKeys, TicketKeys};

/// Many peers behind one socket. `Send`, not `Sync`: one thread at a time.
///
/// One input ([`feed`](Self::feed), [`send`](Self::send), [`close`](Self::close)), then [`poll`](Self::poll) until
/// [`Output::Wait`], which is always last.
pub struct Endpoint {
    config: ServerConfig,
    hands: Arc<Hands>,
    library: Arc<Config>,
    cookies: CookieKeys,
    sessions: Roster<Session>,
    /// Own Connection IDs, filled up with zeros; all have one length.
    cids: HashMap<u128, SessionKey>,
    /// The established session last seen at an address. Others that share it are found by their Connection ID only.
    established_at: HashMap<SocketAddr, SessionKey>,
    handshaking_at: HashMap<SocketAddr, SessionKey>,
    /// When to look at which session; entries of sessions that were rescheduled or are gone are skipped.
    timers: BinaryHeap<Reverse<(Duration, SessionKey)>>,
    outputs: VecDeque<Output>,
    queued_bytes: usize,
    keys_used: u64,
    counters: Counters,
    /// The plaintext of one record.
    plaintext: Vec<u8>,
}

impl Endpoint {
    /// An endpoint without sessions.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: ServerConfig, random: Box<dyn Random>) -> Result<Self, ConfigError> {
        if !(1..=CID_BYTES_MAX).contains(&usize::from(config.cid_bytes)) {
            return Err(ConfigError::Value(format!(
                "a Connection ID has 1 to {CID_BYTES_MAX} bytes, not {}",
                config.cid_bytes
            )));
        }
        if !DATAGRAM_BYTES.contains(&config.datagram_bytes_max) {
            let (least, most) = (DATAGRAM_BYTES.start(), DATAGRAM_BYTES.end());
            return Err(ConfigError::Value(format!(
                "a datagram has {least} to {most} bytes, not {}",
                config.datagram_bytes_max
            )));
        }
        let tickets = TicketKeys::new(config.secret.clone(), config.limits.ticket_lifetime);
        let hands = Arc::new(Hands::new(
            random,
            Some(tickets),
            config.limits.cached_sessions_max,
        ));
        Ok(Self {
            library: library(&config, &config.identity, &hands)?,
            cookies: CookieKeys::new(config.secret.clone()),
            hands,
            config,
            sessions: Roster::new(),
            cids: HashMap::new(),
            established_at: HashMap::new(),
            handshaking_at: HashMap::new(),
            timers: BinaryHeap::new(),
            outputs: VecDeque::new(),
            queued_bytes: 0,
            keys_used: 0,
            counters: Counters::default(),
            plaintext: vec![0; PLAINTEXT_BYTES_MAX],
        })
    }

    /// A UDP payload arrived.
    pub fn feed(&mut self, datagram: &[u8], from: SocketAddr, now: Now) {
        ffi::at(now);
        self.counters.received.datagrams += 1;
        let (records, garbage) = split(datagram, usize::from(self.config.cid_bytes));
        self.counters.dropped_garbage += u64::from(garbage);
        let mut counted = None;
        for record in &records {
            let Some(key) = self.route(record, from, now) else {
                continue;
            };
            // A datagram is one peer's; its bytes are counted once, with the session that takes its first record.
            if counted != Some(key) {
                self.count_received(key, datagram, counted.is_none());
                counted = Some(key);
            }
            self.take(key, record, from, now);
        }
        if counted.is_none() {
            self.counters.received.handshake_bytes += datagram.len() as u64;
        }
    }

    /// Sends one record to a session's peer.
    ///
    /// # Errors
    /// When there is no such session, its handshake is not complete, or the bytes do not fit one record.
    pub fn send(&mut self, session: SessionKey, bytes: &[u8], now: Now) -> Result<(), SendError> {
        ffi::at(now);
        if self.queued_bytes + bytes.len() + RECORD_OVERHEAD > self.config.limits.queued_bytes_max {
            return Err(SendError::Full);
        }
        let state = self.sessions.get_mut(session).ok_or(SendError::NoSession)?;
        if !state.established() {
            return Err(SendError::NotConnected);
        }
        let bytes_max = state.context.record_bytes_max();
        if bytes.len() > bytes_max {
            return Err(SendError::TooLarge {
                bytes: bytes.len(),
                bytes_max,
            });
        }
        match state.context.write(bytes) {
            Ok(()) => {
                self.counters.sent.payload_bytes += bytes.len() as u64;
                self.carry(session);
                Ok(())
            }
            Err(code) => {
                self.end(
                    session,
                    CloseReason::Failed {
                        text: ffi::words(code),
                        code,
                    },
                );
                Err(SendError::Failed(code))
            }
        }
    }

    /// Ends a session with a close_notify; unknown ones are ignored.
    pub fn close(&mut self, session: SessionKey, now: Now) {
        ffi::at(now);
        if let Some(state) = self.sessions.get_mut(session) {
            if state.established() {
                state.context.close();
            }
            self.carry(session);
            self.end(session, CloseReason::ByUs);
        }
    }

    /// What is to be done; until [`Output::Wait`], which is always last.
    pub fn poll(&mut self, now: Now) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                self.queued_bytes -= weight(&output);
                return output;
            }
            match self.next_timer() {
                Some((due, key)) if due <= now.uptime => {
                    ffi::at(now);
                    self.timers.pop();
                    self.on_timer(key, now);
                }
                next => return Output::Wait(next.map(|(due, _)| due)),
            }
        }
    }

    /// New peers are shown this identity; sessions live on.
    ///
    /// # Errors
    /// When it cannot be used; the former one stays.
    pub fn replace_identity(&mut self, identity: Identity) -> Result<(), ConfigError> {
        self.library = library(&self.config, &identity, &self.hands)?;
        self.config.identity = identity;
        Ok(())
    }

    /// What happened since the beginning.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sessions, handshakes included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A session that a client may resume by its ID, kept from [`Event::Cache`](crate::Event::Cache).
    pub fn remember(&mut self, id: &[u8], session: &CachedSession) {
        self.hands.remember(id, &session.0);
    }

    /// Orderly shutdown: ends the endpoint and hands out the sessions that can go on in another one: those that are established
    /// under an AEAD suite, in the order of their keys. What waited to be polled is lost, as datagrams may be.
    pub fn into_saved(mut self, now: Now) -> Vec<SavedSession> {
        ffi::at(now);
        let save = |(key, session): (SessionKey, Session)| {
            let idle = now.uptime.saturating_sub(session.heard);
            let peer = session.peer;
            let state = session.context.save()?;
            let cid = layout::context(&state, layout::Side::Server)?
                .own_cid
                .to_vec();
            Some(SavedSession {
                key,
                peer,
                cid,
                side: layout::Side::Server,
                heard_s: now.unix_s.saturating_sub(idle.as_secs()),
                state,
            })
        };
        self.sessions.drain().into_iter().filter_map(save).collect()
    }

    /// Goes on with a saved session, which is consumed, under a new key.
    ///
    /// # Errors
    /// When it cannot go on; its peer has to come back with a handshake.
    pub fn load(&mut self, saved: SavedSession, now: Now) -> Result<SessionKey, LoadError> {
        ffi::at(now);
        let context =
            layout::context(&saved.state, layout::Side::Server).ok_or(LoadError::Garbage)?;
        if saved.side != layout::Side::Server || saved.cid != context.own_cid {
            return Err(LoadError::Garbage);
        }
        if !saved.cid.is_empty() && saved.cid.len() != usize::from(self.config.cid_bytes) {
            return Err(LoadError::CidLength);
        }
        let cid = padded(&saved.cid);
        if cid.is_some_and(|cid| self.cids.contains_key(&cid)) {
            return Err(LoadError::Twice);
        }
        let idle = Duration::from_secs(now.unix_s.saturating_sub(saved.heard_s));
        if idle > self.config.limits.idle {
            return Err(LoadError::Idle);
        }
        if self.sessions.len() >= self.config.limits.sessions_max {
            return Err(LoadError::Full);
        }
        let mut context = Context::new(&self.library, self.config.datagram_bytes_max, None)
            .map_err(|_| LoadError::Full)?;
        context.load(&saved.state).map_err(|_| LoadError::Garbage)?;
        let key = self.next_key();
        let heard = now.uptime.saturating_sub(idle);
        self.sessions.insert(
            key,
            Queue::Established,
            Session::loaded(context, saved.peer, cid, heard, now.uptime),
        );
        if let Some(cid) = cid {
            self.cids.insert(cid, key);
        }
        self.established_at.entry(saved.peer).or_insert(key);
        self.reschedule(key);
        Ok(key)
    }

    /// Whose record this is. A ClientHello is dealt with here, up to the session it is to be given to.
    fn route(&mut self, record: &Record<'_>, from: SocketAddr, now: Now) -> Option<SessionKey> {
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
    fn whose(&self, record: &Record<'_>, established: SessionKey) -> Option<SessionKey> {
        let session = self.sessions.get(established)?;
        // A new handshake's first encrypted record has number 0 (RFC 6347 §4.1), which the old session has seen long ago.
        (!session.cid_used()
            && session.context.window().0 > 0
            && record.sequence > session.context.window().0)
            .then_some(established)
    }

    /// A ClientHello: without a good cookie it gets one, and nothing is kept. The session it is to be given to, if any.
    fn greet(&mut self, record: &Record<'_>, from: SocketAddr, now: Now) -> Option<SessionKey> {
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
        let repeats = |key: &SessionKey, sessions: &Roster<Session>| {
            sessions
                .get(*key)
                .is_some_and(|session| session.hello == hello.random[..16])
        };
        match self.handshaking_at.get(&from).copied() {
            Some(key) if repeats(&key, &self.sessions) => return Some(key),
            // The client has begun anew: the handshake it has given up is in the way of the next.
            Some(key) => self.end(key, CloseReason::Replaced),
            None => {}
        }
        if self
            .established_at
            .get(&from)
            .is_some_and(|key| repeats(key, &self.sessions))
        {
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
    fn begin(&mut self, hello: &Hello<'_>, from: SocketAddr, now: Now) -> Option<SessionKey> {
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
    fn make_room(&mut self, now: Now) -> bool {
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

    /// Gives a session one record, and does what follows.
    fn take(&mut self, key: SessionKey, record: &Record<'_>, from: SocketAddr, now: Now) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let was_established = session.established();
        if was_established && (record.epoch == 0 || (from != session.peer && !session.cid_used())) {
            self.counters.dropped_records += 1;
            return;
        }
        if !was_established && record.epoch > 0 && session.context.is_foreign(record.bytes) {
            self.counters.dropped_records += 1;
            return;
        }
        let before = session.context.window();
        let advance = session.advance(record.bytes, &mut self.plaintext);
        let after = session.context.window();
        session.by_ticket |= self.hands.ticket_opened();
        let authentic = was_established && before != after;
        if was_established && !authentic {
            self.counters.dropped_records += 1;
        }
        if authentic {
            session.heard = now.uptime;
            self.sessions.touch(key, Queue::Established);
            // Only what is newer than all before tells where the peer is: an older record may have been held back.
            self.locate(key, record, from, after.0 > before.0);
        }
        self.settle(key, advance, authentic || !was_established, now);
    }

    /// Notes where a fresh record came from.
    fn locate(&mut self, key: SessionKey, record: &Record<'_>, from: SocketAddr, newest: bool) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let bytes = record.bytes.len() as u64;
        if from == session.peer {
            if let Some(path) = &mut session.path {
                path.received += bytes;
                if newest && path.sent > 0 {
                    // Something of ours went there, and the peer goes on from there.
                    let waiting = session
                        .path
                        .take()
                        .map_or_else(Vec::new, |path| path.waiting);
                    waiting
                        .into_iter()
                        .for_each(|datagram| self.push_record(from, datagram));
                } else {
                    self.drain_path(key);
                }
            }
            return;
        }
        if !newest {
            return;
        }
        let old = std::mem::replace(&mut session.peer, from);
        session.path = Some(Box::new(Path {
            received: bytes,
            sent: 0,
            waiting: Vec::new(),
        }));
        if self.established_at.get(&old) == Some(&key) {
            self.established_at.remove(&old);
        }
        // An address that belongs to a session without CID stays its own: it could not be found otherwise, and the sender of this
        // record may have borrowed it.
        let free = self
            .established_at
            .get(&from)
            .and_then(|other| self.sessions.get(*other))
            .is_none_or(Session::cid_used);
        if free {
            self.established_at.insert(from, key);
        }
        self.counters.moved += 1;
        self.push(Output::Event(Event::Moved {
            session: key,
            from: old,
            to: from,
        }));
    }

    /// Does what a step of a session asks for. `vouched`: an error may be taken for the peer's own.
    fn settle(&mut self, key: SessionKey, advance: Advance, vouched: bool, now: Now) {
        self.carry(key);
        if advance.connected {
            self.connected(key, now);
        }
        for bytes in advance.records {
            self.counters.received.payload_bytes += bytes.len() as u64;
            self.push(Output::Record {
                session: key,
                bytes,
            });
        }
        match advance.fault {
            None => self.reschedule(key),
            Some(_) if !vouched => {} // what nobody signed ends nothing
            Some(Fault::Closed) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.context.close(); // RFC 5246 §7.2.1: answered in kind
                    self.carry(key);
                }
                self.end(key, CloseReason::ByPeer);
            }
            Some(Fault::Timeout) => self.end(key, CloseReason::HandshakeTimeout),
            Some(Fault::Alert(number)) => {
                let text = format!("the peer sent the alert {} ({number})", alert_name(number));
                self.end(
                    key,
                    CloseReason::Failed {
                        text,
                        code: ffi::FATAL_ALERT,
                    },
                );
            }
            Some(Fault::Failed(code)) => self.end(
                key,
                CloseReason::Failed {
                    text: ffi::words(code),
                    code,
                },
            ),
        }
    }

    /// A handshake is complete.
    fn connected(&mut self, key: SessionKey, now: Now) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let cid = session.cid;
        let progress = session.establish(now.uptime);
        let (peer, cid_used, suite, by_ticket) = (
            session.peer,
            session.cid_used(),
            session.context.suite(),
            session.by_ticket,
        );
        self.sessions.touch(key, Queue::Established);
        self.handshaking_at.remove(&peer);
        if !cid_used && let Some(cid) = cid {
            self.cids.remove(&cid);
        }
        self.replace(key, peer);
        let resumed = match (progress.full, by_ticket) {
            (true, _) => None,
            (false, true) => Some(Resumed::ByTicket),
            (false, false) => Some(Resumed::BySessionId),
        };
        *match resumed {
            None => &mut self.counters.handshakes_full,
            Some(Resumed::ByTicket) => &mut self.counters.resumed_by_ticket,
            Some(Resumed::BySessionId) => &mut self.counters.resumed_by_session_id,
        } += 1;
        self.push(Output::Event(Event::Connected {
            session: key,
            peer,
            cid: cid_used,
            resumed,
            suite,
            handshake: progress.cost,
        }));
        for (id, session) in self.hands.cached() {
            self.push(Output::Event(Event::Cache {
                id,
                session: CachedSession(session),
            }));
        }
    }

    /// The newest established session at an address takes it over. One without Connection ID is thereby unreachable and over. One
    /// with it may belong to another device, whose address has been given to this one by a NAT: it stays reachable by its CID,
    /// and is over when the address is taken over once more.
    fn replace(&mut self, key: SessionKey, peer: SocketAddr) {
        let Some(before) = self.established_at.insert(peer, key) else {
            return;
        };
        let Some(session) = self.sessions.get(before) else {
            return;
        };
        if !session.cid_used() {
            self.end(before, CloseReason::Replaced);
            return;
        }
        let shadow = session.shadow;
        if let Some(session) = self.sessions.get_mut(key) {
            session.shadow = Some(before);
        }
        if let Some(shadow) = shadow
            && self
                .sessions
                .get(shadow)
                .is_some_and(|session| session.peer == peer)
        {
            self.end(shadow, CloseReason::Replaced);
        }
    }

    /// A timer of a session has run out.
    fn on_timer(&mut self, key: SessionKey, now: Now) {
        let limits = self.config.limits;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.scheduled = None;
        if !session.established() {
            if now.uptime >= session.since.saturating_add(limits.handshake) {
                self.end(key, CloseReason::HandshakeTimeout);
                return;
            }
            let advance = session.advance(&[], &mut self.plaintext);
            self.settle(key, advance, true, now);
            return;
        }
        if now.uptime >= session.heard.saturating_add(limits.idle) {
            self.end(key, CloseReason::Idle);
            return;
        }
        if session.leftovers && now.uptime >= session.since.saturating_add(limits.handshake) {
            session.drop_leftovers();
        }
        self.reschedule(key);
    }

    /// Sees to it that a timer looks at the session in time.
    fn reschedule(&mut self, key: SessionKey) {
        let limits = self.config.limits;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let due = session.deadline(&limits);
        if session.scheduled.is_none_or(|scheduled| due < scheduled) {
            session.scheduled = Some(due);
            self.timers.push(Reverse((due, key)));
        }
        if self.timers.len() > 2 * self.sessions.len() + TIMERS_SLACK {
            let sessions = &self.sessions;
            self.timers.retain(|Reverse((due, key))| {
                sessions
                    .get(*key)
                    .is_some_and(|session| session.scheduled == Some(*due))
            });
        }
    }

    /// The next timer that stands; on the way those are put right whose session has been heard since.
    fn next_timer(&mut self) -> Option<(Duration, SessionKey)> {
        loop {
            let Reverse((due, key)) = *self.timers.peek()?;
            let limits = self.config.limits;
            match self.sessions.get_mut(key) {
                Some(session) if session.scheduled == Some(due) => {
                    if session.deadline(&limits) <= due {
                        return Some((due, key));
                    }
                    self.timers.pop();
                    session.scheduled = None;
                    self.reschedule(key);
                }
                _ => {
                    self.timers.pop();
                }
            }
        }
    }

    /// Takes what a context wants to send to its peer, as far as the path allows.
    fn carry(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let (datagrams, to) = (session.context.outbound(), session.peer);
        if let Some(path) = &mut session.path {
            path.waiting.extend(datagrams);
            if path.waiting.len() > PATH_DATAGRAMS_MAX {
                let excess = path.waiting.len() - PATH_DATAGRAMS_MAX;
                path.waiting.drain(..excess);
                self.counters.dropped_full += excess as u64;
            }
            self.drain_path(key);
            return;
        }
        for datagram in datagrams {
            match self
                .sessions
                .get_mut(key)
                .and_then(|session| session.progress.as_mut())
            {
                Some(progress) => {
                    self.counters.sent.retransmissions += u64::from(progress.sent(&datagram));
                    self.push_handshake(to, datagram);
                }
                None => self.push_record(to, datagram),
            }
        }
    }

    /// Sends what waits for a moved peer, as far as the bytes it has sent from there (and a little more) reach.
    fn drain_path(&mut self, key: SessionKey) {
        let allowance = u64::from(self.config.limits.unproven_path_bytes);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let to = session.peer;
        let Some(path) = &mut session.path else {
            return;
        };
        let mut free = Vec::new();
        while let Some(next) = path.waiting.first()
            && path.sent + next.len() as u64 <= path.received + allowance
        {
            path.sent += next.len() as u64;
            free.push(path.waiting.remove(0));
        }
        free.into_iter()
            .for_each(|datagram| self.push_record(to, datagram));
    }

    fn count_received(&mut self, key: SessionKey, datagram: &[u8], first: bool) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let again = session
            .progress
            .as_mut()
            .map(|progress| progress.received(datagram));
        if first {
            let bytes = datagram.len() as u64;
            match again {
                Some(again) => {
                    self.counters.received.handshake_bytes += bytes;
                    self.counters.received.retransmissions += u64::from(again);
                }
                None => self.counters.received.record_bytes += bytes,
            }
        }
    }

    fn push_handshake(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.counters.sent.handshake_bytes += bytes.len() as u64;
        self.counters.sent.datagrams += 1;
        self.push(Output::Datagram { to, bytes });
    }

    fn push_record(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.counters.sent.record_bytes += bytes.len() as u64;
        self.counters.sent.datagrams += 1;
        self.push(Output::Datagram { to, bytes });
    }

    /// Queues an output; too many datagrams or records are dropped, as a network would, events are not.
    fn push(&mut self, output: Output) {
        let bytes = weight(&output);
        if bytes > 0 && self.queued_bytes + bytes > self.config.limits.queued_bytes_max {
            self.counters.dropped_full += 1;
            return;
        }
        self.queued_bytes += bytes;
        self.outputs.push_back(output);
    }

    /// Forgets a session and says why.
    fn end(&mut self, key: SessionKey, reason: CloseReason) {
        let Some(session) = self.sessions.remove(key) else {
            return;
        };
        self.counters.handshakes_failed += u64::from(!session.established());
        self.counters.evicted += u64::from(reason == CloseReason::Evicted);
        if let Some(cid) = session.cid
            && self.cids.get(&cid) == Some(&key)
        {
            self.cids.remove(&cid);
        }
        for addresses in [&mut self.established_at, &mut self.handshaking_at] {
            if addresses.get(&session.peer) == Some(&key) {
                addresses.remove(&session.peer);
            }
        }
        self.push(Output::Event(Event::Closed {
            session: key,
            reason,
        }));
    }

    fn next_key(&mut self) -> SessionKey {
        self.keys_used += 1;
        SessionKey(self.keys_used)
    }
}

fn library(
    config: &ServerConfig,
    identity: &Identity,
    hands: &Arc<Hands>,
) -> Result<Arc<Config>, ConfigError> {
    let role = Role::Server {
        identity,
        tickets: config.tickets,
        session_ids: config.session_ids,
    };
    let settings = Settings {
        suites: &config.suites,
        cid_bytes: usize::from(config.cid_bytes),
        timeout_min: Duration::from_secs(1),
        timeout_max: Duration::from_secs(16),
    };
    Config::new(&role, &settings, Arc::clone(hands)).map(Arc::new)
}

/// A Connection ID as a number; `None` for none.
fn padded(cid: &[u8]) -> Option<u128> {
    let mut bytes = [0; CID_BYTES_MAX];
    bytes.get_mut(..cid.len())?.copy_from_slice(cid);
    (!cid.is_empty()).then_some(u128::from_be_bytes(bytes))
}

/// Bytes that an output counts against [`Limits::queued_bytes_max`](crate::Limits::queued_bytes_max).
fn weight(output: &Output) -> usize {
    match output {
        Output::Datagram { bytes, .. } | Output::Record { bytes, .. } => bytes.len(),
        Output::Event(_) | Output::Wait(_) => 0,
    }
}

/// Own Connection IDs: 16 bytes are enough to be unique without asking anybody.
const CID_BYTES_MAX: usize = 16;

/// The least that a handshake gets through with (RFC 6347 §4.1.1.1 falls back to 508), and the most that a record of 2,048 bytes needs.
const DATAGRAM_BYTES: std::ops::RangeInclusive<u16> = 256..=2304;

/// `ssl-in-content-len-2048`, and room for the padding that a record under a Connection ID may have.
const PLAINTEXT_BYTES_MAX: usize = 2048 + 64;

/// Header, longest Connection ID of a peer, and the most that a CBC suite adds (IV, MAC, padding).
const RECORD_OVERHEAD: usize = 13 + 32 + 16 + 48 + 16;

/// Datagrams that wait for a moved peer to be heard again: an exchange has one or two on the way.
const PATH_DATAGRAMS_MAX: usize = 4;

/// Timers may outnumber sessions by their own number and this many before the stale ones are swept out.
const TIMERS_SLACK: usize = 64;
