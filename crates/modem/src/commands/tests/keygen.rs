//! `%KEYGEN` (§5, §8).

use super::*;

fn output(modem: &mut VirtualModem, line: &str) -> KeygenOutput {
    let answer = ok(modem, line);
    KeygenOutput::parse(answer.info_text("%KEYGEN:").unwrap()).unwrap()
}

#[test]
fn a_csr_carries_the_uuid_and_verifies_under_the_identity_key() {
    let mut modem = modem();
    let text = modem.line("AT%KEYGEN=42,2,0");
    assert!((500..700).contains(&text.len()), "{}", text.len());
    let output = KeygenOutput::parse(&text).unwrap();
    assert_eq!(output.kind, KeygenBody::Csr);
    assert_eq!(output.device, modem.identity().device);
    assert_eq!(output.sec_tag, 42);
    assert_eq!(
        output.verify(&identity_key(&modem), &P256),
        Ok(Convention::EmptyAad)
    );
    let csr = csr::parse(&output.body).unwrap();
    assert_eq!(csr.subject(), format!("CN={}", modem.identity().device));
    assert_eq!(csr.key_usage_bits.as_deref(), Some("111010000"));
    assert_eq!(csr.original_sha256, output.digest);
    assert!(csr.had_null_parameters);
}

#[test]
fn the_key_is_listed_and_belongs_to_the_csr() {
    let mut modem = modem();
    let output = output(&mut modem, "AT%KEYGEN=42,2,0");
    assert!(modem.line("AT%CMNG=1,42").starts_with("%CMNG: 42,2,\""));
    let csr = csr::parse(&output.body).unwrap();
    let tag = SecTag::new(42).unwrap();
    let shared = SharedModem::new(modem);
    assert_eq!(shared.public_key(tag).unwrap().as_spki_der(), &csr.spki_der);
}

#[test]
fn both_signing_conventions_and_both_encodings_can_be_chosen() {
    for convention in [Convention::BodyIsAad, Convention::EmptyAad] {
        for null_parameters in [false, true] {
            let mut modem = modem_with(Options {
                attest_convention: convention,
                keygen_convention: convention,
                csr_null_parameters: null_parameters,
                ..Options::default()
            });
            let key = identity_key(&modem);
            let output = output(&mut modem, "AT%KEYGEN=42,2,0");
            assert_eq!(output.verify(&key, &P256), Ok(convention));
            let csr = csr::parse(&output.body).unwrap();
            assert_eq!(csr.had_null_parameters, null_parameters);
            let text = modem.line("AT%ATTESTTOKEN");
            let token = AttestationToken::parse(text.lines().next().unwrap()).unwrap();
            assert_eq!(token.verify(&key, &P256), Ok(convention));
            let candidates = token.candidates().unwrap();
            assert!(candidates.iter().any(|candidate| candidate.key == key));
        }
    }
}

#[test]
fn attributes_and_key_usage_are_taken_as_given() {
    let mut modem = modem();
    let line = r#"AT%KEYGEN=7,2,0,"O=Acme,L=Oslo,C=NO,CN=dev-17","101010000""#;
    let csr = csr::parse(&output(&mut modem, line).body).unwrap();
    assert_eq!(csr.subject(), "O=Acme,L=Oslo,C=NO,CN=dev-17");
    assert_eq!(csr.key_usage_bits.as_deref(), Some("101010000"));
}

#[test]
fn a_public_key_body_is_the_key_itself() {
    let mut modem = modem();
    let text = modem.line("AT%KEYGEN=16842753,2,1");
    assert!((300..360).contains(&text.len()), "{}", text.len());
    let output = KeygenOutput::parse(&text).unwrap();
    assert_eq!(output.kind, KeygenBody::PublicKey);
    assert_eq!(output.body.len(), 91);
    assert_eq!(output.sec_tag, 16_842_753);
    assert!(output.verify(&identity_key(&modem), &P256).is_ok());
}

#[test]
fn without_content_it_prints_a_csr() {
    assert_eq!(output(&mut modem(), "AT%KEYGEN=1,2").kind, KeygenBody::Csr);
}

#[test]
fn development_tags_come_back_from_their_negative_form() {
    let output = output(&mut modem(), "AT%KEYGEN=2147483648,2,1");
    assert_eq!(output.sec_tag, 2_147_483_648);
}

#[test]
fn an_occupied_tag_keeps_its_key() {
    let mut modem = modem();
    let first = output(&mut modem, "AT%KEYGEN=42,2,1");
    cme(&mut modem, "AT%KEYGEN=42,2,1", 519);
    ok(&mut modem, "AT%CMNG=3,42,2");
    assert_ne!(first.body, output(&mut modem, "AT%KEYGEN=42,2,1").body);
}

#[test]
fn an_endorsement_key_answers_again() {
    let mut modem = modem();
    let first = output(&mut modem, "AT%KEYGEN=42,8,1");
    assert_eq!(first.body, output(&mut modem, "AT%KEYGEN=42,8,1").body);
    assert_eq!(modem.flash_writes(), 1);
    assert!(modem.line("AT%CMNG=1,42,8").starts_with("%CMNG: 42,8,"));
}

#[test]
fn a_refused_command_leaves_no_key_behind() {
    let mut modem = modem();
    for line in [
        "AT%KEYGEN=42",
        "AT%KEYGEN=42,1,0",
        "AT%KEYGEN=42,2,2",
        "AT%KEYGEN=42,2,0,\"XX=1\"",
        "AT%KEYGEN=42,2,0,\"CN=\"",
        "AT%KEYGEN=42,2,0,\"CN=a\",\"11101000\"",
        "AT%KEYGEN=42,2,0,\"CN=a\",\"11101000x\"",
        "AT%KEYGEN=42,2,0,CN=a",
        "AT%KEYGEN=42,2,0,\"CN=a\",\"111010000\",1",
    ] {
        cme(&mut modem, line, 50);
    }
    cme(&mut modem, "AT%KEYGEN=2147483668,2,0", 514);
    assert_eq!(modem.line("AT%CMNG=1,42"), OK);
    assert_eq!(modem.flash_writes(), 0);
}

#[test]
fn keyinject_is_disabled() {
    cme(&mut modem(), r#"AT%KEYINJECT="a","b""#, 51);
}

#[test]
fn an_occupied_tag_is_overwritten_if_the_firmware_does_that() {
    let mut modem = modem_with(Options {
        keygen_overwrites: true,
        ..Options::default()
    });
    let list = |modem: &mut VirtualModem| modem.line("AT%CMNG=1,42,2");
    ok(&mut modem, "AT%KEYGEN=42,2,1");
    let first = list(&mut modem);
    ok(&mut modem, "AT%KEYGEN=42,2,1");
    assert_ne!(list(&mut modem), first);
}

#[test]
fn an_endorsement_key_stays_or_is_in_the_way_as_the_firmware_says() {
    for (stays, expected) in [(true, None), (false, Some(519))] {
        let mut modem = modem_with(Options {
            endorsement_key_stays: stays,
            keygen_overwrites: true,
            ..Options::default()
        });
        ok(&mut modem, "AT%KEYGEN=42,8,1");
        match expected {
            None => drop(ok(&mut modem, "AT%KEYGEN=42,8,1")),
            Some(number) => cme(&mut modem, "AT%KEYGEN=42,8,1", number),
        }
    }
}
