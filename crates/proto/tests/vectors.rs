//! Every recorded and generated vector of `spec/vectors/provisioning-vectors.json`, field by field.
//!
//! Fields about the CSR (subject, NULL parameters, key usage, public key, self-signature, normalised DER) need X.509
//! and are checked where that lives, in `pki`; all others here. `every_vector_and_field_has_its_test` fails when a
//! vector, a kind or a field is new.
#![allow(clippy::unwrap_used)]

mod notation;
mod support;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use notation::{command_diag, list, python, python_bytes, response_diag};
use sectag_proto::at::{Answer, Command, Form, Parameter, Verdict};
use sectag_proto::cose::{Convention, Sign1};
use sectag_proto::es256::{self, P256, PublicKey, SignEs256, Signature, VerifyEs256};
use sectag_proto::jwt::{self, Claims, JwtError, UnverifiedJwt};
use sectag_proto::token::{
    AttestationToken, Candidate, DeviceType, KeygenBody, KeygenOutput, TokenError,
};
use sectag_proto::wire::{
    CborRefusal, DecodeLimits, WireResult, command_len, decode_commands, decode_responses,
    encode_commands, encode_responses,
};
use sectag_proto::{CommandId, CommandRequest, DeviceId, FirmwareId, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{Recorded, TestKey, from_hex, hex};

const FILE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../spec/vectors/provisioning-vectors.json"
));

/// What a device of the current generation allows.
const LIMITS: DecodeLimits = DecodeLimits {
    records_max: 10,
    config_pairs_max: 10,
    bytes_max: 4096,
};

#[test]
fn commands_decode_and_encode_to_the_same_bytes() {
    for vector in of_kind("commands") {
        let bytes = from_hex(text(&vector, "hex"));
        let commands = decode_commands(&bytes, LIMITS).unwrap();
        let id = text(&vector, "id");
        assert_eq!(encode_commands(&commands), bytes, "{id}: hex");
        assert_eq!(bytes.len(), number(&vector, "length"), "{id}: length");
        let items: usize = commands.iter().map(command_len).sum();
        assert_eq!(1 + items, number(&vector, "length"), "{id}: length by item");
        let diag = list(commands.iter().map(command_diag));
        assert_eq!(diag, text(&vector, "diag"), "{id}: diag");
    }
}

#[test]
fn responses_decode_and_encode_to_the_same_bytes() {
    for vector in of_kind("responses") {
        let bytes = from_hex(text(&vector, "hex"));
        let responses = decode_responses(&bytes, LIMITS).unwrap();
        let id = text(&vector, "id");
        assert_eq!(encode_responses(&responses), bytes, "{id}: hex");
        assert_eq!(bytes.len(), number(&vector, "length"), "{id}: length");
        let diag = list(responses.iter().map(response_diag));
        assert_eq!(diag, text(&vector, "diag"), "{id}: diag");
    }
}

#[test]
fn a_bare_error_reported_as_success_is_still_an_error() {
    let vector = by_id("syn1-rsp-plain-error-looks-like-success");
    let responses = decode_responses(&from_hex(text(&vector, "hex")), LIMITS).unwrap();
    let WireResult::AtDone { message } = &responses[0].result else {
        panic!("hex: number 100");
    };
    assert_eq!(Answer::parse(message).unwrap().verdict, Verdict::Error);
}

#[test]
fn invalid_and_not_portable_commands_are_refused_by_name() {
    for kind in ["commands-invalid", "commands-not-portable"] {
        for vector in of_kind(kind) {
            let bytes = from_hex(text(&vector, "hex"));
            let id = text(&vector, "id");
            if vector.get("length").is_some() {
                assert_eq!(bytes.len(), number(&vector, "length"), "{id}: length");
            }
            let refusal = match id {
                "neg-no-payload" => CborRefusal::Empty,
                "neg-empty-array" => CborRefusal::EmptyArray,
                "syn1-neg-indefinite-array" => CborRefusal::Indefinite { at: 0 },
                "syn1-neg-missing-ignore-list" => CborRefusal::WrongItemCount {
                    what: "AT command",
                    items: 4,
                    at: 1,
                },
                "syn1-neg-seven-ignored-codes" => CborRefusal::TooManyIgnoredCodes { count: 7 },
                other => panic!("{other}: the reason of its refusal is not written down here"),
            };
            assert_eq!(decode_commands(&bytes, LIMITS), Err(refusal), "{id}: hex");
        }
    }
}

