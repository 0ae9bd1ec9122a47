//! Alarms: entries of the audit trail that somebody should look at, until somebody says that he did.

use super::openapi::{Conflict, Unknown};
use super::request::{Answer, Paging, Query, listed, no_such};
use super::{Api, Refused, shapes};
use crate::app::{Caller, OwnerError};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_proto::DeviceId;
use sectag_store::{AlarmRecord, AuditScope, Page, Role};
use serde::Serialize;
use std::collections::HashMap;
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
/// The latest first; of devices, those that the API key sees. `total` is there for keys that see all of them.
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
    let asked = Asked {
        scope: AuditScope {
            service: api.app.is_home(&caller.team),
            team: caller.team.clone(),
        },
        open_only: !query.flag("all")?,
        limit: query.page_limit()?,
    };
    let before = query.after()?;
    let page = match sees_all(&caller) {
        true => asked.page(&api, before).await?,
        false => asked.narrowed(&api, &caller, before).await?,
    };
    Ok(listed(page, shape))
}

/// Which alarms, and how many of them.
struct Asked {
    scope: AuditScope,
    open_only: bool,
    limit: usize,
}

type Alarms = Page<AlarmRecord, u64, Option<u64>>;

impl Asked {
    async fn page(self, api: &Api, before: Option<u64>) -> Result<Alarms, Refused> {
        let store = api.app.store();
        let page = store
            .alarms(self.scope, self.open_only, before, self.limit)
            .await?;
        Ok(Page {
            items: page.items,
            next: page.next,
            total: Some(page.total),
        })
    }

    /// Of them, those that the key sees. Neither the total nor the end of a page tells that there are others.
    async fn narrowed(
        self,
        api: &Api,
        caller: &Caller,
        mut before: Option<u64>,
    ) -> Result<Alarms, Refused> {
        let mut page = Page {
            items: Vec::new(),
            next: None,
            total: None,
        };
        let mut seen = HashMap::new();
        for _ in 0..LOOKS_MAX {
            let looked_at = api
                .app
                .store()
                .alarms(self.scope.clone(), self.open_only, before, LOOK_AT)
                .await?;
            for alarm in looked_at.items {
                let device = alarm.record.event.device;
                let sees = match seen.get(&device) {
                    Some(known) => *known,
                    None => may_see(api, caller, device).await?,
                };
                seen.insert(device, sees);
                if sees && page.items.len() == self.limit {
                    page.next = page.items.last().map(number);
                    return Ok(page);
                }
                page.items.extend(sees.then_some(alarm));
            }
            before = looked_at.next;
            if before.is_none() {
                return Ok(page);
            }
        }
        page.next = before;
        Ok(page)
    }
}

/// Alarms that are read at once to find those that a key sees.
const LOOK_AT: usize = 500;
/// How often that is done for one page, so that it costs no more than some hundred milliseconds. Who sees none of so many gets
/// a short page and goes on from there.
const LOOKS_MAX: usize = 20;

const fn number(alarm: &AlarmRecord) -> u64 {
    alarm.record.number
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
    let unknown = || no_such("alarm", &number);
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
    let Some(device) = device.filter(|_| !sees_all(caller)) else {
        return Ok(caller.scope.is_empty());
    };
    let found = api.app.store().device(device).await?;
    Ok(found.is_some_and(|device| caller.sees(&device)))
}

/// Also what is about devices that are not claimed any more.
fn sees_all(caller: &Caller) -> bool {
    caller.scope.is_empty() && caller.role >= Role::Admin
}
