//! JSON as owners see it. Recorded shapes first; members that no recording shows are ours (spec/owner-api §8).
//!
//! A shape is a struct with `Serialize` and `ToSchema`, its members in the order of the recording. A member that is there
//! even when it is null is an `Option` with `#[schema(required)]`; one that is left out has `skip_serializing_if`.

mod command;

pub(crate) use command::{Command, KeptSchema, PolicySchema, RequestSchema, command};

use crate::app::{KeyText, hex};
use sectag_proto::Timestamp;
use sectag_store::{Allowed, AuditRecord, Issued, LifeState, Role};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use time::OffsetDateTime;
use time::macros::format_description;
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, ObjectBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A claimed device.
// spec/owner-api §2.1; `blocked`, `keyId`, `lastSeenAt` and `finishedAt` are ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    /// The modem's UUID.
    #[schema(format = "uuid")]
    id: String,
    /// Chip and variant.
    #[schema(example = "nrf9160_SICA")]
    device_type: String,
    /// Of the modem's firmware.
    #[schema(format = "uuid")]
    firmware_id: String,
    /// A claim token does not say it: null.
    #[schema(required)]
    imei: Option<String>,
    /// The team that claimed it.
    owner_id: String,
    #[schema(example = "IDENTIFIED")]
    ownership_status: &'static str,
    tags: Vec<String>,
    status: DeviceStatus,
    claimed_at: Moment,
    /// A blocked device keeps its claim and gets nothing.
    blocked: bool,
    /// Of the key that the device has shown; null until its first request.
    #[schema(required)]
    key_id: Option<String>,
    /// Its last authenticated request.
    #[schema(required)]
    last_seen_at: Option<Moment>,
    /// Last time it acknowledged `finished`.
    #[schema(required)]
    finished_at: Option<Moment>,
}

/// Whether a device gets what is queued for it.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum DeviceStatus {
    Ready,
    Blocked,
}

pub(crate) fn device(device: &sectag_store::Device) -> Device {
    Device {
        id: device.id.to_string(),
        device_type: device.device_type.owner_name(),
        firmware_id: device.firmware.to_string(),
        imei: None,
        owner_id: device.owner.clone(),
        ownership_status: "IDENTIFIED",
        tags: device.tags.clone(),
        status: match device.blocked {
            true => DeviceStatus::Blocked,
            false => DeviceStatus::Ready,
        },
        claimed_at: Moment(device.claimed_at),
        blocked: device.blocked,
        key_id: device.pin.as_ref().map(|key| key.kid().to_string()),
        last_seen_at: device.last_seen_at.map(Moment),
        finished_at: device.finished_at.map(Moment),
    }
}

/// A certificate on record.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Certificate {
    /// Lower-case hexadecimal digits.
    serial: String,
    #[schema(format = "uuid")]
    device_id: String,
    /// The command whose CSR it answers.
    #[schema(format = "uuid")]
    command_id: String,
    /// Over the SubjectPublicKeyInfo, hexadecimal.
    public_key_sha256: String,
    issued_at: Moment,
    /// `issued`, `written`, `used`, `expired`, `superseded` or `revoked`, as its life says. What was superseded opens the broker
    /// until it ends, or is revoked.
    state: &'static str,
    /// When it was taken back for good; since then it opens nothing.
    #[schema(required)]
    revoked_at: Option<Moment>,
    /// PEM.
    content: String,
}

pub(crate) fn certificate(
    issued: &Issued,
    state: LifeState,
    revoked_at: Option<Timestamp>,
) -> Certificate {
    Certificate {
        serial: issued.serial.clone(),
        device_id: issued.device.to_string(),
        command_id: issued.command.to_string(),
        public_key_sha256: hex(&issued.spki_sha256),
        issued_at: Moment(issued.issued_at),
        state: state.as_str(),
        revoked_at: revoked_at.map(Moment),
        content: sectag_pki::pem::encode("CERTIFICATE", &issued.certificate_der),
    }
}

/// An API key without its text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiKey {
    /// Unique in its team.
    name: String,
    role: RoleName,
    /// Whose it is.
    #[schema(format = "uuid")]
    team_id: String,
    /// It sees and touches devices with one of these tags only; empty: all of the team.
    tags: Vec<String>,
    created_at: Moment,
    /// From when on it is none.
    #[schema(required)]
    expires_at: Option<Moment>,
    #[schema(required)]
    revoked_at: Option<Moment>,
}

pub(crate) fn key(key: &sectag_store::ApiKey) -> ApiKey {
    ApiKey {
        name: key.name.clone(),
        role: RoleName(key.role),
        team_id: key.team.clone(),
        tags: key.tags.clone(),
        created_at: Moment(key.created_at),
        expires_at: key.expires_at.map(Moment),
        revoked_at: key.revoked_at.map(Moment),
    }
}

/// An API key with its text: the only time that it leaves the service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewApiKey<'a> {
    #[serde(flatten)]
    known: ApiKey,
    /// Shown this once.
    key: &'a str,
}

