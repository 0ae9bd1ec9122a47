//! Rules (spec/owner-api §5). The vendor's tools send and read what is there without `onError`, `issue` and `renewal`.

use super::openapi::{Conflict, Unprocessable};
use super::request::{Answer, Paging, Query, id, listed, parse, read};
use super::shapes::{self, KeptSchema, Moment, PolicySchema, RequestSchema, closed};
use super::{Api, Refused, answer};
use crate::app::{Caller, RulePatch};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_proto::rules::{self, ErrorPolicy, RuleCommand, RuleDraft};
use sectag_proto::{CommandRequest, RuleId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Bytes of a rule: a hundred commands, some with certificate chains.
pub(super) const RULE_BYTES_MAX: usize = 512 * 1024;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_rules, create_rule))
        .routes(routes!(get_rule, change_rule, delete_rule))
        .routes(routes!(activate_rule))
}

/// A rule to be made. Texts may hold variables: `{{device.id}}`, `{{device.imei}}`, `{{device.type}}`, `{{team.prefix}}`,
/// `{{tag.NAME}}`.
// The schema of `RuleDraft`, which `proto` reads and which knows no OpenAPI.
#[derive(ToSchema)]
#[schema(as = NewRule, rename_all = "camelCase")]
#[expect(dead_code, reason = "the schema of another type")]
pub(super) struct DraftSchema {
    /// Unique in the team.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// For people.
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// Activates it at once.
    #[schema(required = false, default = false)]
    active: bool,
    /// It is for the devices that carry one of these; an active rule has at least one.
    #[schema(required = false, max_items = 20)]
    tags: Vec<String>,
    /// In the order of execution. `finished` is the last one, or left out: the service appends it.
    #[schema(min_items = 1)]
    commands: Vec<NewRuleCommand>,
    #[schema(value_type = PolicySchema, required = false)]
    on_error: ErrorPolicy,
    #[schema(value_type = RenewalSchema)]
    renewal: Option<()>,
}

/// One command of a rule.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of another type")]
struct NewRuleCommand {
    /// For people.
    #[schema(max_length = 1024)]
    description: Option<String>,
    #[schema(value_type = RequestSchema)]
    request: CommandRequest,
}

/// What is to be changed of a draft; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleChange {
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// Empty: none.
    #[schema(max_length = 1024)]
    description: Option<String>,
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    #[schema(value_type = Option<Vec<NewRuleCommand>>, min_items = 1)]
    commands: Option<Vec<RuleCommand>>,
    #[schema(value_type = Option<PolicySchema>)]
    on_error: Option<ErrorPolicy>,
    /// Null: no renewal.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<RenewalSchema>)]
    renewal: Option<Option<rules::Renewal>>,
    /// `true` activates it.
    active: Option<bool>,
}

/// A member that is there, be it null.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// A rule.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    #[schema(required)]
    description: Option<String>,
    state: RuleState,
    /// Whether it is ACTIVE.
    active: bool,
    tags: Vec<String>,
    commands: Vec<KeptCommand>,
    #[schema(value_type = PolicySchema)]
    on_error: ErrorPolicy,
    #[schema(value_type = Option<RenewalSchema>, required)]
    renewal: Option<rules::Renewal>,
    created_at: Moment,
    #[schema(required)]
    activated_at: Option<Moment>,
}

/// A draft applies to no device and can be changed; an active rule applies and cannot.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum RuleState {
    Draft,
    Active,
}

/// A command of a rule; secrets are shown as digests.
#[derive(Serialize, ToSchema)]
#[schema(as = RuleCommand)]
struct KeptCommand {
    #[schema(required)]
    description: Option<String>,
    #[schema(value_type = KeptSchema)]
    request: CommandRequest,
}

/// How certificates of the closed loop are renewed; docs/reference/renewal.md.
pub(super) struct RenewalSchema;

impl PartialSchema for RenewalSchema {
    fn schema() -> RefOr<Schema> {
        let percent = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(rules::RENEW_AT_PERCENT_MAX))
            .default(Some(json!(rules::RENEW_AT_PERCENT_DEFAULT)))
            .description(Some(
                "Percent of its life after which a certificate is renewed.",
            ));
        let tag = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(i32::MAX));
        let alternate = closed().property("secTag", tag).required("secTag");
        let into = OneOfBuilder::new()
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(["inPlace"])),
            )
            .item(
                closed()
                    .property("alternate", alternate)
                    .required("alternate"),
            )
            .description(Some(
                "Where the new key and certificate go: the same sec tag, or another one, so that the old pair works until the new one is proven.",
            ));
        closed()
            .property("atPercent", percent)
            .property("into", into)
            .description(Some(
                "Certificates that the rule's closed loop issued are renewed.",
            ))
            .into()
    }
}