#[test]
fn attestation_tokens_are_parsed_recovered_and_verified() {
    for vector in of_kind("attestation-token") {
        let id = text(&vector, "id");
        let token = AttestationToken::parse(text(&vector, "text")).unwrap();
        assert_eq!(token.text(), text(&vector, "text"), "{id}: text");
        assert_eq!(
            hex(&token.body),
            text(&vector, "body_hex"),
            "{id}: body_hex"
        );
        check_cose(&vector, &token.cose);
        let decoded = &vector["decoded"];
        assert_eq!(decoded["message_type"], 1, "{id}: message_type");
        let device = token.device.to_string();
        assert_eq!(device, text(decoded, "device_uuid"), "{id}: device_uuid");
        assert_eq!(
            decoded["device_type"], token.device_type.0,
            "{id}: device_type"
        );
        let firmware = token.firmware.to_string();
        assert_eq!(
            firmware,
            text(decoded, "firmware_uuid"),
            "{id}: firmware_uuid"
        );
        assert_eq!(
            hex(&token.nonce),
            text(decoded, "nonce_hex"),
            "{id}: nonce_hex"
        );
        assert_eq!(
            hex(&token.to_be_signed(Convention::BodyIsAad)),
            text(&vector, "to_be_signed_hex"),
            "{id}: to_be_signed_hex"
        );

        if vector["signature_is_genuine"] == false {
            assert_eq!(vector["recovered_key_candidates"], Value::Array(vec![]));
            assert_eq!(
                token.candidates(),
                Err(TokenError::NoKey),
                "{id}: signature_is_genuine"
            );
            assert_eq!(
                token.verify(&synthetic_device().1.public_key(), &P256),
                Err(TokenError::Signature),
                "{id}: signature_is_genuine"
            );
            continue;
        }
        let candidates = token.candidates().unwrap();
        assert_eq!(candidates.len(), 4, "{id}: two per convention");
        assert_eq!(
            keys(&candidates, Convention::BodyIsAad),
            recorded_keys(&vector["recovered_key_candidates"]),
            "{id}: recovered_key_candidates"
        );
        let signer = signer(&vector);
        assert_eq!(
            token.verify(&signer, &P256),
            Ok(Convention::BodyIsAad),
            "{id}: signature_is_genuine, signer_spki_hex"
        );
        if vector.get("convention_used").is_some() {
            assert_eq!(
                text(&vector, "convention_used"),
                "external_aad is the body, payload is null",
                "{id}: convention_used"
            );
        }
        let again = AttestationToken::sign(
            text(decoded, "device_uuid").parse().unwrap(),
            DeviceType(decoded["device_type"].as_u64().unwrap() as u32),
            text(decoded, "firmware_uuid").parse().unwrap(),
            from_hex(text(decoded, "nonce_hex")).try_into().unwrap(),
            Convention::BodyIsAad,
            &Recorded {
                key: signer,
                signature: token.cose.signature,
            },
        );
        assert_eq!(
            again.text(),
            text(&vector, "text"),
            "{id}: text from its fields"
        );
    }
}

