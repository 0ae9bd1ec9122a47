//! The command queue of a device (spec/owner-api §3).

use super::request::{Answer, Query, command_id, device_id, parse, read};
use super::{Api, BODY_BYTES_MAX, answer, shapes};
use crate::app::Caller;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use sectag_proto::CommandRequest;
use serde::Deserialize;

/// Below `/v1` and `/v1/identities`.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route(
            "/claimed-devices/{id}/provisioning",
            get(list_commands)
                .post(create_command)
                .delete(delete_commands),
        )
        .route(
            "/claimed-devices/{id}/provisioning/{command}",
            get(get_command).delete(delete_command),
        )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CommandBody {
    description: Option<String>,
    request: CommandRequest,
}

async fn create_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let device = device_id(&id)?;
    let body: CommandBody = parse(&read(body, BODY_BYTES_MAX).await?)?;
    api.app.device_of(&caller, device).await?;
    let command = api
        .app
        .create_command(device, body.description, body.request, &caller.name)
        .await?;
    Ok(answer(
        StatusCode::CREATED,
        &shapes::command(&device.to_string(), &command),
    ))
}

async fn list_commands(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?.id;
    let commands = api.app.commands(device).await?;
    let items: Vec<_> = commands
        .iter()
        .map(|command| shapes::command(&device.to_string(), command))
        .collect();
    let total = items.len() as u64;
    Ok(answer(StatusCode::OK, &shapes::page(items, total, None)))
}

async fn get_command(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, command)): Path<(String, String)>,
) -> Answer {
    let device = api.app.device_of(&caller, device_id(&id)?).await?.id;
    let command = api.app.command(device, command_id(&command)?).await?;
    Ok(answer(
        StatusCode::OK,
        &shapes::command(&device.to_string(), &command),
    ))
}

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
