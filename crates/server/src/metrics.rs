//! What the service counts, as Prometheus reads it (docs/reference/metrics.md).
//!
//! ```text
//!   events, once each ─► Metrics ─┐
//!   doors, routes ──────► Metrics ┼─► GET /metrics
//!   broker, CoAP, store, devices ─┘   read when asked
//! ```
//! Nothing here is global: tests run many services in one process. No label has a device's name; labels with a team have one
//! value per team.

use crate::app::{App, Caller, ForecastQuery, OwnerError, WINDOW_DAYS, Window};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sectag_proto::Timestamp;
use sectag_store::{Event, Role};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What the answer of `/metrics` says that it is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values of a metric's labels.
pub(crate) type Labels = Vec<(&'static str, String)>;

type Counters = Family<Labels, Counter>;

/// Counts since the start.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    claims: Counters,
    unclaims: Counters,
    fetches: Counters,
    delivered: Counters,
    succeeded: Counters,
    failed: Counters,
    certificates: Counters,
    alarms: Counters,
    /// Streams that are open.
    pub(crate) streams: Gauge,
    requests: Counters,
    handshakes: Counters,
    deliveries: Counters,
    outlook: Mutex<Outlook>,
}

/// What ends soon, as it was when somebody counted last: that reads every certificate of the windows.
#[derive(Debug, Default)]
struct Outlook {
    counted_at: Option<Timestamp>,
    /// Days, certificates that end within them, and those of them that nobody renews.
    windows: Vec<(u32, u64, u64)>,
}

/// How old a count of what ends soon may be.
const OUTLOOK_FOR: Duration = Duration::from_secs(3600);

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sectag");
        let mut counters = |name: &str, help: &str| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        };
        let claims = counters("claims", "Devices claimed");
        let unclaims = counters("unclaims", "Devices given up by their owner");
        let fetches = counters("fetches", "Fetches that delivered something");
        let delivered = counters("commands_delivered", "Commands given to devices, by kind");
        let succeeded = counters("commands_succeeded", "Commands that ended well, by kind");
        let failed = counters("commands_failed", "Commands that ended badly, by kind");
        let certificates = counters(
            "certificates",
            "Certificate requests of devices that were signed or refused",
        );
        let alarms = counters("alarms", "Alarms, by what raised them");
        let requests = counters(
            "http_requests",
            "HTTP requests answered, by listener, method, route and status",
        );
        let handshakes = counters("tls_handshakes", "TLS handshakes, by listener");
        let deliveries = counters("webhook_deliveries", "Attempts to deliver, by webhook");
        let streams = Gauge::default();
        registry.register("event_streams", "Event streams open", streams.clone());
        Self {
            registry,
            claims,
            unclaims,
            fetches,
            delivered,
            succeeded,
            failed,
            certificates,
            alarms,
            streams,
            requests,
            handshakes,
            deliveries,
            outlook: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Counts an event; each passes here once.
    pub(crate) fn event(&self, event: &Event) {
        let team = || ("team", event.team.clone().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        let action = event.data["action"].as_str().unwrap_or_default();
        match (event.kind.as_str(), action) {
            ("claim", "claim") => count(&self.claims, vec![team()]),
            ("claim", "unclaim") => count(&self.unclaims, vec![team()]),
            ("certificate", "certificate-issued") => {
                count(&self.certificates, vec![team(), said("outcome", "issued")]);
            }
            ("certificate", "certificate-refused") => {
                count(&self.certificates, vec![team(), said("outcome", "refused")]);
            }
            ("alarm", "alarm-acknowledged") => {}
            ("alarm", action) => count(&self.alarms, vec![team(), said("alarm", action)]),
            ("fetch", _) => {
                count(&self.fetches, vec![team()]);
                for command in event.data["commands"].as_array().into_iter().flatten() {
                    let kind = ("kind", text(&command["kind"]));
                    count(&self.delivered, vec![team(), kind]);
                }
            }
            ("result", _) => {
                let counters = match event.data["status"].as_str() {
                    Some("SUCCEEDED") => &self.succeeded,
                    _ => &self.failed,
                };
                count(counters, vec![team(), ("kind", text(&event.data["kind"]))]);
            }
            _ => {}
        }
    }

    /// Counts an answer. `route` is the template, never the path that was asked for.
    pub(crate) fn request(&self, door: &str, method: &str, route: &str, status: u16) {
        // Whoever asks chooses the method.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("other");
        let labels = vec![
            said("door", door),
            said("method", method),
            said("route", route),
            ("status", status.to_string()),
        ];
        count(&self.requests, labels);
    }

    /// Counts a TLS handshake.
    pub(crate) fn handshake(&self, door: &str, outcome: &str) {
        count(
            &self.handshakes,
            vec![said("door", door), said("outcome", outcome)],
        );
    }

    /// Counts an attempt to deliver.
    pub(crate) fn delivery(&self, webhook: &str, well: bool) {
        let outcome = if well { "delivered" } else { "failed" };
        count(
            &self.deliveries,
            vec![said("webhook", webhook), said("outcome", outcome)],
        );
    }

    /// Whether somebody should count what ends soon; says so once in a while.
    pub(crate) fn outlook_is_old(&self, now: Timestamp) -> bool {
        let mut outlook = self.outlook.lock().unwrap_or_else(PoisonError::into_inner);
        let old = outlook
            .counted_at
            .is_none_or(|at| now.since(at) >= OUTLOOK_FOR);
        if old {
            outlook.counted_at = Some(now);
        }
        old
    }

    /// What was counted: days, certificates that end within them, and those of them that nobody renews.
    pub(crate) fn set_outlook(&self, windows: Vec<(u32, u64, u64)>) {
        let mut outlook = self.outlook.lock().unwrap_or_else(PoisonError::into_inner);
        outlook.windows = windows;
    }

    /// See [`Metrics::set_outlook`].
    pub(crate) fn outlook(&self, now: &mut Now) {
        let outlook = self.outlook.lock().unwrap_or_else(PoisonError::into_inner);
        for (days, ending, at_risk) in &outlook.windows {
            let labels = vec![("days", days.to_string())];
            let help = "Device certificates of the home's own team that end within so many days";
            now.gauge("certificates_expiring", help, labels.clone(), *ending);
            let help = "Of them, those that nothing renews as things stand";
            now.gauge("certificates_at_risk", help, labels, *at_risk);
        }
    }

    /// The text, with what `now` says about this moment.
    pub(crate) fn text(&self, now: &Now) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode_registry(&mut text, &self.registry);
        let _ = encode(&mut text, &now.registry());
        text
    }
}

