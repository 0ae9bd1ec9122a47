//! Commands in the owner's words (spec/owner-api §4), before they are expanded into wire commands.
//!
//! The serde form is the `request` object of the owner API: one member named after the type.

mod outline;

use crate::SecTag;
use crate::rules::ClosedLoop;
use crate::secret::SecretText;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One command as its owner created it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum CommandRequest {
    /// A client key whose public half is exported.
    ClientPrivateKeyGeneration {
        /// Where.
        sec_tag: SecTag,
    },
    /// A client key whose CSR is exported; its public key later signs JWTs.
    CloudAccessKeyGeneration {
        /// Where.
        sec_tag: SecTag,
    },
    /// A client key and its CSR.
    CertificateSigningRequest {
        /// Where.
        sec_tag: SecTag,
        /// `O=…,CN=…`; empty means `CN=<device uuid>`.
        #[serde(default)]
        attributes: String,
        /// Nine binary digits, e.g. `101010000`; `None` (or empty) means the modem's default `111010000`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_usage: Option<String>,
        /// Closed loop: the service signs the CSR and queues the certificate directly behind it (an addition of ours).
        /// `true`, or an object that says which certificate.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "crate::rules::member"
        )]
        issue: Option<ClosedLoop>,
    },
    /// Write a client certificate.
    ClientCertificate {
        /// Where.
        sec_tag: SecTag,
        /// PEM.
        content: String,
    },
    /// Write a root CA, or a chain.
    ServerCertificate {
        /// Where.
        sec_tag: SecTag,
        /// PEM; may hold several certificates.
        content: String,
    },
    /// Write a private key.
    ClientPrivateKey {
        /// Where.
        sec_tag: SecTag,
        /// PEM.
        content: SecretField,
        /// For encrypted PKCS#8, at most 32 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<SecretField>,
    },
    /// Write a pre-shared key and its identity.
    PreSharedKey {
        /// Where.
        sec_tag: SecTag,
        /// Type 4.
        identity: String,
        /// Type 3, ASCII hex.
        secret: SecretField,
    },
    /// Make (or show again) an endorsement key.
    EndorsementKeyGeneration {
        /// Where.
        sec_tag: SecTag,
    },
    /// Store key/value pairs in the device's settings; accepts a plain object and `{"properties": {…}}`.
    Config(ConfigPairs),
    /// Any SET command.
    AtCommand {
        /// Without `AT` and `=`.
        command: String,
        /// All after the `=`.
        #[serde(default)]
        parameters: String,
        /// CME numbers that count as success, six at most.
        #[serde(default)]
        ignore_cme_errors: Vec<u32>,
    },
    /// Provisioning is complete.
    Finished {},
}

/// Pairs in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigPairs(pub Vec<(String, String)>);

/// A secret in a request: given, or already erased and known only by its digest (spec/owner-api §9).
/// Deserializes from text; serializes as `{"sha256": "<first 16 hex digits>"}`, never as the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretField {
    /// The secret itself.
    Given(SecretText),
    /// First 16 hex digits of its SHA-256.
    Erased(String),
}

/// The name of a command's type as it appears in JSON, tables and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "one to one with CommandRequest")]
pub enum CommandKind {
    ClientPrivateKeyGeneration,
    CloudAccessKeyGeneration,
    CertificateSigningRequest,
    ClientCertificate,
    ServerCertificate,
    ClientPrivateKey,
    PreSharedKey,
    EndorsementKeyGeneration,
    Config,
    AtCommand,
    Finished,
}

