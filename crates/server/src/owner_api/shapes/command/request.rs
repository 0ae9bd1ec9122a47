//! The schema of what a device is to do: one member, named after the command (spec/owner-api §4).
//!
//! What a request looks like is decided by [`CommandRequest`] in `proto`, which knows no OpenAPI; its schema is written here
//! member by member, and a test holds the two together.
//!
//! [`CommandRequest`]: sectag_proto::CommandRequest

use super::{closed, nullable_moment};
use sectag_proto::command::CommandKind;
use sectag_proto::rules::{VALIDITY_DAYS_DEFAULT, VALIDITY_DAYS_MAX};
use serde_json::json;
use std::borrow::Cow;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// As an owner sends it. For `#[schema(value_type = RequestSchema)]`.
pub(crate) struct RequestSchema;

/// In an answer: secrets are digests, and `requestedAt` is beside the one member.
pub(super) struct ShownSchema;

/// In a rule or a plan: secrets are digests.
pub(crate) struct KeptSchema;

pub(super) const KINDS: [CommandKind; 11] = [
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Asked,
    Shown,
    /// In a rule or a plan: as shown, and no device has fetched it.
    Kept,
}

fn one_of(direction: Direction) -> OneOfBuilder {
    KINDS.iter().fold(OneOfBuilder::new(), |one_of, kind| {
        let mut object = closed()
            .title(Some(kind.member()))
            .property(kind.member(), fields(*kind, direction))
            .required(kind.member());
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
    let which = closed()
        .property("profile", profile)
        .property("validityDays", days);
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
        Direction::Shown | Direction::Kept => closed()
            .property(
                "sha256",
                text("Its first 16 hexadecimal digits.").pattern(Some("^[0-9a-f]{16}$")),
            )
            .required("sha256"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::owner_api::shapes::command::Shown;
    use sectag_proto::CommandRequest;
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