fn said(name: &'static str, value: &str) -> (&'static str, String) {
    (name, value.to_owned())
}

fn count(counters: &Counters, labels: Labels) {
    counters.get_or_create(&labels).inc();
}

impl App {
    /// Certificates of the home's own team that end within the usual windows: days, all, and those that nothing renews.
    pub(crate) async fn outlook_of_home(&self) -> Result<Vec<(u32, u64, u64)>, OwnerError> {
        let caller = Caller {
            name: "metrics".to_owned(),
            role: Role::Owner,
            team: self.owner.clone(),
            scope: Vec::new(),
            sees_reserved: true,
        };
        let query = ForecastQuery {
            windows: WINDOW_DAYS.to_vec(),
            all: false,
            after: None,
            limit: 0,
        };
        let sums = self.forecast(&caller, &query).await?.sums;
        let windows = sums.map(|sums| sums.windows).unwrap_or_default();
        let count = |window: Window| (window.days, window.sum.certificates, window.sum.risks());
        Ok(windows.into_iter().map(count).collect())
    }
}

/// What is true when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Now {
    gauges: Vec<(&'static str, &'static str, Vec<(Labels, i64)>)>,
    counters: Vec<(&'static str, &'static str, Vec<(Labels, u64)>)>,
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

    fn registry(&self) -> Registry {
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
            let family = Counters::default();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sectag_proto::Timestamp;
    use serde_json::json;

    fn event(kind: &str, data: Value) -> Event {
        Event {
            number: 1,
            at: Timestamp(1),
            kind: kind.to_owned(),
            team: Some("t".to_owned()),
            device: None,
            command: None,
            data,
        }
    }

    #[test]
    fn what_happens_is_counted_by_kind() {
        let metrics = Metrics::default();
        metrics.event(&event("claim", json!({ "action": "claim" })));
        metrics.event(&event("alarm", json!({ "action": "key-alarm" })));
        metrics.event(&event(
            "fetch",
            json!({ "commands": [{ "kind": "finished" }] }),
        ));
        let result = json!({ "kind": "config", "status": "FAILED" });
        metrics.event(&event("result", result));
        let text = metrics.text(&Now::default());
        for line in [
            "sectag_claims_total{team=\"t\"} 1",
            "sectag_alarms_total{team=\"t\",alarm=\"key-alarm\"} 1",
            "sectag_commands_delivered_total{team=\"t\",kind=\"finished\"} 1",
            "sectag_commands_failed_total{team=\"t\",kind=\"config\"} 1",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
    }

    #[test]
    fn whoever_asks_chooses_no_label() {
        let metrics = Metrics::default();
        metrics.request("owner", "BREW", "/x", 200);
        assert!(metrics.text(&Now::default()).contains("method=\"other\""));
    }
}
