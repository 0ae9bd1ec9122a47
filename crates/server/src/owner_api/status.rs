//! What runs, and whether it is alive.

use super::request::Answer;
use super::{Api, answer, shapes};
use crate::app::Caller;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use sectag_store::DeviceQuery;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(status))
}

/// From the root.
pub(super) fn at_the_root() -> OpenApiRouter<Api> {
    OpenApiRouter::default().routes(routes!(healthz))
}

/// What the service is and does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(flatten)]
    #[schema(value_type = ServiceFacts)]
    facts: Value,
    devices: DeviceCounts,
    /// The service's clock.
    time: shapes::Moment,
}

/// What the service says of itself. The counters count from its start.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "only its schema is used; the service makes the value"
)]
struct ServiceFacts {
    version: String,
    /// Process id.
    pid: u32,
    /// Which claims are trusted: `first-claim`, or `allow-list`.
    policy: String,
    /// Where it listens, by the listener's name.
    #[schema(value_type = Object)]
    listeners: Value,
    /// Sessions and messages of the broker; null when it has stopped.
    #[schema(required, value_type = Option<Object>)]
    broker: Option<Value>,
    /// Sessions and datagrams of CoAP; a text where it is not built in.
    coap: Value,
    /// Requests that were turned away because there were too many.
    #[schema(value_type = Object)]
    admission: Value,
}

/// How many devices there are that the API key may see; left out for keys with several tags.
#[derive(Serialize, ToSchema)]
struct DeviceCounts {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    claimed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    blocked: Option<u64>,
}

/// Says that it is alive.
#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// What runs
///
/// Version, policy, listeners with their addresses, and counters.
#[utoipa::path(
    get,
    path = "/status",
    tag = "service",
    responses((status = 200, description = "The service's facts.", body = Status)),
)]
async fn status(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Answer {
    let store = api.app.store();
    let all = DeviceQuery::first(caller.view(), 1);
    let claimed = store.devices(all.clone()).await?.total;
    let blocked = DeviceQuery {
        blocked: Some(true),
        ..all
    };
    let blocked = store.devices(blocked).await?.total;
    let status = Status {
        facts: (api.facts)(),
        devices: DeviceCounts { claimed, blocked },
        time: shapes::Moment(api.app.now()),
    };
    Ok(answer(StatusCode::OK, &status))
}

/// Whether the service can answer
///
/// It reads its database: alive means able to answer, not only able to accept.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    responses((status = 200, description = "It can.", body = Health)),
)]
async fn healthz(State(api): State<Api>) -> Answer {
    api.app.store().audit_head().await?;
    Ok(answer(StatusCode::OK, &Health { status: "ok" }))
}
