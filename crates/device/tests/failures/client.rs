//! The server refuses our certificate, within the handshake (TLS 1.2) or right after it (TLS 1.3).

use std::sync::Arc;

use rcgen::{
    CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams,
    SerialNumber,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, UnixTime};
use sectag_device::Cause;

use super::house::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A server of `root` that asks for clients as `verifier` likes them, in one TLS version.
async fn demanding(
    root: &Authority,
    verifier: Arc<dyn ClientCertVerifier>,
    version: &'static SupportedProtocolVersion,
) -> Server {
    let config = server_config_with(&server(root), Some(verifier), &[version]);
    Server::tls(config, Act::Say(ACCEPTED)).await
}

/// mosquitto that demands client certificates of `clients`.
async fn mosquitto(root: &Authority, clients: &Authority, more: &[(&str, &str)]) -> Peer {
    let papers = server(root);
    let mut files = vec![
        ("server.crt", papers.pem.clone()),
        ("server.key", papers.key.serialize_pem()),
        ("clients.crt", clients.pem()),
    ];
    files.extend(more.iter().map(|(name, text)| (*name, (*text).to_owned())));
    let crl = match more.iter().any(|(name, _)| *name == "clients.crl") {
        true => "crlfile {dir}/clients.crl\n",
        false => "",
    };
    let config = format!(
        "listener {{port}} 127.0.0.1\nallow_anonymous true\ncafile {{dir}}/clients.crt\ncertfile {{dir}}/server.crt\nkeyfile {{dir}}/server.key\nrequire_certificate true\n{crl}"
    );
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    Peer::mosquitto(&config, &files).await
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_and_gets_none() {
    let root = authority("Root");
    let clients = authority("Devices");
    let device = Device::trusting(&root);
    let values = [
        "demands a client certificate issued by `CN=Devices`",
        "sec tag 42 has none (type 1)",
    ];
    for version in VERSIONS {
        let server = demanding(&root, clients_of(&[&clients], vec![]), version).await;
        let explained = device.explain(server.port).await;
        says(&explained, Cause::ClientCertificateMissing, &values);
    }
    if have("mosquitto") {
        let peer = mosquitto(&root, &clients, &[]).await;
        // It does not say whose certificates it takes.
        let values = ["demands a client certificate,", values[1]];
        says(
            &device.explain(peer.port).await,
            Cause::ClientCertificateMissing,
            &values,
        );
    }
    if have("openssl") {
        for version in ["-tls1_2", "-tls1_3"] {
            let peer = Peer::s_server(&server(&root), &["-Verify", "1", version]).await;
            says(
                &device.explain(peer.port).await,
                Cause::ClientCertificateMissing,
                &[
                    "demands a client certificate",
                    "sec tag 42 has none (type 1)",
                ],
            );
        }
    }
}

#[tokio::test]
async fn an_expired_certificate() {
    let root = authority("Root");
    let clients = authority_with("Devices", |params| params.not_before = in_days(-1000));
    let papers = client_with(&clients, "dev-17", |params| {
        params.not_before = in_days(-400);
        params.not_after = in_days(-30);
    });
    let device = Device::trusting(&root).presenting(&papers);
    let until = format!("valid until {}", in_days(-30).date());
    let now = format!("clock here says {}", in_days(0).date());
    let values = [
        "`CN=dev-17`",
        "expired 30 days ago",
        &until,
        &now,
        "alert certificate_expired, 45",
    ];
    for version in VERSIONS {
        let server = demanding(&root, clients_of(&[&clients], vec![]), version).await;
        says(
            &device.explain(server.port).await,
            Cause::ClientCertificateExpired,
            &values,
        );
    }
    if have("mosquitto") {
        let peer = mosquitto(&root, &clients, &[]).await;
        says(
            &device.explain(peer.port).await,
            Cause::ClientCertificateExpired,
            &values,
        );
    }
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_the_server_does_not_know() {
    let root = authority("Root");
    let (clients, stranger) = (authority("Devices"), authority("Stranger"));
    let device = Device::trusting(&root).presenting(&client(&stranger, "dev-17"));
    let values = [
        "issued by `CN=Stranger`",
        "takes certificates of `CN=Devices`",
        "alert unknown_ca, 48",
    ];
    for version in VERSIONS {
        let server = demanding(&root, clients_of(&[&clients], vec![]), version).await;
        says(
            &device.explain(server.port).await,
            Cause::ClientCertificateUnknownCa,
            &values,
        );
    }
    if have("mosquitto") {
        let peer = mosquitto(&root, &clients, &[]).await;
        let values = [values[0], "does not say which it takes", values[2]];
        says(
            &device.explain(peer.port).await,
            Cause::ClientCertificateUnknownCa,
            &values,
        );
    }
    // The same name and another key.
    let again = authority("Devices");
    let device = Device::trusting(&root).presenting(&client(&again, "dev-17"));
    let server = demanding(&root, clients_of(&[&clients], vec![]), &TLS13).await;
    let key_id = sectag_pki::show(again.der())
        .unwrap()
        .subject_key_id
        .unwrap();
    says(
        &device.explain(server.port).await,
        Cause::ClientCertificateUnknownCa,
        &[
            "issued by `CN=Devices`",
            &format!("another key (ours is {key_id})"),
        ],
    );
}

#[tokio::test]
async fn a_revoked_certificate() {
    let root = authority("Root");
    let clients = authority("Devices");
    let serial = SerialNumber::from_slice(&[0x4d, 0x2e]);
    let papers = client_with(&clients, "dev-17", |params| {
        params.serial_number = Some(serial.clone());
    });
    let list = CertificateRevocationListParams {
        this_update: in_days(-1),
        next_update: in_days(30),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: serial,
            revocation_time: in_days(-1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&clients).unwrap();
    let device = Device::trusting(&root).presenting(&papers);
    let values = [
        "serial number 4d2e",
        "revocation list of `CN=Devices`",
        "alert certificate_revoked, 44",
    ];
    for version in VERSIONS {
        let verifier = clients_of(&[&clients], vec![list.der().clone()]);
        let server = demanding(&root, verifier, version).await;
        says(
            &device.explain(server.port).await,
            Cause::ClientCertificateRevoked,
            &values,
        );
    }
    if have("mosquitto") {
        let pem = list.pem().unwrap();
        let peer = mosquitto(&root, &clients, &[("clients.crl", &pem)]).await;
        says(
            &device.explain(peer.port).await,
            Cause::ClientCertificateRevoked,
            &values,
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_for_clients() {
    let root = authority("Root");
    let clients = authority("Devices");
    let papers = client_with(&clients, "dev-17", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let device = Device::trusting(&root).presenting(&papers);
    for version in VERSIONS {
        let server = demanding(&root, clients_of(&[&clients], vec![]), version).await;
        says(
            &device.explain(server.port).await,
            Cause::ClientCertificatePurpose,
            &["it is for serverAuth", "clientAuth is needed"],
        );
    }
}

/// Refuses everybody without saying why.
#[derive(Debug)]
struct Grump(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Grump {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(rustls::CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[tokio::test]
async fn a_server_that_refuses_without_a_reason() {
    let root = authority("Root");
    let clients = authority("Devices");
    let device = Device::trusting(&root).presenting(&client(&clients, "dev-17"));
    for version in VERSIONS {
        let grump = Arc::new(Grump(clients_of(&[&clients], vec![])));
        let server = demanding(&root, grump, version).await;
        says(
            &device.explain(server.port).await,
            Cause::ClientCertificateRefused,
            &[
                "`CN=dev-17` of sec tag 42",
                "without a reason (alert access_denied, 49)",
            ],
        );
    }
}
