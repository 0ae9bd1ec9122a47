//! Who a device is: tokens and JWTs signed here, read here, and refused when anything at all is altered.
#![allow(clippy::unwrap_used)]

mod support;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use proptest::prelude::*;
use sectag_proto::cose::{Convention, Sign1};
use sectag_proto::es256::{KeyError, Kid, P256, PublicKey, SignEs256, Signature, VerifyEs256};
use sectag_proto::jwt::{self, Claims, JwtError, UnverifiedJwt};
use sectag_proto::token::{AttestationToken, DeviceType, KeygenBody, KeygenOutput, TokenError};
use sectag_proto::{DeviceId, FirmwareId, Timestamp};
use std::time::Duration;
use support::TestKey;

const NOW: Timestamp = Timestamp::from_secs(1_760_000_000);
const BOTH: [Convention; 2] = [Convention::BodyIsAad, Convention::EmptyAad];

fn device() -> DeviceId {
    "50503041-3031-4a42-8003-0102030405a6".parse().unwrap()
}

fn firmware() -> FirmwareId {
    "6f1c2d3e-4a5b-4c6d-8e7f-90a1b2c3d4e5".parse().unwrap()
}

fn claim_token(convention: Convention, key: &TestKey) -> AttestationToken {
    AttestationToken::sign(
        device(),
        DeviceType::NRF9151_LACA,
        firmware(),
        [7; 16],
        convention,
        key,
    )
}

fn keygen(convention: Convention, key: &TestKey) -> KeygenOutput {
    let body = TestKey::numbered(99).public_key().as_spki_der().to_vec();
    KeygenOutput::sign(
        KeygenBody::PublicKey,
        device(),
        42,
        [8; 16],
        body,
        convention,
        key,
    )
}

fn claims<'a>() -> Claims<'a> {
    Claims {
        chip: "nRF9151",
        device: device(),
        firmware: firmware(),
        nonce: [9; 16],
        validity: Some((NOW, Duration::from_secs(300))),
        subject: "",
        audience: "",
    }
}

// ---- keys ------------------------------------------------------------------------------------------------------

#[test]
fn only_an_uncompressed_point_on_the_curve_is_a_key() {
    let good = *TestKey::numbered(1).public_key().as_spki_der();
    assert!(PublicKey::from_spki_der(&good).is_ok());
    for (at, what) in [
        (0, "outer tag"),
        (12, "algorithm"),
        (26, "point form"),
        (90, "y"),
    ] {
        let mut bad = good;
        bad[at] ^= 1;
        assert_eq!(
            PublicKey::from_spki_der(&bad),
            Err(KeyError::NotP256Spki),
            "{what}"
        );
    }
    assert_eq!(
        PublicKey::from_spki_der(&good[..90]),
        Err(KeyError::NotP256Spki)
    );
    assert_eq!(PublicKey::from_spki_der(&[]), Err(KeyError::NotP256Spki));
}

#[test]
fn a_kid_is_lower_case_hex_only() {
    let kid = TestKey::numbered(1).public_key().kid();
    assert_eq!(Kid::parse(&kid.to_string()), Ok(kid));
    for bad in [
        kid.to_string().to_uppercase(),
        kid.to_string()[1..].to_string(),
        "ä".repeat(32),
        String::new(),
    ] {
        assert_eq!(Kid::parse(&bad), Err(KeyError::NotAKid), "{bad}");
    }
}

#[test]
fn both_halves_of_s_verify_and_zero_never_does() {
    let key = TestKey::numbered(1);
    let signature = key.sign(b"message");
    let parsed = p256::ecdsa::Signature::from_slice(&signature.0).unwrap();
    let (r, s) = parsed.split_scalars();
    let mirrored = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-s).to_bytes()).unwrap();
    let mirrored = Signature(mirrored.to_bytes().into());
    assert!(P256.verify(&key.public_key(), b"message", &signature));
    assert!(P256.verify(&key.public_key(), b"message", &mirrored));
    for empty in [[0; 64], [0xff; 64]] {
        assert!(!P256.verify(&key.public_key(), b"message", &Signature(empty)));
        assert!(sectag_proto::es256::recover(b"message", &Signature(empty)).is_empty());
    }
}

// ---- claim tokens ----------------------------------------------------------------------------------------------