#[test]
fn keygen_outputs_are_parsed_recovered_and_verified() {
    for vector in of_kind("keygen-output") {
        let id = text(&vector, "id");
        let output = KeygenOutput::parse(text(&vector, "text")).unwrap();
        assert_eq!(output.text(), text(&vector, "text"), "{id}: text");
        assert_eq!(
            hex(&output.body),
            text(&vector, "body_hex"),
            "{id}: body_hex"
        );
        let body_sha256 = hex(&Sha256::digest(&output.body));
        assert_eq!(
            body_sha256,
            text(&vector, "body_sha256"),
            "{id}: body_sha256"
        );
        let (kind, message) = match text(&vector, "body_type") {
            "PKCS#10 CSR" => (KeygenBody::Csr, 9),
            "SubjectPublicKeyInfo" => (KeygenBody::PublicKey, 8),
            other => panic!("{id}: body_type {other}"),
        };
        assert_eq!(output.kind, kind, "{id}: body_type");
        check_cose(&vector, &output.cose);
        let decoded = &vector["decoded"];
        assert_eq!(decoded["message_type"], message, "{id}: message_type");
        let device = output.device.to_string();
        assert_eq!(device, text(decoded, "device_uuid"), "{id}: device_uuid");
        assert_eq!(decoded["sec_tag"], output.sec_tag, "{id}: sec_tag");
        assert_eq!(
            decoded["sec_tag_cbor"],
            output.sec_tag.cast_signed(),
            "{id}: sec_tag_cbor"
        );
        assert_eq!(
            hex(&output.digest),
            text(decoded, "sha256_hex"),
            "{id}: sha256_hex"
        );
        assert_eq!(
            hex(&output.nonce),
            text(decoded, "nonce_hex"),
            "{id}: nonce_hex"
        );

        let candidates = output.candidates();
        let signer = signer(&vector);
        for (convention, name) in CONVENTIONS {
            let recorded = &vector["signature_conventions"][name];
            let to_be_signed = output.to_be_signed(convention);
            assert_eq!(
                hex(&to_be_signed),
                text(recorded, "to_be_signed_hex"),
                "{id}: {name}.to_be_signed_hex"
            );
            assert_eq!(
                keys(&candidates, convention),
                recorded_keys(&recorded["recovered_key_candidates"]),
                "{id}: {name}.recovered_key_candidates"
            );
            assert_eq!(
                P256.verify(&signer, &to_be_signed, &output.cose.signature),
                name == text(&vector, "convention_used"),
                "{id}: convention_used"
            );
        }
        let convention = convention_named(text(&vector, "convention_used"));
        if vector["digest_matches_body"] == false {
            assert_eq!(
                output.verify(&signer, &P256),
                Err(TokenError::Digest),
                "{id}: digest_matches_body"
            );
            continue;
        }
        assert_eq!(
            output.verify(&signer, &P256),
            Ok(convention),
            "{id}: digest_matches_body, signer_spki_hex, convention_used"
        );
        let again = KeygenOutput::sign(
            kind,
            text(decoded, "device_uuid").parse().unwrap(),
            decoded["sec_tag"].as_u64().unwrap() as u32,
            from_hex(text(decoded, "nonce_hex")).try_into().unwrap(),
            from_hex(text(&vector, "body_hex")),
            convention,
            &Recorded {
                key: signer,
                signature: output.cose.signature,
            },
        );
        assert_eq!(
            again.text(),
            text(&vector, "text"),
            "{id}: text from its fields"
        );
    }
}

#[test]
fn two_signatures_of_one_device_leave_exactly_one_key() {
    let keys_of = |candidates: Vec<Candidate>| -> BTreeSet<String> {
        candidates
            .into_iter()
            .map(|candidate| candidate.kid.to_string())
            .collect()
    };
    let token = AttestationToken::parse(text(&by_id("attest-genuine"), "text")).unwrap();
    let vector = by_id("keygen-csr-null-params");
    let output = KeygenOutput::parse(text(&vector, "text")).unwrap();
    let claimed = keys_of(token.candidates().unwrap());
    let proved = keys_of(output.candidates());
    let both: Vec<_> = claimed.intersection(&proved).collect();
    assert_eq!(both, [text(&vector, "signer_kid")], "signer_kid");
}

