//! Both ends of a session that will fail: a device with sec tags, authorities that issue what they should not, and
//! servers that speak real TLS and then misbehave as told.

mod peers;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sectag_device::link::{LinkError, LinkOptions, MqttLink, Security, TlsOptions};
use sectag_device::{Cause, Explanation};
use sectag_modem::{SharedModem, TagSigner, VirtualModem};
use sectag_proto::{CredentialType, SecTag, at};

pub(crate) use peers::*;
pub(crate) use servers::*;

/// Longest wait for anything that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Wait of a device that is meant to lose patience.
pub(crate) const HASTE: Duration = Duration::from_millis(400);

pub(crate) const ROOT_CA: CredentialType = CredentialType::ROOT_CA;
pub(crate) const CERTIFICATE: CredentialType = CredentialType::CLIENT_CERTIFICATE;
pub(crate) const KEY: CredentialType = CredentialType::CLIENT_PRIVATE_KEY;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn tag(number: u32) -> SecTag {
    SecTag::new(u64::from(number)).unwrap()
}

pub(crate) fn authority(cn: &str) -> Authority {
    authority_with(cn, |_| {})
}

pub(crate) fn authority_with(cn: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = authority_params(cn);
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn authority_below(parent: &Authority, cn: &str) -> Authority {
    CertifiedIssuer::signed_by(authority_params(cn), KeyPair::generate().unwrap(), parent).unwrap()
}

fn authority_params(cn: &str) -> CertificateParams {
    let mut params = params(cn, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(cn: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.use_authority_key_identifier_extension = true;
    params
}

/// A chain and the key of its first certificate.
pub(crate) struct Papers {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    pub(crate) pem: String,
}

impl Papers {
    pub(crate) fn certified(&self) -> CertifiedKey {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        CertifiedKey::new(self.chain.clone(), key)
    }
}

/// A certificate for `localhost`, for servers.
pub(crate) fn server(issuer: &Authority) -> Papers {
    server_with(issuer, |_| {})
}

pub(crate) fn server_with(
    issuer: &Authority,
    change: impl FnOnce(&mut CertificateParams),
) -> Papers {
    let mut params = params("broker", &["localhost"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    issued(issuer, params)
}

/// A certificate for clients.
pub(crate) fn client(issuer: &Authority, cn: &str) -> Papers {
    client_with(issuer, cn, |_| {})
}

pub(crate) fn client_with(
    issuer: &Authority,
    cn: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> Papers {
    let mut params = params(cn, &[]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    issued(issuer, params)
}

fn issued(issuer: &Authority, params: CertificateParams) -> Papers {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Papers {
        chain: vec![certificate.der().clone()],
        pem: certificate.pem(),
        key,
    }
}

/// A moment this many days from today.
pub(crate) fn in_days(days: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() + time::Duration::days(days)
}

/// A virtual modem; its tags are filled over AT.
#[derive(Clone)]
pub(crate) struct Device(SharedModem);

impl Device {
    pub(crate) fn blank() -> Self {
        Self(SharedModem::new(VirtualModem::from_seed(7)))
    }

    /// Trusts `root` under tag 42.
    pub(crate) fn trusting(root: &Authority) -> Self {
        Self::blank().with(42, ROOT_CA, &root.pem())
    }

    pub(crate) fn with(mut self, tag: u32, kind: CredentialType, text: &str) -> Self {
        let content = at::quote(text).unwrap();
        let line = format!("AT%CMNG=0,{tag},{},{content}", kind.0);
        let answer = self.0.line(&line);
        assert!(answer.ends_with("OK\r\n"), "{line}: {answer}");
        self
    }

    pub(crate) fn without(mut self, tag: u32, kind: CredentialType) -> Self {
        let answer = self.0.line(&format!("AT%CMNG=3,{tag},{}", kind.0));
        assert!(answer.ends_with("OK\r\n"), "{answer}");
        self
    }

    /// Presents `papers` from tag 42.
    pub(crate) fn presenting(self, papers: &Papers) -> Self {
        self.with(42, CERTIFICATE, &papers.pem)
            .with(42, KEY, &papers.key.serialize_pem())
    }

    pub(crate) fn signer(&self) -> Arc<dyn TagSigner> {
        Arc::new(self.0.clone())
    }

    pub(crate) async fn open(
        &self,
        security: &Security,
        options: &LinkOptions,
    ) -> Result<MqttLink, LinkError> {
        MqttLink::open(self.signer(), security, options).await
    }

    /// Connects with tag 42 to `localhost` at that port.
    pub(crate) async fn connect(&self, port: u16) -> Result<MqttLink, LinkError> {
        self.open(&Security::Tls(tls()), &options(port)).await
    }

    /// Connects and fails.
    pub(crate) async fn explain(&self, port: u16) -> Explanation {
        explanation(self.connect(port).await)
    }
}

pub(crate) fn explanation(outcome: Result<MqttLink, LinkError>) -> Explanation {
    let error = outcome.expect_err("this session fails");
    error
        .explain()
        .unwrap_or_else(|| panic!("no explanation for {error:?}"))
}

pub(crate) fn tls() -> TlsOptions {
    TlsOptions {
        server_name: Some("localhost".into()),
        ..TlsOptions::new([tag(42)])
    }
}

pub(crate) fn options(port: u16) -> LinkOptions {
    LinkOptions {
        port,
        timeout: PATIENCE,
        hardware_id: Some("nrf-351234567890123".into()),
        ..LinkOptions::new("127.0.0.1")
    }
}

/// The cause, and every value in the sentence.
#[track_caller]
pub(crate) fn says(explanation: &Explanation, cause: Cause, values: &[&str]) {
    assert_eq!(explanation.cause, cause, "{explanation:?}");
    assert!(values.len() >= 2, "two values disagree");
    for value in values {
        assert!(
            explanation.sentence.contains(value),
            "`{value}` is not in: {}",
            explanation.sentence
        );
    }
    for text in [&explanation.sentence, &explanation.fix] {
        assert!(
            !text.is_empty() && !text.ends_with('.') && !text.contains('\n'),
            "{text}"
        );
    }
}