#[test]
fn a_claim_token_verifies_under_its_convention_and_four_candidates_hold_its_key() {
    let key = TestKey::numbered(1);
    for convention in BOTH {
        let token = AttestationToken::parse(&claim_token(convention, &key).text()).unwrap();
        assert_eq!(token.verify(&key.public_key(), &P256), Ok(convention));
        let candidates = token.candidates().unwrap();
        assert_eq!(candidates.len(), 4);
        let own: Vec<_> = candidates
            .iter()
            .filter(|candidate| candidate.key == key.public_key())
            .collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].convention, convention);
        assert_eq!(own[0].kid, key.public_key().kid());
    }
}

#[test]
fn a_signature_that_leaves_the_body_out_is_told_apart_and_yields_no_candidate() {
    let key = TestKey::numbered(1);
    let mut token = claim_token(Convention::BodyIsAad, &key);
    token.cose.signature = key.sign(&Sign1::to_be_signed(&[], None));
    let token = AttestationToken::parse(&token.text()).unwrap();
    assert_eq!(
        token.verify(&key.public_key(), &P256),
        Err(TokenError::BodyNotCovered)
    );
    let candidates = token.candidates().unwrap_or_default();
    assert!(
        candidates
            .iter()
            .all(|candidate| candidate.key != key.public_key())
    );
}

#[test]
fn another_key_does_not_verify() {
    let token = claim_token(Convention::BodyIsAad, &TestKey::numbered(1));
    assert_eq!(
        token.verify(&TestKey::numbered(2).public_key(), &P256),
        Err(TokenError::Signature)
    );
}

#[test]
fn a_token_is_read_from_what_people_paste() {
    let token = claim_token(Convention::BodyIsAad, &TestKey::numbered(1));
    let text = token.text();
    assert_eq!(text.len(), 180);
    for pasted in [
        format!("  {text}\n"),
        format!("\"{text}\""),
        format!("%ATTESTTOKEN: \"{text}\"\r\nOK\r\n"),
    ] {
        assert_eq!(AttestationToken::parse(&pasted), Ok(token.clone()));
    }
}

#[test]
fn what_is_no_claim_token_is_refused_by_name() {
    let key = TestKey::numbered(1);
    let text = claim_token(Convention::BodyIsAad, &key).text();
    let (body, cose) = text.split_once('.').unwrap();
    let refusal = |text: &str| AttestationToken::parse(text).unwrap_err();
    assert_eq!(refusal(""), TokenError::Parts { parts: 1 });
    assert_eq!(refusal(body), TokenError::Parts { parts: 1 });
    let jwt = jwt::sign(&claims(), &key);
    assert_eq!(refusal(&jwt), TokenError::Parts { parts: 3 });
    assert_eq!(
        refusal(&format!("{body}=.{cose}")),
        TokenError::Base64 { part: "body" }
    );
    assert_eq!(
        refusal(&format!("{body}.{cose}+")),
        TokenError::Base64 { part: "signature" }
    );
    for cut in 1..cose.len() {
        assert!(
            matches!(
                refusal(&text[..text.len() - cut]),
                TokenError::Shape {
                    part: "signature",
                    ..
                } | TokenError::Base64 { part: "signature" }
            ),
            "{cut} characters cut off"
        );
    }
    assert!(matches!(
        refusal(&format!("{}.{cose}", &body[4..])),
        TokenError::Shape { part: "body", .. }
    ));
    assert!(matches!(
        refusal(&keygen(Convention::EmptyAad, &key).text()),
        TokenError::WrongKind {
            found: "a KEYGEN output",
            ..
        }
    ));
    assert!(matches!(
        KeygenOutput::parse(&text),
        Err(TokenError::WrongKind {
            found: "an attestation token",
            ..
        })
    ));
    let endless = format!("{}.{cose}", "A".repeat(5000));
    assert!(matches!(
        refusal(&endless),
        TokenError::Shape { part: "body", .. }
    ));
}

#[test]
fn device_types_have_the_owners_names_and_unknown_ones_survive() {
    assert_eq!(DeviceType(3).owner_name(), "nrf9160_SICA");
    assert_eq!(DeviceType::NRF9151_LACA.owner_name(), "nrf9151_LACA");
    assert_eq!(DeviceType(77).owner_name(), "unknown_77");
    assert_eq!(DeviceType(4).chip(), "nRF9161");
}

