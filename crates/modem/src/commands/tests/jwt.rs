//! `%JWT` (§7).

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn token(modem: &mut VirtualModem, line: &str) -> String {
    ok(modem, line).info_text("%JWT:").unwrap().to_owned()
}

#[test]
fn the_librarys_token_verifies_under_the_identity_key() {
    let mut modem = modem();
    modem.set_time(NOW);
    let text = token(&mut modem, r#"AT%JWT=0,300,"","""#);
    let jwt = UnverifiedJwt::parse(&text).unwrap();
    let key = identity_key(&modem);
    assert_eq!(jwt.claimed_device(), modem.identity().device);
    assert_eq!(jwt.kid(), key.kid());
    assert_eq!(jwt.expires_at(), Timestamp::from_secs(1_700_000_300));
    let verified = jwt.verify(&key, NOW, &P256).unwrap();
    assert_eq!(verified.get(), modem.identity().device);
    assert!(!text.contains(['=', '+', '/']));
}

#[test]
fn time_goes_into_the_token_as_it_has_gone_on() {
    let mut modem = modem();
    modem.set_time(NOW);
    modem.advance(Uptime(60_000));
    let text = token(&mut modem, "AT%JWT=0,300");
    let jwt = UnverifiedJwt::parse(&text).unwrap();
    assert_eq!(jwt.expires_at(), Timestamp::from_secs(1_700_000_360));
}

#[test]
fn a_lifetime_needs_valid_time_and_no_lifetime_does_not() {
    let mut modem = modem();
    cme(&mut modem, "AT%JWT=0,300", 525);
    for line in ["AT%JWT", "AT%JWT=0", "AT%JWT=0,0", "AT%JWT=,,"] {
        let text = token(&mut modem, line);
        assert!(UnverifiedJwt::parse(&text).is_err(), "no exp: {line}");
    }
}

#[test]
fn a_tags_client_key_signs_with_its_own_kid() {
    let mut modem = modem();
    modem.set_time(NOW);
    cme(&mut modem, r#"AT%JWT=0,300,"","",42,2"#, 513);
    ok(&mut modem, "AT%KEYGEN=42,2,1");
    let text = token(&mut modem, r#"AT%JWT=0,300,"","",42,2"#);
    let shared = SharedModem::new(modem);
    let key = shared.public_key(SecTag::new(42).unwrap()).unwrap();
    let jwt = UnverifiedJwt::parse(&text).unwrap();
    assert_eq!(jwt.kid(), key.kid());
    assert!(jwt.verify(&key, NOW, &P256).is_ok());
}

#[test]
fn other_parameters_are_refused() {
    let mut modem = modem();
    modem.set_time(NOW);
    for line in [
        "AT%JWT=1,300",
        "AT%JWT=0,300,\"\",\"\",42",
        "AT%JWT=0,300,\"\",\"\",42,1",
        "AT%JWT=0,300,\"\",\"\",,2",
        "AT%JWT=0,300,\"\",\"\",4294967295,2",
        "AT%JWT=0,300,\"\",\"\",42,2,1",
        "AT%JWT=0,x",
    ] {
        cme(&mut modem, line, 50);
    }
    ok(&mut modem, &write(42, 2, "no key at all"));
    cme(&mut modem, "AT%JWT=0,300,\"\",\"\",42,2", 525);
}

#[test]
fn subject_and_audience_appear_when_given() {
    let mut modem = modem();
    modem.set_time(NOW);
    let without = token(&mut modem, "AT%JWT=0,300");
    let with = token(&mut modem, r#"AT%JWT=0,300,"me","you""#);
    assert!(with.len() > without.len());
    assert!(with.len() <= 850);
}