#[test]
fn jwts_are_verified_or_refused_by_the_identity_rules() {
    for vector in of_kind("jwt") {
        let id = text(&vector, "id");
        let jwt = text(&vector, "text");
        let parts: Vec<_> = jwt.split('.').collect();
        let plain = |part: &str| String::from_utf8(BASE64.decode(part).unwrap()).unwrap();
        let (header, payload) = (plain(parts[0]), plain(parts[1]));
        assert_eq!(header, text(&vector, "header_text"), "{id}: header_text");
        assert_eq!(payload, text(&vector, "payload_text"), "{id}: payload_text");
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(json(&header), vector["header"], "{id}: header");
        assert_eq!(json(&payload), vector["payload"], "{id}: payload");
        let signature = BASE64.decode(parts[2]).unwrap();
        assert_eq!(
            hex(&signature),
            text(&vector, "signature_hex"),
            "{id}: signature_hex"
        );
        let signature = Signature(signature.try_into().unwrap());
        let signed = jwt.rsplit_once('.').unwrap().0.as_bytes();
        let signer = signer(&vector);
        let recovered: BTreeSet<_> = es256::recover(signed, &signature)
            .iter()
            .map(|key| (hex(key.as_spki_der()), key.kid().to_string()))
            .collect();
        assert_eq!(
            recovered,
            recorded_keys(&vector["recovered_key_candidates"]),
            "{id}: recovered_key_candidates"
        );
        assert!(
            P256.verify(&signer, signed, &signature),
            "{id}: signer_spki_hex"
        );

        let parsed = UnverifiedJwt::parse(jwt);
        match id {
            "jwt-modem-sub" => {
                assert_eq!(parsed, Err(JwtError::NoExpiry), "{id}: payload without exp");
            }
            "jwt-app-no-kid" => {
                assert_eq!(parsed, Err(JwtError::NoKid), "{id}: header without kid");
                continue;
            }
            "syn1-jwt-default" => {
                let parsed = parsed.unwrap();
                assert_eq!(
                    parsed.claimed_device(),
                    synthetic_device().0,
                    "{id}: payload.iss"
                );
                assert_eq!(parsed.kid(), signer.kid(), "{id}: header.kid");
                let expires = Timestamp::from_secs(1_760_000_300);
                assert_eq!(parsed.expires_at(), expires, "{id}: payload.exp");
                let during = Timestamp::from_secs(1_760_000_010);
                let verified = parsed.verify(&signer, during, &P256).unwrap();
                assert_eq!(verified.get(), synthetic_device().0, "{id}: signature_hex");
            }
            other => panic!("{other}: what the identity rules say of it is not written down here"),
        }
        // From its fields to the same text: padding, order of members, no blanks.
        let payload = &vector["payload"];
        let (chip, device) = text(payload, "iss").split_once('.').unwrap();
        let jti: Vec<_> = text(payload, "jti").split('.').collect();
        assert_eq!(jti[0], chip, "{id}: payload.jti");
        let seconds = |name: &str| payload[name].as_u64();
        let again = jwt::sign(
            &Claims {
                chip,
                device: device.parse().unwrap(),
                firmware: jti[1].parse::<FirmwareId>().unwrap(),
                nonce: from_hex(jti[2]).try_into().unwrap(),
                validity: seconds("iat").map(|iat| {
                    let lifetime = Duration::from_secs(seconds("exp").unwrap() - iat);
                    (Timestamp::from_secs(iat), lifetime)
                }),
                subject: payload["sub"].as_str().unwrap_or_default(),
                audience: "",
            },
            &Recorded {
                key: signer,
                signature,
            },
        );
        assert_eq!(again, jwt, "{id}: text from its fields");
    }
}

#[test]
fn the_keyinject_request_is_decoded() {
    for vector in of_kind("keyinject") {
        let bytes = |name| BASE64.decode(text(&vector, name)).unwrap();
        let whole = |bytes: &[u8]| {
            let mut input = minicbor::Decoder::new(bytes);
            let shown = python(&mut input);
            assert_eq!(input.position(), bytes.len(), "nothing follows");
            shown
        };
        let encrypt = whole(&bytes("encrypt_text"));
        assert_eq!(
            encrypt,
            text(&vector, "encrypt_diag"),
            "encrypt_text, encrypt_diag"
        );
        let sign1 = bytes("sign1_text");
        assert_eq!(
            whole(&sign1),
            text(&vector, "sign1_diag"),
            "sign1_text, sign1_diag"
        );

        let mut input = minicbor::Decoder::new(&sign1);
        input.tag().unwrap();
        input.array().unwrap();
        let mut protected = minicbor::Decoder::new(input.bytes().unwrap());
        let pairs = protected.map().unwrap().unwrap();
        let shown: Vec<_> = (0..pairs)
            .map(|_| {
                let key = protected.i64().unwrap();
                match protected.datatype().unwrap() {
                    minicbor::data::Type::Bytes => {
                        format!("{key}: h'{}'", hex(protected.bytes().unwrap()))
                    }
                    _ => format!("{key}: {}", protected.i64().unwrap()),
                }
            })
            .collect();
        assert_eq!(
            format!("{{{}}}", shown.join(", ")),
            text(&vector, "sign1_protected_diag"),
            "sign1_protected_diag"
        );
        assert!(
            matches!(Sign1::decode(&sign1), Err(CborRefusal::Unexpected { .. })),
            "sign1_text: its protected header is not that of an identity signature"
        );
    }
}

