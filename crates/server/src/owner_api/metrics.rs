//! Counters for Prometheus, and what counts each answer.

use super::request::Answer;
use super::{Api, Refused};
use crate::app::OwnerError;
use crate::metrics::{BROKER_COUNTERS, BROKER_GAUGES, CONTENT_TYPE, Now, TEAMS_MAX};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sectag_store::{AuditScope, PAGE_ROWS_MAX, Role};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// From the root.
pub(super) fn at_the_root() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(metrics))
}

/// Counters for Prometheus
///
/// OpenMetrics text. Over TLS it takes a key of the home's own team; on this machine it takes none.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses(
        (status = 200, description = "What the service counts.", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "Over TLS: no key.", body = super::Problem),
        (status = 403, description = "Over TLS: a key of another team.", body = super::Problem),
    ),
)]
async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Answer {
    if api.names.scheme == "https" {
        let header = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let caller = api.app.caller(header).await?;
        caller.need(Role::Viewer)?;
        if !api.app.is_home(&caller.team) {
            return Err(Refused(OwnerError::HomeOnly));
        }
    }
    let now = gather(&api).await?;
    let text = api.evidence.metrics.text(&now);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

async fn gather(api: &Api) -> Result<Now, Refused> {
    let store = api.app.store();
    let mut now = Now::default();
    let facts = (api.facts)();
    now.counters_of(&facts, BROKER_COUNTERS);
    now.gauges_of(&facts, BROKER_GAUGES);
    now.of_coap(&facts);
    let (claimed, blocked) = store.device_totals().await?;
    now.gauge("devices_claimed", "Devices claimed", Vec::new(), claimed);
    now.gauge("devices_blocked", "Devices blocked", Vec::new(), blocked);
    of_teams(api, &mut now).await?;
    of_webhooks(api, &mut now).await?;
    look_ahead(api);
    api.evidence.metrics.outlook(&mut now);
    let kept = store.events_kept().await?;
    let count = kept.map_or(0, |(oldest, newest)| newest + 1 - oldest);
    let help = "Events that followers can still read";
    now.gauge("events_kept", help, Vec::new(), count);
    let pressure = store.pressure();
    let help = "Writes that wait for their turn";
    now.gauge("store_writes_waiting", help, Vec::new(), pressure.waiting);
    let help = "Transactions of the store; writes by transactions is the size of a batch";
    now.counter("store_transactions", help, Vec::new(), pressure.commits);
    now.counter(
        "store_writes",
        "Writes to the store",
        Vec::new(),
        pressure.writes,
    );
    Ok(now)
}

/// Begins to count what ends soon, when that was long ago; the next one who asks is told.
fn look_ahead(api: &Api) {
    if !api.evidence.metrics.outlook_is_old(api.app.now()) {
        return;
    }
    let (app, metrics) = (api.app.clone(), api.evidence.metrics.clone());
    tokio::spawn(async move {
        match app.outlook().await {
            Ok(windows) => metrics.set_outlook(windows),
            Err(reason) => tracing::warn!(%reason, "cannot count what ends soon"),
        }
    });
}

/// Alarms that nobody looked at yet, by team.
async fn of_teams(api: &Api, now: &mut Now) -> Result<(), Refused> {
    let store = api.app.store();
    let mut after = None;
    // The service itself first, which is no team.
    let mut teams = vec![String::new()];
    loop {
        let page = store.teams(after, PAGE_ROWS_MAX).await?;
        teams.extend(page.items.into_iter().map(|team| team.id));
        match page.next {
            Some(next) if teams.len() < TEAMS_MAX => after = Some(next),
            _ => break,
        }
    }
    for team in teams {
        let labels = vec![("team", team.clone())];
        let scope = AuditScope {
            team,
            service: false,
        };
        let open = store.alarms(scope, true, None, 1).await?.total;
        let help = "Alarms that nobody acknowledged";
        now.gauge("alarms_open", help, labels, open);
    }
    Ok(())
}

async fn of_webhooks(api: &Api, now: &mut Now) -> Result<(), Refused> {
    let newest = *api.evidence.hub.newest().borrow();
    let at = api.app.now();
    for webhook in api.app.store().webhooks().await? {
        let labels = vec![("webhook", webhook.id), ("team", webhook.team)];
        let behind = newest.saturating_sub(webhook.cursor);
        let help = "Events behind a webhook's cursor, of whatever kind";
        now.gauge("webhook_lag_events", help, labels.clone(), behind);
        let since = webhook.health.failing_since;
        let failing = since.map_or(0, |since| at.since(since).as_secs());
        let help = "For how long a webhook has not been taken";
        now.gauge("webhook_failing_seconds", help, labels, failing);
    }
    Ok(())
}

/// Around every route: counts answers by the template of their path.
pub(super) async fn counted(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let response = next.run(request).await;
    let door = match api.names.scheme {
        "https" => "owner",
        _ => "loopback",
    };
    let status = response.status().as_u16();
    let metrics = &api.evidence.metrics;
    metrics.request(door, method.as_str(), &route, status);
    response
}
