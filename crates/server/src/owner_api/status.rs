//! What runs, and whether it is alive.

use super::request::Answer;
use super::{Api, answer, shapes};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sectag_store::DeviceQuery;
use serde_json::json;

/// From the root.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/healthz", get(healthz))
}

async fn status(State(api): State<Api>) -> Answer {
    let mut facts = (api.facts)();
    let devices = api.app.store().devices(DeviceQuery::first(1)).await?.total;
    let blocked = api
        .app
        .store()
        .devices(DeviceQuery {
            blocked: Some(true),
            ..DeviceQuery::first(1)
        })
        .await?
        .total;
    facts["devices"] = json!({ "claimed": devices, "blocked": blocked });
    facts["time"] = json!(shapes::moment(api.app.now()));
    Ok(answer(StatusCode::OK, &facts))
}

async fn healthz(State(api): State<Api>) -> Answer {
    // A read through the store: alive means able to answer, not only able to accept.
    api.app.store().devices(DeviceQuery::first(1)).await?;
    Ok(answer(StatusCode::OK, &json!({ "status": "ok" })))
}
