//! The registry of tags (spec/owner-api §5): a provisioning group is a tag.

use super::openapi::Conflict;
use super::request::{Answer, Paging, Query, listed, parse, read};
use super::shapes::{self, Moment};
use super::{Api, BODY_BYTES_MAX, answer};
use crate::app::Caller;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_tags, create_tag))
        .routes(routes!(get_tag, delete_tag))
}

/// A tag to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTag {
    #[schema(min_length = 1, max_length = 128)]
    tag: String,
    /// For people.
    #[schema(max_length = 1024)]
    description: Option<String>,
}

/// A registered tag. Devices and rules may carry others.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Tag {
    tag: String,
    #[schema(required)]
    description: Option<String>,
    created_at: Moment,
}

impl From<sectag_store::Tag> for Tag {
    fn from(tag: sectag_store::Tag) -> Self {
        Self {
            tag: tag.tag,
            description: tag.description,
            created_at: Moment(tag.created_at),
        }
    }
}

/// Registered tags
///
/// In their order.
#[utoipa::path(
    get,
    path = "/provisioning/tags",
    tag = "rules",
    params(Paging),
    responses((status = 200, description = "A page of them.", body = shapes::Page<Tag>)),
)]
async fn list_tags(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let (after, limit) = (query.after()?, query.page_limit()?);
    let page = api.app.tags(&caller, after, limit).await?;
    Ok(listed(page, Tag::from))
}

/// Register a tag
#[utoipa::path(
    post,
    path = "/provisioning/tags",
    tag = "rules",
    request_body = NewTag,
    responses((status = 201, description = "Registered.", body = Tag), Conflict),
)]
async fn create_tag(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let new: NewTag = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let tag = api
        .app
        .create_tag(&caller, &new.tag, new.description)
        .await?;
    Ok(answer(StatusCode::CREATED, &Tag::from(tag)))
}

/// One tag
#[utoipa::path(
    get,
    path = "/provisioning/tags/{tag}",
    tag = "rules",
    responses((status = 200, description = "The tag.", body = Tag)),
)]
async fn get_tag(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(tag): Path<String>,
) -> Answer {
    let tag = api.app.tag(&caller, &tag).await?;
    Ok(answer(StatusCode::OK, &Tag::from(tag)))
}

/// Take a tag off the registry
///
/// Devices and rules keep it.
#[utoipa::path(
    delete,
    path = "/provisioning/tags/{tag}",
    tag = "rules",
    responses((status = 204, description = "Taken off.")),
)]
async fn delete_tag(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(tag): Path<String>,
) -> Answer {
    api.app.delete_tag(&caller, &tag).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