impl ToSchema for RenewalSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("RuleRenewal")
    }
}

pub(super) fn shape(rule: rules::Rule) -> Rule {
    Rule {
        id: rule.id.to_string(),
        name: rule.name,
        description: rule.description,
        state: state(rule.state),
        active: rule.state == rules::RuleState::Active,
        tags: rule.tags,
        commands: rule
            .commands
            .into_iter()
            .map(|mut command| {
                command.request.erase_secrets();
                KeptCommand {
                    description: command.description,
                    request: command.request,
                }
            })
            .collect(),
        on_error: rule.on_error,
        renewal: rule.renewal,
        created_at: Moment(rule.created_at),
        activated_at: rule.activated_at.map(Moment),
    }
}

pub(super) const fn state(state: rules::RuleState) -> RuleState {
    match state {
        rules::RuleState::Draft => RuleState::Draft,
        rules::RuleState::Active => RuleState::Active,
    }
}

/// The team's rules
///
/// In the order of their creation, in which they apply.
#[utoipa::path(
    get,
    path = "/provisioning-rules",
    tag = "rules",
    params(Paging),
    responses((status = 200, description = "A page of them.", body = shapes::Page<Rule>)),
)]
async fn list_rules(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::of(query)?;
    // The vendor's tools look for their rule on the first page, and know no other.
    let limit = query.page_limit_or(LIST_LIMIT)?;
    let page = api.app.rules(&caller, query.after()?, limit).await?;
    Ok(listed(page, shape))
}

/// Rules on a page when nobody says how many.
const LIST_LIMIT: usize = 100;

/// Make a rule
///
/// It is checked with sample values for its variables: what no device could take is refused, with its place.
#[utoipa::path(
    post,
    path = "/provisioning-rules",
    tag = "rules",
    request_body = DraftSchema,
    responses((status = 201, description = "Made.", body = Rule), Conflict),
)]
async fn create_rule(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    let draft: RuleDraft = parse(&read(body, RULE_BYTES_MAX).await?)?;
    let rule = api.app.create_rule(&caller, draft).await?;
    Ok(answer(StatusCode::CREATED, &shape(rule)))
}

/// One rule
#[utoipa::path(
    get,
    path = "/provisioning-rules/{id}",
    tag = "rules",
    responses((status = 200, description = "The rule.", body = Rule)),
)]
async fn get_rule(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let rule = api.app.rule(&caller, rule_id(&id)?).await?;
    Ok(answer(StatusCode::OK, &shape(rule)))
}

/// Change a draft
///
/// An active rule cannot be changed: delete it and make another one.
#[utoipa::path(
    patch,
    path = "/provisioning-rules/{id}",
    tag = "rules",
    request_body = RuleChange,
    responses((status = 200, description = "Changed.", body = Rule), Conflict),
)]
async fn change_rule(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let id = rule_id(&id)?;
    let change: RuleChange = parse(&read(body, RULE_BYTES_MAX).await?)?;
    let patch = RulePatch {
        name: change.name,
        description: change.description,
        tags: change.tags,
        commands: change.commands,
        on_error: change.on_error,
        renewal: change.renewal,
        active: change.active,
    };
    let rule = api.app.change_rule(&caller, id, patch).await?;
    Ok(answer(StatusCode::OK, &shape(rule)))
}

/// Activate a draft
///
/// From here on it applies to each device with one of its tags when that device shows up, once.
#[utoipa::path(
    post,
    path = "/provisioning-rules/{id}/activate",
    tag = "rules",
    responses((status = 200, description = "It is active.", body = Rule), Conflict, Unprocessable),
)]
async fn activate_rule(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let rule = api.app.activate_rule(&caller, rule_id(&id)?).await?;
    Ok(answer(StatusCode::OK, &shape(rule)))
}

/// Delete a rule
///
/// Commands that it queued stay queued.
#[utoipa::path(
    delete,
    path = "/provisioning-rules/{id}",
    tag = "rules",
    responses((status = 204, description = "Deleted.")),
)]
async fn delete_rule(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    api.app.delete_rule(&caller, rule_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn rule_id(text: &str) -> Result<RuleId, Refused> {
    id("rule", text)
}
