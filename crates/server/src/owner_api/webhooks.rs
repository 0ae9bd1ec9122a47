//! Webhooks: where events are sent (docs/reference/webhooks.md).

use super::openapi::Conflict;
use super::request::{Answer, listed_whole, no_such, parse, read};
use super::{Api, BODY_BYTES_MAX, Refused, answer, shapes};
use crate::app::{Caller, OwnerError};
use crate::webhooks::{SECRET_CHARS, Webhooks};
use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use sectag_proto::secret::SecretText;
use sectag_store::{AddWebhookError, EVENT_KINDS, Webhook, WebhookChange};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_webhooks, create_webhook))
        .routes(routes!(get_webhook, change_webhook, remove_webhook))
        .routes(routes!(test_webhook))
}

/// A webhook to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewWebhook)]
struct Asked {
    /// `https`, or `http` within the own network.
    #[schema(example = "https://receiver.example/sectag", max_length = 1024)]
    url: String,
    /// Kinds of events; none for all.
    #[serde(default)]
    #[schema(example = json!(["alarm", "certificate"]))]
    kinds: Vec<String>,
    /// What deliveries are signed with, 16 to 256 characters; made when left out.
    #[schema(value_type = Option<String>, min_length = 16, max_length = 256)]
    #[serde(default, deserialize_with = "secret")]
    secret: Option<SecretText>,
}

/// What of a webhook is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = WebhookChange)]
struct Patch {
    #[schema(max_length = 1024)]
    url: Option<String>,
    kinds: Option<Vec<String>>,
    /// Nothing is sent until it is false again; nothing is lost either.
    paused: Option<bool>,
    /// Another secret.
    #[schema(value_type = Option<String>, min_length = 16, max_length = 256)]
    #[serde(default, deserialize_with = "secret")]
    secret: Option<SecretText>,
}

fn secret<'de, D: Deserializer<'de>>(given: D) -> Result<Option<SecretText>, D::Error> {
    Ok(Option::<String>::deserialize(given)?.map(SecretText::new))
}

/// Where events are sent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
struct Shown {
    #[schema(format = "uuid")]
    id: String,
    url: String,
    kinds: Vec<String>,
    paused: bool,
    created_at: shapes::Moment,
    created_by: String,
    /// `healthy`, `failing`, `parked` (failing for days: tried rarely), `paused`.
    state: &'static str,
    /// The number of the last event that was taken or passed over.
    cursor: u64,
    /// Events behind it, of whatever kind.
    behind: u64,
    /// Attempts in vain since the last success.
    attempts: u32,
    #[schema(required)]
    failing_since: Option<shapes::Moment>,
    /// Why the last attempt failed.
    #[schema(required)]
    last_error: Option<String>,
    #[schema(required)]
    last_delivered_at: Option<shapes::Moment>,
    /// Shown once: when it was made, or changed by the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
}

/// How a test went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Tested {
    /// Whether the receiver took it.
    delivered: bool,
    /// Of the answer, when it was taken.
    #[schema(required)]
    status: Option<u16>,
    /// Why it was not taken.
    #[schema(required)]
    error: Option<String>,
    /// Milliseconds.
    took_ms: u64,
}

fn shape(api: &Api, webhook: Webhook, secret: Option<&SecretText>) -> Shown {
    let newest = *api.evidence.hub.newest().borrow();
    let health = webhook.health;
    Shown {
        state: match () {
            () if webhook.paused => "paused",
            () if health.parked_at.is_some() => "parked",
            () if health.failing_since.is_some() => "failing",
            () => "healthy",
        },
        id: webhook.id,
        url: webhook.url,
        kinds: webhook.kinds,
        paused: webhook.paused,
        created_at: shapes::Moment(webhook.created_at),
        created_by: webhook.created_by,
        cursor: webhook.cursor,
        behind: newest.saturating_sub(webhook.cursor),
        attempts: health.attempts,
        failing_since: health.failing_since.map(shapes::Moment),
        last_error: health.last_error,
        last_delivered_at: webhook.last_delivered_at.map(shapes::Moment),
        secret: secret.map(|secret| secret.expose().clone()),
    }
}

/// Webhooks
///
/// All of the team's, without their secrets.
#[utoipa::path(
    get,
    path = "/webhooks",
    tag = "evidence",
    responses((status = 200, description = "All of them.", body = shapes::Page<Shown>)),
)]
async fn list_webhooks(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Answer {
    let all = api.app.store().webhooks().await?;
    let ours = all.into_iter().filter(|known| known.team == caller.team);
    let items = ours.map(|known| shape(&api, known, None));
    Ok(listed_whole(items.collect()))
}

/// Send events somewhere
///
/// From this moment on. Each event is one POST, signed with the secret, in order, again and again until it is answered with
/// 2xx. The secret is shown in this answer and never again.
#[utoipa::path(
    post,
    path = "/webhooks",
    tag = "evidence",
    request_body = Asked,
    responses((status = 201, description = "Made.", body = Shown), Conflict),
)]
async fn create_webhook(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let asked: Asked = parse(&read(body, BODY_BYTES_MAX).await?)?;
    checked_url(&api, &caller, &asked.url)?;
    let kinds = checked_kinds(asked.kinds)?;
    let secret = match asked.secret {
        Some(secret) => checked_secret(secret)?,
        None => Webhooks::secret().map_err(|e| OwnerError::Invalid {
            field: "secret",
            reason: format!("no random numbers: {e}"),
        })?,
    };
    let webhook = Webhook {
        id: uuid::Uuid::new_v4().to_string(),
        team: caller.team,
        url: asked.url,
        kinds,
        created_at: api.app.now(),
        created_by: caller.name,
        paused: false,
        cursor: *api.app.store().newest_event().borrow(),
        health: Default::default(),
        last_delivered_at: None,
    };
    let (store, new, sealed) = (api.app.store().clone(), webhook.clone(), secret.clone());
    let adding = async move { store.add_webhook(new, sealed).await };
    let added = api.evidence.webhooks.changing(&webhook.id, adding).await;
    added.map_err(|e| match e {
        AddWebhookError::TooMany => OwnerError::Exists(e.to_string()),
        // The key went with its team.
        AddWebhookError::NoTeam => OwnerError::Unauthorized,
        AddWebhookError::Store(e) => e.into(),
    })?;
    tracing::info!(webhook = %webhook.id, place = webhook.place(), by = %webhook.created_by, "webhook added");
    let shown = shape(&api, webhook, Some(&secret));
    Ok(answer(StatusCode::CREATED, &shown))
}

