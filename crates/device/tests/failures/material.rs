//! What lies under the tags does not suffice: said before anything is sent.

use std::sync::Arc;

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use sectag_device::Cause;
use sectag_device::link::{MqttLink, Security, TlsOptions};
use sectag_modem::{SignerError, TagSigner};
use sectag_proto::es256::PublicKey;
use sectag_proto::{CredentialType, SecTag};

use super::house::*;

/// Nobody may be asked: the port is not even open.
const NO_PORT: u16 = 1;

#[tokio::test]
async fn tls_without_a_tag() {
    let security = Security::Tls(TlsOptions::new([]));
    let outcome = Device::blank().open(&security, &options(NO_PORT)).await;
    says(&explanation(outcome), Cause::NoSecTag, &["TLS", "empty"]);
}

#[tokio::test]
async fn an_empty_tag() {
    let explained = Device::blank().explain(NO_PORT).await;
    says(
        &explained,
        Cause::CaMissing,
        &["root CA (type 0)", "sec tag 42"],
    );
    assert!(
        explained.fix.contains("chain 127.0.0.1:1 --to-tag 42"),
        "{}",
        explained.fix
    );
    let security = Security::tags([tag(42), tag(43)]);
    let outcome = Device::blank().open(&security, &options(NO_PORT)).await;
    says(
        &explanation(outcome),
        Cause::CaMissing,
        &["type 0", "sec tags 42 and 43"],
    );
}

#[tokio::test]
async fn a_root_ca_that_was_cut_short_or_is_something_else() {
    let pem = authority("Root").pem();
    let cut = &pem[..200];
    let key = KeyPair::generate().unwrap().serialize_pem();
    let lines_lost = pem.replace(['\r', '\n'], "");
    let cases = [
        (
            cut,
            ["200 bytes", "1 `BEGIN CERTIFICATE` and 0 `END CERTIFICATE`"],
        ),
        (
            &key,
            ["`BEGIN PRIVATE KEY`", "`BEGIN CERTIFICATE` is expected"],
        ),
        (&lines_lost, ["in 1 line(s)", "CR LF"]),
    ];
    for (text, values) in cases {
        let store = Arc::new(Texts(text.to_owned()));
        let (security, options) = (Security::tags([tag(42)]), options(NO_PORT));
        let outcome = MqttLink::open(store, &security, &options).await;
        says(&explanation(outcome), Cause::CaUnreadable, &values);
    }
}

/// A store that takes any text, which a modem does not: as root CA, and as certificate beside the good root CA of tag 43.
#[derive(Debug)]
struct Texts(String);

impl TagSigner for Texts {
    fn sign(&self, tag: SecTag, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::Missing {
            tag,
            credential: KEY,
        })
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        Err(SignerError::Missing {
            tag,
            credential: KEY,
        })
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        match tag.get() {
            43 => Ok(self.0.clone()),
            _ => Err(SignerError::Missing {
                tag,
                credential: CERTIFICATE,
            }),
        }
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        match tag.get() {
            43 => Ok(authority("Root").pem()),
            _ => Ok(self.0.clone()),
        }
    }
}

#[tokio::test]
async fn a_client_certificate_that_was_cut_short() {
    let papers = client(&authority("Root"), "dev-17");
    let store = Arc::new(Texts(papers.pem[..300].to_owned()));
    let (security, options) = (Security::tags([tag(43)]), options(NO_PORT));
    let outcome = MqttLink::open(store, &security, &options).await;
    says(
        &explanation(outcome),
        Cause::ClientCertificateUnreadable,
        &[
            "sec tag 43",
            "1 `BEGIN CERTIFICATE` and 0 `END CERTIFICATE` lines in 300 bytes",
        ],
    );
}

#[tokio::test]
async fn one_half_of_a_pair_names_the_other() {
    let root = authority("Root");
    let device = Device::trusting(&root).presenting(&client(&root, "dev-17"));
    let explained = device.clone().without(42, KEY).explain(NO_PORT).await;
    says(
        &explained,
        Cause::CertificateWithoutKey,
        &[
            "certificate (type 1) of `CN=dev-17`",
            "no private key (type 2)",
        ],
    );
    assert!(explained.fix.contains("private key (type 2)"));

    let papers = client(&root, "dev-17");
    let device = Device::trusting(&root).with(42, KEY, &papers.key.serialize_pem());
    let explained = device.explain(NO_PORT).await;
    says(
        &explained,
        Cause::KeyWithoutCertificate,
        &["a private key (type 2)", "no client certificate (type 1)"],
    );
    assert!(explained.fix.contains("client certificate (type 1)"));
}

