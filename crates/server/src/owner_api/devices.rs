//! Claimed devices: claim, bulk, list, change, unclaim (spec/owner-api §2).

use super::openapi::Conflict;
use super::request::{Answer, Paging, Query, device_id, listed, listed_whole, parse, read};
use super::{Api, BODY_BYTES_MAX, BULK_BYTES_MAX, Refused, answer, shapes};
use crate::app::{Caller, ClaimRequest, Claimed, OwnerError, rows_of};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use sectag_store::{DeviceQuery, IdPrefix, Issued, LifeState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1` and, as one page of the vendor prints it, `/v1/identities`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_devices, claim))
        .routes(routes!(get_device, unclaim, change_device))
        .routes(routes!(list_certificates))
}

/// A device to be claimed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Claim {
    /// The attestation token of the device: what its modem answers to `AT%ATTESTTOKEN`.
    claim_token: String,
    /// Commas separate tags too.
    #[serde(default)]
    tags: Vec<String>,
    /// Take this key although the device is known under another one.
    #[serde(default)]
    accept_new_key: bool,
}

/// What is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(min_properties = 1)]
struct DevicePatch {
    /// All of them.
    tags: Option<Vec<String>>,
    /// A blocked device keeps its claim and gets nothing.
    blocked: Option<bool>,
}

/// What became of the rows of a bulk claim.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BulkClaim {
    /// UUIDs of the devices that are claimed.
    claimed_ids: Vec<String>,
    failed: Vec<FailedRow>,
}

/// A row that was not claimed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FailedRow {
    /// From 1.
    row: usize,
    claim_token: String,
    /// Why.
    message: String,
}

/// A device that was claimed before, or the outcome of a bulk claim.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ClaimedBefore {
    One(shapes::Device),
    Many(BulkClaim),
}

/// Nothing to say.
#[derive(Serialize, ToSchema)]
struct Empty {}

/// Claim a device, or a list of them
///
/// JSON claims one device. CSV claims up to 1000, one in a row: the token in double quotes, and optionally its tags, separated by
/// commas, in double quotes as well. A row that fails does not keep the others from being claimed.
#[utoipa::path(
    post,
    path = "/claimed-devices",
    tag = "devices",
    params(("dryrun" = Option<bool>, Query, description = "Only say whether this one device could be claimed.")),
    request_body(content((Claim = "application/json"), (String = "text/csv"))),
    responses(
        (status = 201, description = "Claimed.", body = shapes::Device),
        (status = 200, description = "Claimed before by the same team with the same key; or the outcome of CSV.", body = ClaimedBefore),
        (status = 202, description = "A dry run: the device could be claimed.", body = Empty),
        Conflict,
    ),
)]
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
    let body: Claim = parse(&bytes)?;
    let request = ClaimRequest {
        token: body.claim_token,
        tags: body.tags,
        accept_new_key: body.accept_new_key,
    };
    if dry_run {
        api.app.would_claim(&request, &caller).await?;
        return Ok(answer(StatusCode::ACCEPTED, &Empty {}));
    }
    Ok(match api.app.claim(&request, &caller).await? {
        Claimed::Created(device) => answer(StatusCode::CREATED, &shapes::device(&device)),
        Claimed::Existing(device) => answer(StatusCode::OK, &shapes::device(&device)),
    })
}

async fn claim_bulk(api: &Api, caller: &Caller, bytes: &[u8]) -> Answer {
    let rows = rows_of(bytes)?;
    let rows: Vec<ClaimRequest> = rows.into_iter().map(ClaimRequest::of_row).collect();
    let tokens: Vec<String> = rows.iter().map(|row| row.token.clone()).collect();
    let (mut claimed, mut failed) = (Vec::new(), Vec::new());
    let answers = api.app.claim_many(rows, caller).await?;
    for (at, (answer, token)) in answers.into_iter().zip(tokens).enumerate() {
        match answer {
            Ok(Claimed::Created(device) | Claimed::Existing(device)) => {
                claimed.push(device.id.to_string());
            }
            Err(e) => failed.push(FailedRow {
                row: at + 1,
                claim_token: token,
                message: e.to_string(),
            }),
        }
    }
    tracing::info!(claimed = claimed.len(), failed = failed.len(), by = %caller.name, "bulk claim");
    Ok(answer(
        StatusCode::OK,
        &BulkClaim {
            claimed_ids: claimed,
            failed,
        },
    ))
}

/// Claimed devices
///
/// Those that the API key may see. `total` is left out where only going through all of them would tell it: with `prefix`, and
/// for keys with several tags. A page may have fewer devices than asked for and yet a `pageNextToken`.
#[utoipa::path(
    get,
    path = "/claimed-devices",
    tag = "devices",
    params(
        Paging,
        ("tag" = Option<String>, Query, description = "Only those with this tag."),
        ("status" = Option<shapes::DeviceStatus>, Query, description = "Only those that are `READY`, or `BLOCKED`."),
        ("prefix" = Option<String>, Query, description = "Only those whose id begins like this: hex digits, with or without hyphens."),
    ),
    responses((status = 200, description = "A page of them, by id.", body = shapes::Page<shapes::Device>)),
)]
async fn list_devices(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let blocked = match query.text("status").as_deref() {
        None => None,
        Some("READY") => Some(false),
        Some("BLOCKED") => Some(true),
        Some(_) => return Err(Query::wrong("status").into()),
    };
    let read = |text: String| IdPrefix::parse(&text).ok_or_else(|| Query::wrong("prefix"));
    let prefix = query.text("prefix").map(read).transpose()?;
    let page = api
        .app
        .store()
        .devices(DeviceQuery {
            view: caller.view(),
            after: query.after()?,
            limit: query.page_limit()?,
            tag: query.text("tag"),
            blocked,
            prefix,
        })
        .await?;
    Ok(listed(page, |device| shapes::device(&device)))
}

/// One claimed device
#[utoipa::path(
    get,
    path = "/claimed-devices/{id}",
    tag = "devices",
    responses((status = 200, description = "The device.", body = shapes::Device)),
)]
async fn get_device(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?;
    Ok(answer(StatusCode::OK, &shapes::device(&device)))
}

/// Unclaim a device
///
/// The service forgets it, but for the key that it had: a later claim with another key is an alarm.
#[utoipa::path(
    delete,
    path = "/claimed-devices/{id}",
    tag = "devices",
    responses((status = 204, description = "Unclaimed.")),
)]
async fn unclaim(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    api.app.unclaim(&caller, device_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Change the tags of a device, block or unblock it
#[utoipa::path(
    patch,
    path = "/claimed-devices/{id}",
    tag = "devices",
    request_body = DevicePatch,
    responses((status = 200, description = "The device as it is from then on.", body = shapes::Device)),
)]
async fn change_device(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let id = device_id(&id)?;
    let body: DevicePatch = parse(&read(body, BODY_BYTES_MAX).await?)?;
    if body.tags.is_none() && body.blocked.is_none() {
        let reason = "`tags`, `blocked`, or both are expected".to_owned();
        return Err(Refused(OwnerError::Unprocessable(reason)));
    }
    let patch = sectag_store::DevicePatch {
        tags: body.tags,
        blocked: body.blocked,
    };
    let device = api.app.change_device(&caller, id, patch).await?;
    Ok(answer(StatusCode::OK, &shapes::device(&device)))
}

/// The certificates that were issued to a device
///
/// Under this claim and earlier ones of the same team.
#[utoipa::path(
    get,
    path = "/claimed-devices/{id}/certificates",
    tag = "devices",
    responses((status = 200, description = "All of them.", body = shapes::Page<shapes::Certificate>)),
)]
async fn list_certificates(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?;
    let all = api.app.store().certificates(device.id).await?;
    // What an earlier team had is not this one's to see.
    let history = api.app.store().life_history(device.id).await?;
    let revoked = api.app.store().taken_back(device.id).await?;
    let shape = |issued: &Issued| {
        let is_it = |spki: &[u8; 32]| *spki == issued.spki_sha256;
        let mut lives = history.lives.iter();
        let life = lives.find(|life| is_it(&life.spki_sha256));
        let revoked = revoked.iter().find(|(spki, _)| is_it(spki));
        let state = life.map_or(LifeState::Issued, |life| life.state);
        life.is_none_or(|life| life.team == device.owner)
            .then(|| shapes::certificate(issued, state, revoked.map(|(_, at)| *at)))
    };
    Ok(listed_whole(all.iter().filter_map(shape).collect()))
}
