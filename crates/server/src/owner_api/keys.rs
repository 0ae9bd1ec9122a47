//! API keys.

use super::request::{Answer, parse, read};
use super::{Api, BODY_BYTES_MAX, answer, shapes};
use crate::app::{Caller, OwnerError};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use axum::{Extension, Router};
use sectag_store::Role;
use serde::Deserialize;

/// Below `/v1`.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/keys", get(list_keys).post(create_key))
        .route("/keys/{name}", delete(revoke_key))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyBody {
    name: String,
    role: String,
}

async fn list_keys(State(api): State<Api>) -> Answer {
    let keys = api.app.store().keys().await?;
    let items: Vec<_> = keys.iter().map(shapes::key).collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}

async fn create_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let body: KeyBody = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let role = Role::parse(&body.role).ok_or_else(|| OwnerError::Invalid {
        field: "role",
        reason: "one of viewer, editor, admin, owner".to_owned(),
    })?;
    let (key, text) = api.app.create_key(&body.name, role, &caller.name).await?;
    Ok(answer(StatusCode::CREATED, &shapes::new_key(&key, &text)))
}

async fn revoke_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    api.app.revoke_key(&name, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
