//! The command queue of a device (spec/owner-api §3).

use super::openapi::Conflict;
use super::request::{Answer, Query, command_id, device_id, listed_whole, parse, read};
use super::shapes::{self, PolicySchema, RequestSchema};
use super::{Api, BODY_BYTES_MAX, answer};
use crate::app::{Caller, CommandPatch, Wish};
use crate::objects;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_proto::CommandRequest;
use sectag_proto::rules::ErrorPolicy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1` and `/v1/identities`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_commands, create_command, delete_commands))
        .routes(routes!(get_command, change_command, delete_command))
}

/// One command, or a set of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "which of the two it is, is seen before it is read"
)]
enum NewCommands {
    One(NewCommand),
    Set(NewSet),
}

/// A command to be queued.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewCommand {
    /// For people.
    #[schema(max_length = 1024)]
    description: Option<String>,
    #[schema(value_type = RequestSchema)]
    request: CommandRequest,
    #[serde(default)]
    #[schema(value_type = PolicySchema, required = false)]
    on_error: ErrorPolicy,
}

/// Commands to be queued together: all or none.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewSet {
    #[schema(min_items = 1)]
    commands: Vec<NewCommandOfSet>,
    #[serde(default)]
    #[schema(value_type = PolicySchema, required = false)]
    on_error: ErrorPolicy,
}

/// One of a set.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewCommandOfSet {
    /// For people.
    #[schema(max_length = 1024)]
    description: Option<String>,
    #[schema(value_type = RequestSchema)]
    request: CommandRequest,
}

/// What was queued, in the shape in which it was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Queued<'a> {
    One(shapes::Command<'a>),
    Set(shapes::Page<shapes::Command<'a>>),
}

/// What is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommandChange {
    /// Empty: none.
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// In the place of the one that is there.
    #[schema(value_type = Option<RequestSchema>)]
    request: Option<CommandRequest>,
    /// What becomes of a parked command.
    action: Option<ParkedAction>,
}

/// Deliver it again; let it fail and go on behind it; let it fail and drop what is behind it.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum ParkedAction {
    Resume,
    Skip,
    Discard,
}

/// Queue a command, or a set
///
/// It is checked as far as that can be done without the device: what no modem would take is refused. `onError` says what
/// happens when one of them fails.
#[utoipa::path(
    post,
    path = "/claimed-devices/{id}/provisioning",
    tag = "commands",
    request_body = NewCommands,
    responses((status = 201, description = "Queued.", body = Queued), Conflict),
)]
async fn create_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let device = device_id(&id)?;
    let bytes = read(body, SET_BYTES_MAX).await?;
    let is_set = objects::from_slice::<OnlyCommands>(&bytes).is_ok();
    let (set, on_error) = if is_set {
        let set: NewSet = parse(&bytes)?;
        let command = |new: NewCommandOfSet| (new.description, new.request);
        (
            set.commands.into_iter().map(command).collect(),
            set.on_error,
        )
    } else {
        let new: NewCommand = parse(&bytes)?;
        (vec![(new.description, new.request)], new.on_error)
    };
    api.app.device_of(&caller, device).await?;
    let made = api
        .app
        .create_commands(device, set, on_error, &caller)
        .await?;
    let mut items: Vec<_> = made.iter().map(|c| shapes::command(device, c)).collect();
    let queued = match items.pop() {
        Some(only) if !is_set => Queued::One(only),
        last => {
            items.extend(last);
            Queued::Set(shapes::whole(items))
        }
    };
    Ok(answer(StatusCode::CREATED, &queued))
}

/// Tells a set from a command.
#[derive(Deserialize)]
struct OnlyCommands {
    #[serde(rename = "commands")]
    _commands: serde::de::IgnoredAny,
}

/// Bytes of a set: a hundred commands, some with certificate chains.
const SET_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;

/// Change a command
///
/// One that the device has not fetched, or that is parked; others have had their effect. `action` is for parked ones.
#[utoipa::path(
    patch,
    path = "/claimed-devices/{id}/provisioning/{command}",
    tag = "commands",
    request_body = CommandChange,
    responses((status = 200, description = "Changed.", body = shapes::Command), Conflict),
)]
async fn change_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, command)): Path<(String, String)>,
    body: Body,
) -> Answer {
    let (device, command) = (device_id(&id)?, command_id(&command)?);
    let change: CommandChange = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let patch = CommandPatch {
        description: change.description,
        request: change.request,
        action: change.action.map(|action| match action {
            ParkedAction::Resume => Wish::Resume,
            ParkedAction::Skip => Wish::Skip,
            ParkedAction::Discard => Wish::Discard,
        }),
    };
    let command = api
        .app
        .change_command(&caller, device, command, patch)
        .await?;
    Ok(answer(StatusCode::OK, &shapes::command(device, &command)))
}

/// The commands of a device
///
/// In the order of the queue; those that ended as well, until they are deleted.
#[utoipa::path(
    get,
    path = "/claimed-devices/{id}/provisioning",
    tag = "commands",
    responses((status = 200, description = "All of them.", body = shapes::Page<shapes::Command>)),
)]
async fn list_commands(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = device_id(&id)?;
    let commands = api.app.commands(&caller, device).await?;
    let commands = commands.iter().map(|c| shapes::command(device, c));
    Ok(listed_whole(commands.collect()))
}

/// One command
#[utoipa::path(
    get,
    path = "/claimed-devices/{id}/provisioning/{command}",
    tag = "commands",
    responses((status = 200, description = "The command.", body = shapes::Command)),
)]
async fn get_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, command)): Path<(String, String)>,
) -> Answer {
    let (device, command) = (device_id(&id)?, command_id(&command)?);
    let command = api.app.command(&caller, device, command).await?;
    Ok(answer(StatusCode::OK, &shapes::command(device, &command)))
}

/// Delete a command
///
/// One that the device has fetched needs `force`: the device may be executing it.
#[utoipa::path(
    delete,
    path = "/claimed-devices/{id}/provisioning/{command}",
    tag = "commands",
    params(("force" = Option<bool>, Query, description = "Also one that the device has fetched.")),
    responses((status = 204, description = "Deleted."), Conflict),
)]
async fn delete_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, command)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let force = Query::of(query)?.flag("force")?;
    let device = api.app.device_of(&caller, device_id(&id)?).await?.id;
    api.app
        .delete_command(device, command_id(&command)?, force, &caller)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Delete all commands of a device
///
/// If the device has fetched one of them and not reported it, nothing is deleted without `force`.
#[utoipa::path(
    delete,
    path = "/claimed-devices/{id}/provisioning",
    tag = "commands",
    params(("force" = Option<bool>, Query, description = "Also those that the device has fetched.")),
    responses((status = 204, description = "Deleted, or there were none."), Conflict),
)]
async fn delete_commands(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let force = Query::of(query)?.flag("force")?;
    let device = api.app.device_of(&caller, device_id(&id)?).await?.id;
    api.app.delete_commands(device, force, &caller).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
