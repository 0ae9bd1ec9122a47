//! Decides who may say what and who hears it: sessions, topic tree, retained messages, topic rules. No sockets, no clock.
//!
//! ```text
//!   link A ── publish ──► rules ──► topic tree ──► session queues ──► next ── link B
//!                           │            └───────► retained
//!                           └─ refused: counted, nobody hears it
//! ```
//!
//! A *link* is one MQTT connection, a *session* what outlives it. After a takeover or a detach a link id means nothing and
//! every call with it is refused, so that a connection that lost its session cannot act in its name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{Qos, RetainHandling};

use crate::counters::Counters;
use crate::filters::Filters;
use crate::identity::Identity;
use crate::message::Message;
use crate::retained::{Retained, RetainedLimits};
use crate::session::{Acknowledgement, Delivery, Session, SessionKey, SessionLimits, Subscription};
use crate::topic;

/// Bounds of what the broker remembers.
#[derive(Debug, Clone, Copy)]
pub struct RouterLimits {
    /// Bounds of each session.
    pub session: SessionLimits,
    /// Bounds of the retained store.
    pub retained: RetainedLimits,
    /// Most sessions in memory, connected or not.
    pub sessions_max: usize,
    /// Most sessions of one identity; its oldest disconnected one gives way.
    pub sessions_per_identity_max: usize,
    /// The same for all clients without certificate of one listener together.
    pub sessions_anonymous_max: usize,
    /// Longest time a disconnected session is kept; also the expiry of a 3.1.1 session with clean session 0.
    pub session_kept_max: Duration,
}

impl Default for RouterLimits {
    fn default() -> Self {
        Self {
            session: SessionLimits {
                queue_messages_max: 1000,
                queue_bytes_max: 1024 * 1024,
                inflight_max: 32,
                subscriptions_max: 64,
            },
            retained: RetainedLimits {
                messages_max: 100_000,
                bytes_max: 64 * 1024 * 1024,
                messages_per_publisher_max: 100,
                messages_anonymous_max: 10_000,
            },
            sessions_max: 50_000,
            sessions_per_identity_max: 8,
            sessions_anonymous_max: 10_000,
            session_kept_max: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// One connection, from attach to detach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SessionId(u64);

/// What a client asks for in CONNECT.
#[derive(Debug)]
pub struct Attach {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Client identifier, never empty (the caller assigns one).
    pub client_id: Arc<str>,
    /// Forget an earlier session.
    pub clean_start: bool,
    /// How long the session outlives the connection; zero: not at all. Cut to [`RouterLimits::session_kept_max`].
    pub keep_for: Duration,
    /// Message to publish if the connection ends without DISCONNECT.
    pub will: Option<Message>,
    /// The connection can finish a QoS 2 exchange that another one began ([`Delivery::Release`]). If not, a session with
    /// such an exchange is forgotten, and the client learns from "session present 0" to forget it as well.
    pub can_release: bool,
}

/// The answer to [`Attach`].
#[derive(Debug)]
pub struct Attached {
    /// Handle for all further calls.
    pub link: LinkId,
    /// An earlier session was resumed.
    pub session_present: bool,
    /// The connection that held this session until now; it must be closed.
    pub displaced: Option<LinkId>,
    /// Packet identifiers in use in the resumed session.
    pub packet_ids: Vec<u16>,
    /// Packet identifiers of QoS 2 messages received and not yet released.
    pub received: Vec<u16>,
}

/// Why a client could not be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The broker holds its maximum of sessions.
    #[error("the broker holds its maximum of sessions")]
    SessionsFull,
    /// All sessions of this identity are connected.
    #[error("this identity holds its maximum of connected sessions")]
    IdentityFull,
    /// The will's topic is outside what the identity may publish.
    #[error("the will's topic is not allowed for this identity")]
    WillDenied,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The topic rules forbid it, or the topic is malformed.
    #[error("topic not allowed for this identity")]
    Denied,
    /// The session belongs to another connection.
    #[error("the session was taken over")]
    Gone,
}

/// Why a subscription was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The topic rules forbid it.
    #[error("filter not allowed for this identity")]
    Denied,
    /// Malformed filter.
    #[error("malformed topic filter")]
    Invalid,
    /// Shared subscriptions (`$share/…`) are not offered.
    #[error("shared subscriptions are not supported")]
    Shared,
    /// The session holds its maximum of subscriptions.
    #[error("too many subscriptions")]
    Full,
    /// The session belongs to another connection.
    #[error("the session was taken over")]
    Gone,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// DISCONNECT: the will is forgotten.
    Disconnected,
    /// Anything else: the will is published.
    Lost,
    /// The broker stops: wills are not published, the clients did nothing wrong.
    Stopping,
}

/// All sessions of one broker.
#[derive(Debug)]
pub struct Router {
    limits: RouterLimits,
    counters: Arc<Counters>,
    sessions: HashMap<SessionId, Slot>,
    by_key: HashMap<SessionKey, SessionId>,
    by_identity: HashMap<(Arc<str>, Arc<str>), Vec<SessionId>>,
    links: HashMap<LinkId, SessionId>,
    filters: Filters<SessionId, Subscription>,
    retained: Retained,
    /// Links whose session has something to send.
    woken: Vec<LinkId>,
    next_id: u64,
}

#[derive(Debug)]
struct Slot {
    key: SessionKey,
    identity: Arc<Identity>,
    session: Session,
    link: Option<LinkId>,
    will: Option<Message>,
    keep_for: Duration,
    /// When a disconnected session is forgotten.
    forget_at: Option<Duration>,
}

impl Router {
    /// A router without sessions.
    pub fn new(limits: RouterLimits, counters: Arc<Counters>) -> Self {
        Self {
            limits,
            counters,
            sessions: HashMap::new(),
            by_key: HashMap::new(),
            by_identity: HashMap::new(),
            links: HashMap::new(),
            filters: Filters::new(),
            retained: Retained::new(limits.retained),
            woken: Vec::new(),
            next_id: 0,
        }
    }

