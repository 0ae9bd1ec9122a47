//! What TLS borrows.

use super::*;
use crate::host::RemoteSigner;
use sectag_proto::CredentialType;
use sectag_proto::es256::{Signature, VerifyEs256};

#[test]
fn a_generated_key_lends_signatures() {
    let mut modem = modem();
    ok(&mut modem, "AT%KEYGEN=42,2,0");
    let shared = SharedModem::new(modem);
    let tag = SecTag::new(42).unwrap();
    let signature = Signature(shared.sign(tag, b"handshake").unwrap());
    assert!(P256.verify(&shared.public_key(tag).unwrap(), b"handshake", &signature));
}

#[test]
fn a_written_key_lends_signatures_too() {
    let key = sectag_pki::PrivateKey::generate().unwrap();
    let mut modem = modem();
    ok(&mut modem, &write(42, 2, key.to_pem().as_str()));
    let shared = SharedModem::new(modem);
    let tag = SecTag::new(42).unwrap();
    let public = shared.public_key(tag).unwrap();
    assert_eq!(public.as_spki_der().as_slice(), key.spki_der().as_slice());
}

#[test]
fn certificates_come_back_as_written() {
    let mut modem = modem();
    ok(&mut modem, &write(42, 0, CA));
    ok(&mut modem, &write(42, 1, CA.trim_end()));
    let shared = SharedModem::new(modem);
    let tag = SecTag::new(42).unwrap();
    assert_eq!(shared.root_ca(tag).unwrap(), CA);
    assert_eq!(shared.certificate_chain(tag).unwrap(), CA.trim_end());
}

#[test]
fn what_is_missing_is_named_with_its_tag() {
    let shared = SharedModem::new(modem());
    let tag = SecTag::new(42).unwrap();
    let said = |error: SignerError| error.to_string();
    assert_eq!(
        said(shared.sign(tag, b"").unwrap_err()),
        "sec tag 42 has no client private key (type 2)"
    );
    assert_eq!(
        said(shared.certificate_chain(tag).unwrap_err()),
        "sec tag 42 has no client certificate (type 1)"
    );
    assert_eq!(
        said(shared.root_ca(tag).unwrap_err()),
        "sec tag 42 has no root CA (type 0)"
    );
    assert_eq!(
        shared.root_ca(tag).unwrap_err(),
        SignerError::Missing {
            tag,
            credential: CredentialType::ROOT_CA
        }
    );
}

#[test]
fn a_key_that_cannot_sign_says_what_could() {
    let mut modem = modem();
    ok(&mut modem, &write(42, 2, "rsa, or encrypted"));
    let error = SharedModem::new(modem)
        .sign(SecTag::new(42).unwrap(), b"")
        .unwrap_err();
    assert!(error.to_string().contains("unencrypted P-256"), "{error}");
}

#[test]
fn debug_shows_entries_and_no_secret() {
    let mut modem = modem();
    ok(&mut modem, &write(42, 3, "c0ffee"));
    ok(&mut modem, "AT%KEYGEN=42,2,0");
    let shown = format!(
        "{modem:?} {:?}",
        SharedModem::new(modem_with(Options::default()))
    );
    assert!(shown.contains("42,3"), "{shown}");
    assert!(
        !shown.contains("c0ffee") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

fn remote(options: Options) -> RemoteSigner {
    let mut modem = modem_with(options);
    ok(&mut modem, "AT%KEYGEN=42,2,1");
    ok(&mut modem, &write(42, 0, CA));
    ok(&mut modem, "AT+CMEE=2");
    RemoteSigner::new(Box::new(modem))
}

#[test]
fn signatures_are_lent_over_at_lines_when_that_is_allowed() {
    let signer = remote(Options {
        remote_signing: true,
        ..Options::default()
    });
    let tag = SecTag::new(42).unwrap();
    let long = vec![7; 20_000];
    let signature = sectag_proto::es256::Signature(signer.sign(tag, &long).unwrap());
    let key = signer.public_key(tag).unwrap();
    assert!(sectag_proto::es256::VerifyEs256::verify(
        &P256, &key, &long, &signature
    ));
    assert_eq!(signer.root_ca(tag).unwrap(), CA);
    assert_eq!(
        signer.certificate_chain(tag),
        Err(SignerError::Missing {
            tag,
            credential: sectag_proto::CredentialType::CLIENT_CERTIFICATE
        })
    );
    let empty = SecTag::new(7).unwrap();
    assert!(matches!(
        signer.sign(empty, b"x"),
        Err(SignerError::Missing { .. })
    ));
    // The modem's own setting is back.
    assert_eq!(
        signer.lock().line("AT+CMEE?").unwrap(),
        "+CMEE: 2\r\nOK\r\n"
    );
}

#[test]
fn a_modem_that_lends_nothing_says_what_works() {
    let signer = remote(Options::default());
    let tag = SecTag::new(42).unwrap();
    let error = signer.sign(tag, b"x").unwrap_err();
    assert_eq!(error, SignerError::NoRemoteSigning { tag });
    assert!(
        error.to_string().contains("the modem's own MQTT"),
        "{error}"
    );
    assert_eq!(signer.lock().line("AT#SECTAGSIGN=42").unwrap(), "ERROR\r\n");
}

#[test]
fn a_lent_signature_needs_a_whole_digest() {
    let mut modem = modem_with(Options {
        remote_signing: true,
        ..Options::default()
    });
    ok(&mut modem, "AT%KEYGEN=42,2,1");
    for line in ["AT#SECTAGSIGN", "AT#SECTAGSIGN?"] {
        assert_eq!(modem.line(line), "ERROR\r\n");
    }
    for line in [
        "AT#SECTAGSIGN=",
        "AT#SECTAGSIGN=42,\"AAAA\"",
        "AT#SECTAGSIGN=42,\"\"",
        "AT#SECTAGSIGN=4294967294",
        "AT#SECTAGSIGN=42,1",
    ] {
        cme(&mut modem, line, 50);
    }
    cme(&mut modem, "AT#SECTAGSIGN=43", 513);
}
