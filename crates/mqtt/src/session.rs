//! What the broker remembers for one client: its subscriptions, what waits for it, and what it has not acknowledged.
//!
//! ```text
//!  deliver ──► queue (bounded; full: the newest is dropped) ──► next ──► in flight ──► acknowledged
//!                                                                ▲           │
//!                                                                └─ attach ──┘  sent again with DUP after a reconnect
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{Qos, RetainHandling};

use crate::message::Message;

/// Whose session it is. Another issuer or another identity can never meet the same key, whatever client id it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Issuer of the client certificate; empty without one.
    pub issuer: Arc<str>,
    /// [`Identity::name`](crate::Identity::name).
    pub identity: Arc<str>,
    /// Client identifier from CONNECT, or the one the broker assigned.
    pub client_id: Arc<str>,
}

/// Bounds of one session.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Most messages that wait for one client.
    pub queue_messages_max: usize,
    /// Most bytes that wait for one client, counted by [`Message::cost_bytes`].
    pub queue_bytes_max: usize,
    /// Most QoS 1 and 2 messages sent and not yet acknowledged; a smaller MQTT 5 receive maximum of the client wins.
    pub inflight_max: usize,
    /// Most subscriptions of one client.
    pub subscriptions_max: usize,
}

/// One subscription's options (MQTT 5 §3.8.3.1); a 3.1.1 client has only the QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// Highest QoS at which messages are delivered.
    pub qos: Qos,
    /// Do not send the client its own messages.
    pub no_local: bool,
    /// Keep the publisher's retain flag on forwarded messages.
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

impl Subscription {
    /// The subscription of a 3.1.1 client.
    pub fn plain(qos: Qos) -> Self {
        Self {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendRetained,
        }
    }
}

/// One thing to send to the client.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A message.
    Publish {
        /// What to send; its `qos` and `retain` are the publisher's, use the fields below.
        message: Message,
        /// QoS of this delivery.
        qos: Qos,
        /// Retain flag of this delivery.
        retain: bool,
        /// True if it may have been received before.
        dup: bool,
        /// Packet identifier; `None` for QoS 0.
        packet_id: Option<u16>,
    },
    /// The second half of a QoS 2 exchange that an earlier connection began.
    Release {
        /// Packet identifier of the exchange.
        packet_id: u16,
    },
}

/// What the client said about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// PUBACK, PUBCOMP, or a PUBREC with an error: the exchange is over.
    Over,
    /// PUBREC: the client has the message, PUBREL goes out.
    Received,
}

/// State of one client, connected or not.
#[derive(Debug)]
pub struct Session {
    limits: SessionLimits,
    pub(crate) subscriptions: HashMap<Arc<str>, Subscription>,
    queue: VecDeque<Waiting>,
    queue_bytes: usize,
    inflight: VecDeque<Inflight>,
    /// Packet ids of QoS 2 messages that the client sent and has not released yet.
    pub(crate) received: HashSet<u16>,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    qos: Qos,
    retain: bool,
}

#[derive(Debug)]
struct Inflight {
    packet_id: u16,
    waiting: Waiting,
    /// The client confirmed receipt with PUBREC; only PUBREL is repeated.
    released: bool,
    /// Sent on the present connection.
    sent: bool,
}

impl Session {
    /// A session without subscriptions.
    pub fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            subscriptions: HashMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            inflight: VecDeque::new(),
            received: HashSet::new(),
        }
    }

    /// Queues a message for the client. False if the queue is full: the message is dropped, those before it stay.
    pub fn deliver(&mut self, message: Message, qos: Qos, retain: bool) -> bool {
        let cost_bytes = message.cost_bytes();
        if self.queue.len() >= self.limits.queue_messages_max
            || self.queue_bytes + cost_bytes > self.limits.queue_bytes_max
        {
            return false;
        }
        self.queue_bytes += cost_bytes;
        self.queue.push_back(Waiting {
            message,
            qos,
            retain,
        });
        true
    }

    /// The next thing to send. `acquire` hands out a packet identifier that is free on this connection; `window` is
    /// how many more QoS 1 and 2 messages the client takes now. Order is kept: a QoS 0 message waits behind a QoS 1
    /// message that the window holds back.
    pub fn next(
        &mut self,
        window: usize,
        acquire: impl FnOnce() -> Option<u16>,
        now: Duration,
    ) -> Option<Delivery> {
        let inflight_sent = self.inflight.iter().filter(|item| item.sent).count();
        let window = window.min(self.limits.inflight_max.saturating_sub(inflight_sent));
        if let Some(item) = self.inflight.iter_mut().find(|item| !item.sent) {
            if window == 0 {
                return None;
            }
            item.sent = true;
            return Some(item.again());
        }
        while let Some(front) = self.queue.front() {
            if front.message.is_expired(now) {
                self.pop();
                continue;
            }
            if front.qos == Qos::AtMostOnce {
                let Waiting {
                    message, retain, ..
                } = self.pop()?;
                return Some(Delivery::Publish {
                    message,
                    qos: Qos::AtMostOnce,
                    retain,
                    dup: false,
                    packet_id: None,
                });
            }
            if window == 0 {
                return None;
            }
            let packet_id = acquire()?;
            let waiting = self.pop()?;
            let delivery = Delivery::Publish {
                message: waiting.message.clone(),
                qos: waiting.qos,
                retain: waiting.retain,
                dup: false,
                packet_id: Some(packet_id),
            };
            self.inflight.push_back(Inflight {
                packet_id,
                waiting,
                released: false,
                sent: true,
            });
            return Some(delivery);
        }
        None
    }

    /// Takes the client's answer to the delivery with this packet identifier; false if there is none.
    pub fn acknowledge(&mut self, packet_id: u16, said: Acknowledgement) -> bool {
        let Some(at) = self
            .inflight
            .iter()
            .position(|item| item.packet_id == packet_id)
        else {
            return false;
        };
        match said {
            Acknowledgement::Over => {
                self.inflight.remove(at);
            }
            Acknowledgement::Received => self.inflight[at].released = true,
        }
        true
    }

    /// Packet identifiers that are in use and that a new connection must not hand out again.
    pub fn packet_ids(&self) -> impl Iterator<Item = u16> {
        self.inflight.iter().map(|item| item.packet_id)
    }

    /// The connection is gone: what was not acknowledged will be sent again, QoS 0 messages are not kept.
    pub fn disconnected(&mut self) {
        for item in &mut self.inflight {
            item.sent = false;
        }
        self.queue.retain(|item| item.qos != Qos::AtMostOnce);
        self.queue_bytes = self
            .queue
            .iter()
            .map(|item| item.message.cost_bytes())
            .sum();
    }

    /// Messages that wait or are in flight.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.inflight.len()
    }

    /// A QoS 2 delivery was received by the client and not completed.
    pub fn awaits_release(&self) -> bool {
        self.inflight.iter().any(|item| item.released)
    }

    /// True if one more subscription is allowed.
    pub(crate) fn may_subscribe(&self) -> bool {
        self.subscriptions.len() < self.limits.subscriptions_max
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.queue.pop_front()?;
        self.queue_bytes -= waiting.message.cost_bytes();
        Some(waiting)
    }
}

