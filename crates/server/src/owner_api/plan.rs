//! What devices will get before anything runs, and reset.

use super::request::{Answer, Paging, Query, device_id, parse, read};
use super::rules::{DraftSchema, RULE_BYTES_MAX, RuleState, state};
use super::shapes::{KeptSchema, PolicySchema};
use super::{Api, BODY_BYTES_MAX, Refused, answer};
use crate::app::{self, Caller, OwnerError, PlanSource};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use sectag_proto::CommandRequest;
use sectag_proto::rules::{ErrorPolicy, Rule, RuleDraft};
use sectag_proto::service::Planned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(plan_rule))
        .routes(routes!(plan_tag))
}

/// Below `/v1` and `/v1/identities`, beside the device.
pub(super) fn of_a_device() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(plan_device, plan_device_with))
        .routes(routes!(reset))
}

/// Which devices.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlannedTag {
    /// Those that carry it.
    #[schema(min_length = 1)]
    tag: String,
}

/// What a device will get.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Plan {
    #[schema(format = "uuid")]
    device_id: String,
    /// In the order of execution.
    commands: Vec<PlannedCommand>,
    /// What it will not get, and why; each a sentence.
    problems: Vec<String>,
}

/// One command of a plan.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlannedCommand {
    source: Source,
    #[schema(required)]
    description: Option<String>,
    #[schema(value_type = KeptSchema)]
    request: CommandRequest,
    /// What the device runs, in order; secrets as digests.
    wire: Vec<WireLine>,
    #[schema(value_type = PolicySchema)]
    on_error: ErrorPolicy,
    /// What becomes of its answer, and what stands in its way; each a sentence.
    notes: Vec<String>,
}

/// Where a command comes from: exactly one of these is true or there.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Source {
    /// It is in the queue: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uuid")]
    command_id: Option<String>,
    /// Of a queued command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = String)]
    status: Option<&'static str>,
    /// The rule that made it or will.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uuid")]
    rule_id: Option<String>,
    /// Its name, when it brings the command at the next fetch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rule_name: Option<String>,
    /// Its state; a draft brings nothing until it is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rule_state: Option<RuleState>,
    /// A renewal brings it at the next fetch.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    renewal: bool,
}

/// A wire command: an AT command, settings, or the end. Exactly one member, and the codes beside `at`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WireLine {
    /// As the device builds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "AT%CMNG=3,16842753,2")]
    at: Option<String>,
    /// CME numbers that count as success.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ignore_cme_errors: Vec<u32>,
    /// Pairs for the device's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    config: Option<BTreeMap<String, String>>,
    /// Provisioning is complete.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    finished: bool,
}

/// What a fleet will get.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FleetPlan {
    /// Devices with such a tag; left out where only going through all of them would tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<u64>,
    /// Devices that this page looked at: at most 500.
    looked_at: usize,
    /// Devices among them that get the same but for what variables stand for; largest group first.
    groups: Vec<PlanGroup>,
    /// The first of them.
    items: Vec<Plan>,
    /// Sent as `pageNextToken`, it looks at the next devices; left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_next_token: Option<String>,
}

/// Devices that get the same.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlanGroup {
    /// How many.
    devices: usize,
    /// What they get, one line for each command.
    commands: Vec<String>,
    /// What they do not get, and why.
    problems: Vec<String>,
    /// One of them.
    #[schema(format = "uuid")]
    example: String,
}

/// What a reset did.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Reset {
    /// Rules that apply again.
    rules: Vec<String>,
    /// Open commands of rules, which are FAILED from then on.
    discarded: Vec<String>,
    /// Commands of rules that had ended: they are gone.
    removed: Vec<String>,
}

/// What a device will get
///
/// What is queued, and what rules and renewals bring at its next fetch; decided as the fetch will decide it. Nothing is written.
#[utoipa::path(
    get,
    path = "/claimed-devices/{id}/plan",
    tag = "rules",
    responses((status = 200, description = "The commands, exactly.", body = Plan)),
)]
async fn plan_device(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let plan = api.app.plan(&caller, device_id(&id)?, None).await?;
    Ok(answer(StatusCode::OK, &shape(plan)))
}

/// What a device would get with a further rule
///
/// As if this rule were made and active. Nothing is written.
#[utoipa::path(
    post,
    path = "/claimed-devices/{id}/plan",
    tag = "rules",
    request_body = DraftSchema,
    responses((status = 200, description = "The commands, exactly.", body = Plan)),
)]
async fn plan_device_with(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let id = device_id(&id)?;
    let draft: RuleDraft = parse(&read(body, RULE_BYTES_MAX).await?)?;
    api.app.device_of(&caller, id).await?;
    let rule = api.app.draft_of(&caller, draft).await?;
    let plan = api.app.plan(&caller, id, Some(&rule)).await?;
    Ok(answer(StatusCode::OK, &shape(plan)))
}