/// One webhook
#[utoipa::path(
    get,
    path = "/webhooks/{id}",
    tag = "evidence",
    params(WebhookId),
    responses((status = 200, description = "How it is doing.", body = Shown)),
)]
async fn get_webhook(State(api): State<Api>, Named(known): Named) -> Answer {
    Ok(answer(StatusCode::OK, &shape(&api, known, None)))
}

/// Change a webhook
///
/// One that was failing is tried again at once.
#[utoipa::path(
    patch,
    path = "/webhooks/{id}",
    tag = "evidence",
    params(WebhookId),
    request_body = Patch,
    responses((status = 200, description = "As it is from now on.", body = Shown)),
)]
async fn change_webhook(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Named(known): Named,
    body: Body,
) -> Answer {
    let patch: Patch = parse(&read(body, BODY_BYTES_MAX).await?)?;
    if let Some(url) = &patch.url {
        checked_url(&api, &caller, url)?;
    }
    let change = WebhookChange {
        url: patch.url,
        kinds: patch.kinds.map(checked_kinds).transpose()?,
        paused: patch.paused,
        secret: patch.secret.map(checked_secret).transpose()?,
    };
    let (store, now, id) = (api.app.store().clone(), api.app.now(), known.id.clone());
    let changing = async move { store.change_webhook(&id, change, &caller.name, now).await };
    let changed = api.evidence.webhooks.changing(&known.id, changing).await?;
    let known = changed.ok_or_else(|| unknown(&known.id))?;
    Ok(answer(StatusCode::OK, &shape(&api, known, None)))
}

/// Remove a webhook
#[utoipa::path(
    delete,
    path = "/webhooks/{id}",
    tag = "evidence",
    params(WebhookId),
    responses((status = 204, description = "Nothing is sent there any more.")),
)]
async fn remove_webhook(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Named(known): Named,
) -> Answer {
    let (store, now, id) = (api.app.store().clone(), api.app.now(), known.id.clone());
    let removing = async move { store.remove_webhook(&id, &caller.name, now).await };
    if !api.evidence.webhooks.changing(&known.id, removing).await? {
        return Err(unknown(&known.id));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Try a webhook
///
/// Sends an event of the kind `test` at once and once, and says how that went.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/test",
    tag = "evidence",
    params(WebhookId),
    responses((status = 200, description = "How it went.", body = Tested)),
)]
async fn test_webhook(State(api): State<Api>, Named(known): Named) -> Answer {
    let tried = api.evidence.webhooks.test(&known).await?;
    let tested = Tested {
        delivered: tried.outcome.is_ok(),
        status: tried.outcome.as_ref().ok().copied(),
        error: tried.outcome.err(),
        took_ms: u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX),
    };
    Ok(answer(StatusCode::OK, &tested))
}

/// Which webhook.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "declared here, read by [`Named`]")]
struct WebhookId {
    /// Of the webhook.
    #[param(format = "uuid")]
    id: String,
}

/// The webhook that the path names, if it is of the caller's team.
struct Named(Webhook);

impl FromRequestParts<Api> for Named {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        let id = Path::<String>::from_request_parts(parts, api).await;
        let Path(id) = id.map_err(|_| OwnerError::UnknownPath)?;
        let caller = parts.extensions.get::<Caller>();
        let team = caller.ok_or(OwnerError::Unauthorized)?.team.clone();
        let known = api.app.store().webhook(&id).await?;
        let ours = known.filter(|known| known.team == team);
        ours.map(Self).ok_or_else(|| unknown(&id))
    }
}

fn unknown(id: &str) -> Refused {
    no_such("webhook", id)
}

fn checked_url(api: &Api, caller: &Caller, url: &str) -> Result<(), Refused> {
    let judged = api.evidence.webhooks.check(url, &caller.team);
    judged.map_err(|reason| {
        Refused(OwnerError::Invalid {
            field: "url",
            reason,
        })
    })
}

fn checked_kinds(kinds: Vec<String>) -> Result<Vec<String>, Refused> {
    let mut checked: Vec<String> = Vec::new();
    for kind in kinds {
        if !EVENT_KINDS.contains(&kind.as_str()) {
            return Err(Refused(OwnerError::Invalid {
                field: "kinds",
                reason: format!("a kind is one of {}", EVENT_KINDS.join(", ")),
            }));
        }
        if !checked.contains(&kind) {
            checked.push(kind);
        }
    }
    Ok(checked)
}

fn checked_secret(secret: SecretText) -> Result<SecretText, Refused> {
    let text = secret.expose();
    let fits = SECRET_CHARS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        return Ok(secret);
    }
    Err(Refused(OwnerError::Invalid {
        field: "secret",
        reason: format!(
            "{} to {} printable ASCII characters without blanks",
            SECRET_CHARS.start(),
            SECRET_CHARS.end()
        ),
    }))
}
