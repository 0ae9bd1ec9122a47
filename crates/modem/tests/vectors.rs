//! The virtual modem with the identity of the synthetic device prints what the recorded vectors say.

#![allow(clippy::unwrap_used)]

use sectag_modem::{Identity, Options, VirtualModem, seeded};
use sectag_pki::csr;
use sectag_proto::Timestamp;
use sectag_proto::at::{Answer, Verdict};
use sectag_proto::cose::Convention;
use sectag_proto::es256::P256;
use sectag_proto::token::KeygenOutput;
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../spec/vectors/provisioning-vectors.json"
    );
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn vector(id: &str) -> Value {
    let all = vectors();
    ["vectors", "synthetic_vectors"]
        .iter()
        .flat_map(|list| all[*list].as_array().unwrap())
        .find(|vector| vector["id"] == id)
        .unwrap()
        .clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The synthetic device; `nonce` is what its randomness yields.
fn device(nonce: Option<u128>, options: Options) -> VirtualModem {
    let facts = &vectors()["synthetic_devices"][0];
    let mut scalar = [0; 32];
    let hex = text(&facts["identity_private_key_hex"]);
    for (byte, digits) in scalar.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    }
    let mut identity = Identity::from_seed(1).with_key(&scalar).unwrap();
    identity.device = text(&facts["device_uuid"]).parse().unwrap();
    identity.firmware = text(&facts["firmware_uuid"]).parse().unwrap();
    assert_eq!(identity.public_key().kid().to_string(), text(&facts["kid"]));
    let mut modem = VirtualModem::new(
        identity,
        options,
        match nonce {
            Some(nonce) => Box::new(move |bytes: &mut [u8]| {
                bytes.copy_from_slice(&nonce.to_be_bytes()[..bytes.len()]);
            }),
            None => seeded(1),
        },
    );
    modem.line("AT+CMEE=1");
    modem
}

fn info(modem: &mut VirtualModem, line: &str, prefix: &str) -> String {
    let answer = Answer::parse(&modem.line(line)).unwrap();
    assert_eq!(answer.verdict, Verdict::Ok, "{line}");
    answer.info_text(prefix).unwrap().to_owned()
}

#[test]
fn an_attestation_body_is_the_recorded_one() {
    let recorded = vector("syn1-attest");
    let nonce = text(&recorded["decoded"]["nonce_hex"]);
    let mut modem = device(None, Options::default());
    let line = format!("AT%ATTESTTOKEN=\"{nonce}\"");
    let printed = info(&mut modem, &line, "%ATTESTTOKEN:");
    let (body, cose) = printed.split_once('.').unwrap();
    let recorded = text(&recorded["text"]);
    let (recorded_body, recorded_cose) = recorded.split_once('.').unwrap();
    assert_eq!(body, recorded_body);
    // Tag, protected header, key id and null payload; the signature has its own nonce.
    assert_eq!(cose[..17], recorded_cose[..17]);
}

#[test]
fn a_jwts_header_and_claims_are_the_recorded_ones() {
    let recorded = vector("syn1-jwt-default");
    let jti = text(&recorded["payload"]["jti"]);
    let nonce = u128::from_str_radix(jti.rsplit('.').next().unwrap(), 16).unwrap();
    let mut modem = device(Some(nonce), Options::default());
    let issued = recorded["payload"]["iat"].as_u64().unwrap();
    modem.set_time(Timestamp::from_secs(issued));
    let printed = info(&mut modem, r#"AT%JWT=0,300,"","""#, "%JWT:");
    let recorded = text(&recorded["text"]);
    assert_eq!(
        printed.rsplit_once('.').unwrap().0,
        recorded.rsplit_once('.').unwrap().0
    );
}

#[test]
fn keygen_outputs_say_what_the_recorded_ones_say() {
    for (id, line, convention) in [
        (
            "syn1-keygen-csr-default",
            "AT%KEYGEN=16842753,2,0",
            Convention::BodyIsAad,
        ),
        (
            "syn1-keygen-csr-attributes",
            r#"AT%KEYGEN=16842753,2,0,"O=Example,L=Trondheim,C=no,CN=dev-0001","101010000""#,
            Convention::EmptyAad,
        ),
    ] {
        let recorded = vector(id);
        let mut modem = device(
            None,
            Options {
                keygen_convention: convention,
                csr_null_parameters: convention == Convention::BodyIsAad,
                ..Options::default()
            },
        );
        let ours = KeygenOutput::parse(&info(&mut modem, line, "%KEYGEN:")).unwrap();
        let theirs = KeygenOutput::parse(&text(&recorded["text"])).unwrap();
        let key = modem.identity().public_key();
        assert_eq!(ours.verify(&key, &P256), Ok(convention), "{id}");
        assert_eq!(theirs.verify(&key, &P256), Ok(convention), "{id}");
        assert_eq!(
            (ours.kind, ours.device, ours.sec_tag),
            (theirs.kind, theirs.device, theirs.sec_tag),
            "{id}"
        );
        let ours = csr::parse(&ours.body).unwrap();
        let theirs = csr::parse(&theirs.body).unwrap();
        assert_eq!(ours.attributes, theirs.attributes, "{id}");
        assert_eq!(ours.key_usage_bits, theirs.key_usage_bits, "{id}");
        assert_eq!(ours.had_null_parameters, theirs.had_null_parameters, "{id}");
    }
}

#[test]
fn public_key_outputs_name_their_tag_also_above_the_signed_range() {
    for id in ["syn1-keygen-pubkey", "syn1-keygen-pubkey-high-tag"] {
        let recorded = vector(id);
        let tag = recorded["decoded"]["sec_tag"].as_u64().unwrap();
        let mut modem = device(None, Options::default());
        let line = format!("AT%KEYGEN={tag},2,1");
        let ours = KeygenOutput::parse(&info(&mut modem, &line, "%KEYGEN:")).unwrap();
        let theirs = KeygenOutput::parse(&text(&recorded["text"])).unwrap();
        assert_eq!(
            (ours.kind, ours.sec_tag),
            (theirs.kind, theirs.sec_tag),
            "{id}"
        );
        assert_eq!(ours.body.len(), theirs.body.len(), "{id}");
    }
}

#[test]
fn the_recorded_delete_and_keygen_pair_runs_on_a_blank_modem() {
    let mut modem = device(None, Options::default());
    assert_eq!(modem.line("AT%CMNG=3,16842753,2"), "+CME ERROR: 513\r\n");
    assert!(modem.line("AT%KEYGEN=16842753,2,1").ends_with("\r\nOK\r\n"));
    let recorded = text(&vector("cmng-list-line")["text"]);
    let listed = modem.line("AT%CMNG=1,16842753,2");
    let shape = |line: &str| line.replace(|c: char| c.is_ascii_hexdigit(), "h");
    assert_eq!(shape(&listed), shape(&recorded));
}