impl CommandKind {
    /// The member name in `request` and `response`: `certificateSigningRequest`.
    pub const fn member(self) -> &'static str {
        match self {
            Self::ClientPrivateKeyGeneration => "clientPrivateKeyGeneration",
            Self::CloudAccessKeyGeneration => "cloudAccessKeyGeneration",
            Self::CertificateSigningRequest => "certificateSigningRequest",
            Self::ClientCertificate => "clientCertificate",
            Self::ServerCertificate => "serverCertificate",
            Self::ClientPrivateKey => "clientPrivateKey",
            Self::PreSharedKey => "preSharedKey",
            Self::EndorsementKeyGeneration => "endorsementKeyGeneration",
            Self::Config => "config",
            Self::AtCommand => "atCommand",
            Self::Finished => "finished",
        }
    }
}

impl CommandRequest {
    /// Its type.
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::ClientPrivateKeyGeneration { .. } => CommandKind::ClientPrivateKeyGeneration,
            Self::CloudAccessKeyGeneration { .. } => CommandKind::CloudAccessKeyGeneration,
            Self::CertificateSigningRequest { .. } => CommandKind::CertificateSigningRequest,
            Self::ClientCertificate { .. } => CommandKind::ClientCertificate,
            Self::ServerCertificate { .. } => CommandKind::ServerCertificate,
            Self::ClientPrivateKey { .. } => CommandKind::ClientPrivateKey,
            Self::PreSharedKey { .. } => CommandKind::PreSharedKey,
            Self::EndorsementKeyGeneration { .. } => CommandKind::EndorsementKeyGeneration,
            Self::Config(_) => CommandKind::Config,
            Self::AtCommand { .. } => CommandKind::AtCommand,
            Self::Finished {} => CommandKind::Finished,
        }
    }

    /// Where it writes or makes something; `None` for those that name no tag.
    pub const fn sec_tag(&self) -> Option<SecTag> {
        match self {
            Self::ClientPrivateKeyGeneration { sec_tag }
            | Self::CloudAccessKeyGeneration { sec_tag }
            | Self::CertificateSigningRequest { sec_tag, .. }
            | Self::ClientCertificate { sec_tag, .. }
            | Self::ServerCertificate { sec_tag, .. }
            | Self::ClientPrivateKey { sec_tag, .. }
            | Self::PreSharedKey { sec_tag, .. }
            | Self::EndorsementKeyGeneration { sec_tag } => Some(*sec_tag),
            Self::Config(_) | Self::AtCommand { .. } | Self::Finished {} => None,
        }
    }

    /// The secrets it holds, in a fixed order; empty for most kinds and after [`CommandRequest::erase_secrets`].
    /// The store seals these beside the (redacted) serde form.
    pub fn secrets(&self) -> Vec<&SecretText> {
        let fields: [Option<&SecretField>; 2] = match self {
            Self::ClientPrivateKey {
                content, password, ..
            } => [Some(content), password.as_ref()],
            Self::PreSharedKey { secret, .. } => [Some(secret), None],
            _ => [None, None],
        };
        fields
            .into_iter()
            .flatten()
            .filter_map(SecretField::given)
            .collect()
    }

    /// How many secrets its kind holds, erased ones as well.
    pub fn secret_count(&mut self) -> usize {
        self.secret_fields().len()
    }

    /// Puts secrets back, in the order of [`CommandRequest::secrets`]. Fields beyond the list stay erased.
    pub fn restore_secrets(&mut self, secrets: Vec<SecretText>) {
        for (field, secret) in self.secret_fields().into_iter().zip(secrets) {
            *field = SecretField::Given(secret);
        }
    }

    /// Forgets the secrets; their digests stay.
    pub fn erase_secrets(&mut self) {
        for field in self.secret_fields() {
            field.erase();
        }
    }

    /// The fields that hold secrets, in the order of [`CommandRequest::secrets`].
    pub(crate) fn secret_fields(&mut self) -> Vec<&mut SecretField> {
        let mut fields = Vec::new();
        match self {
            Self::ClientPrivateKey {
                content, password, ..
            } => {
                fields.push(content);
                fields.extend(password.as_mut());
            }
            Self::PreSharedKey { secret, .. } => fields.push(secret),
            _ => {}
        }
        fields
    }
}

