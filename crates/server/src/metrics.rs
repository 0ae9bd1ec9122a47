//! What the service counts, as Prometheus reads it (docs/reference/metrics.md).
//!
//! ```text
//!   events, once each ─► Metrics ─┐
//!   doors, routes ──────► Metrics ┼─► GET /metrics
//!   broker, CoAP, store, devices ─┘   read when asked
//! ```
//! Nothing here is global: tests run many services in one process. No label has a device's name; labels with a team have one
//! value per team.

mod now;

pub(crate) use now::{BROKER_COUNTERS, BROKER_GAUGES, Now};

use crate::app::{App, Caller, ForecastQuery, OwnerError, WINDOW_DAYS};
use crate::gate::all_teams;
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

/// Teams whose numbers are told; there are not more in any home we know.
pub(crate) const TEAMS_MAX: usize = 5000;

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
    windows: Vec<Ending>,
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

    /// A webhook was removed: its counts go, or whoever makes and removes them fills the memory.
    pub(crate) fn forget_webhook(&self, webhook: &str) {
        for outcome in ["delivered", "failed"] {
            let labels = vec![said("webhook", webhook), said("outcome", outcome)];
            self.deliveries.remove(&labels);
        }
    }

    /// Whether somebody should count what ends soon; says so once in a while.
    pub(crate) fn outlook_is_old(&self, now: Timestamp) -> bool {
        let mut outlook = self.outlook.lock().unwrap_or_else(PoisonError::into_inner);
        let old = outlook
            .counted_at
            .is_none_or(|at| at > now || now.since(at) >= OUTLOOK_FOR);
        if old {
            outlook.counted_at = Some(now);
        }
        old
    }

    /// What was counted.
    pub(crate) fn set_outlook(&self, windows: Vec<Ending>) {
        let mut outlook = self.outlook.lock().unwrap_or_else(PoisonError::into_inner);
        outlook.windows = windows;
    }

    /// See [`Metrics::set_outlook`].
    pub(crate) fn outlook(&self, now: &mut Now) {
        let outlook = self.outlook.lock().unwrap_or_else(PoisonError::into_inner);
        for ending in &outlook.windows {
            let labels = vec![
                ("team", ending.team.clone()),
                ("days", ending.days.to_string()),
            ];
            let help = "Device certificates of a team that end within so many days";
            let certificates = ending.certificates;
            now.gauge("certificates_expiring", help, labels.clone(), certificates);
            let help = "Of them, those that nothing renews as things stand";
            now.gauge("certificates_at_risk", help, labels, ending.at_risk);
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

/// Certificates of one team that end soon.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    team: String,
    /// Within so many days.
    days: u32,
    certificates: u64,
    /// Of them, those that nothing renews.
    at_risk: u64,
}

impl App {
    /// What ends within the usual windows, by team.
    pub(crate) async fn outlook(&self) -> Result<Vec<Ending>, OwnerError> {
        let mut all = Vec::new();
        for team in all_teams(self.store().as_ref())
            .await?
            .into_iter()
            .take(TEAMS_MAX)
        {
            let caller = Caller {
                name: "metrics".to_owned(),
                role: Role::Owner,
                team: team.id.clone(),
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
            all.extend(windows.into_iter().map(|window| Ending {
                team: team.id.clone(),
                days: window.days,
                certificates: window.sum.certificates,
                at_risk: window.sum.risks(),
            }));
        }
        Ok(all)
    }
}

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