#[test]
fn owner_answers_use_our_words() {
    for vector in of_kind("api-json") {
        let id = text(&vector, "id");
        let json = &vector["json"];
        for (name, parsed) in [
            (
                "id",
                text(json, "id").parse::<CommandId>().unwrap().to_string(),
            ),
            (
                "deviceId",
                text(json, "deviceId")
                    .parse::<DeviceId>()
                    .unwrap()
                    .to_string(),
            ),
        ] {
            assert_eq!(parsed, text(json, name), "{id}: json.{name}");
        }
        let mut request = json["request"].clone();
        request.as_object_mut().unwrap().remove("requestedAt");
        let parsed: CommandRequest = serde_json::from_value(request.clone()).unwrap();
        let CommandRequest::CertificateSigningRequest {
            sec_tag,
            attributes,
            key_usage,
            issue,
        } = &parsed
        else {
            panic!("{id}: json.request");
        };
        let asked = &request["certificateSigningRequest"];
        assert_eq!(asked["secTag"], sec_tag.get(), "{id}: json.request secTag");
        assert_eq!(
            asked["attributes"], **attributes,
            "{id}: json.request attributes"
        );
        assert_eq!(
            asked["keyUsage"].as_str(),
            key_usage.as_deref(),
            "{id}: json.request keyUsage"
        );
        assert!(
            issue.is_none(),
            "{id}: closed loop is asked for, never assumed"
        );
        assert_eq!(
            serde_json::to_value(&parsed).unwrap(),
            request,
            "{id}: json.request round trip"
        );
        if id == "api-command-created" {
            assert_eq!(json["response"], Value::Null, "{id}: json.response");
            assert_eq!(json["status"], "PENDING", "{id}: json.status");
        } else {
            assert_eq!(json["status"], "SUCCEEDED", "{id}: json.status");
            let message = text(&json["response"]["certificateSigningRequest"], "message");
            let der = BASE64.decode(message).unwrap();
            assert_eq!(BASE64.encode(&der), message, "{id}: json.response message");
            let length = usize::from(u16::from_be_bytes([der[2], der[3]]));
            assert_eq!(
                (&der[..2], length + 4),
                (&[0x30, 0x82][..], der.len()),
                "{id}: json.response message is one DER sequence without a COSE part"
            );
        }
    }
}

#[test]
fn the_recorded_list_answer_is_parsed_and_printed() {
    for vector in of_kind("at-text") {
        let answer = Answer::parse(text(&vector, "text")).unwrap();
        assert_eq!(answer.print(), text(&vector, "text"), "text");
        assert_eq!(answer.verdict, Verdict::Ok, "text: final line");
        let info = answer.info("%CMNG:").unwrap();
        let parameters = Command::parse(&format!("AT%CMNG={info}")).unwrap().form;
        assert_eq!(
            parameters,
            Form::Set(vec![
                Parameter::Bare("16842753".into()),
                Parameter::Bare("1".into()),
                Parameter::Text(
                    "B9BAC15641653CAE2B5151DCBD0C40DDCDF19125950FA2475977437EA35F7A45".into()
                ),
            ]),
            "text: tag, type, digest"
        );
    }
}