impl SecretField {
    /// The secret, unless it is erased.
    pub const fn given(&self) -> Option<&SecretText> {
        match self {
            Self::Given(secret) => Some(secret),
            Self::Erased(_) => None,
        }
    }

    /// First 16 hex digits of its SHA-256: enough for an owner to recognise it, of no use for anything else.
    pub fn digest(&self) -> String {
        match self {
            Self::Given(secret) => Sha256::digest(secret.expose().as_bytes())[..8]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            Self::Erased(digest) => digest.clone(),
        }
    }

    /// Forgets the secret; the digest stays.
    pub fn erase(&mut self) {
        *self = Self::Erased(self.digest());
    }
}

impl From<&str> for SecretField {
    fn from(secret: &str) -> Self {
        Self::Given(SecretText::new(String::from(secret)))
    }
}

impl Serialize for ConfigPairs {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for ConfigPairs {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(PairsVisitor)
    }
}

/// Reads both forms through a visitor, because a map type would lose the order and hide repeated keys.
struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = ConfigPairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object of texts, or {"properties": {…}}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfigPairs, A::Error> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut nested: Option<Vec<(String, String)>> = None;
        while let Some(key) = map.next_key::<String>()? {
            match map.next_value::<PairValue>()? {
                PairValue::Text(text) => pairs.push((key, text)),
                PairValue::Object(object) if key == "properties" && nested.is_none() => {
                    nested = Some(object);
                }
                PairValue::Object(_) => {
                    return Err(A::Error::custom(format_args!(
                        "the value of `{key}` is an object; a setting is text"
                    )));
                }
            }
        }
        match nested {
            None => Ok(ConfigPairs(pairs)),
            Some(nested) if pairs.is_empty() => Ok(ConfigPairs(nested)),
            Some(_) => Err(A::Error::custom(
                "`properties` holds all pairs, or there is no `properties`; not both",
            )),
        }
    }
}

enum PairValue {
    Text(String),
    Object(Vec<(String, String)>),
}

impl<'de> Deserialize<'de> for PairValue {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PairValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text (numbers too are written as text, e.g. \"99\")")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PairValue, E> {
                Ok(PairValue::Text(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PairValue, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                Ok(PairValue::Object(pairs))
            }
        }
        d.deserialize_any(Either)
    }
}

/// The redacted form of a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest256 {
    sha256: String,
}

