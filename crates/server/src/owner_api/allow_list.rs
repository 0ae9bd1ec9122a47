//! The allow-list: which device may be claimed, under which key.

use super::request::{Answer, Paging, Query, device_id, listed, no_such, parse, read};
use super::{Api, BODY_BYTES_MAX, shapes};
use crate::app::{Caller, OwnerError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_proto::DeviceId;
use sectag_proto::es256::Kid;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_allowed))
        .routes(routes!(allow, disallow))
}

/// The key under which a device may be claimed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowedKey {
    /// The key id, as `sectag device token` and the bench's list show it.
    key_id: String,
}

/// The allow-list of the team
#[utoipa::path(
    get,
    path = "/allow-list",
    tag = "devices",
    params(Paging),
    responses((status = 200, description = "A page of it, by device.", body = shapes::Page<shapes::AllowListEntry>)),
)]
async fn list_allowed(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let page = api
        .app
        .store()
        .allow_list(&caller.team, query.after()?, query.page_limit()?)
        .await?;
    Ok(listed(page, |entry| shapes::allowed(&entry)))
}

/// Allow a device
///
/// It may be claimed from then on, if it shows this key.
#[utoipa::path(
    put,
    path = "/allow-list/{id}",
    tag = "devices",
    request_body = AllowedKey,
    responses((status = 204, description = "Allowed.")),
)]
async fn allow(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let device = id.parse::<DeviceId>().map_err(|_| OwnerError::Invalid {
        field: "id",
        reason: "not a device id".to_owned(),
    })?;
    let body: AllowedKey = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let kid = Kid::parse(&body.key_id).map_err(|e| OwnerError::Invalid {
        field: "keyId",
        reason: e.to_string(),
    })?;
    api.app
        .store()
        .allow(&caller.team, device, kid, &caller.name, api.app.now())
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Take a device off the allow-list
///
/// A device that is claimed stays claimed.
#[utoipa::path(
    delete,
    path = "/allow-list/{id}",
    tag = "devices",
    responses((status = 204, description = "Not allowed any more.")),
)]
async fn disallow(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = device_id(&id)?;
    let was = api
        .app
        .store()
        .disallow(&caller.team, device, &caller.name, api.app.now())
        .await?;
    match was {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(no_such("allowed device", &device.to_string())),
    }
}
