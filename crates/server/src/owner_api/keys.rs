//! API keys.

use super::openapi::Conflict;
use super::request::{Answer, parse, read};
use super::{Api, BODY_BYTES_MAX, answer, shapes};
use crate::app::{Caller, OwnerError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_store::Role;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_keys, create_key))
        .routes(routes!(revoke_key))
}

/// An API key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    /// For people, and for the audit trail; unique.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    #[schema(value_type = shapes::RoleName)]
    role: String,
}

/// API keys
///
/// Without their texts, which nobody knows but who was given them.
#[utoipa::path(
    get,
    path = "/keys",
    tag = "people",
    responses((status = 200, description = "All of them.", body = shapes::Page<shapes::ApiKey>)),
)]
async fn list_keys(State(api): State<Api>) -> Answer {
    let keys = api.app.store().keys().await?;
    let items: Vec<_> = keys.iter().map(shapes::key).collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}

/// Make an API key
#[utoipa::path(
    post,
    path = "/keys",
    tag = "people",
    request_body = NewKey,
    responses((status = 201, description = "Made; `key` is shown this once.", body = shapes::NewApiKey), Conflict),
)]
async fn create_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let body: NewKey = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let role = Role::parse(&body.role).ok_or_else(|| OwnerError::Invalid {
        field: "role",
        reason: "one of viewer, editor, admin, owner".to_owned(),
    })?;
    let (key, text) = api.app.create_key(&body.name, role, &caller.name).await?;
    Ok(answer(StatusCode::CREATED, &shapes::new_key(&key, &text)))
}

/// Revoke an API key
///
/// For ever. The last one with the role `owner` stays.
#[utoipa::path(
    delete,
    path = "/keys/{name}",
    tag = "people",
    responses((status = 204, description = "Revoked."), Conflict),
)]
async fn revoke_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    api.app.revoke_key(&name, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
