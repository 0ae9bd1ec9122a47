//! What travels: a topic, a payload and how surely it must arrive.

use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{Property, Qos};

/// A message inside the broker. Cloning shares topic, payload and properties.
#[derive(Debug, Clone)]
pub struct Message {
    /// Topic name, without wildcards.
    pub topic: Arc<str>,
    /// Payload bytes.
    pub payload: ArcPayload,
    /// Quality of service the publisher asked for.
    pub qos: Qos,
    /// The publisher's retain flag.
    pub retain: bool,
    /// MQTT 5 properties that go on to subscribers (MQTT 5 §3.3.2.3); empty from a 3.1.1 publisher.
    pub properties: Arc<[Property]>,
    /// When the message is worth nothing any more, on the router's clock; `None`: never.
    pub expires_at: Option<Duration>,
}

impl Message {
    /// Bytes this message is charged with in queues and in the retained store.
    pub fn cost_bytes(&self) -> usize {
        // A fixed charge for the bookkeeping around each message, so that empty payloads are not free.
        const BOOKKEEPING_BYTES: usize = 128;
        self.topic.len() + self.payload.len() + BOOKKEEPING_BYTES
    }

    /// True when the message expiry interval has run out.
    pub fn is_expired(&self, now: Duration) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}