/// What a rule would do to a fleet
///
/// As if this rule were made and active: what it brings to each device with one of its tags, and whom it cannot reach.
/// Nothing is written.
#[utoipa::path(
    post,
    path = "/provisioning-rules/plan",
    tag = "rules",
    params(Paging),
    request_body = DraftSchema,
    responses((status = 200, description = "Groups, and the first devices.", body = FleetPlan)),
)]
async fn plan_rule(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let draft: RuleDraft = parse(&read(body, RULE_BYTES_MAX).await?)?;
    let rule = api.app.draft_of(&caller, draft).await?;
    fleet(&api, &caller, query, rule.tags.clone(), Some(&rule)).await
}

/// What the devices with a tag will get
///
/// What is queued for each, and what rules and renewals bring at its next fetch. Nothing is written.
#[utoipa::path(
    post,
    path = "/plan",
    tag = "rules",
    params(Paging),
    request_body = PlannedTag,
    responses((status = 200, description = "Groups, and the first devices.", body = FleetPlan)),
)]
async fn plan_tag(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Answer {
    let wanted: PlannedTag = parse(&read(body, BODY_BYTES_MAX).await?)?;
    if wanted.tag.is_empty() {
        let reason = "is empty".to_owned();
        return Err(Refused(OwnerError::Invalid {
            field: "tag",
            reason,
        }));
    }
    fleet(&api, &caller, query, vec![wanted.tag], None).await
}

/// A page of the plan for the devices with one of these tags.
async fn fleet(
    api: &Api,
    caller: &Caller,
    query: Option<String>,
    tags: Vec<String>,
    draft: Option<&Rule>,
) -> Answer {
    let query = Query::of(query)?;
    let (after, limit) = (query.after()?, query.page_limit()?);
    let fleet = api.app.plan_fleet(caller, tags, draft, after, limit);
    Ok(answer(StatusCode::OK, &fleet_shape(fleet.await?)))
}

/// Let the rules of a device apply again
///
/// Its rules apply at its next fetch as if it had just been claimed. Open commands of rules fail, those that ended are removed;
/// hand-made commands stay.
#[utoipa::path(
    post,
    path = "/claimed-devices/{id}/reset",
    tag = "rules",
    responses((status = 200, description = "What was done.", body = Reset)),
)]
async fn reset(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let reset = api.app.reset_device(&caller, device_id(&id)?).await?;
    let texts = |ids: &[sectag_proto::CommandId]| ids.iter().map(ToString::to_string).collect();
    Ok(answer(
        StatusCode::OK,
        &Reset {
            rules: reset.rules.iter().map(ToString::to_string).collect(),
            discarded: texts(&reset.discarded),
            removed: texts(&reset.removed),
        },
    ))
}

fn shape(plan: app::Plan) -> Plan {
    Plan {
        device_id: plan.device.to_string(),
        commands: plan.steps.into_iter().map(command).collect(),
        problems: plan.problems,
    }
}

fn command(step: app::PlanStep) -> PlannedCommand {
    let nothing = Source {
        command_id: None,
        status: None,
        rule_id: None,
        rule_name: None,
        rule_state: None,
        renewal: false,
    };
    PlannedCommand {
        source: match step.source {
            PlanSource::Queued {
                command,
                status,
                rule_id,
            } => Source {
                command_id: Some(command.to_string()),
                status: Some(status.as_str()),
                rule_id,
                ..nothing
            },
            PlanSource::Rule {
                id,
                name,
                state: is,
            } => Source {
                rule_id: Some(id.to_string()),
                rule_name: Some(name),
                rule_state: Some(state(is)),
                ..nothing
            },
            PlanSource::Renewal => Source {
                renewal: true,
                ..nothing
            },
        },
        description: step.description,
        request: step.request,
        wire: step.wire.into_iter().map(line).collect(),
        on_error: step.on_error,
        notes: step.notes,
    }
}

fn line(wire: Planned) -> WireLine {
    let nothing = WireLine {
        at: None,
        ignore_cme_errors: Vec::new(),
        config: None,
        finished: false,
    };
    match wire {
        Planned::At { line, ignored } => WireLine {
            at: Some(line),
            ignore_cme_errors: ignored,
            ..nothing
        },
        Planned::Config(pairs) => WireLine {
            config: Some(pairs.into_iter().collect()),
            ..nothing
        },
        Planned::Finished => WireLine {
            finished: true,
            ..nothing
        },
    }
}

fn fleet_shape(fleet: app::FleetPlan) -> FleetPlan {
    FleetPlan {
        total: fleet.total,
        looked_at: fleet.looked_at,
        groups: fleet
            .groups
            .into_iter()
            .map(|group| PlanGroup {
                devices: group.devices,
                commands: group.commands,
                problems: group.problems,
                example: group.example.to_string(),
            })
            .collect(),
        items: fleet.items.into_iter().map(shape).collect(),
        page_next_token: fleet.next.map(|id| id.to_string()),
    }
}