pub(crate) fn new_key<'a>(known: &sectag_store::ApiKey, text: &'a KeyText) -> NewApiKey<'a> {
    NewApiKey {
        known: key(known),
        key: text.0.expose(),
    }
}

/// A team: people who share devices, keys and an issuing CA.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Team {
    /// The `ownerId` of its devices.
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// First level of the topics of its devices; null for the home's own team, which has none.
    #[schema(required)]
    topic_prefix: Option<String>,
    created_at: Moment,
}

pub(crate) fn team(team: &sectag_store::Team) -> Team {
    Team {
        id: team.id.clone(),
        name: team.name.clone(),
        topic_prefix: team.topic_prefix.clone(),
        created_at: Moment(team.created_at),
    }
}

/// An entry of the allow-list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AllowListEntry {
    /// The device that may be claimed.
    #[schema(format = "uuid")]
    id: String,
    /// Under this key.
    key_id: String,
    added_at: Moment,
}

pub(crate) fn allowed(allowed: &Allowed) -> AllowListEntry {
    AllowListEntry {
        id: allowed.device.to_string(),
        key_id: allowed.kid.to_string(),
        added_at: Moment(allowed.added_at),
    }
}

/// An entry of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// From 1, without gaps.
    number: u64,
    at: Moment,
    /// Name of an API key, `device`, or `service`.
    by: String,
    /// A stable word.
    #[schema(example = "command-created")]
    action: String,
    /// Whose; null: of the service itself.
    #[schema(required, format = "uuid")]
    team_id: Option<String>,
    #[schema(required, format = "uuid")]
    device_id: Option<String>,
    #[schema(required, format = "uuid")]
    command_id: Option<String>,
    detail: String,
    /// What was changed, as it was.
    #[schema(required, value_type = Option<Object>)]
    before: Option<Value>,
    /// And as it is from then on.
    #[schema(required, value_type = Option<Object>)]
    after: Option<Value>,
}

pub(crate) fn audit(record: &AuditRecord) -> AuditEntry {
    let event = &record.event;
    AuditEntry {
        number: record.number,
        at: Moment(event.at),
        by: event.by.clone(),
        action: event.action.clone(),
        team_id: event.team.clone(),
        device_id: event.device.map(|id| id.to_string()),
        command_id: event.command.map(|id| id.to_string()),
        detail: event.detail.clone(),
        before: event.before.clone(),
        after: event.after.clone(),
    }
}

/// A list on one page, or a page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// All that the filters match, on all pages; left out where only going through all of them would tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<u64>,
    /// Sent as `pageNextToken`, it gets the next page; left out on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_next_token: Option<String>,
}

pub(crate) fn page<T>(
    items: Vec<T>,
    total: impl Into<Option<u64>>,
    next: Option<String>,
) -> Page<T> {
    Page {
        items,
        total: total.into(),
        page_next_token: next,
    }
}

/// All of a list, on one page.
pub(crate) fn whole<T>(items: Vec<T>) -> Page<T> {
    let total = items.len() as u64;
    page(items, total, None)
}

/// The schema of an object without further members.
pub(crate) fn closed() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// An event of the stream.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used; the stream is written as text"
)]
pub(crate) struct StreamedEvent {
    /// What kind it is.
    event: String,
    /// Its number, to be sent as `Last-Event-ID`.
    id: String,
    /// What happened: a JSON object.
    data: String,
}

/// A refusal (RFC 9457): nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// The status and two digits that tell its refusals apart.
    #[schema(example = 40900)]
    pub(crate) code: u32,
    /// What is wrong, with the facts.
    pub(crate) message: String,
    /// The status in words.
    #[schema(example = "Conflict")]
    pub(crate) title: &'static str,
    #[schema(example = 409)]
    pub(crate) status: u16,
    /// Where `code` is explained, relative to this service.
    #[schema(format = "uri-reference", example = "/docs#40900")]
    pub(crate) r#type: String,
    /// As `message`.
    pub(crate) detail: String,
}

/// ISO 8601 UTC with milliseconds and `Z` (spec/owner-api §1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&moment(self.0))
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("UTC with milliseconds."))
            .examples(["2025-04-29T11:02:33.377Z"])
            .into()
    }
}

impl ToSchema for Moment {}

/// What an API key may do, by its word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoleName(pub(crate) Role);

impl Serialize for RoleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl PartialSchema for RoleName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Role::ALL.map(Role::as_str)))
            .description(Some(
                "What an API key may do; each role may do all that the one before may.",
            ))
            .into()
    }
}

impl ToSchema for RoleName {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Role")
    }
}

/// See [`Moment`].
pub(crate) fn moment(at: Timestamp) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| "9999-12-31T23:59:59.999Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_iso_8601_with_milliseconds() {
        assert_eq!(
            moment(Timestamp(1_745_924_553_377)),
            "2025-04-29T11:02:33.377Z"
        );
        assert_eq!(moment(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
