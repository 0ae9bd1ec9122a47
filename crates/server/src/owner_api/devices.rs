//! Claimed devices: claim, bulk, list, change, unclaim (spec/owner-api §2).

use super::request::{Answer, Query, device_id, parse, read};
use super::{Api, BODY_BYTES_MAX, BULK_BYTES_MAX, Refused, answer, csv, shapes};
use crate::app::{BULK_ROWS_MAX, Caller, ClaimRequest, Claimed, OwnerError};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use sectag_proto::DeviceId;
use sectag_store::DeviceQuery;
use serde::Deserialize;
use serde_json::json;

/// Below `/v1` and, as one page of the vendor prints it, `/v1/identities`.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/claimed-devices", get(list_devices).post(claim))
        .route(
            "/claimed-devices/{id}",
            get(get_device).delete(unclaim).patch(change_device),
        )
        .route("/claimed-devices/{id}/certificates", get(list_certificates))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClaimBody {
    claim_token: String,
    #[serde(default)]
    tags: Vec<String>,
    /// Ours: take this key although the device is known under another one.
    #[serde(default)]
    accept_new_key: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DevicePatch {
    tags: Option<Vec<String>>,
    blocked: Option<bool>,
}

async fn claim(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = read(body, BULK_BYTES_MAX).await?;
    let says_csv = ["contenttype", "content-type"].iter().any(|name| {
        headers
            .get(*name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                value
                    .trim_start()
                    .to_ascii_lowercase()
                    .starts_with("text/csv")
            })
    });
    let dry_run = Query::of(query)?.flag("dryrun")?;
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    if first != Some(&b'{') && (says_csv || first == Some(&b'"')) {
        if dry_run {
            let reason = "a dry run takes one claim token, as JSON".to_owned();
            return Err(Refused(OwnerError::Malformed(reason)));
        }
        return claim_bulk(&api, &caller, &bytes).await;
    }
    if bytes.len() > BODY_BYTES_MAX {
        return Err(Refused(OwnerError::TooLarge {
            max: BODY_BYTES_MAX,
        }));
    }
    let body: ClaimBody = parse(&bytes)?;
    let request = ClaimRequest {
        token: body.claim_token,
        tags: body.tags,
        accept_new_key: body.accept_new_key,
    };
    if dry_run {
        api.app.would_claim(&request, &caller.name).await?;
        return Ok(answer(StatusCode::ACCEPTED, &json!({})));
    }
    Ok(match api.app.claim(&request, &caller.name).await? {
        Claimed::Created(device) => answer(StatusCode::CREATED, &shapes::device(&device)),
        Claimed::Existing(device) => answer(StatusCode::OK, &shapes::device(&device)),
    })
}

async fn claim_bulk(api: &Api, caller: &Caller, bytes: &[u8]) -> Answer {
    let malformed = |reason: String| Refused(OwnerError::Malformed(reason));
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("CSV is not UTF-8".to_owned()))?;
    let rows = csv::rows(text)
        .map_err(|line| malformed(format!("CSV: quotes do not match in line {line}")))?;
    if rows.len() > BULK_ROWS_MAX {
        return Err(Refused(OwnerError::Unprocessable(format!(
            "{} rows, limit {BULK_ROWS_MAX}",
            rows.len()
        ))));
    }
    let (mut claimed, mut failed) = (Vec::new(), Vec::new());
    for (at, row) in rows.into_iter().enumerate() {
        let mut fields = row.into_iter();
        let request = ClaimRequest {
            token: fields.next().unwrap_or_default(),
            tags: fields.next().into_iter().collect(),
            accept_new_key: false,
        };
        match api.app.claim(&request, &caller.name).await {
            Ok(Claimed::Created(device) | Claimed::Existing(device)) => {
                claimed.push(device.id.to_string());
            }
            Err(e @ OwnerError::Store(_)) => return Err(Refused(e)),
            Err(e) => failed.push(
                json!({ "row": at + 1, "claimToken": request.token, "message": e.to_string() }),
            ),
        }
    }
    tracing::info!(claimed = claimed.len(), failed = failed.len(), by = %caller.name, "bulk claim");
    Ok(answer(
        StatusCode::OK,
        &json!({ "claimedIds": claimed, "failed": failed }),
    ))
}

async fn list_devices(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::of(query)?;
    let after = match query.text("pageNextToken") {
        Some(token) => Some(
            token
                .parse::<DeviceId>()
                .map_err(|_| Query::wrong("pageNextToken"))?,
        ),
        None => None,
    };
    let blocked = match query.text("status").as_deref() {
        None => None,
        Some("READY") => Some(false),
        Some("BLOCKED") => Some(true),
        Some(_) => return Err(Query::wrong("status").into()),
    };
    let page = api
        .app
        .store()
        .devices(DeviceQuery {
            after,
            limit: query.page_limit()?,
            tag: query.text("tag"),
            blocked,
        })
        .await?;
    let items = page.items.iter().map(shapes::device).collect();
    Ok(answer(
        StatusCode::OK,
        &shapes::page(items, page.total, page.next.map(|id| id.to_string())),
    ))
}

async fn get_device(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?;
    Ok(answer(StatusCode::OK, &shapes::device(&device)))
}

async fn unclaim(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?;
    api.app.unclaim(device.id, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn change_device(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let id = device_id(&id)?;
    let patch: DevicePatch = parse(&read(body, BODY_BYTES_MAX).await?)?;
    api.app.device_of(&caller, id).await?;
    let device = api
        .app
        .change_device(id, patch.tags, patch.blocked, &caller.name)
        .await?;
    Ok(answer(StatusCode::OK, &shapes::device(&device)))
}

async fn list_certificates(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let all = api.app.store().certificates(device_id(&id)?).await?;
    let items: Vec<_> = all.iter().map(shapes::certificate).collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}