impl Serialize for SecretField {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Digest256 {
            sha256: self.digest(),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SecretField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the secret as text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretField, E> {
                Ok(SecretField::from(text))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SecretField, E> {
                Ok(SecretField::Given(SecretText::new(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretField, A::Error> {
                let form = serde::de::value::MapAccessDeserializer::new(map);
                Digest256::deserialize(form).map(|known| SecretField::Erased(known.sha256))
            }
        }
        d.deserialize_any(Either)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn read(json: &str) -> Result<CommandRequest, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn each_member_of_the_owner_api_reads_and_prints_the_same() {
        for json in [
            r#"{"clientPrivateKeyGeneration":{"secTag":16842753}}"#,
            r#"{"cloudAccessKeyGeneration":{"secTag":16842753}}"#,
            r#"{"certificateSigningRequest":{"secTag":1,"attributes":"CN=a","keyUsage":"101010000"}}"#,
            r#"{"certificateSigningRequest":{"secTag":1,"attributes":"","issue":true}}"#,
            r#"{"certificateSigningRequest":{"secTag":1,"attributes":"","issue":{"profile":"client","validityDays":90}}}"#,
            r#"{"clientCertificate":{"secTag":1,"content":"x"}}"#,
            r#"{"serverCertificate":{"secTag":1,"content":"x"}}"#,
            r#"{"endorsementKeyGeneration":{"secTag":2147483647}}"#,
            r#"{"config":{"z":"1","a":"2","m":"3"}}"#,
            r##"{"atCommand":{"command":"%CMNG","parameters":"1","ignoreCmeErrors":[513]}}"##,
            r#"{"finished":{}}"#,
        ] {
            let request = read(json).unwrap();
            assert_eq!(serde_json::to_string(&request).unwrap(), json);
            assert!(json.contains(request.kind().member()), "{json}");
        }
    }

    #[test]
    fn config_keeps_its_order_in_both_forms() {
        let pairs = ConfigPairs(
            [("z", "1"), ("a", "2"), ("m", "3")]
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .into(),
        );
        for json in [
            r#"{"config":{"z":"1","a":"2","m":"3"}}"#,
            r#"{"config":{"properties":{"z":"1","a":"2","m":"3"}}}"#,
        ] {
            assert_eq!(read(json).unwrap(), CommandRequest::Config(pairs.clone()));
        }
        let named_properties = read(r#"{"config":{"properties":"on"}}"#).unwrap();
        assert_eq!(
            named_properties,
            CommandRequest::Config(ConfigPairs([("properties".into(), "on".into())].into()))
        );
    }

    #[test]
    fn config_that_mixes_forms_or_holds_no_text_is_refused_in_words() {
        let mixed = read(r#"{"config":{"a":"1","properties":{"b":"2"}}}"#).unwrap_err();
        assert!(mixed.contains("not both"), "{mixed}");
        let object = read(r#"{"config":{"a":{"b":"2"}}}"#).unwrap_err();
        assert!(object.contains("`a` is an object"), "{object}");
        let number = read(r#"{"config":{"a":5}}"#).unwrap_err();
        assert!(
            number.contains("numbers too are written as text"),
            "{number}"
        );
    }

    #[test]
    fn unknown_types_and_members_are_named_in_the_refusal() {
        let kind = read(r#"{"clientKey":{}}"#).unwrap_err();
        assert!(
            kind.contains("clientKey") && kind.contains("clientPrivateKey"),
            "{kind}"
        );
        let member =
            read(r#"{"clientCertificate":{"secTag":1,"content":"x","extra":1}}"#).unwrap_err();
        assert!(member.contains("`extra`"), "{member}");
        let tag = read(r#"{"clientCertificate":{"secTag":2147483648,"content":"x"}}"#).unwrap_err();
        assert!(tag.contains("2147483648 is out of range"), "{tag}");
        assert!(read(r#"{"finished":{},"config":{}}"#).is_err());
    }

    #[test]
    fn secrets_are_read_but_never_printed() {
        let json =
            r#"{"clientPrivateKey":{"secTag":1,"content":"TOPSECRET","password":"PASSW0RD"}}"#;
        let request = read(json).unwrap();
        let printed = serde_json::to_string(&request).unwrap() + &std::format!("{request:?}");
        assert!(
            !printed.contains("TOPSECRET") && !printed.contains("PASSW0RD"),
            "{printed}"
        );
        assert_eq!(request.secrets().len(), 2);
    }

    #[test]
    fn secrets_return_to_their_places_after_a_round_through_the_store() {
        let json =
            r#"{"clientPrivateKey":{"secTag":1,"content":"TOPSECRET","password":"PASSW0RD"}}"#;
        let request = read(json).unwrap();
        let sealed: Vec<SecretText> = request.secrets().into_iter().cloned().collect();
        let mut stored = read(&serde_json::to_string(&request).unwrap()).unwrap();
        assert!(stored.secrets().is_empty());
        stored.restore_secrets(sealed);
        assert_eq!(stored, request);
    }

    #[test]
    fn erasing_keeps_the_digest_that_was_shown_before() {
        let mut request = CommandRequest::PreSharedKey {
            sec_tag: SecTag::new(7).unwrap(),
            identity: "me".into(),
            secret: "00112233".into(),
        };
        let before = serde_json::to_string(&request).unwrap();
        request.erase_secrets();
        assert!(request.secrets().is_empty());
        assert_eq!(serde_json::to_string(&request).unwrap(), before);
    }
}
