//! A command as its owner sees it (spec/owner-api §3.2): `requestedAt` inside `request`, `respondedAt` inside `response`.
//!
//! What a request looks like is decided by [`CommandRequest`] in `proto`, which knows no OpenAPI; its schema is written here
//! member by member, and a test holds the two together.

use super::Moment;
use sectag_proto::command::CommandKind;
use sectag_proto::rules::{ErrorPolicy, RETRIES_MAX, VALIDITY_DAYS_DEFAULT, VALIDITY_DAYS_MAX};
use sectag_proto::service::{self, Failure, Status, Verdict};
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

/// The schema of [`CommandRequest`] as an owner sends it: exactly one member. For `#[schema(value_type = RequestSchema)]`.
pub(crate) struct RequestSchema;

/// The schema of [`Shown`]: secrets are digests, and `requestedAt` is beside the one member.
struct ShownSchema;

/// The schema of [`CommandRequest`] in a rule or a plan: secrets are digests.
pub(crate) struct KeptSchema;

/// The schema of [`Outcome`].
struct OutcomeSchema;

/// The schema of [`Status`].
struct StatusSchema;

/// The schema of [`ErrorPolicy`]. For `#[schema(value_type = PolicySchema)]`.
pub(crate) struct PolicySchema;

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

impl PartialSchema for KeptSchema {
    fn schema() -> RefOr<Schema> {
        one_of(Direction::Kept)
            .description(Some(
                "What a device is to do; secrets are shown as the beginning of their SHA-256.",
            ))
            .into()
    }
}

impl ToSchema for KeptSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("CommandKept")
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
        Inner::schemas(schemas);
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

impl PartialSchema for PolicySchema {
    fn schema() -> RefOr<Schema> {
        let words = ["vendorDefault", "keepRest", "park"];
        let times = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(RETRIES_MAX));
        let times = ObjectBuilder::new()
            .property("times", times)
            .required("times")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        OneOfBuilder::new()
            .item(
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(words)),
            )
            .item(
                ObjectBuilder::new()
                    .property("retry", times)
                    .required("retry")
                    .additional_properties(Some(AdditionalProperties::FreeForm(false))),
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Asked,
    Shown,
    /// In a rule or a plan: as shown, and no device has fetched it.
    Kept,
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
        Direction::Shown | Direction::Kept => object.required(name),
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
                .property("issue", issue()),
            "attributes",
        ),
        CommandKind::ClientCertificate => {
            at_tag.property("content", text("PEM.")).required("content")
        }
        CommandKind::ServerCertificate => at_tag
            .property("content", text("PEM; may hold several certificates."))
            .required("content"),
        CommandKind::ClientPrivateKey => at_tag
            .property("content", secret("PEM.", direction, false))
            .required("content")
            .property(
                "password",
                secret(
                    "For encrypted PKCS#8, at most 32 characters.",
                    direction,
                    true,
                ),
            ),
        CommandKind::PreSharedKey => at_tag
            .property("identity", text("Credential type 4.").min_length(Some(1)))
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

/// `true`, or which certificate.
fn issue() -> OneOfBuilder {
    let profile = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["client", "clientWithKeyAgreement"]))
        .default(Some(json!("client")));
    let days = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(VALIDITY_DAYS_MAX))
        .default(Some(json!(VALIDITY_DAYS_DEFAULT)));
    let which = ObjectBuilder::new()
        .property("profile", profile)
        .property("validityDays", days)
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Boolean))
        .item(which)
        .default(Some(json!(false)))
        .description(Some(
            "Closed loop: the service signs the CSR and queues the certificate behind it. An object says which certificate.",
        ))
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
        Direction::Shown | Direction::Kept => ObjectBuilder::new()
            .property(
                "sha256",
                text("Its first 16 hexadecimal digits.").pattern(Some("^[0-9a-f]{16}$")),
            )
            .required("sha256")
            .additional_properties(Some(AdditionalProperties::FreeForm(false))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// One request of each kind, with every member.
    fn requests() -> Vec<Value> {
        vec![
            json!({"clientPrivateKeyGeneration": {"secTag": 1}}),
            json!({"cloudAccessKeyGeneration": {"secTag": 1}}),
            json!({"certificateSigningRequest": {"secTag": 1, "attributes": "CN=a", "keyUsage": "101010000", "issue": true}}),
            json!({"clientCertificate": {"secTag": 1, "content": "x"}}),
            json!({"serverCertificate": {"secTag": 1, "content": "x"}}),
            json!({"clientPrivateKey": {"secTag": 1, "content": "x", "password": "y"}}),
            json!({"preSharedKey": {"secTag": 1, "identity": "me", "secret": "00"}}),
            json!({"endorsementKeyGeneration": {"secTag": 1}}),
            json!({"config": {"a": "b"}}),
            json!({"atCommand": {"command": "%CMNG", "parameters": "1", "ignoreCmeErrors": [513]}}),
            json!({"finished": {}}),
        ]
    }

    fn schema_of<T: PartialSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap()
    }

    #[test]
    fn the_schema_has_the_kinds_and_members_that_proto_reads() {
        let schema = schema_of::<RequestSchema>();
        let kinds = schema["oneOf"].as_array().unwrap();
        assert_eq!(kinds.len(), requests().len());
        for (request, kind) in requests().iter().zip(kinds) {
            let (member, fields) = request.as_object().unwrap().iter().next().unwrap();
            assert_eq!(kind["title"], json!(member));
            let known = &kind["properties"][member];
            for name in fields.as_object().unwrap().keys() {
                let is_known = known["properties"][name].is_object() || member == "config";
                assert!(is_known, "{member}: {name}");
            }
            // All of them, and without the ones that may be left out.
            let mut least = fields.clone();
            let required = known["required"].as_array().cloned().unwrap_or_default();
            least
                .as_object_mut()
                .unwrap()
                .retain(|name, _| required.contains(&json!(name)));
            for body in [fields, &least] {
                let text = json!({ member: body }).to_string();
                serde_json::from_str::<CommandRequest>(&text)
                    .unwrap_or_else(|e| panic!("{text}: {e}"));
            }
            // And nothing besides.
            let all = known["properties"]
                .as_object()
                .map_or(0, |known| known.len());
            let given = fields.as_object().unwrap().len();
            assert!(all == given || member == "config", "{member}");
        }
    }

    #[test]
    fn what_is_shown_has_the_members_of_its_schema() {
        let schema = schema_of::<ShownSchema>();
        for (at, request) in requests().into_iter().enumerate() {
            let request: CommandRequest = serde_json::from_str(&request.to_string()).unwrap();
            let member = request.kind().member();
            let shown = json!(Shown {
                request: &request,
                requested_at: None
            });
            assert_eq!(shown["requestedAt"], Value::Null);
            let known = &schema["oneOf"][at]["properties"][member];
            for (name, value) in shown[member].as_object().unwrap() {
                let kind = &known["properties"][name];
                assert!(kind.is_object() || member == "config", "{member}: {name}");
                let is_digest = kind["properties"]["sha256"].is_object();
                assert_eq!(is_digest, value["sha256"].is_string(), "{member}: {name}");
            }
        }
    }
}
