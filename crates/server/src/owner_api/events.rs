//! What happens, as it happens: server-sent events, resumable by number (docs/reference/events.md).
//!
//! ```text
//!   GET /v1/events ─► place ─► behind `after`: page by page, what the key may see ─► wait for the next number ─► …
//!                                     └─ dropped meanwhile: event `lost`            └─ nothing for a while: a comment
//! ```
//! One page is on its way and one is being written, so who reads slowly holds no memory; who does not read at all loses its
//! place.

use super::audit::Pages;
use super::openapi::{TooMany, Unknown};
use super::request::{Answer, Query, device_id};
use super::{Api, shapes};
use crate::app::{Caller, OwnerError};
use crate::events::{Place, shown};
use crate::evidence::ended;
use crate::listen::Lasting;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use sectag_proto::DeviceId;
use sectag_proto::secret::SecretText;
use sectag_store::{EVENT_KINDS, Event, Role, StoreError};
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// A stream that has nothing to say says so this often, so that both ends know that it lives. At the same time the key is
/// looked at again.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Whoever takes nothing for so long has gone.
const STALL_MAX: Duration = Duration::from_secs(60);
/// When a client shall come back after a stream ended, milliseconds.
const RETRY_MS: u32 = 2000;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(events))
}

/// Follow what happens
///
/// Server-sent events: claims, commands, fetches, results, certificates, alarms. Each carries its number as `id`; a client that
/// comes back with the last one as `Last-Event-ID` (browsers do) misses nothing. Without a number the stream begins with what
/// comes next. The event `lost` names numbers that were dropped before they were read.
#[utoipa::path(
    get,
    path = "/events",
    tag = "evidence",
    params(
        ("after" = Option<u64>, Query, description = "Begin behind this number; 0 for all there are."),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, as browsers send it."),
        ("kind" = Option<String>, Query, description = "Only these kinds, with commas between them."),
        ("device" = Option<String>, Query, description = "Only what concerns this device."),
    ),
    responses(
        (status = 200, description = "A stream that ends with the connection, or with the service.", content_type = "text/event-stream", body = shapes::StreamedEvent),
        TooMany,
        Unknown,
    ),
)]
async fn events(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    lasting: Option<Extension<Lasting>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let asked = query.value("after")?;
    let last = headers.get("last-event-id").map(|value| {
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        let wrong = || OwnerError::Malformed("header `Last-Event-ID` is not a number".to_owned());
        number.ok_or_else(wrong)
    });
    let after: Option<u64> = last.transpose()?.or(asked);
    let kinds: Vec<String> = query
        .text("kind")
        .map(|text| {
            let kinds = text.split(',').map(|kind| kind.trim().to_owned());
            kinds.filter(|kind| !kind.is_empty()).collect()
        })
        .unwrap_or_default();
    if kinds
        .iter()
        .any(|kind| !EVENT_KINDS.contains(&kind.as_str()))
    {
        return Err(Query::wrong("kind").into());
    }
    let device = query.text("device").map(|id| device_id(&id)).transpose()?;
    if let Some(device) = device {
        api.app.device_of(&caller, device).await?;
    }
    let hub = &api.evidence.hub;
    let place = hub.place(&caller.team);
    let place = place.map_err(|full| OwnerError::TooManyStreams(full.to_string()))?;
    let newest = *hub.newest().borrow();
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .map(|text| SecretText::new(text.to_owned()));
    let (pages, body) = mpsc::channel(1);
    let stream = Stream {
        // What has not happened yet cannot be behind it.
        after: after.map_or(newest, |after| after.min(newest)),
        api,
        caller,
        kinds,
        device,
        authorization,
        pages,
        text: format!("retry: {RETRY_MS}\n\n"),
        lasts: lasting.map(|Extension(lasting)| lasting.begin()),
        _place: place,
    };
    tokio::spawn(stream.run());
    let kind = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((kind, Body::new(Pages(body))).into_response())
}

struct Stream {
    api: Api,
    caller: Caller,
    kinds: Vec<String>,
    device: Option<DeviceId>,
    /// To ask again whether the key is still one.
    authorization: Option<SecretText>,
    after: u64,
    pages: mpsc::Sender<Result<Bytes, StoreError>>,
    text: String,
    lasts: Option<crate::listen::Lasts>,
    _place: Place,
}