    /// Connects a client to its session, a new one or the one it had. Another connection that holds the session loses it,
    /// and its will is published.
    ///
    /// # Errors
    /// [`AttachError`]: a limit, or a will that the identity may not publish.
    pub fn attach(&mut self, ask: Attach, now: Duration) -> Result<Attached, AttachError> {
        if let Some(will) = &ask.will
            && !(topic::is_topic(&will.topic) && ask.identity.may_publish(&will.topic))
        {
            self.counters.denied_publish.add(1);
            return Err(AttachError::WillDenied);
        }
        let key = SessionKey {
            issuer: ask.identity.issuer.clone(),
            identity: ask.identity.name.clone(),
            client_id: ask.client_id,
        };
        let mut displaced = None;
        if let Some(&id) = self.by_key.get(&key) {
            if let Some(link) = self.sessions.get(&id).and_then(|slot| slot.link) {
                displaced = Some(link);
                self.detach(link, Ending::Lost, now);
            }
            let expired = self
                .sessions
                .get(&id)
                .is_some_and(|slot| slot.forget_at.is_some_and(|at| at <= now));
            let half_released = !ask.can_release
                && self
                    .sessions
                    .get(&id)
                    .is_some_and(|slot| slot.session.awaits_release());
            if ask.clean_start || expired || half_released {
                self.forget(id);
            }
        }
        let (id, session_present) = match self.by_key.get(&key) {
            Some(&id) => (id, true),
            None => (self.create(key, ask.identity.clone(), now)?, false),
        };
        let link = LinkId(self.fresh_id());
        self.links.insert(link, id);
        let slot = self.sessions.get_mut(&id).expect("created or found above");
        slot.link = Some(link);
        slot.identity = ask.identity;
        slot.will = ask.will;
        slot.keep_for = ask.keep_for.min(self.limits.session_kept_max);
        slot.forget_at = None;
        let attached = Attached {
            link,
            session_present,
            displaced,
            packet_ids: slot.session.packet_ids().collect(),
            received: slot.session.received.iter().copied().collect(),
        };
        if slot.session.pending() > 0 {
            self.woken.push(link);
        }
        self.counters.accepted.add(1);
        self.counters.connected.set(self.links.len() as u64);
        Ok(attached)
    }

    /// Ends a connection. Unknown links (taken over before) are ignored.
    pub fn detach(&mut self, link: LinkId, ending: Ending, now: Duration) {
        let Some(id) = self.links.remove(&link) else {
            return;
        };
        self.counters.connected.set(self.links.len() as u64);
        let Some(slot) = self.sessions.get_mut(&id) else {
            return;
        };
        slot.link = None;
        slot.session.disconnected();
        let will = slot.will.take().filter(|_| ending == Ending::Lost);
        let publisher = slot.identity.clone();
        if slot.keep_for.is_zero() {
            self.forget(id);
        } else {
            slot.forget_at = Some(now + slot.keep_for);
        }
        if let Some(will) = will {
            self.counters.published.add(1);
            self.distribute(&publisher, None, will, now);
        }
    }

