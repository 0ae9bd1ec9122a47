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

mod arrivals;
mod course;
mod departures;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{CachedSession, ConfigError, Identity, Now, Random, ServerConfig};
use crate::counters::Counters;
use crate::event::{CloseReason, Output, SendError, SessionKey};
use crate::ffi::{self, Config, Context, Hands, Role, Settings};
use crate::hello::is_hello;
use crate::layout;
use crate::record::split;
use crate::roster::{Queue, Roster};
use crate::saved::{LoadError, SavedSession};
use crate::session::Session;
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
        let (mut counted, mut greeted) = (None, false);
        for record in &records {
            // No client sends two, or one with much around it; handshakes are let in by the datagram (`opens_handshake`).
            if is_hello(record)
                && (datagram.len() > HELLO_DATAGRAM_BYTES_MAX
                    || std::mem::replace(&mut greeted, true))
            {
                self.counters.dropped_garbage += 1;
                continue;
            }
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
    /// under an AEAD suite, the longest unheard first, so that loaded in this order they make room in this order. What waited
    /// to be polled is lost, as datagrams may be.
    pub fn into_saved(mut self, now: Now) -> Vec<SavedSession> {
        ffi::at(now);
        let save = |(key, session): (SessionKey, Session)| {
            let idle = now
                .uptime
                .saturating_sub(session.heard)
                .saturating_add(session.silent);
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
        let mut saved: Vec<_> = self.sessions.drain().into_iter().filter_map(save).collect();
        saved.sort_by_key(|session| session.heard_s);
        saved
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
        let twice = match cid {
            Some(cid) => self.cids.contains_key(&cid),
            // Without Connection ID a session is told by its address, which two of them cannot share.
            None => self
                .established_at
                .get(&saved.peer)
                .and_then(|other| self.sessions.get(*other))
                .is_some_and(|other| !other.cid_used()),
        };
        if twice {
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
        self.sessions.insert(
            key,
            Queue::Established,
            Session::loaded(context, saved.peer, cid, idle, now.uptime),
        );
        match cid {
            Some(cid) => {
                self.cids.insert(cid, key);
                self.established_at.entry(saved.peer).or_insert(key);
            }
            None => {
                self.established_at.insert(saved.peer, key);
            }
        }
        self.reschedule(key);
        Ok(key)
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

/// The largest datagram in which a ClientHello is taken: what an Ethernet frame carries. It comes in one piece, real ones have 100
/// to 300 bytes, and whoever lets handshakes in one by one need not keep larger ones.
const HELLO_DATAGRAM_BYTES_MAX: usize = 1472;

/// `ssl-in-content-len-2048`, and room for the padding that a record under a Connection ID may have.
const PLAINTEXT_BYTES_MAX: usize = 2048 + 64;

/// Header, longest Connection ID of a peer, and the most that a CBC suite adds (IV, MAC, padding).
const RECORD_OVERHEAD: usize = 13 + 32 + 16 + 48 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_clients_may_move_to_another_thread() {
        fn moves<T: Send>() {}
        moves::<Endpoint>();
        moves::<crate::Client>();
        moves::<SavedSession>();
    }

    #[test]
    fn connection_ids_of_one_length_are_told_apart_as_numbers() {
        assert_eq!(padded(b""), None);
        assert_eq!(padded(&[0; 17]), None);
        assert_ne!(padded(&[0, 1]), padded(&[1, 0]));
        assert_eq!(padded(&[0; 8]), Some(0));
    }
}