impl Stream {
    async fn run(mut self) {
        tracing::debug!(by = %self.caller.name, team = %self.caller.team, after = self.after, "event stream begun");
        if let Err(reason) = self.follow().await {
            tracing::warn!(%reason, "an event stream broke off");
        }
        tracing::debug!(by = %self.caller.name, after = self.after, "event stream ended");
        // From here on the connection has the time that every other one has.
        drop(self.lasts.take());
    }

    /// Until nobody reads, the key is none any more, or the service ends.
    async fn follow(&mut self) -> Result<(), StoreError> {
        let hub = self.api.evidence.hub.clone();
        let mut stopped = self.api.evidence.stopped.clone();
        let mut newest = hub.newest();
        let mut looked_at = Instant::now();
        let mut heartbeat = looked_at + HEARTBEAT;
        loop {
            // Whoever has gone is not read for to the end.
            if self.pages.is_closed() {
                return Ok(());
            }
            // Also where there is always something to say.
            if looked_at.elapsed() >= HEARTBEAT {
                if !self.is_still_somebody().await {
                    return Ok(());
                }
                looked_at = Instant::now();
            }
            newest.borrow_and_update();
            let page = hub.behind(self.after).await?;
            if let Some(first) = page.first().filter(|first| first.number > self.after + 1) {
                let (from, to) = (self.after + 1, first.number - 1);
                let data = json!({ "from": from, "to": to });
                let _ = write!(self.text, "event: lost\nid: {to}\ndata: {data}\n\n");
            }
            self.take(&page).await?;
            let more = !page.is_empty();
            if self.text.is_empty() && Instant::now() >= heartbeat {
                // Also moves the number that a client comes back with past what was not for it, however much of that there is.
                let _ = write!(self.text, ": {}\nid: {}\n\n", self.after, self.after);
            }
            if !self.text.is_empty() {
                heartbeat = Instant::now() + HEARTBEAT;
                if !self.send().await {
                    return Ok(());
                }
            }
            if more && !*stopped.borrow() {
                continue;
            }
            tokio::select! {
                () = ended(&mut stopped) => return Ok(()),
                () = self.pages.closed() => return Ok(()),
                changed = newest.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep_until(heartbeat) => {}
            }
        }
    }

    async fn take(&mut self, page: &[Arc<Event>]) -> Result<(), StoreError> {
        let mut seen = HashMap::new();
        for event in page {
            self.after = event.number;
            let asked = (self.kinds.is_empty() || self.kinds.contains(&event.kind))
                && (self.device.is_none() || self.device == event.device);
            if asked && may_see(&self.api, &self.caller, event, &mut seen).await? {
                let _ = write!(
                    self.text,
                    "event: {}\nid: {}\ndata: {}\n\n",
                    event.kind,
                    event.number,
                    shown(event)
                );
            }
        }
        Ok(())
    }

    /// Whether somebody took it.
    async fn send(&mut self) -> bool {
        let text = std::mem::take(&mut self.text);
        let sent = self.pages.send_timeout(Ok(text.into()), STALL_MAX).await;
        sent.is_ok()
    }

    async fn is_still_somebody(&mut self) -> bool {
        let header = self
            .authorization
            .as_ref()
            .map(|text| text.expose().as_str());
        match self.api.app.caller(header).await {
            Ok(caller) => {
                self.caller = caller;
                true
            }
            Err(OwnerError::Store(_)) => true,
            Err(_) => false,
        }
    }
}

/// Whether a key may see an event: its team's; of devices, those that it sees; what concerns no device, only without tags;
/// and who has keys, teams and webhooks only from admins on.
pub(super) async fn may_see(
    api: &Api,
    caller: &Caller,
    event: &Event,
    seen: &mut HashMap<DeviceId, bool>,
) -> Result<bool, StoreError> {
    let ours = match &event.team {
        Some(team) => *team == caller.team,
        None => api.app.is_home(&caller.team),
    };
    if !ours || (event.kind == "access" && caller.role < Role::Admin) {
        return Ok(false);
    }
    let all = caller.scope.is_empty() && caller.role >= Role::Admin;
    let Some(device) = event.device else {
        return Ok(caller.scope.is_empty());
    };
    if all {
        return Ok(true);
    }
    if let Some(known) = seen.get(&device) {
        return Ok(*known);
    }
    let found = api.app.store().device(device).await?;
    let sees = found.is_some_and(|device| caller.sees(&device));
    seen.insert(device, sees);
    Ok(sees)
}
