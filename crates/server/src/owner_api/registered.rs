//! Devices by the certificates that the operator's own CA signed, as the vendor's other host has them (spec/owner-api §10);
//! and certificates taken back.

use super::bulk_ops::{Taken, taken};
use super::openapi::{Conflict, NotOurs};
use super::request::{Answer, device_id, parse, read};
use super::shapes::Moment;
use super::{Api, BODY_BYTES_MAX, Refused, answer};
use crate::app::{Caller, OwnerError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use sectag_store::{BulkKind, Registered, RegisteredCertificate};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Below `/v1`.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::default()
        .routes(routes!(register_devices))
        .routes(routes!(get_registered, remove_registered))
        .routes(routes!(name_registered))
        .routes(routes!(change_state))
        .routes(routes!(revoke_certificate))
}

/// A registered device.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RegisteredDevice {
    /// As registered, and the CN of its certificates.
    id: String,
    #[schema(required)]
    name: Option<String>,
    sub_type: String,
    tags: Vec<String>,
    firmware_types: Vec<String>,
    /// The team that registered it.
    owner_id: String,
    registered_at: Moment,
    /// Those that the broker takes, oldest first.
    certificates: Vec<RegisteredPem>,
}

/// A certificate that another CA signed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RegisteredPem {
    /// Lower-case hexadecimal digits.
    serial: String,
    /// Who signed it, by its own words.
    issuer: String,
    registered_at: Moment,
    expires_at: Moment,
    /// PEM.
    content: String,
}

fn shape(found: Registered) -> RegisteredDevice {
    let pem = |certificate: RegisteredCertificate| RegisteredPem {
        serial: certificate.serial,
        issuer: certificate.issuer,
        registered_at: Moment(certificate.registered_at),
        expires_at: Moment(certificate.ends_at),
        content: sectag_pki::pem::encode("CERTIFICATE", &certificate.der),
    };
    RegisteredDevice {
        id: found.id,
        name: found.name,
        sub_type: found.sub_type,
        tags: found.tags,
        firmware_types: found.firmware_types,
        owner_id: found.team,
        registered_at: Moment(found.registered_at),
        certificates: found.certificates.into_iter().map(pem).collect(),
    }
}

/// Register certificates that another CA signed
///
/// CSV without a header, whatever the content type says, at most 1000 rows: device id, sub type, tags, firmware types, and the
/// certificate as PEM in double quotes over several lines; tags and firmware types are separated by `|`. The broker takes exactly
/// these certificates from then on. It is worked off in the background, and a row that fails spoils no other.
#[utoipa::path(
    post,
    path = "/devices",
    tag = "registration",
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 202, description = "Taken; it is worked off in the background.", body = Taken),
        Conflict,
    ),
)]
async fn register_devices(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Answer {
    taken(&api, &caller, BulkKind::Register, body).await
}

/// A registered device
#[utoipa::path(
    get,
    path = "/devices/{id}",
    tag = "registration",
    params(("id" = String, Path, description = "As it was registered.")),
    responses((status = 200, description = "The device and its certificates.", body = RegisteredDevice)),
)]
async fn get_registered(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let found = api.app.registered(&caller, &id).await?;
    Ok(answer(StatusCode::OK, &shape(found)))
}

/// Forget a registered device
///
/// Its certificates are taken back for good, and its sessions end. A claim stays as it is.
#[utoipa::path(
    delete,
    path = "/devices/{id}",
    tag = "registration",
    params(("id" = String, Path, description = "As it was registered.")),
    responses((status = 204, description = "Forgotten.")),
)]
async fn remove_registered(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    api.app.unregister(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Name a registered device
#[utoipa::path(
    put,
    path = "/devices/{id}/name",
    tag = "registration",
    params(("id" = String, Path, description = "As it was registered.")),
    request_body(content = [String], description = "An array with the name as its only element."),
    responses((status = 200, description = "The device with its name.", body = RegisteredDevice)),
)]
async fn name_registered(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Answer {
    let [name]: [String; 1] = parse(&read(body, BODY_BYTES_MAX).await?)?;
    let found = api.app.name_registered(&caller, &id, &name).await?;
    Ok(answer(StatusCode::OK, &shape(found)))
}

/// Not here: the state of a device in the vendor's cloud
#[utoipa::path(
    patch,
    path = "/devices/{id}/state",
    tag = "registration",
    params(("id" = String, Path, description = "Any.")),
    responses(NotOurs),
)]
async fn change_state(Path(_): Path<String>) -> Answer {
    Err(Refused(OwnerError::NotOurs(
        "this service keeps no state (shadow) of devices and updates no firmware; it provisions them and lets their certificates connect to its MQTT broker",
    )))
}

/// Take a certificate of a device back, for good
///
/// One that this service issued, or one that was registered. Its live sessions end within two seconds, and it stands in the
/// revocation list of its CA. A second time changes nothing.
#[utoipa::path(
    post,
    path = "/claimed-devices/{id}/certificates/{serial}/revoke",
    tag = "broker",
    params(("serial" = String, Path, description = "Serial number, hexadecimal digits.")),
    responses((status = 204, description = "It opens nothing any more.")),
)]
async fn revoke_certificate(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((id, serial)): Path<(String, String)>,
) -> Answer {
    let device = device_id(&id)?;
    api.app.revoke_certificate(&caller, device, &serial).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
