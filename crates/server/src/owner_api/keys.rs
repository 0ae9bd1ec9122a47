//! API keys.

use super::openapi::{Conflict, Unknown};
use super::request::{Answer, Paging, Query, listed, moment, parse, read};
use super::{Api, BODY_BYTES_MAX, answer, shapes};
use crate::app::{Caller, NewKey, OwnerError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_store::Role;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
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
#[schema(as = NewKey)]
struct Asked {
    /// For people, and for the audit trail; unique.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    #[schema(value_type = shapes::RoleName)]
    role: String,
    /// It sees and touches devices with one of these tags only; commas separate tags too. None: all of the team. Not for the
    /// role `owner`.
    #[serde(default)]
    tags: Vec<String>,
    /// From when on it is none; an RFC 3339 time. Left out: it lasts until it is revoked.
    #[schema(value_type = Option<shapes::Moment>)]
    expires_at: Option<String>,
    /// Id or name of the team it is for, when that is another one: for owners of the home's own team.
    team: Option<String>,
}

/// Whose keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by name")]
struct OfTeam {
    /// Id or name of a team, when not the API key's own: for owners of the home's own team.
    team: Option<String>,
}

/// API keys
///
/// Without their texts, which nobody knows but who was given them.
#[utoipa::path(
    get,
    path = "/keys",
    tag = "people",
    params(Paging, OfTeam),
    responses((status = 200, description = "A page of the team's, by name; those that were revoked as well.", body = shapes::Page<shapes::ApiKey>), Unknown),
)]
async fn list_keys(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let limit = query.page_limit()?;
    let named = query.text("team");
    let (team, _) = api.app.on_behalf(&caller, named.as_deref()).await?;
    let after = query.after()?;
    let page = api.app.store().keys(&team, after, limit).await?;
    Ok(listed(page, |key| shapes::key(&key)))
}

/// Make an API key
#[utoipa::path(
    post,
    path = "/keys",
    tag = "people",
    request_body = Asked,
    responses((status = 201, description = "Made; `key` is shown this once.", body = shapes::NewApiKey), Conflict, Unknown),
)]
async fn create_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let body: Asked = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let role = Role::parse(&body.role).ok_or_else(|| OwnerError::Invalid {
        field: "role",
        reason: "one of viewer, editor, admin, owner".to_owned(),
    })?;
    let expires_at = body
        .expires_at
        .map(|text| moment("expiresAt", &text))
        .transpose()?;
    let new = NewKey {
        name: body.name,
        role,
        tags: body.tags,
        expires_at,
        team: body.team,
    };
    let (key, text) = api.app.create_key(&caller, new).await?;
    Ok(answer(StatusCode::CREATED, &shapes::new_key(&key, &text)))
}

/// Revoke an API key
///
/// For ever. The last one of a team with the role `owner` stays.
#[utoipa::path(
    delete,
    path = "/keys/{name}",
    tag = "people",
    params(OfTeam),
    responses((status = 204, description = "Revoked."), Conflict),
)]
async fn revoke_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let team = Query::of(query)?.text("team");
    api.app.revoke_key(&caller, team.as_deref(), &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
