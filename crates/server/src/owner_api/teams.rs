//! Teams: people who share devices, keys, an allow-list and an issuing CA.

use super::openapi::Conflict;
use super::request::{Answer, Paging, Query, listed, parse, read};
use super::{Api, BODY_BYTES_MAX, answer, shapes};
use crate::app::{Caller, NewTeam};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_teams, create_team))
        .routes(routes!(get_team, rename_team, delete_team))
}

/// A team to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewTeam)]
struct Asked {
    /// Unique.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
    /// First level of the topics of its devices, unique; left out: the name.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    topic_prefix: Option<String>,
}

/// What is to be changed of a team. Its topics stay.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TeamPatch {
    /// Unique.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    name: String,
}

/// Teams
///
/// All of them for owners of the home's own team; for everybody else their own.
#[utoipa::path(
    get,
    path = "/teams",
    tag = "people",
    params(Paging),
    responses((status = 200, description = "A page of them, by id.", body = shapes::Page<shapes::Team>)),
)]
async fn list_teams(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let (after, limit) = (query.after()?, query.page_limit()?);
    let page = api.app.teams(&caller, after, limit).await?;
    Ok(listed(page, |team| shapes::team(&team)))
}

/// Make a team
///
/// With an issuing CA of its own. Give it its first key with `POST /v1/keys` and `team`. With the second team, and unless the
/// setting `policy` says otherwise, devices can be claimed only if they are on their team's allow-list.
#[utoipa::path(
    post,
    path = "/teams",
    tag = "people",
    request_body = Asked,
    responses((status = 201, description = "Made.", body = shapes::Team), Conflict),
)]
async fn create_team(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let body: Asked = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let new = NewTeam {
        name: body.name,
        topic_prefix: body.topic_prefix,
    };
    let team = api.app.create_team(&caller, new).await?;
    Ok(answer(StatusCode::CREATED, &shapes::team(&team)))
}

/// One team
#[utoipa::path(
    get,
    path = "/teams/{id}",
    tag = "people",
    responses((status = 200, description = "The team.", body = shapes::Team)),
)]
async fn get_team(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let team = api.app.team_of(&caller, &id).await?;
    Ok(answer(StatusCode::OK, &shapes::team(&team)))
}

/// Rename a team
#[utoipa::path(
    patch,
    path = "/teams/{id}",
    tag = "people",
    request_body = TeamPatch,
    responses((status = 200, description = "The team as it is from then on.", body = shapes::Team), Conflict),
)]
async fn rename_team(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let body: TeamPatch = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let team = api.app.rename_team(&caller, &id, &body.name).await?;
    Ok(answer(StatusCode::OK, &shapes::team(&team)))
}

/// Delete a team
///
/// One without devices. Its keys are revoked, its allow-list is emptied.
#[utoipa::path(
    delete,
    path = "/teams/{id}",
    tag = "people",
    responses((status = 204, description = "Deleted."), Conflict),
)]
async fn delete_team(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    api.app.delete_team(&caller, &id).await?;
    api.evidence.webhooks.all_changed();
    Ok(StatusCode::NO_CONTENT.into_response())
}
