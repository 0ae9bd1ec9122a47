//! One function per call: parse, ask the application, shape the answer.

use super::{Api, BODY_BYTES_MAX, BULK_BYTES_MAX, Refused, answer, csv, shapes};
use crate::app::{BULK_ROWS_MAX, Caller, ClaimRequest, Claimed, OwnerError};
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sectag_proto::es256::Kid;
use sectag_proto::{CommandId, CommandRequest, DeviceId};
use sectag_store::{DeviceQuery, Role};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::HashMap;

pub(super) type Answer = Result<Response, Refused>;

const PAGE_LIMIT: usize = 10;
const PAGE_LIMIT_MAX: usize = 100;

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommandBody {
    description: Option<String>,
    request: CommandRequest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyBody {
    name: String,
    role: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AllowBody {
    key_id: String,
}

pub(super) async fn claim(
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

pub(super) async fn list_devices(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
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

pub(super) async fn get_device(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let device = api.app.device(device_id(&id)?).await?;
    Ok(answer(StatusCode::OK, &shapes::device(&device)))
}

pub(super) async fn unclaim(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    api.app.unclaim(device_id(&id)?, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn change_device(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let id = device_id(&id)?;
    let patch: DevicePatch = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let device = api
        .app
        .change_device(id, patch.tags, patch.blocked, &caller.name)
        .await?;
    Ok(answer(StatusCode::OK, &shapes::device(&device)))
}

pub(super) async fn list_certificates(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let all = api.app.store().certificates(device_id(&id)?).await?;
    let items: Vec<_> = all.iter().map(shapes::certificate).collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}

pub(super) async fn create_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let device = device_id(&id)?;
    let body: CommandBody = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let command = api
        .app
        .create_command(device, body.description, body.request, &caller.name)
        .await?;
    Ok(answer(
        StatusCode::CREATED,
        &shapes::command(&device.to_string(), &command),
    ))
}

pub(super) async fn list_commands(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let device = device_id(&id)?;
    let commands = api.app.commands(device).await?;
    let items: Vec<_> = commands
        .iter()
        .map(|command| shapes::command(&device.to_string(), command))
        .collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}

pub(super) async fn get_command(
    State(api): State<Api>,
    Path((id, command)): Path<(String, String)>,
) -> Answer {
    let device = device_id(&id)?;
    let command = api.app.command(device, command_id(&command)?).await?;
    Ok(answer(
        StatusCode::OK,
        &shapes::command(&device.to_string(), &command),
    ))
}

pub(super) async fn delete_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, command)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let force = Query::of(query)?.flag("force")?;
    api.app
        .delete_command(device_id(&id)?, command_id(&command)?, force, &caller.name)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn delete_commands(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let force = Query::of(query)?.flag("force")?;
    api.app
        .delete_commands(device_id(&id)?, force, &caller.name)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn list_keys(State(api): State<Api>) -> Answer {
    let keys = api.app.store().keys().await?;
    let items: Vec<_> = keys.iter().map(shapes::key).collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}

pub(super) async fn create_key(
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
    let mut shape = shapes::key(&key);
    // The only time that this text leaves the service.
    shape["key"] = json!(text.0.expose());
    Ok(answer(StatusCode::CREATED, &shape))
}

pub(super) async fn revoke_key(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer {
    api.app.revoke_key(&name, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn list_allowed(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
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

pub(super) async fn allow(
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

pub(super) async fn disallow(
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

pub(super) async fn list_audit(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::of(query)?;
    let device = query.text("device").map(|id| device_id(&id)).transpose()?;
    let before = match query.text("pageNextToken") {
        Some(token) => Some(
            token
                .parse::<u64>()
                .map_err(|_| Query::wrong("pageNextToken"))?,
        ),
        None => None,
    };
    let page = api
        .app
        .store()
        .audit(device, before, query.page_limit()?)
        .await?;
    let items = page.items.iter().map(shapes::audit).collect();
    Ok(answer(
        StatusCode::OK,
        &shapes::page(items, page.total, page.next.map(|n| n.to_string())),
    ))
}

pub(super) async fn status(State(api): State<Api>) -> Answer {
    let mut facts = (api.facts)();
    let devices = api.app.store().devices(DeviceQuery::first(1)).await?.total;
    let blocked = api
        .app
        .store()
        .devices(DeviceQuery {
            blocked: Some(true),
            ..DeviceQuery::first(1)
        })
        .await?
        .total;
    facts["devices"] = json!({ "claimed": devices, "blocked": blocked });
    facts["time"] = json!(shapes::moment(api.app.now()));
    Ok(answer(StatusCode::OK, &facts))
}

pub(super) async fn healthz(State(api): State<Api>) -> Answer {
    // A read through the store: alive means able to answer, not only able to accept.
    api.app.store().devices(DeviceQuery::first(1)).await?;
    Ok(answer(StatusCode::OK, &json!({ "status": "ok" })))
}

async fn read(body: Body, max: usize) -> Result<axum::body::Bytes, Refused> {
    to_bytes(body, max).await.map_err(|e| {
        let too_large = std::error::Error::source(&e)
            .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
        Refused(if too_large {
            OwnerError::TooLarge { max }
        } else {
            OwnerError::Malformed("the body ended early".to_owned())
        })
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(bytes).map_err(|e| {
        let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
        Refused(if e.is_data() {
            OwnerError::Unprocessable(e.to_string())
        } else if is_json() {
            // A command request that is empty, or has more than one member.
            OwnerError::Unprocessable(format!(
                "an object with exactly one member, named after the command, is expected ({e})"
            ))
        } else {
            OwnerError::Malformed(format!("not JSON: {e}"))
        })
    })
}

fn device_id(text: &str) -> Result<DeviceId, Refused> {
    text.parse().map_err(|_| {
        Refused(OwnerError::NotFound {
            what: "claimed device",
            id: text.chars().filter(|c| !c.is_control()).take(64).collect(),
        })
    })
}

fn command_id(text: &str) -> Result<CommandId, Refused> {
    text.parse().map_err(|_| {
        Refused(OwnerError::NotFound {
            what: "command",
            id: text.chars().filter(|c| !c.is_control()).take(64).collect(),
        })
    })
}

/// Query parameters by name; unknown ones are not ours.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(raw: Option<String>) -> Result<Self, OwnerError> {
        let wrong = || OwnerError::Malformed("the query cannot be read".to_owned());
        let uri: Uri = format!("/?{}", raw.unwrap_or_default())
            .parse()
            .map_err(|_| wrong())?;
        let pairs = axum::extract::Query::try_from_uri(&uri).map_err(|_| wrong())?;
        Ok(Self(pairs.0))
    }

    pub(super) fn wrong(name: &'static str) -> OwnerError {
        OwnerError::Malformed(format!("query parameter `{name}` has no such value"))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    fn flag(&self, name: &'static str) -> Result<bool, OwnerError> {
        match self
            .0
            .get(name)
            .map(|value| value.to_ascii_lowercase())
            .as_deref()
        {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(Self::wrong(name)),
        }
    }

    fn page_limit(&self) -> Result<usize, OwnerError> {
        match self.text("pageLimit") {
            None => Ok(PAGE_LIMIT),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if limit > 0 => Ok(limit.min(PAGE_LIMIT_MAX)),
                _ => Err(Self::wrong("pageLimit")),
            },
        }
    }
}
