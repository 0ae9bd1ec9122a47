//! The course of a session: records taken, the peer followed, the handshake complete, timers, the end.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use super::Endpoint;
use crate::config::{CachedSession, Now};
use crate::event::{CloseReason, Event, Output, Resumed, SessionKey};
use crate::ffi::{self, Fault};
use crate::record::Record;
use crate::roster::Queue;
use crate::session::{Advance, Path, Session, alert_name};

impl Endpoint {
    /// Gives a session one record, and does what follows.
    pub(super) fn take(
        &mut self,
        key: SessionKey,
        record: &Record<'_>,
        from: SocketAddr,
        now: Now,
    ) {
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
            session.hear(now.uptime);
            self.sessions.touch(key, Queue::Established);
            // Only what is newer than all before tells where the peer is: an older record may have been held back.
            self.locate(key, record, from, after.0 > before.0);
        }
        self.settle(key, advance, authentic || !was_established, now);
    }

    /// Notes where a fresh record came from.
    pub(super) fn locate(
        &mut self,
        key: SessionKey,
        record: &Record<'_>,
        from: SocketAddr,
        newest: bool,
    ) {
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
    pub(super) fn settle(&mut self, key: SessionKey, advance: Advance, vouched: bool, now: Now) {
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
    pub(super) fn connected(&mut self, key: SessionKey, now: Now) {
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
    pub(super) fn replace(&mut self, key: SessionKey, peer: SocketAddr) {
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
    pub(super) fn on_timer(&mut self, key: SessionKey, now: Now) {
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
        if now.uptime >= session.idle_at(&limits) {
            self.end(key, CloseReason::Idle);
            return;
        }
        if session.leftovers && now.uptime >= session.since.saturating_add(limits.handshake) {
            session.drop_leftovers();
        }
        self.reschedule(key);
    }

    /// Sees to it that a timer looks at the session in time.
    pub(super) fn reschedule(&mut self, key: SessionKey) {
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
    pub(super) fn next_timer(&mut self) -> Option<(Duration, SessionKey)> {
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

    /// Forgets a session and says why.
    pub(super) fn end(&mut self, key: SessionKey, reason: CloseReason) {
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
            peer: session.peer,
            reason,
        }));
    }
}

/// Timers may outnumber sessions by their own number and this many before the stale ones are swept out.
const TIMERS_SLACK: usize = 64;