// ---- KEYGEN ----------------------------------------------------------------------------------------------------

#[test]
fn a_keygen_output_verifies_under_its_convention() {
    let key = TestKey::numbered(1);
    for convention in BOTH {
        let printed = format!("%KEYGEN: \"{}\"\r\nOK\r\n", keygen(convention, &key).text());
        let output = KeygenOutput::parse(&printed).unwrap();
        assert_eq!(output.verify(&key.public_key(), &P256), Ok(convention));
        assert_eq!(output.candidates().len(), 4);
        assert_eq!(
            output.text(),
            format!("{}.{}", output.body_text(), output.cose_text())
        );
    }
}

#[test]
fn an_exchanged_body_breaks_the_digest_in_both_conventions() {
    let key = TestKey::numbered(1);
    for convention in BOTH {
        let mut output = keygen(convention, &key);
        output.body = TestKey::numbered(2).public_key().as_spki_der().to_vec();
        assert_eq!(
            output.verify(&key.public_key(), &P256),
            Err(TokenError::Digest)
        );
    }
}

// ---- JWT -------------------------------------------------------------------------------------------------------

#[test]
fn a_jwt_is_accepted_from_skew_before_to_skew_after_and_not_a_moment_longer() {
    let key = TestKey::numbered(1);
    let parsed = UnverifiedJwt::parse(&jwt::sign(&claims(), &key)).unwrap();
    let at = |now: u64| parsed.verify(&key.public_key(), Timestamp(now), &P256);
    let first = NOW.0 - 300_000;
    let last = NOW.0 + 600_000;
    assert_eq!(at(first).unwrap().get(), device());
    assert_eq!(at(last).unwrap().get(), device());
    assert_eq!(at(last + 1), Err(JwtError::Expired { seconds: 300 }));
    assert_eq!(at(last + 60_000), Err(JwtError::Expired { seconds: 360 }));
    assert_eq!(at(first - 1), Err(JwtError::NotYetValid { seconds: 300 }));
    assert_eq!(
        at(0).unwrap_err(),
        JwtError::NotYetValid {
            seconds: NOW.as_secs()
        }
    );
    assert!(matches!(at(u64::MAX), Err(JwtError::Expired { .. })));
}

#[test]
fn another_kid_and_an_exchanged_signature_are_refused() {
    let key = TestKey::numbered(1);
    let text = jwt::sign(&claims(), &key);
    let parsed = UnverifiedJwt::parse(&text).unwrap();
    assert_eq!(
        parsed.verify(&TestKey::numbered(2).public_key(), NOW, &P256),
        Err(JwtError::WrongKid {
            given: key.public_key().kid()
        })
    );
    let (signed, _) = text.rsplit_once('.').unwrap();
    let forged = BASE64.encode(TestKey::numbered(2).sign(signed.as_bytes()).0);
    let parsed = UnverifiedJwt::parse(&format!("{signed}.{forged}")).unwrap();
    assert_eq!(
        parsed.verify(&key.public_key(), NOW, &P256),
        Err(JwtError::Signature)
    );
}

#[test]
fn a_jwt_never_shows_itself() {
    let text = jwt::sign(&claims(), &TestKey::numbered(1));
    let shown = format!("{:?}", UnverifiedJwt::parse(&text).unwrap());
    assert!(text.split('.').all(|part| !shown.contains(part)), "{shown}");
}

#[test]
fn both_json_texts_are_padded_and_in_the_order_of_a_modem() {
    for subject in ["", "a", "ab", "abc", "with \"quotes\" and \\"] {
        let text = jwt::sign(
            &Claims {
                subject,
                audience: "ü",
                ..claims()
            },
            &TestKey::numbered(1),
        );
        let parts: Vec<_> = text.split('.').collect();
        for part in &parts[..2] {
            assert_eq!(BASE64.decode(part).unwrap().len() % 3, 0);
        }
        let payload: serde_json::Value =
            serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(
            payload.get("sub").and_then(|sub| sub.as_str()),
            Some(subject).filter(|s| !s.is_empty())
        );
        assert_eq!(payload["aud"], "ü");
        assert!(UnverifiedJwt::parse(&text).is_ok());
    }
}

/// A JWT of the given texts with a signature of the right length.
fn made(header: &str, payload: &str) -> Result<UnverifiedJwt, JwtError> {
    UnverifiedJwt::parse(&format!(
        "{}.{}.{}",
        BASE64.encode(header),
        BASE64.encode(payload),
        BASE64.encode([1; 64])
    ))
}

