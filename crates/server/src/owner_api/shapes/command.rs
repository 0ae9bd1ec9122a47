//! A command as its owner sees it (spec/owner-api §3.2): `requestedAt` inside `request`, `respondedAt` inside `response`.
//!
//! The schema of what is asked for is in [`request`].

mod request;

pub(crate) use request::{KeptSchema, RequestSchema};

use super::{Moment, closed};
use request::{KINDS, ShownSchema};
use sectag_proto::rules::{ErrorPolicy, RETRIES_MAX};
use sectag_proto::service::{self, Failure, Status, Verdict};
use sectag_proto::{CommandRequest, DeviceId};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::borrow::Cow;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A command of a device.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Command<'a> {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "uuid")]
    device_id: String,
    /// The rule that made it; null when an owner did.
    #[schema(required)]
    rule_id: Option<&'a str>,
    #[schema(required)]
    description: Option<&'a str>,
    #[schema(value_type = ShownSchema)]
    request: Shown<'a>,
    /// Null until the device has answered.
    #[schema(required, value_type = Option<OutcomeSchema>)]
    response: Option<Outcome<'a>>,
    #[schema(value_type = StatusSchema)]
    status: &'static str,
    created_at: Moment,
    #[schema(required)]
    updated_at: Option<Moment>,
    /// What happens when it fails; left out when all behind it is dropped.
    #[serde(skip_serializing_if = "ErrorPolicy::is_vendor_default")]
    #[schema(value_type = PolicySchema, required = false)]
    on_error: ErrorPolicy,
    /// How often it was queued again after a failure.
    #[serde(skip_serializing_if = "is_zero")]
    tries: u32,
    /// It failed and waits for an operator; nothing behind it is delivered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    parked: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
const fn is_zero(tries: &u32) -> bool {
    *tries == 0
}

pub(crate) fn command(device: DeviceId, command: &service::Command) -> Command<'_> {
    Command {
        id: command.id.to_string(),
        device_id: device.to_string(),
        rule_id: command.rule_id.as_deref(),
        description: command.description.as_deref(),
        request: Shown {
            request: &command.request,
            requested_at: command.requested_at.map(Moment),
        },
        response: command.response.as_ref().map(|response| Outcome {
            member: command.request.kind().member(),
            response,
            responded_at: command.responded_at.map(Moment),
        }),
        status: command.status.as_str(),
        created_at: Moment(command.created_at),
        updated_at: command.updated_at.map(Moment),
        on_error: command.on_error,
        tries: command.tries,
        parked: command.parked,
    }
}

/// What was asked for, and when the device fetched it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    request: &'a CommandRequest,
    requested_at: Option<Moment>,
}

/// What became of it: one member, named as in the request, and when it was recorded.
#[derive(Debug)]
struct Outcome<'a> {
    member: &'static str,
    response: &'a service::Response,
    responded_at: Option<Moment>,
}

/// The inner object of an outcome.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CommandResult)]
struct Inner<'a> {
    /// The modem's words; for key generation only the base64url body.
    message: &'a str,
    /// CME number of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cme_error: Option<u32>,
    /// The COSE part of a KEYGEN answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attestation: Option<&'a str>,
    /// Why it failed, when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = failure)]
    failure: Option<Failure>,
    /// What was checked of a KEYGEN answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    verified: Option<Checked<'a>>,
}

/// What was checked of a KEYGEN answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verdict)]
struct Checked<'a> {
    /// All that was looked at holds.
    holds: bool,
    /// The COSE signature holds under the device's key.
    signature: bool,
    /// In which of the two signing conventions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    convention: Option<&'a str>,
    /// It names this device.
    device: bool,
    /// It names the tag that was asked for.
    sec_tag: bool,
    /// Its digest is that of the body.
    digest: bool,
    /// The CSR has the subject that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    subject: Option<bool>,
    /// The CSR has the key usage that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key_usage: Option<bool>,
    /// What does not hold, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<&'a str>,
}

impl<'a> From<&'a Verdict> for Checked<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        Self {
            holds: verdict.holds,
            signature: verdict.signature,
            convention: verdict.convention.as_deref(),
            device: verdict.device,
            sec_tag: verdict.sec_tag,
            digest: verdict.digest,
            subject: verdict.subject,
            key_usage: verdict.key_usage,
            problem: verdict.problem.as_deref(),
        }
    }
}

impl Serialize for Outcome<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = Inner {
            message: &self.response.message,
            cme_error: self.response.cme_error,
            attestation: self.response.attestation.as_deref(),
            failure: self.response.failure,
            verified: self.response.verified.as_ref().map(Checked::from),
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.member, &inner)?;
        map.serialize_entry("respondedAt", &self.responded_at)?;
        map.end()
    }
}

/// The schema of [`Outcome`].
struct OutcomeSchema;

impl PartialSchema for OutcomeSchema {
    fn schema() -> RefOr<Schema> {
        let inner = Ref::from_schema_name(Inner::name());
        KINDS
            .iter()
            .fold(closed(), |object, kind| {
                object.property(kind.member(), inner.clone())
            })
            .property("respondedAt", nullable_moment())
            .required("respondedAt")
            .min_properties(Some(2))
            .max_properties(Some(2))
            .description(Some(
                "What became of it: one member, named as in the request, and when it was recorded.",
            ))
            .into()
    }
}

impl ToSchema for OutcomeSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CommandResponse")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Inner::name().into_owned(), Inner::schema()));
        Inner::schemas(schemas);
    }
}

/// The schema of [`Status`].
struct StatusSchema;

impl PartialSchema for StatusSchema {
    fn schema() -> RefOr<Schema> {
        let all = [
            Status::Pending,
            Status::InProgress,
            Status::Succeeded,
            Status::Failed,
        ];
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(all.map(Status::as_str)))
            .description(Some(
                "Nothing more happens to a command that SUCCEEDED or FAILED.",
            ))
            .into()
    }
}

impl ToSchema for StatusSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CommandStatus")
    }
}

/// The schema of [`ErrorPolicy`]. For `#[schema(value_type = PolicySchema)]`.
pub(crate) struct PolicySchema;

impl PartialSchema for PolicySchema {
    fn schema() -> RefOr<Schema> {
        let words = ["vendorDefault", "keepRest", "park"];
        let times = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(RETRIES_MAX));
        let times = closed().property("times", times).required("times");
        OneOfBuilder::new()
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(words)),
            )
            .item(
                closed().property("retry", times).required("retry"),
            )
            .description(Some(
                "What happens when a command fails: what waits behind it is dropped, or goes on, or waits for an operator; or it is delivered again, so many times.",
            ))
            .into()
    }
}

impl ToSchema for PolicySchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ErrorPolicy")
    }
}

fn failure() -> ObjectBuilder {
    let all = [
        Failure::RefusedByDevice,
        Failure::NotExecuted,
        Failure::OutcomeUnknown,
        Failure::DoesNotFit,
        Failure::CertificateRefused,
    ];
    let words = all.map(|failure| json!(failure));
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
}

fn nullable_moment() -> RefOr<Schema> {
    OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .item(Ref::from_schema_name(Moment::name()))
        .into()
}
