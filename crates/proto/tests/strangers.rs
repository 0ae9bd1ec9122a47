//! Other people's libraries judge ours: `coset` for COSE, `jsonwebtoken` for JWT, `aws-lc` for signatures.
#![allow(clippy::unwrap_used)]

mod support;

use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sectag_proto::cose::{Convention, Sign1};
use sectag_proto::es256::{P256, SignEs256, Signature, VerifyEs256};
use sectag_proto::jwt::{self, Claims, UnverifiedJwt};
use sectag_proto::token::{AttestationToken, DeviceType, KeygenBody, KeygenOutput};
use sectag_proto::{DeviceId, FirmwareId, Timestamp};
use std::time::Duration;
use support::TestKey;

/// Twenty minutes of the year 2286: `jsonwebtoken` reads the real clock, and an `exp` far ahead passes.
const NOW: Timestamp = Timestamp::from_secs(9_999_990_000);

fn device() -> DeviceId {
    DeviceId::from_bytes([0x50; 16])
}

fn firmware() -> FirmwareId {
    FirmwareId::from_bytes([0x6f; 16])
}

#[test]
fn coset_reads_our_tokens_and_agrees_on_what_is_signed() {
    let key = TestKey::numbered(1);
    let token = AttestationToken::sign(
        device(),
        DeviceType::NRF9151_LACA,
        firmware(),
        [1; 16],
        Convention::BodyIsAad,
        &key,
    );
    let theirs = coset::CoseSign1::from_tagged_slice(&token.cose.encode()).unwrap();
    assert_eq!(theirs.payload, None);
    assert_eq!(theirs.unprotected.key_id, [0x21]);
    assert_eq!(theirs.signature, token.cose.signature.0);

    for convention in [Convention::BodyIsAad, Convention::EmptyAad] {
        let output = KeygenOutput::sign(
            KeygenBody::Csr,
            device(),
            42,
            [2; 16],
            b"a csr".to_vec(),
            convention,
            &key,
        );
        let theirs = coset::CoseSign1::from_tagged_slice(&output.cose.encode()).unwrap();
        let external_aad: &[u8] = match convention {
            Convention::BodyIsAad => &output.body,
            Convention::EmptyAad => &[],
        };
        assert_eq!(
            theirs.tbs_data(external_aad),
            output.to_be_signed(convention)
        );
        theirs
            .verify_signature(external_aad, |signature, message| {
                let signature = Signature(signature.try_into().unwrap());
                P256.verify(&key.public_key(), message, &signature)
                    .then_some(())
                    .ok_or(())
            })
            .unwrap();
    }
}

#[test]
fn a_detached_signature_of_coset_is_the_newer_convention() {
    let key = TestKey::numbered(1);
    let mut token = AttestationToken::sign(
        device(),
        DeviceType::NRF9151_LACA,
        firmware(),
        [1; 16],
        Convention::EmptyAad,
        &key,
    );
    let theirs = CoseSign1Builder::new()
        .protected(
            HeaderBuilder::new()
                .algorithm(iana::Algorithm::ES256)
                .build(),
        )
        .unprotected(HeaderBuilder::new().key_id(vec![0x21]).build())
        .create_detached_signature(&token.body, &[], |message| key.sign(message).0.to_vec())
        .build();
    let bytes = theirs.clone().to_tagged_vec().unwrap();
    token.cose = Sign1::decode(&bytes).unwrap();
    assert_eq!(
        token.verify(&key.public_key(), &P256),
        Ok(Convention::EmptyAad)
    );
    assert!(
        Sign1::decode(&theirs.to_vec().unwrap()).is_err(),
        "a modem always writes the tag"
    );
}

fn decoding_key(key: &TestKey) -> DecodingKey {
    DecodingKey::from_ec_der(key.public_key().point())
}

#[test]
fn jsonwebtoken_accepts_our_jwt() {
    let key = TestKey::numbered(1);
    let text = jwt::sign(
        &Claims {
            chip: "nRF9151",
            device: device(),
            firmware: firmware(),
            nonce: [3; 16],
            validity: Some((NOW, Duration::from_secs(300))),
            subject: "subject",
            audience: "audience",
        },
        &key,
    );
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["audience"]);
    validation.sub = Some("subject".into());
    let read =
        jsonwebtoken::decode::<serde_json::Value>(&text, &decoding_key(&key), &validation).unwrap();
    assert_eq!(read.header.kid, Some(key.public_key().kid().to_string()));
    assert_eq!(read.claims["iss"], format!("nRF9151.{}", device()));
    assert_eq!(
        read.claims["jti"],
        format!("nRF9151.{}.{}", firmware(), "03".repeat(16))
    );
    assert_eq!(read.claims["exp"], NOW.as_secs() + 300);
    let other = decoding_key(&TestKey::numbered(2));
    assert!(jsonwebtoken::decode::<serde_json::Value>(&text, &other, &validation).is_err());
}

#[test]
fn we_accept_a_jwt_of_jsonwebtoken() {
    let key = TestKey::numbered(1);
    let header = Header {
        kid: Some(key.public_key().kid().to_string()),
        ..Header::new(Algorithm::ES256)
    };
    let claims = serde_json::json!({
        "iss": format!("nRF9251.{}", device()),
        "iat": NOW.as_secs(),
        "exp": NOW.as_secs() + 300,
        "sub": "somebody else",
    });
    let text = jsonwebtoken::encode(
        &header,
        &claims,
        &EncodingKey::from_ec_der(&key.pkcs8_der()),
    )
    .unwrap();
    let verified = UnverifiedJwt::parse(&text)
        .unwrap()
        .verify(&key.public_key(), NOW, &P256)
        .unwrap();
    assert_eq!(verified.get(), device());
}

#[test]
fn aws_lc_and_p256_agree() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    let key = TestKey::numbered(1);
    let public = key.public_key();
    let theirs = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.point());
    for message in [&b""[..], b"a", &[0xff; 300]] {
        let mut signature = key.sign(message);
        assert!(theirs.verify(message, &signature.0).is_ok());
        assert!(P256.verify(&public, message, &signature));
        signature.0[63] ^= 1;
        assert!(theirs.verify(message, &signature.0).is_err());
        assert!(!P256.verify(&public, message, &signature));
    }
}