fn header(alg: &str) -> String {
    format!(
        r#"{{"typ":"JWT","alg":"{alg}","kid":"{}"}}"#,
        "0a".repeat(32)
    )
}

const ISS: &str = "nRF9151.50503041-3031-4a42-8003-0102030405a6";

#[test]
fn no_other_algorithm_passes() {
    let payload = format!(r#"{{"iss":"{ISS}","iat":1,"exp":2}}"#);
    for alg in ["none", "None", "", "HS256", "ES384", "es256", "RS256"] {
        assert_eq!(
            made(&header(alg), &payload),
            Err(JwtError::Algorithm(alg.into()))
        );
    }
    assert!(made(&header("ES256"), &payload).is_ok());
}

#[test]
fn what_no_key_could_make_acceptable_is_refused_by_name() {
    let es256 = header("ES256");
    let payload = |rest: &str| made(&es256, &format!(r#"{{"iss":"{ISS}"{rest}}}"#));
    assert_eq!(payload(r#","iat":1"#), Err(JwtError::NoExpiry));
    assert_eq!(payload(r#","exp":1"#), Err(JwtError::NoIssuedAt));
    assert_eq!(
        payload(r#","iat":1,"exp":362"#),
        Err(JwtError::Lifetime { seconds: 361 })
    );
    assert_eq!(
        payload(r#","iat":2,"exp":1"#),
        Err(JwtError::Lifetime { seconds: -1 })
    );
    assert_eq!(
        payload(r#","iat":0,"exp":18446744073709551615"#),
        Err(JwtError::Lifetime { seconds: i64::MAX })
    );
    assert_eq!(
        payload(r#","iat":18446744073709551615,"exp":0"#),
        Err(JwtError::Lifetime { seconds: i64::MIN })
    );
    assert!(payload(r#","iat":1,"exp":361  "#).is_ok(), "360 s, blanks");
    for malformed in [
        r#","iat":1,"iat":2,"exp":3"#,
        r#","iat":-1,"exp":3"#,
        r#","iat":1.5,"exp":3"#,
        r#","iat":"1","exp":3"#,
        r#","iat":1,"exp":18446744073709551616"#,
        r#","iat":1,"exp":3} {"#,
    ] {
        assert!(
            matches!(payload(malformed), Err(JwtError::Malformed(_))),
            "{malformed}"
        );
    }
    for iss in [
        "",
        "nRF9151",
        "nRF9151.",
        "nRF9151.5050",
        "x.50503041-3031-4a42-8003-0102030405aö",
    ] {
        assert_eq!(
            made(&es256, &format!(r#"{{"iss":"{iss}","iat":1,"exp":2}}"#)),
            Err(JwtError::NoDevice(iss.into()))
        );
    }
    let good = format!(r#"{{"iss":"{ISS}","iat":1,"exp":2}}"#);
    for header in [
        r#"{"alg":"ES256"}"#.to_owned(),
        r#"{"alg":"ES256","kid":"0a"}"#.into(),
        es256.replace("0a", "0A"),
    ] {
        assert_eq!(made(&header, &good), Err(JwtError::NoKid), "{header}");
    }
    for header in [
        "".to_owned(),
        r#"["ES256"]"#.into(),
        "{".into(),
        es256.replace("\"typ\":\"JWT\"", "\"crit\":[\"exp\"]"),
        es256.replace("\"typ\":\"JWT\"", "\"alg\":\"ES256\""),
    ] {
        assert!(
            matches!(made(&header, &good), Err(JwtError::Malformed(_))),
            "{header}"
        );
    }
}

#[test]
fn what_is_not_three_short_parts_is_no_jwt() {
    let text = jwt::sign(&claims(), &TestKey::numbered(1));
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{text}.x"),
        format!("{text}A"),
        format!("{text}="),
        format!(" {text}"),
        text[..text.len() - 2].into(),
        "A".repeat(2000),
    ] {
        assert!(matches!(
            UnverifiedJwt::parse(&bad),
            Err(JwtError::Malformed(_))
        ));
    }
}

#[test]
fn a_later_nbf_is_honoured() {
    let key = TestKey::numbered(1);
    let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key.public_key().kid());
    let payload = format!(r#"{{"iss":"{ISS}","iat":1000,"exp":1300,"nbf":1200}}"#);
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
    let signature = BASE64.encode(key.sign(signed.as_bytes()).0);
    let parsed = UnverifiedJwt::parse(&format!("{signed}.{signature}")).unwrap();
    let at = |secs| parsed.verify(&key.public_key(), Timestamp::from_secs(secs), &P256);
    assert_eq!(at(800), Err(JwtError::NotYetValid { seconds: 400 }));
    assert!(at(900).is_ok());
}

// ---- one bit ---------------------------------------------------------------------------------------------------

/// `text` with one bit of one character's six flipped; dots stay.
fn flipped(text: &str, at: usize, bit: u32) -> Option<String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = text.as_bytes().to_vec();
    let index = ALPHABET.iter().position(|c| *c == bytes[at])?;
    bytes[at] = ALPHABET[index ^ (1 << bit)];
    String::from_utf8(bytes).ok()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 64,
        ..ProptestConfig::default()
    })]

    #[test]
    fn signed_here_is_read_and_verified_here(
        seed in 1_u8..255,
        uuid in any::<[u8; 16]>(),
        fw in any::<[u8; 16]>(),
        nonce in any::<[u8; 16]>(),
        device_type in any::<u32>(),
        sec_tag in any::<u32>(),
        csr in proptest::collection::vec(any::<u8>(), 1..400),
        empty_aad in any::<bool>(),
    ) {
        let key = TestKey::numbered(seed);
        let convention = BOTH[usize::from(empty_aad)];
        let (device, firmware) = (DeviceId::from_bytes(uuid), FirmwareId::from_bytes(fw));

        let token = AttestationToken::sign(
            device, DeviceType(device_type), firmware, nonce, convention, &key);
        prop_assert_eq!(AttestationToken::parse(&token.text()), Ok(token.clone()));
        prop_assert_eq!(token.verify(&key.public_key(), &P256), Ok(convention));

        let output = KeygenOutput::sign(
            KeygenBody::Csr, device, sec_tag, nonce, csr, convention, &key);
        prop_assert_eq!(KeygenOutput::parse(&output.text()), Ok(output.clone()));
        prop_assert_eq!(output.verify(&key.public_key(), &P256), Ok(convention));

        let text = jwt::sign(&Claims { device, firmware, nonce, ..claims() }, &key);
        let verified = UnverifiedJwt::parse(&text).unwrap().verify(&key.public_key(), NOW, &P256);
        prop_assert_eq!(verified.unwrap().get(), device);
    }

    #[test]
    fn one_flipped_bit_never_verifies(
        at in any::<prop::sample::Index>(),
        bit in 0_u32..6,
        empty_aad in any::<bool>(),
    ) {
        let key = TestKey::numbered(1);
        let public = key.public_key();
        let convention = BOTH[usize::from(empty_aad)];

        let text = claim_token(convention, &key).text();
        if let Some(altered) = flipped(&text, at.index(text.len()), bit)
            && let Ok(token) = AttestationToken::parse(&altered)
            // The key id is outside the signature (RFC 9052 §4.4), and decides nothing.
            && token.cose.key_id == [Sign1::IDENTITY_KEY_ID]
        {
            prop_assert!(token.verify(&public, &P256).is_err());
        }

        let text = keygen(convention, &key).text();
        if let Some(altered) = flipped(&text, at.index(text.len()), bit)
            && let Ok(output) = KeygenOutput::parse(&altered)
            && output.cose.key_id == [Sign1::IDENTITY_KEY_ID]
        {
            prop_assert!(output.verify(&public, &P256).is_err());
        }

        let text = jwt::sign(&claims(), &key);
        if let Some(altered) = flipped(&text, at.index(text.len()), bit)
            && let Ok(jwt) = UnverifiedJwt::parse(&altered)
        {
            prop_assert!(jwt.verify(&public, NOW, &P256).is_err());
        }
    }

    #[test]
    fn no_text_panics(text in "[A-Za-z0-9_.\"%:-]{0,400}", any_text in "\\PC{0,100}") {
        for text in [text, any_text] {
            let _ = AttestationToken::parse(&text);
            let _ = KeygenOutput::parse(&text);
            let _ = UnverifiedJwt::parse(&text);
            let _ = Kid::parse(&text);
        }
    }
}
