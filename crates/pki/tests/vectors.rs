//! The recorded requests of modems, field by field, and written again byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sectag_pki::csr::{self, CsrError, Request};
use serde_json::Value;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Each vector with a CSR: its id, the bytes, the expected fields, and the whole vector.
fn csrs() -> Vec<(String, Vec<u8>, Value, Value)> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../spec/vectors/provisioning-vectors.json"
    );
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut found = Vec::new();
    for group in ["vectors", "synthetic_vectors"] {
        for vector in all[group].as_array().unwrap() {
            if vector["csr"].is_null() {
                continue;
            }
            let body = match vector["body_hex"].as_str() {
                Some(body) => hex(body),
                None => {
                    let answer = &vector["json"]["response"]["certificateSigningRequest"];
                    let message = answer["message"].as_str().unwrap();
                    URL_SAFE_NO_PAD.decode(message).unwrap()
                }
            };
            let id = vector["id"].as_str().unwrap().to_owned();
            found.push((id, body, vector["csr"].clone(), vector.clone()));
        }
    }
    assert!(found.len() >= 5, "the vectors have five requests");
    found
}

#[test]
fn every_field_is_as_recorded() {
    for (id, body, expected, vector) in csrs() {
        let csr = csr::parse(&body).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(expected["self_signature_valid"], true, "{id}");
        assert_eq!(expected["subject"], csr.subject_rfc4514(), "{id}");
        assert_eq!(
            expected["null_params_in_signature_algorithm"], csr.had_null_parameters,
            "{id}"
        );
        assert_eq!(
            expected["key_usage_bits"].as_str(),
            csr.key_usage_bits.as_deref(),
            "{id}"
        );
        assert_eq!(
            expected["public_key_spki_hex"],
            to_hex(&csr.spki_der),
            "{id}"
        );
        match expected["normalized_der_hex"].as_str() {
            Some(normal) => assert_eq!(normal, to_hex(&csr.der), "{id}"),
            None => assert_eq!(csr.der, body, "{id}"),
        }
        if let Some(digest) = vector["body_sha256"].as_str() {
            assert_eq!(digest, to_hex(&csr.original_sha256), "{id}");
        }
    }
}

#[test]
fn every_request_is_written_again_byte_by_byte() {
    for (id, body, _, _) in csrs() {
        let read = csr::parse(&body).unwrap();
        let attributes: Vec<(&str, &str)> = read
            .attributes
            .iter()
            .map(|(kind, value)| (kind.as_str(), value.as_str()))
            .collect();
        let request = Request {
            attributes: &attributes,
            key_usage_bits: read.key_usage_bits.as_deref().unwrap(),
            null_parameters: read.had_null_parameters,
        };
        let signature = raw_signature(&body);
        let written =
            csr::build(&request, &read.spki_der, |_| Ok::<_, CsrError>(signature)).unwrap();
        assert_eq!(to_hex(&written), to_hex(&body), "{id}");
    }
}

/// r ‖ s of the signature at the end of a request.
fn raw_signature(csr: &[u8]) -> [u8; 64] {
    // … 03 <n> 00 30 <n> 02 <len r> r 02 <len s> s, and r and s are at most 33 bytes long.
    let at = (66..=72)
        .map(|length| csr.len() - length)
        .find(|&at| {
            csr[at] == 0x30 && usize::from(csr[at + 1]) == csr.len() - at - 2 && csr[at - 1] == 0
        })
        .expect("an ECDSA signature");
    let (r_len, r_at) = (usize::from(csr[at + 3]), at + 4);
    let (s_len, s_at) = (usize::from(csr[r_at + r_len + 1]), r_at + r_len + 2);
    let mut raw = [0; 64];
    for (number, half) in [
        (&csr[r_at..r_at + r_len], 32),
        (&csr[s_at..s_at + s_len], 64),
    ] {
        let digits: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
        raw[half - digits.len()..half].copy_from_slice(&digits);
    }
    raw
}
