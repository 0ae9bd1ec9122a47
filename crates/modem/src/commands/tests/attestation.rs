//! `%ATTESTTOKEN` (§6).

use super::*;

#[test]
fn a_token_names_the_modem_and_fits_the_library_that_scans_it() {
    let mut modem = modem();
    let answer = ok(&mut modem, "AT%ATTESTTOKEN");
    let text = answer.info_text("%ATTESTTOKEN:").unwrap();
    assert_eq!(text.len(), 180);
    assert!(text.split('.').all(|half| half.len() <= 127));
    let token = AttestationToken::parse(text).unwrap();
    let identity = modem.identity();
    assert_eq!(token.device, identity.device);
    assert_eq!(token.device_type, identity.device_type);
    assert_eq!(token.firmware, identity.firmware);
    assert_eq!(
        token.verify(&identity_key(&modem), &P256),
        Ok(Convention::BodyIsAad)
    );
    assert_ne!(
        answer,
        ok(&mut modem, "AT%ATTESTTOKEN"),
        "the nonce is fresh"
    );
}

#[test]
fn a_challenge_takes_the_place_of_the_nonce() {
    let mut modem = modem();
    let text = modem.line(r#"AT%ATTESTTOKEN="000102030405060708090A0b0c0d0e0f""#);
    let token = AttestationToken::parse(text.lines().next().unwrap()).unwrap();
    let expected: Vec<u8> = (0..16).collect();
    assert_eq!(token.nonce.to_vec(), expected);
    for bad in [
        "00",
        "000102030405060708090a0b0c0d0e0g",
        "+00102030405060708090a0b0c0d0e0f",
    ] {
        cme(&mut modem, &format!("AT%ATTESTTOKEN=\"{bad}\""), 50);
    }
}
