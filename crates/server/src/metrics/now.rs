//! What is read when somebody asks: gauges, and counters of those who keep their own.

use super::{Labels, said};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

/// Name, help, and a value for each set of labels.
type Sampled<V> = (&'static str, &'static str, Vec<(Labels, V)>);

/// What is true when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Now {
    gauges: Vec<Sampled<i64>>,
    counters: Vec<Sampled<u64>>,
}

impl Now {
    /// A value that goes up and down.
    pub(crate) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        value: u64,
    ) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match self.gauges.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push((labels, value)),
            None => self.gauges.push((name, help, vec![(labels, value)])),
        }
    }

    /// A value that was counted elsewhere.
    pub(crate) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        value: u64,
    ) {
        match self.counters.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push((labels, value)),
            None => self.counters.push((name, help, vec![(labels, value)])),
        }
    }

    /// Numbers out of a JSON object, by member: `(member, name, help)`.
    pub(crate) fn counters_of(&mut self, facts: &Value, names: &[Named]) {
        for (member, name, help) in names {
            if let Some(value) = facts.pointer(member).and_then(Value::as_u64) {
                self.counter(name, help, Vec::new(), value);
            }
        }
    }

    /// See [`Now::counters_of`].
    pub(crate) fn gauges_of(&mut self, facts: &Value, names: &[Named]) {
        for (member, name, help) in names {
            if let Some(value) = facts.pointer(member).and_then(Value::as_u64) {
                self.gauge(name, help, Vec::new(), value);
            }
        }
    }

    /// What is counted about CoAP.
    pub(crate) fn of_coap(&mut self, facts: &Value) {
        self.gauges_of(facts, COAP_GAUGES);
        self.counters_of(facts, COAP_COUNTERS);
        for (member, outcome) in COAP_HANDSHAKES {
            if let Some(value) = facts.pointer(member).and_then(Value::as_u64) {
                let labels = vec![said("outcome", outcome)];
                self.counter("dtls_handshakes", "DTLS handshakes", labels, value);
            }
        }
    }

    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("sectag");
        for (name, help, values) in &self.gauges {
            if let [(labels, value)] = &values[..]
                && labels.is_empty()
            {
                let gauge = Gauge::<i64>::default();
                gauge.set(*value);
                registry.register(*name, *help, gauge);
                continue;
            }
            let family = Family::<Labels, Gauge>::default();
            for (labels, value) in values {
                family.get_or_create(labels).set(*value);
            }
            registry.register(*name, *help, family);
        }
        for (name, help, values) in &self.counters {
            if let [(labels, value)] = &values[..]
                && labels.is_empty()
            {
                let counter = Counter::<u64>::default();
                counter.inc_by(*value);
                registry.register(*name, *help, counter);
                continue;
            }
            let family = Family::<Labels, Counter>::default();
            for (labels, value) in values {
                family.get_or_create(labels).inc_by(*value);
            }
            registry.register(*name, *help, family);
        }
        registry
    }
}

/// A member of a JSON object (RFC 6901), the metric's name, and its help.
pub(crate) type Named = (&'static str, &'static str, &'static str);

/// Counters of the broker.
pub(crate) const BROKER_COUNTERS: &[Named] = &[
    (
        "/broker/accepted",
        "mqtt_accepted",
        "MQTT connections let in",
    ),
    (
        "/broker/refusedTls",
        "mqtt_refused_tls",
        "MQTT connections refused in the TLS handshake",
    ),
    (
        "/broker/refusedConnect",
        "mqtt_refused_connect",
        "MQTT connections refused at CONNECT",
    ),
    (
        "/broker/refusedBusy",
        "mqtt_refused_busy",
        "MQTT connections refused for want of room",
    ),
    (
        "/broker/deniedPublish",
        "mqtt_denied_publish",
        "Messages denied by topic rules",
    ),
    (
        "/broker/deniedSubscribe",
        "mqtt_denied_subscribe",
        "Subscriptions denied by topic rules",
    ),
    (
        "/broker/published",
        "mqtt_published",
        "Messages taken from clients",
    ),
    (
        "/broker/delivered",
        "mqtt_delivered",
        "Messages given to clients",
    ),
    (
        "/broker/dropped",
        "mqtt_dropped",
        "Messages dropped at full queues",
    ),
];

/// Gauges of CoAP.
const COAP_GAUGES: &[Named] = &[
    ("/coap/sessions", "coap_sessions", "DTLS sessions"),
    (
        "/coap/authorised",
        "coap_sessions_authorised",
        "DTLS sessions that showed a token",
    ),
    (
        "/coap/handshakes/waiting",
        "dtls_handshakes_waiting",
        "New handshakes that wait for their turn",
    ),
];

/// Counters of CoAP.
const COAP_COUNTERS: &[Named] = &[
    (
        "/coap/moved",
        "coap_sessions_moved",
        "DTLS sessions that came from another address",
    ),
    (
        "/coap/evicted",
        "coap_sessions_evicted",
        "DTLS sessions ended for want of room",
    ),
    (
        "/coap/messages/received",
        "coap_messages_received",
        "CoAP messages taken",
    ),
    (
        "/coap/messages/sent",
        "coap_messages_sent",
        "CoAP messages given",
    ),
];

/// How DTLS handshakes end.
const COAP_HANDSHAKES: &[(&str, &str)] = &[
    ("/coap/handshakes/full", "full"),
    ("/coap/handshakes/byTicket", "by-ticket"),
    ("/coap/handshakes/bySessionId", "by-session-id"),
    ("/coap/handshakes/failed", "failed"),
    ("/coap/handshakes/refused", "refused"),
    ("/coap/handshakes/turnedAway", "turned-away"),
];

/// Gauges of the broker.
pub(crate) const BROKER_GAUGES: &[Named] = &[
    ("/broker/sessions", "mqtt_sessions", "MQTT sessions kept"),
    (
        "/broker/connected",
        "mqtt_connected",
        "MQTT clients connected",
    ),
];