    /// Changes how long the session outlives its connection (MQTT 5 §3.14.2.2.2).
    pub fn keep_for(&mut self, link: LinkId, keep_for: Duration) {
        let kept_max = self.limits.session_kept_max;
        if let Some(slot) = self.slot_mut(link) {
            slot.keep_for = keep_for.min(kept_max);
        }
    }

    /// Takes a message from a client and queues it for everyone who subscribed.
    ///
    /// # Errors
    /// [`PublishError::Denied`] is counted and heard by nobody.
    pub fn publish(
        &mut self,
        link: LinkId,
        message: Message,
        now: Duration,
    ) -> Result<(), PublishError> {
        let id = *self.links.get(&link).ok_or(PublishError::Gone)?;
        let slot = self.sessions.get(&id).ok_or(PublishError::Gone)?;
        if !topic::is_topic(&message.topic) || !slot.identity.may_publish(&message.topic) {
            self.counters.denied_publish.add(1);
            return Err(PublishError::Denied);
        }
        let publisher = slot.identity.clone();
        self.counters.published.add(1);
        self.distribute(&publisher, Some(id), message, now);
        Ok(())
    }

    /// Adds or replaces a subscription, queues the retained messages it asks for, and returns the granted QoS.
    ///
    /// # Errors
    /// [`SubscribeError`]; `Denied` is counted.
    pub fn subscribe(
        &mut self,
        link: LinkId,
        filter: &str,
        wanted: Subscription,
        now: Duration,
    ) -> Result<Qos, SubscribeError> {
        let id = *self.links.get(&link).ok_or(SubscribeError::Gone)?;
        let slot = self.sessions.get_mut(&id).ok_or(SubscribeError::Gone)?;
        if filter == "$share" || filter.starts_with("$share/") {
            return Err(SubscribeError::Shared);
        }
        if !topic::is_filter(filter) {
            return Err(SubscribeError::Invalid);
        }
        if !slot.identity.may_subscribe(filter) {
            self.counters.denied_subscribe.add(1);
            return Err(SubscribeError::Denied);
        }
        let is_new = !slot.session.subscriptions.contains_key(filter);
        if is_new && !slot.session.may_subscribe() {
            return Err(SubscribeError::Full);
        }
        slot.session.subscriptions.insert(filter.into(), wanted);
        self.filters.insert(filter, id, wanted);
        let send_retained = match wanted.retain_handling {
            RetainHandling::SendRetained => true,
            RetainHandling::SendRetainedIfNotExists => is_new,
            RetainHandling::DoNotSendRetained => false,
        };
        if send_retained {
            for message in self.retained.matching(filter, now) {
                let qos = message.qos.min(wanted.qos);
                if !slot.session.deliver(message.clone(), qos, true) {
                    self.counters.dropped.add(1);
                }
            }
            if slot.session.pending() > 0 {
                self.woken.push(link);
            }
        }
        Ok(wanted.qos)
    }

    /// Removes a subscription; false if there was none.
    pub fn unsubscribe(&mut self, link: LinkId, filter: &str) -> bool {
        let Some(&id) = self.links.get(&link) else {
            return false;
        };
        let existed = self
            .sessions
            .get_mut(&id)
            .is_some_and(|slot| slot.session.subscriptions.remove(filter).is_some());
        if existed {
            self.filters.remove(filter, id);
        }
        existed
    }

    /// The next thing to send on this link; see [`Session::next`].
    pub fn next(
        &mut self,
        link: LinkId,
        window: usize,
        acquire: impl FnOnce() -> Option<u16>,
        now: Duration,
    ) -> Option<Delivery> {
        self.slot_mut(link)?.session.next(window, acquire, now)
    }

    /// Takes the client's acknowledgement; false if nothing was waiting for it.
    pub fn acknowledge(&mut self, link: LinkId, packet_id: u16, said: Acknowledgement) -> bool {
        self.slot_mut(link)
            .is_some_and(|slot| slot.session.acknowledge(packet_id, said))
    }

    /// Remembers which QoS 2 messages of the client are not released yet, for its next connection.
    pub fn remember_received(&mut self, link: LinkId, packet_ids: impl Iterator<Item = u16>) {
        if let Some(slot) = self.slot_mut(link) {
            slot.session.received = packet_ids.collect();
        }
    }

