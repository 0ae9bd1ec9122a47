//! From a key that was generated in the modem to a message over mutual TLS, and what stops it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_device::failures::Cause;
use sectag_device::link::{LinkError, LinkOptions, MqttLink, Security, TlsOptions};
use sectag_device::{Explanation, HostedModem};
use sectag_modem::{SharedModem, VirtualModem};
use sectag_mqtt::{
    Broker, BrokerConfig, ClientError, Listener, Qos, Trust, TrustMaterial, Version,
};
use sectag_pki::{Authority, PrivateKey, Purpose, ServerName};
use sectag_proto::at::{self, Answer};
use sectag_proto::token::KeygenOutput;
use sectag_proto::{CredentialType, SecTag};

struct House {
    root: Authority,
    devices: Authority,
    broker: Broker,
}

impl House {
    async fn build() -> Self {
        let root = Authority::root("root", now_s()).unwrap();
        let servers = root.issuing(Purpose::Servers, now_s()).unwrap();
        let devices = root.issuing(Purpose::Devices, now_s()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [ServerName::Dns("localhost".into())];
        let server = servers
            .issue_server(&key.spki_der(), &names, now_s())
            .unwrap();
        let material = TrustMaterial::from_pem(
            &(server.pem() + &servers.certificate_pem()),
            &key.to_pem(),
            &devices.certificate_pem(),
            &[],
        )
        .unwrap();
        let trust = Arc::new(Trust::new(material).unwrap());
        let config = BrokerConfig::new([Listener::tls("127.0.0.1:0".parse().unwrap(), trust)]);
        let broker = Broker::start(config).await.unwrap();
        Self {
            root,
            devices,
            broker,
        }
    }

    fn options(&self) -> LinkOptions {
        LinkOptions {
            port: self.broker.local_addr().port(),
            timeout: Duration::from_secs(5),
            ..LinkOptions::new("127.0.0.1")
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn tag() -> SecTag {
    SecTag::new(42).unwrap()
}

fn modem() -> HostedModem {
    HostedModem::new(SharedModem::new(VirtualModem::from_seed(11)))
}

fn ok(modem: &mut HostedModem, line: &str) -> String {
    let text = modem.line(line);
    assert!(text.ends_with("OK\r\n"), "{line}: {text}");
    text
}

/// Public key (SPKI) of a key generated at the tag.
fn generate(modem: &mut HostedModem) -> Vec<u8> {
    let text = ok(modem, "AT%KEYGEN=42,2,0");
    let answer = Answer::parse(&text).unwrap();
    let output = KeygenOutput::parse(answer.info_text("%KEYGEN:").unwrap()).unwrap();
    sectag_pki::csr::parse(&output.body)
        .unwrap()
        .spki_der
        .to_vec()
}

fn write(modem: &mut HostedModem, kind: CredentialType, pem: &str) {
    let content = at::quote(pem).unwrap();
    ok(modem, &format!("AT%CMNG=0,42,{},{content}", kind.0));
}

fn provisioned(house: &House, issuer: &Authority) -> HostedModem {
    let mut modem = modem();
    let spki = generate(&mut modem);
    let certificate = issuer.issue_device(&spki, "dev-17", now_s()).unwrap();
    write(
        &mut modem,
        CredentialType::CLIENT_CERTIFICATE,
        &certificate.pem(),
    );
    write(
        &mut modem,
        CredentialType::ROOT_CA,
        &house.root.certificate_pem(),
    );
    modem
}

async fn open(modem: &HostedModem, options: &LinkOptions) -> Result<MqttLink, LinkError> {
    let security = Security::Tls(TlsOptions {
        server_name: Some("localhost".into()),
        ..TlsOptions::new([tag()])
    });
    MqttLink::open(Arc::new(modem.shared().clone()), &security, options).await
}

async fn refused(modem: &HostedModem, house: &House) -> Explanation {
    let error = open(modem, &house.options()).await.unwrap_err();
    error.explain().unwrap()
}

#[tokio::test]
async fn a_device_talks_under_its_own_name_and_nowhere_else() {
    let house = House::build().await;
    let modem = provisioned(&house, &house.devices);
    for version in [Version::V311, Version::V5] {
        let options = LinkOptions {
            version,
            ..house.options()
        };
        let mut link = open(&modem, &options).await.unwrap();
        assert_eq!(
            (link.common_name(), link.client_id()),
            (Some("dev-17"), "dev-17")
        );
        let topic = link.own_topic("hello");
        link.subscribe(&topic, Qos::AtLeastOnce).await.unwrap();
        link.publish(&topic, "world", Qos::AtLeastOnce, false)
            .await
            .unwrap();
        let message = link.next().await.unwrap();
        assert_eq!(
            (message.topic.as_str(), &message.payload[..]),
            ("dev-17/hello", &b"world"[..])
        );
        assert!(matches!(
            link.subscribe("other/#", Qos::AtMostOnce).await,
            Err(ClientError::SubscribeRefused { .. })
        ));
        link.disconnect().await.unwrap();
    }
    assert_eq!(house.broker.counters().accepted, 2);
    house.broker.shutdown().await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_by_the_broker() {
    let house = House::build().await;
    let stranger = Authority::root("stranger", now_s())
        .unwrap()
        .issuing(Purpose::Devices, now_s())
        .unwrap();
    let modem = provisioned(&house, &stranger);
    let explanation = refused(&modem, &house).await;
    assert_eq!(explanation.cause, Cause::ClientCertificateUnknownCa);
    assert_eq!(house.broker.counters().accepted, 0);
    house.broker.shutdown().await;
}

#[tokio::test]
async fn a_broker_of_another_ca_is_refused_by_the_device() {
    let house = House::build().await;
    let mut modem = provisioned(&house, &house.devices);
    let stranger = Authority::root("stranger", now_s()).unwrap();
    write(
        &mut modem,
        CredentialType::ROOT_CA,
        &stranger.certificate_pem(),
    );
    let explanation = refused(&modem, &house).await;
    assert_eq!(explanation.cause, Cause::WrongCa);
    house.broker.shutdown().await;
}

#[tokio::test]
async fn what_is_not_under_the_tag_is_named() {
    let house = House::build().await;
    let mut modem = modem();
    assert_eq!(refused(&modem, &house).await.cause, Cause::CaMissing);
    write(
        &mut modem,
        CredentialType::ROOT_CA,
        &house.root.certificate_pem(),
    );
    // Enough for servers that ask for no more; this broker does, and says so.
    let explanation = refused(&modem, &house).await;
    assert_eq!(explanation.cause, Cause::ClientCertificateMissing);
    assert_eq!(house.broker.counters().accepted, 0);
    house.broker.shutdown().await;
}

#[tokio::test]
async fn a_certificate_for_a_key_that_was_generated_again_is_noticed_before_connecting() {
    let house = House::build().await;
    let mut modem = provisioned(&house, &house.devices);
    ok(&mut modem, "AT%CMNG=3,42,2");
    generate(&mut modem);
    let error = open(&modem, &house.options()).await.unwrap_err();
    assert!(matches!(error, LinkError::KeyMismatch { .. }));
    assert!(error.hint().is_some());
    house.broker.shutdown().await;
}