impl Inflight {
    fn again(&self) -> Delivery {
        if self.released {
            return Delivery::Release {
                packet_id: self.packet_id,
            };
        }
        Delivery::Publish {
            message: self.waiting.message.clone(),
            qos: self.waiting.qos,
            retain: self.waiting.retain,
            dup: true,
            packet_id: Some(self.packet_id),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mqtt_protocol_core::mqtt::IntoPayload;

    const LIMITS: SessionLimits = SessionLimits {
        queue_messages_max: 3,
        queue_bytes_max: 10_000,
        inflight_max: 2,
        subscriptions_max: 4,
    };

    fn message(text: &str) -> Message {
        Message {
            topic: "dev/x".into(),
            payload: text.into_payload(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Arc::from([]),
            expires_at: None,
        }
    }

    fn text(delivery: &Delivery) -> (String, bool) {
        match delivery {
            Delivery::Publish { message, dup, .. } => (
                String::from_utf8(message.payload.as_slice().to_vec()).unwrap(),
                *dup,
            ),
            Delivery::Release { packet_id } => (format!("release {packet_id}"), true),
        }
    }

    fn next(session: &mut Session, id: u16) -> Option<Delivery> {
        session.next(usize::MAX, || Some(id), Duration::ZERO)
    }

    #[test]
    fn a_full_queue_drops_the_newest() {
        let mut session = Session::new(LIMITS);
        for word in ["a", "b", "c"] {
            assert!(session.deliver(message(word), Qos::AtMostOnce, false));
        }
        assert!(!session.deliver(message("d"), Qos::AtMostOnce, false));
        assert_eq!(text(&next(&mut session, 1).unwrap()).0, "a");
        assert!(session.deliver(message("e"), Qos::AtMostOnce, false));
    }

    #[test]
    fn the_window_holds_back_and_an_acknowledgement_opens_it() {
        let mut session = Session::new(LIMITS);
        for word in ["a", "b", "c"] {
            session.deliver(message(word), Qos::AtLeastOnce, false);
        }
        assert!(next(&mut session, 1).is_some());
        assert!(next(&mut session, 2).is_some());
        assert!(next(&mut session, 3).is_none(), "in-flight limit is two");
        assert!(session.acknowledge(1, Acknowledgement::Over));
        assert!(!session.acknowledge(1, Acknowledgement::Over));
        assert_eq!(text(&next(&mut session, 1).unwrap()).0, "c");
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_in_order_before_anything_new() {
        let mut session = Session::new(LIMITS);
        session.deliver(message("a"), Qos::AtLeastOnce, false);
        session.deliver(message("b"), Qos::ExactlyOnce, false);
        next(&mut session, 1);
        next(&mut session, 2);
        session.acknowledge(2, Acknowledgement::Received);
        session.disconnected();
        session.deliver(message("c"), Qos::AtLeastOnce, false);
        assert_eq!(text(&next(&mut session, 9).unwrap()), ("a".into(), true));
        assert_eq!(text(&next(&mut session, 9).unwrap()).0, "release 2");
        session.acknowledge(1, Acknowledgement::Over);
        assert_eq!(text(&next(&mut session, 9).unwrap()), ("c".into(), false));
    }

    #[test]
    fn an_expired_message_is_never_sent() {
        let mut session = Session::new(LIMITS);
        let mut stale = message("stale");
        stale.expires_at = Some(Duration::from_secs(5));
        session.deliver(stale, Qos::AtLeastOnce, false);
        session.deliver(message("fresh"), Qos::AtLeastOnce, false);
        let sent = session.next(9, || Some(1), Duration::from_secs(5)).unwrap();
        assert_eq!(text(&sent).0, "fresh");
    }

    #[test]
    fn best_effort_messages_do_not_wait_for_an_absent_client() {
        let mut session = Session::new(LIMITS);
        session.deliver(message("a"), Qos::AtMostOnce, false);
        session.deliver(message("b"), Qos::AtLeastOnce, false);
        session.disconnected();
        assert_eq!(session.pending(), 1);
        assert_eq!(session.queue_bytes, message("b").cost_bytes());
    }
}