    pub(crate) fn count_delivered(&self) {
        self.counters.delivered.add(1);
    }

    pub(crate) fn count_dropped(&self) {
        self.counters.dropped.add(1);
    }

    /// Links that have something to send since the last call.
    pub fn take_woken(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.woken)
    }

    /// Forgets sessions and retained messages whose time is over. Call it now and then.
    pub fn sweep(&mut self, now: Duration) {
        let over: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, slot)| slot.forget_at.is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.forget(id);
        }
        self.retained.sweep(now);
    }

    fn create(
        &mut self,
        key: SessionKey,
        identity: Arc<Identity>,
        now: Duration,
    ) -> Result<SessionId, AttachError> {
        let owner = (key.issuer.clone(), key.identity.clone());
        let siblings = self.by_identity.get(&owner).map_or(&[][..], Vec::as_slice);
        let siblings_max = match identity.is_anonymous() {
            true => self.limits.sessions_anonymous_max,
            false => self.limits.sessions_per_identity_max,
        };
        if siblings.len() >= siblings_max {
            let oldest = siblings
                .iter()
                .filter_map(|id| Some((self.sessions.get(id)?.forget_at?, *id)))
                .min_by_key(|(forget_at, _)| *forget_at)
                .map(|(_, id)| id)
                .ok_or(AttachError::IdentityFull)?;
            self.forget(oldest);
        }
        if self.sessions.len() >= self.limits.sessions_max {
            self.sweep(now);
            if self.sessions.len() >= self.limits.sessions_max {
                return Err(AttachError::SessionsFull);
            }
        }
        let id = SessionId(self.fresh_id());
        self.by_key.insert(key.clone(), id);
        self.by_identity.entry(owner).or_default().push(id);
        self.sessions.insert(
            id,
            Slot {
                key,
                identity,
                session: Session::new(self.limits.session),
                link: None,
                will: None,
                keep_for: Duration::ZERO,
                forget_at: None,
            },
        );
        self.counters.sessions.set(self.sessions.len() as u64);
        Ok(id)
    }

    fn forget(&mut self, id: SessionId) {
        let Some(slot) = self.sessions.remove(&id) else {
            return;
        };
        for filter in slot.session.subscriptions.keys() {
            self.filters.remove(filter, id);
        }
        self.by_key.remove(&slot.key);
        let owner = (slot.key.issuer, slot.key.identity);
        if let Some(siblings) = self.by_identity.get_mut(&owner) {
            siblings.retain(|sibling| *sibling != id);
            if siblings.is_empty() {
                self.by_identity.remove(&owner);
            }
        }
        self.counters.sessions.set(self.sessions.len() as u64);
    }

    fn distribute(
        &mut self,
        publisher: &Identity,
        from: Option<SessionId>,
        message: Message,
        now: Duration,
    ) {
        if message.is_expired(now) {
            return;
        }
        // One delivery per session, at the highest QoS of its matching filters (MQTT 5 §3.3.4).
        let mut receivers: HashMap<SessionId, (Qos, bool)> = HashMap::new();
        self.filters
            .for_each_match(&message.topic, |id, subscription| {
                if subscription.no_local && Some(id) == from {
                    return;
                }
                let retain = subscription.retain_as_published && message.retain;
                let (qos, kept) = receivers.entry(id).or_insert((subscription.qos, retain));
                *qos = (*qos).max(subscription.qos);
                *kept |= retain;
            });
        for (id, (qos, retain)) in receivers {
            let Some(slot) = self.sessions.get_mut(&id) else {
                continue;
            };
            let qos = qos.min(message.qos);
            if slot.link.is_none() && qos == Qos::AtMostOnce {
                continue;
            }
            if !slot.session.deliver(message.clone(), qos, retain) {
                self.counters.dropped.add(1);
            }
            self.woken.extend(slot.link);
        }
        if !message.retain {
            return;
        }
        let publisher_max = match publisher.is_anonymous() {
            true => self.limits.retained.messages_anonymous_max,
            false => self.limits.retained.messages_per_publisher_max,
        };
        if !self.retained.set(&publisher.name, publisher_max, message) {
            self.counters.retained_refused.add(1);
        }
    }

    fn slot_mut(&mut self, link: LinkId) -> Option<&mut Slot> {
        self.sessions.get_mut(self.links.get(&link)?)
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests;
