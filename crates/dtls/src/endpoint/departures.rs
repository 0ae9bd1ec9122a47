//! What leaves: datagrams, as far as a path has paid for them and the queue has room, counted by what they carry.

use std::net::SocketAddr;

use super::{Endpoint, weight};
use crate::event::{Output, SessionKey};

impl Endpoint {
    /// Takes what a context wants to send to its peer, as far as the path allows.
    pub(super) fn carry(&mut self, key: SessionKey) {
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
    pub(super) fn drain_path(&mut self, key: SessionKey) {
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

    pub(super) fn count_received(&mut self, key: SessionKey, datagram: &[u8], first: bool) {
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

    pub(super) fn push_handshake(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.counters.sent.handshake_bytes += bytes.len() as u64;
        self.counters.sent.datagrams += 1;
        self.push(Output::Datagram { to, bytes });
    }

    pub(super) fn push_record(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.counters.sent.record_bytes += bytes.len() as u64;
        self.counters.sent.datagrams += 1;
        self.push(Output::Datagram { to, bytes });
    }

    /// Queues an output; too many datagrams or records are dropped, as a network would, events are not.
    pub(super) fn push(&mut self, output: Output) {
        let bytes = weight(&output);
        if bytes > 0 && self.queued_bytes + bytes > self.config.limits.queued_bytes_max {
            self.counters.dropped_full += 1;
            return;
        }
        self.queued_bytes += bytes;
        self.outputs.push_back(output);
    }
}

/// Datagrams that wait for a moved peer to be heard again: an exchange has one or two on the way.
const PATH_DATAGRAMS_MAX: usize = 4;
