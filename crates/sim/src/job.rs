//! What owners ask of a town's device, and whether they got it.

use crate::town::Town;
use sectag_modem::{SharedModem, TagSigner, VirtualModem};
use sectag_proto::SecTag;
use sectag_proto::command::{CommandRequest, ConfigPairs};
use sectag_proto::es256::{P256, Signature, VerifyEs256};

/// A secret of [`whole`]: a pre-shared key.
pub const PSK: &str = "DEADBEEFCAFE00112233445566778899";
/// A secret of [`whole`]: the password of a private key.
pub const PASSWORD: &str = "correct-horse-battery";
/// A secret of [`whole`]: a private key.
pub const KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
/// What of [`KEY`] must not be printed.
pub const KEY_BODY: &str = "c2VjcmV0c2VjcmV0";

/// A sec tag.
pub fn tag(number: u64) -> SecTag {
    SecTag::new(number).expect("a sec tag")
}

/// A key and a certificate for it under 42, in the closed loop.
pub fn csr(attributes: &str) -> CommandRequest {
    CommandRequest::CertificateSigningRequest {
        sec_tag: tag(42),
        attributes: attributes.into(),
        key_usage: Some("101010000".into()),
        issue: Some(sectag_proto::rules::ClosedLoop::default()),
    }
}

/// The town's root under 42.
pub fn ca(town: &Town) -> CommandRequest {
    CommandRequest::ServerCertificate {
        sec_tag: tag(42),
        content: town.desk.root_pem(),
    }
}

/// A key under this tag.
pub fn key(number: u64) -> CommandRequest {
    let sec_tag = tag(number);
    CommandRequest::ClientPrivateKeyGeneration { sec_tag }
}

/// One pair for the settings store.
pub fn setting(key: &str, value: &str) -> CommandRequest {
    CommandRequest::Config(ConfigPairs(vec![(key.into(), value.into())]))
}

/// A pre-shared key, and a private key with its password.
pub fn secrets() -> [CommandRequest; 2] {
    [
        CommandRequest::PreSharedKey {
            sec_tag: tag(8),
            identity: "me".into(),
            secret: PSK.into(),
        },
        CommandRequest::ClientPrivateKey {
            sec_tag: tag(9),
            content: KEY.into(),
            password: Some(PASSWORD.into()),
        },
    ]
}

/// The end.
pub fn finished() -> CommandRequest {
    CommandRequest::Finished {}
}

/// The closed loop with everything around it: seven commands, which become eight.
pub fn whole(town: &Town) -> Vec<CommandRequest> {
    let interval = setting("provisioning/interval-sec", "3600");
    let mut requests = vec![csr(""), ca(town), key(7), interval];
    requests.extend(secrets());
    requests.push(finished());
    requests
}

/// Whether the certificate under 42 is for the key under 42, and the root is there.
pub fn tag_is_usable(town: Town) -> bool {
    let modem: VirtualModem = town.device.modem;
    let shared = SharedModem::new(modem);
    let (Ok(public), Ok(pem)) = (
        shared.public_key(tag(42)),
        shared.certificate_chain(tag(42)),
    ) else {
        return false;
    };
    let (Ok(certificate), Ok(signature)) = (
        sectag_pki::Certificate::from_pem(&pem),
        shared.sign(tag(42), b"hello"),
    ) else {
        return false;
    };
    certificate.spki_sha256 == *public.kid().as_bytes()
        && P256.verify(&public, b"hello", &Signature(signature))
        && shared.root_ca(tag(42)).is_ok()
}
