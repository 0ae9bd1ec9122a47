//! A command as its owner sees it (spec/owner-api §3.2): `requestedAt` inside `request`, `respondedAt` inside `response`.
//!
//! What a request looks like is decided by [`CommandRequest`] in `proto`, which knows no OpenAPI; its schema is written here
//! member by member, and a test holds the two together.

use super::Moment;
use sectag_proto::command::CommandKind;
use sectag_proto::service::{self, Failure, Status};
use sectag_proto::{CommandRequest, DeviceId};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::borrow::Cow;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat,
    SchemaType, Type,
};
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
}

impl Serialize for Outcome<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = Inner {
            message: &self.response.message,
            cme_error: self.response.cme_error,
            attestation: self.response.attestation.as_deref(),
            failure: self.response.failure,
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.member, &inner)?;
        map.serialize_entry("respondedAt", &self.responded_at)?;
        map.end()
    }
}

/// The schema of [`CommandRequest`] as an owner sends it: exactly one member. For `#[schema(value_type = RequestSchema)]`.
pub(crate) struct RequestSchema;

/// The schema of [`Shown`]: secrets are digests, and `requestedAt` is beside the one member.
struct ShownSchema;

/// The schema of [`Outcome`].
struct OutcomeSchema;

/// The schema of [`Status`].
struct StatusSchema;

const KINDS: [CommandKind; 11] = [
    CommandKind::ClientPrivateKeyGeneration,
    CommandKind::CloudAccessKeyGeneration,
    CommandKind::CertificateSigningRequest,
    CommandKind::ClientCertificate,
    CommandKind::ServerCertificate,
    CommandKind::ClientPrivateKey,
    CommandKind::PreSharedKey,
    CommandKind::EndorsementKeyGeneration,
    CommandKind::Config,
    CommandKind::AtCommand,
    CommandKind::Finished,
];

impl PartialSchema for RequestSchema {
    fn schema() -> RefOr<Schema> {
        one_of(Direction::Asked).description(Some(
            "What a device is to do: exactly one member, named after the command. Secrets are write-only.",
        ))
        .into()
    }
}

impl ToSchema for RequestSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CommandRequest")
    }
}

impl PartialSchema for ShownSchema {
    fn schema() -> RefOr<Schema> {
        one_of(Direction::Shown)
            .description(Some(
                "What was asked for; secrets are shown as the beginning of their SHA-256. `requestedAt` is when the device fetched it.",
            ))
            .into()
    }
}

impl ToSchema for ShownSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CommandRequested")
    }
}

impl PartialSchema for OutcomeSchema {
    fn schema() -> RefOr<Schema> {
        let inner = Ref::from_schema_name(Inner::name());
        KINDS
            .iter()
            .fold(ObjectBuilder::new(), |object, kind| {
                object.property(kind.member(), inner.clone())
            })
            .property("respondedAt", nullable_moment())
            .required("respondedAt")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
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
    }
}

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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Asked,
    Shown,
}

fn one_of(direction: Direction) -> OneOfBuilder {
    KINDS.iter().fold(OneOfBuilder::new(), |one_of, kind| {
        let mut object = ObjectBuilder::new()
            .title(Some(kind.member()))
            .property(kind.member(), fields(*kind, direction))
            .required(kind.member())
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        if direction == Direction::Shown {
            object = object
                .property("requestedAt", nullable_moment())
                .required("requestedAt");
        }
        one_of.item(object)
    })
}

/// The members of one kind (spec/owner-api §4).
fn fields(kind: CommandKind, direction: Direction) -> ObjectBuilder {
    let closed =
        || ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let at_tag = closed().property("secTag", sec_tag()).required("secTag");
    // What serde fills in when it is left out is always shown.
    let filled_in = |object: ObjectBuilder, name: &str| match direction {
        Direction::Asked => object,
        Direction::Shown => object.required(name),
    };
    match kind {
        CommandKind::ClientPrivateKeyGeneration
        | CommandKind::CloudAccessKeyGeneration
        | CommandKind::EndorsementKeyGeneration => at_tag,
        CommandKind::CertificateSigningRequest => filled_in(
            at_tag
                .property(
                    "attributes",
                    text("`O=…,CN=…`; empty means `CN=<device uuid>`.").default(Some(json!(""))),
                )
                .property(
                    "keyUsage",
                    RefOr::T(Schema::from(
                        nullable_text("Nine binary digits; the modem's default is `111010000`.")
                            .pattern(Some("^([01]{9})?$"))
                            .examples(["101010000"]),
                    )),
                )
                .property(
                    "issue",
                    ObjectBuilder::new()
                        .schema_type(Type::Boolean)
                        .default(Some(json!(false)))
                        .description(Some(
                            "Closed loop: the service signs the CSR and queues the certificate behind it.",
                        )),
                ),
            "attributes",
        ),
        CommandKind::ClientCertificate => at_tag
            .property("content", text("PEM."))
            .required("content"),
        CommandKind::ServerCertificate => at_tag
            .property("content", text("PEM; may hold several certificates."))
            .required("content"),
        CommandKind::ClientPrivateKey => at_tag
            .property("content", secret("PEM.", direction, false))
            .required("content")
            .property(
                "password",
                secret("For encrypted PKCS#8, at most 32 characters.", direction, true),
            ),
        CommandKind::PreSharedKey => at_tag
            .property("identity", text("Credential type 4."))
            .required("identity")
            .property(
                "secret",
                secret("Credential type 3, hexadecimal digits.", direction, false),
            )
            .required("secret"),
        CommandKind::Config => ObjectBuilder::new()
            .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some("Pairs for the device's settings, ten at most.")),
        CommandKind::AtCommand => {
            let object = closed()
                .property("command", text("Without `AT` and `=`."))
                .required("command")
                .property(
                    "parameters",
                    text("All after the `=`.").default(Some(json!(""))),
                )
                .property(
                    "ignoreCmeErrors",
                    ArrayBuilder::new()
                        .items(
                            ObjectBuilder::new()
                                .schema_type(Type::Integer)
                                .minimum(Some(0))
                                .maximum(Some(u32::MAX)),
                        )
                        .max_items(Some(6))
                        .description(Some("CME numbers that count as success.")),
                );
            filled_in(filled_in(object, "parameters"), "ignoreCmeErrors")
        }
        CommandKind::Finished => closed(),
    }
}

fn sec_tag() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(i32::MAX))
        .description(Some("The security tag."))
        .examples([16_842_753])
}

fn text(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(about))
}

/// Null counts as left out.
fn nullable_text(about: &str) -> ObjectBuilder {
    text(about).schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
}

fn secret(about: &str, direction: Direction, nullable: bool) -> ObjectBuilder {
    match direction {
        Direction::Asked if nullable => nullable_text(about).write_only(true),
        Direction::Asked => text(about)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .write_only(true),
        Direction::Shown => ObjectBuilder::new()
            .property(
                "sha256",
                text("Its first 16 hexadecimal digits.").pattern(Some("^[0-9a-f]{16}$")),
            )
            .required("sha256")
            .additional_properties(Some(AdditionalProperties::FreeForm(false))),
    }
}