#[tokio::test]
async fn a_certificate_for_another_key() {
    let root = authority("Root");
    let (one, other) = (client(&root, "dev-17"), client(&root, "dev-17"));
    let fingerprint = |papers: &Papers| {
        let facts = sectag_pki::show(&papers.chain[0]).unwrap();
        facts.spki_sha256[..16].to_owned()
    };
    let device = Device::trusting(&root)
        .with(42, CERTIFICATE, &one.pem)
        .with(42, KEY, &other.key.serialize_pem());
    says(
        &device.explain(NO_PORT).await,
        Cause::ClientKeyMismatch,
        &[&fingerprint(&one), &fingerprint(&other)],
    );
}

#[tokio::test]
async fn a_key_that_cannot_sign() {
    let root = authority("Root");
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let device = Device::trusting(&root)
        .with(42, CERTIFICATE, &client(&root, "dev-17").pem)
        .with(42, KEY, &rsa.serialize_pem());
    says(
        &device.explain(NO_PORT).await,
        Cause::KeyCannotSign,
        &["key (type 2) under sec tag 42 cannot sign", "P-256"],
    );
}

/// A module whose key stays inside.
#[derive(Debug)]
struct RealModem;

impl RealModem {
    fn refuse<T>(tag: SecTag, credential: CredentialType) -> Result<T, SignerError> {
        Err(SignerError::Unreadable {
            tag,
            credential,
            why: "a real modem does not lend signatures".into(),
        })
    }
}

impl TagSigner for RealModem {
    fn sign(&self, tag: SecTag, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Self::refuse(tag, KEY)
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        Self::refuse(tag, KEY)
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        Self::refuse(tag, CERTIFICATE)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        Self::refuse(tag, ROOT_CA)
    }
}

#[tokio::test]
async fn a_modem_that_keeps_its_credentials() {
    let (security, options) = (Security::tags([tag(42)]), options(NO_PORT));
    let outcome = MqttLink::open(Arc::new(RealModem), &security, &options).await;
    says(
        &explanation(outcome),
        Cause::CredentialUnreadable,
        &["(type 0) under sec tag 42", "does not lend signatures"],
    );
}

#[tokio::test]
async fn a_server_name_that_is_none() {
    let root = authority("Root");
    let security = Security::Tls(TlsOptions {
        server_name: Some("https://broker.example:8883".into()),
        ..TlsOptions::new([tag(42)])
    });
    let outcome = Device::trusting(&root)
        .open(&security, &options(NO_PORT))
        .await;
    says(
        &explanation(outcome),
        Cause::ServerNameInvalid,
        &[
            "`https://broker.example:8883`",
            "host name nor an IP address",
        ],
    );
}

/// The key is there until TLS wants a signature.
#[derive(Debug)]
struct Forgetful(Arc<dyn TagSigner>);

impl TagSigner for Forgetful {
    fn sign(&self, tag: SecTag, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::UnusableKey { tag })
    }

    fn public_key(&self, tag: SecTag) -> Result<PublicKey, SignerError> {
        self.0.public_key(tag)
    }

    fn certificate_chain(&self, tag: SecTag) -> Result<String, SignerError> {
        self.0.certificate_chain(tag)
    }

    fn root_ca(&self, tag: SecTag) -> Result<String, SignerError> {
        self.0.root_ca(tag)
    }
}

#[tokio::test]
async fn a_key_that_does_not_sign_when_it_is_asked_to() {
    let (root, devices) = (authority("Root"), authority("Devices"));
    let device = Device::trusting(&root).presenting(&client(&devices, "dev-17"));
    let clients = clients_of(&[&devices], vec![]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = server_config_with(&server(&root), Some(clients.clone()), &[version]);
        let server = Server::tls(config, Act::Say(ACCEPTED)).await;
        let signer = Arc::new(Forgetful(device.signer()));
        let security = Security::Tls(tls());
        let outcome = MqttLink::open(signer, &security, &options(server.port)).await;
        says(
            &explanation(outcome),
            Cause::KeyCannotSign,
            &["private key of sec tag 42 did not sign", "P-256"],
        );
    }
}
