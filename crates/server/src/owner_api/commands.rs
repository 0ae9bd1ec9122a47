//! The command queue of a device (spec/owner-api §3).

use super::openapi::Conflict;
use super::request::{Answer, Query, command_id, device_id, parse, read};
use super::shapes::{self, RequestSchema};
use super::{Api, BODY_BYTES_MAX, answer};
use crate::app::Caller;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_proto::CommandRequest;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1` and `/v1/identities`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(list_commands, create_command, delete_commands))
        .routes(routes!(get_command, delete_command))
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
}

/// Queue a command
///
/// It is checked as far as that can be done without the device: what no modem would take is refused.
#[utoipa::path(
    post,
    path = "/claimed-devices/{id}/provisioning",
    tag = "commands",
    request_body = NewCommand,
    responses((status = 201, description = "Queued.", body = shapes::Command), Conflict),
)]
async fn create_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let device = device_id(&id)?;
    let body: NewCommand = parse(&read(body, BODY_BYTES_MAX).await?)?;
    api.app.device_of(&caller, device).await?;
    let command = api
        .app
        .create_command(device, body.description, body.request, &caller.name)
        .await?;
    Ok(answer(
        StatusCode::CREATED,
        &shapes::command(device, &command),
    ))
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
    let device = api.app.device_of(&caller, device_id(&id)?).await?.id;
    let commands = api.app.commands(device).await?;
    let items: Vec<_> = commands
        .iter()
        .map(|command| shapes::command(device, command))
        .collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
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
    let device = api.app.device_of(&caller, device_id(&id)?).await?.id;
    let command = api.app.command(device, command_id(&command)?).await?;
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
        .delete_command(device, command_id(&command)?, force, &caller.name)
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
    api.app.delete_commands(device, force, &caller.name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
