//! The allow-list: which device may be claimed, under which key.

use super::request::{Answer, Query, device_id, parse, read};
use super::{Api, BODY_BYTES_MAX, Refused, answer, shapes};
use crate::app::{Caller, OwnerError};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Extension, Router};
use sectag_proto::DeviceId;
use sectag_proto::es256::Kid;
use serde::Deserialize;

/// Below `/v1`.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/allow-list", get(list_allowed))
        .route("/allow-list/{id}", put(allow).delete(disallow))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowBody {
    key_id: String,
}

async fn list_allowed(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::of(query)?;
    let after = match query.text("pageNextToken") {
        Some(token) => Some(
            token
                .parse::<DeviceId>()
                .map_err(|_| Query::wrong("pageNextToken"))?,
        ),
        None => None,
    };
    let page = api
        .app
        .store()
        .allow_list(after, query.page_limit()?)
        .await?;
    let items = page.items.iter().map(shapes::allowed).collect();
    Ok(answer(
        StatusCode::OK,
        &shapes::page(items, page.total, page.next.map(|id| id.to_string())),
    ))
}

async fn allow(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let device = device_id(&id)?;
    let body: AllowBody = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let kid = Kid::parse(&body.key_id).map_err(|e| OwnerError::Invalid {
        field: "keyId",
        reason: e.to_string(),
    })?;
    api.app
        .store()
        .allow(device, kid, &caller.name, api.app.now())
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn disallow(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = device_id(&id)?;
    let was = api
        .app
        .store()
        .disallow(device, &caller.name, api.app.now())
        .await?;
    if was {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Refused(OwnerError::NotFound {
            what: "allowed device",
            id: device.to_string(),
        }))
    }
}
