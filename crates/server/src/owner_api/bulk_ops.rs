//! Uploads that are worked off in the background: how they stand, and which rows failed (spec/owner-api §2.3, §10).

use super::openapi::{Conflict, Unknown};
use super::reading::Reading;
use super::request::Answer;
use super::{Api, BULK_BYTES_MAX, answer};
use crate::app::{Caller, REGISTER_BYTES_MAX};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use sectag_store::{Bulk, BulkKind};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(claim_in_background))
        .routes(routes!(get_upload))
        .routes(routes!(get_upload_errors))
}

/// An upload that was taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Taken {
    /// Ask `GET /v1/bulk-ops-requests/{id}` with it.
    #[schema(example = "01JT0KCYN20000000000000000")]
    pub(super) bulk_ops_request_id: String,
}

/// How an upload stands. Every value is a text: the vendor's tool puts them together as they are.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Upload {
    bulk_ops_request_id: String,
    /// `PENDING`, `IN_PROGRESS`; at the end `SUCCEEDED`, or `FAILED` when at least one row failed. The other rows are done then.
    #[schema(example = "SUCCEEDED")]
    status: &'static str,
    /// `POST devices` or `POST claimed-devices/bulk`.
    endpoint: &'static str,
    requested_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    /// A number.
    total_rows: String,
    /// A number.
    completed_rows: String,
    /// A number.
    failed_rows: String,
    /// Where the rows that failed are; for an hour, and without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_summary_url: Option<String>,
}

/// Which rows of an upload failed.
#[derive(Serialize, ToSchema)]
struct UploadErrors {
    /// `[<row from 0>]: <reason>`.
    #[schema(example = json!(["[2]: the certificate expired at 2024-01-01T00:00:00.000Z"]))]
    errors: Vec<String>,
}

/// Claim a list of devices in the background
///
/// CSV as for `POST /v1/claimed-devices`: the token in double quotes, and optionally its tags; at most 1000 rows.
#[utoipa::path(
    post,
    path = "/claimed-devices/bulk",
    tag = "devices",
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 202, description = "Taken; it is worked off in the background.", body = Taken),
        Conflict,
    ),
)]
async fn claim_in_background(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    taken(&api, &caller, BulkKind::Claim, body).await
}

/// Reads an upload and keeps it, to be worked off.
pub(super) async fn taken(api: &Api, caller: &Caller, kind: BulkKind, body: Body) -> Answer {
    static READING: Reading = Reading::new();
    let max = match kind {
        BulkKind::Register => REGISTER_BYTES_MAX,
        BulkKind::Claim => BULK_BYTES_MAX,
    };
    let (bytes, _place) = READING.read(&caller.team, body, max).await?;
    let taken = Taken {
        bulk_ops_request_id: api.app.later(caller, kind, &bytes).await?,
    };
    Ok(answer(StatusCode::ACCEPTED, &taken))
}

/// How an upload stands
#[utoipa::path(
    get,
    path = "/bulk-ops-requests/{id}",
    tag = "registration",
    responses((status = 200, description = "How it stands.", body = Upload)),
)]
async fn get_upload(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let bulk = api.app.upload(&caller, &id).await?;
    let shown = api.app.shows_errors(&bulk);
    let url = shown.then(|| errors_url(&api, &bulk, &headers));
    let upload = Upload {
        status: bulk.status.as_str(),
        endpoint: match bulk.kind {
            BulkKind::Register => "POST devices",
            BulkKind::Claim => "POST claimed-devices/bulk",
        },
        requested_at: super::moment(bulk.created_at),
        completed_at: bulk.finished_at.map(super::moment),
        total_rows: bulk.total.to_string(),
        completed_rows: bulk.done.to_string(),
        failed_rows: bulk.failed.to_string(),
        error_summary_url: url,
        bulk_ops_request_id: bulk.id,
    };
    Ok(answer(StatusCode::OK, &upload))
}

/// Which rows of an upload failed
///
/// Asks for no key: whoever was given the path may read it, for an hour after the upload ended.
#[utoipa::path(
    get,
    path = "/bulk-ops-requests/{id}/errors/{secret}",
    tag = "registration",
    responses((status = 200, description = "The rows that failed.", body = UploadErrors), Unknown),
)]
async fn get_upload_errors(
    State(api): State<Api>,
    Path((id, secret)): Path<(String, String)>,
) -> Answer {
    let errors = api.app.upload_errors(&id, &secret).await?;
    Ok(answer(StatusCode::OK, &UploadErrors { errors }))
}

/// Under the name that the caller used for us.
fn errors_url(api: &Api, bulk: &Bulk, headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .map_or_else(|| format!("localhost:{}", api.names.port), str::to_owned);
    format!(
        "{}://{host}/v1/bulk-ops-requests/{}/errors/{}",
        api.names.scheme, bulk.id, bulk.secret
    )
}