#[test]
fn the_synthetic_device_is_who_it_says() {
    let file = file();
    let devices = file["synthetic_devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "a new device needs its test");
    let record = &devices[0];
    let (device, key) = synthetic_device();
    assert_eq!(
        device.to_string(),
        text(record, "device_uuid"),
        "device_uuid"
    );
    let public = key.public_key();
    assert_eq!(
        hex(public.as_spki_der()),
        text(record, "identity_spki_hex"),
        "identity_private_key_hex, identity_spki_hex"
    );
    assert_eq!(public.kid().to_string(), text(record, "kid"), "kid");
    let token = AttestationToken::parse(text(&by_id("syn1-attest"), "text")).unwrap();
    assert_eq!(token.device, device, "device_uuid");
    assert_eq!(record["device_type"], token.device_type.0, "device_type");
    let firmware = token.firmware.to_string();
    assert_eq!(firmware, text(record, "firmware_uuid"), "firmware_uuid");
}

/// A new vector, kind or field cannot slip by: this list and the file must agree.
#[test]
fn every_vector_and_field_has_its_test() {
    let visited = [
        (
            "commands",
            "id kind what source hex length diag",
            &[
                "cmd-finished",
                "cmd-delete-then-keygen",
                "cmd-config-interval",
                "syn1-cmd-write-ca",
                "syn1-cmd-longest-correlation-id",
            ][..],
        ),
        (
            "responses",
            "id kind what source hex length diag",
            &[
                "rsp-finished-ack",
                "rsp-delete-then-keygen-ok",
                "rsp-delete-refused-514",
                "rsp-config-ack",
                "syn1-rsp-write-ca",
                "syn1-rsp-plain-error-looks-like-success",
                "syn1-rsp-config-error",
            ],
        ),
        (
            "commands-invalid",
            "id kind what source hex length diag",
            &[
                "neg-empty-array",
                "neg-no-payload",
                "syn1-neg-missing-ignore-list",
                "syn1-neg-seven-ignored-codes",
            ],
        ),
        (
            "commands-not-portable",
            "id kind what source hex diag",
            &["syn1-neg-indefinite-array"],
        ),
        (
            "attestation-token",
            "id kind what source text body_hex cose_hex decoded to_be_signed_hex \
             recovered_key_candidates signature_is_genuine signer_spki_hex signer_kid convention_used",
            &[
                "attest-genuine",
                "attest-documentation-example",
                "syn1-attest",
            ],
        ),
        (
            // `csr` belongs to pki.
            "keygen-output",
            "id kind what source text body_hex body_sha256 body_type csr cose_hex decoded \
             digest_matches_body signature_conventions signer_spki_hex signer_kid convention_used",
            &[
                "keygen-csr-null-params",
                "keygen-csr-normalized",
                "syn1-keygen-csr-default",
                "syn1-keygen-csr-attributes",
                "syn1-keygen-pubkey",
                "syn1-keygen-pubkey-high-tag",
            ],
        ),
        (
            "jwt",
            "id kind what source text header_text payload_text header payload signature_hex \
             recovered_key_candidates signer_spki_hex signer_kid",
            &["jwt-modem-sub", "jwt-app-no-kid", "syn1-jwt-default"],
        ),
        (
            "keyinject",
            "id kind what source encrypt_text encrypt_diag sign1_text sign1_diag sign1_protected_diag",
            &["keyinject-request"],
        ),
        // `csr` belongs to pki.
        (
            "api-json",
            "id kind what source json csr",
            &["api-command-created", "api-command-succeeded"],
        ),
        ("at-text", "id kind what source text", &["cmng-list-line"]),
    ];
    let expected: BTreeSet<(String, String)> = visited
        .iter()
        .flat_map(|(kind, _, ids)| ids.iter().map(|id| (kind.to_string(), id.to_string())))
        .collect();
    let found: BTreeSet<_> = vectors()
        .iter()
        .map(|vector| (text(vector, "kind").into(), text(vector, "id").into()))
        .collect();
    assert_eq!(found, expected);
    for vector in vectors() {
        let (_, fields, _) = visited
            .iter()
            .find(|(kind, ..)| *kind == text(&vector, "kind"))
            .unwrap();
        for field in vector.as_object().unwrap().keys() {
            assert!(
                fields.split_whitespace().any(|known| known == field),
                "{}: field {field} has no test",
                text(&vector, "id")
            );
        }
    }
    let file = file();
    let sections: Vec<_> = file.as_object().unwrap().keys().collect();
    assert_eq!(
        sections,
        ["about", "synthetic_devices", "synthetic_vectors", "vectors"]
    );
}

const CONVENTIONS: [(Convention, &str); 2] = [
    (Convention::BodyIsAad, "external_aad_is_body"),
    (Convention::EmptyAad, "external_aad_is_empty"),
];

fn convention_named(name: &str) -> Convention {
    CONVENTIONS
        .iter()
        .find(|(_, known)| *known == name)
        .unwrap()
        .0
}

/// `cose_hex` and `decoded.cose` of both token kinds.
fn check_cose(vector: &Value, cose: &Sign1) {
    let id = text(vector, "id");
    let bytes = from_hex(text(vector, "cose_hex"));
    assert_eq!(cose.encode(), bytes, "{id}: cose_hex");
    let decoded = &vector["decoded"]["cose"];
    assert_eq!(decoded["tag"], 18, "{id}: cose.tag");
    assert_eq!(bytes[0], 0xc0 | 18, "{id}: cose.tag");
    assert_eq!(
        hex(&bytes[3..6]),
        text(decoded, "protected_hex"),
        "{id}: cose.protected_hex"
    );
    if let Some(protected) = decoded.get("protected") {
        assert_eq!(protected, "{1: -7}", "{id}: cose.protected");
    }
    let unprotected = format!("frozendict({{4: {}}})", python_bytes(&cose.key_id));
    assert_eq!(
        unprotected,
        text(decoded, "unprotected"),
        "{id}: cose.unprotected"
    );
    assert_eq!(
        cose.payload.as_deref().map(hex).as_deref(),
        decoded
            .get("payload_hex")
            .map(|payload| payload.as_str().unwrap()),
        "{id}: cose.payload, cose.payload_hex"
    );
    assert_eq!(
        hex(&cose.signature.0),
        text(decoded, "signature_hex"),
        "{id}: cose.signature_hex"
    );
    for field in decoded.as_object().unwrap().keys() {
        assert!(
            [
                "tag",
                "protected_hex",
                "protected",
                "unprotected",
                "payload",
                "payload_hex",
                "signature_hex"
            ]
            .contains(&field.as_str()),
            "{id}: cose.{field} has no test"
        );
    }
}

/// `signer_spki_hex` and, where there is one, `signer_kid`.
fn signer(vector: &Value) -> PublicKey {
    let key = PublicKey::from_spki_der(&from_hex(text(vector, "signer_spki_hex"))).unwrap();
    if vector.get("signer_kid").is_some() {
        let id = text(vector, "id");
        assert_eq!(
            key.kid().to_string(),
            text(vector, "signer_kid"),
            "{id}: signer_kid"
        );
    }
    key
}

fn keys(candidates: &[Candidate], convention: Convention) -> BTreeSet<(String, String)> {
    candidates
        .iter()
        .filter(|candidate| candidate.convention == convention)
        .map(|candidate| (hex(candidate.key.as_spki_der()), candidate.kid.to_string()))
        .collect()
}

fn recorded_keys(candidates: &Value) -> BTreeSet<(String, String)> {
    candidates
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| {
            (
                text(candidate, "spki_hex").into(),
                text(candidate, "kid").into(),
            )
        })
        .collect()
}

fn synthetic_device() -> (DeviceId, TestKey) {
    let file = file();
    let device = &file["synthetic_devices"][0];
    (
        text(device, "device_uuid").parse().unwrap(),
        TestKey::from_bytes(&from_hex(text(device, "identity_private_key_hex"))),
    )
}

fn file() -> Value {
    serde_json::from_str(FILE).unwrap()
}

fn vectors() -> Vec<Value> {
    let file = file();
    ["vectors", "synthetic_vectors"]
        .iter()
        .flat_map(|section| file[section].as_array().unwrap().clone())
        .collect()
}

fn of_kind(kind: &str) -> Vec<Value> {
    let found: Vec<_> = vectors()
        .into_iter()
        .filter(|vector| text(vector, "kind") == kind)
        .collect();
    assert!(!found.is_empty(), "no vector of kind {kind}");
    found
}

fn by_id(id: &str) -> Value {
    vectors()
        .into_iter()
        .find(|vector| text(vector, "id") == id)
        .unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} is not a text"))
}

fn number(value: &Value, name: &str) -> usize {
    usize::try_from(value[name].as_u64().unwrap()).unwrap()
}
