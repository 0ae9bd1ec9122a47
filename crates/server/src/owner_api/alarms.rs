//! Alarms: entries of the audit trail that somebody should look at, until somebody says that he did.

use super::openapi::{Conflict, Unknown};
use super::request::{Answer, Paging, Query};
use super::{Api, Refused, answer, shapes};
use crate::app::{Caller, OwnerError};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_proto::DeviceId;
use sectag_store::{AlarmRecord, AuditScope, Role};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_alarms))
        .routes(routes!(acknowledge))
}

/// Something that somebody should look at.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Alarm {
    /// Of its entry in the audit trail.
    number: u64,
    at: shapes::Moment,
    /// What raised it.
    #[schema(example = "clone-alarm")]
    alarm: String,
    #[schema(required, format = "uuid")]
    device_id: Option<String>,
    #[schema(required, format = "uuid")]
    command_id: Option<String>,
    /// In words, with the facts.
    detail: String,
    /// When somebody said that he looked at it.
    #[schema(required)]
    acknowledged_at: Option<shapes::Moment>,
    /// Who did.
    #[schema(required)]
    acknowledged_by: Option<String>,
}

fn shape(alarm: AlarmRecord) -> Alarm {
    let event = alarm.record.event;
    let (at, by) = alarm.acknowledged.unzip();
    Alarm {
        number: alarm.record.number,
        at: shapes::Moment(event.at),
        alarm: event.action,
        device_id: event.device.map(|id| id.to_string()),
        command_id: event.command.map(|id| id.to_string()),
        detail: event.detail,
        acknowledged_at: at.map(shapes::Moment),
        acknowledged_by: by,
    }
}

/// Alarms
///
/// The latest first; of devices, those that the API key sees.
#[utoipa::path(
    get,
    path = "/alarms",
    tag = "evidence",
    params(Paging, ("all" = Option<bool>, Query, description = "Also those that were acknowledged.")),
    responses((status = 200, description = "A page of them.", body = shapes::Page<Alarm>)),
)]
async fn list_alarms(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    let before = match query.text("pageNextToken") {
        Some(token) => Some(
            token
                .parse::<u64>()
                .map_err(|_| Query::wrong("pageNextToken"))?,
        ),
        None => None,
    };
    let open_only = !query.flag("all")?;
    let scope = AuditScope {
        service: api.app.is_home(&caller.team),
        team: caller.team.clone(),
    };
    let limit = query.page_limit()?;
    let page = api
        .app
        .store()
        .alarms(scope, open_only, before, limit)
        .await?;
    let mut items = Vec::new();
    for alarm in page.items {
        if may_see(&api, &caller, alarm.record.event.device).await? {
            items.push(shape(alarm));
        }
    }
    let next = page.next.map(|number| number.to_string());
    let page = shapes::page(items, page.total, next);
    Ok(answer(StatusCode::OK, &page))
}

/// Say that an alarm was looked at
///
/// It stays in the audit trail, with an entry that says who looked.
#[utoipa::path(
    post,
    path = "/alarms/{number}/ack",
    tag = "evidence",
    params(("number" = u64, Path, description = "Of the alarm.")),
    responses((status = 204, description = "It was not acknowledged before."), Unknown, Conflict),
)]
async fn acknowledge(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(number): Path<String>,
) -> Answer {
    let unknown = || {
        Refused(OwnerError::NotFound {
            what: "alarm",
            id: number
                .chars()
                .filter(|c| !c.is_control())
                .take(64)
                .collect(),
        })
    };
    let parsed: u64 = number.parse().map_err(|_| unknown())?;
    let store = api.app.store();
    let alarm = store.alarm(parsed).await?.ok_or_else(unknown)?;
    let event = &alarm.record.event;
    let ours = match &event.team {
        Some(team) => *team == caller.team,
        None => api.app.is_home(&caller.team),
    };
    if !ours || !may_see(&api, &caller, event.device).await? {
        return Err(unknown());
    }
    let now = api.app.now();
    if store.acknowledge_alarm(parsed, &caller.name, now).await? {
        tracing::info!(number = parsed, by = %caller.name, "alarm acknowledged");
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let by = alarm.acknowledged.map_or_else(String::new, |(_, by)| by);
    Err(Refused(OwnerError::Exists(format!(
        "alarm {parsed} was acknowledged before, by `{by}`"
    ))))
}

/// Of devices, those that the key sees; of the rest everything, unless the key is for certain devices.
async fn may_see(api: &Api, caller: &Caller, device: Option<DeviceId>) -> Result<bool, Refused> {
    let Some(device) = device else {
        return Ok(caller.scope.is_empty());
    };
    if caller.scope.is_empty() && caller.role >= Role::Admin {
        return Ok(true);
    }
    let found = api.app.store().device(device).await?;
    Ok(found.is_some_and(|device| caller.sees(&device)))
}
