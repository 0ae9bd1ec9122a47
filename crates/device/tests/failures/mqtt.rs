//! TLS stands, and MQTT does not come about or ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sectag_device::Cause;
use sectag_device::link::{LinkOptions, MqttLink, Security, TlsOptions};
use sectag_mqtt::{Broker, BrokerConfig, Listener, Qos, Trust, TrustMaterial, Version};
use sectag_pki::{PrivateKey, Purpose, ServerName};
use sectag_proto::Secret;

use super::house::*;

/// A device and a server of this process that answers CONNECT with these bytes.
async fn answered(
    act: Act,
    options_of: impl FnOnce(u16) -> LinkOptions,
) -> sectag_device::Explanation {
    let root = authority("Root");
    let server = Server::tls(server_config(&server(&root)), act).await;
    let options = options_of(server.port);
    explanation(
        Device::trusting(&root)
            .open(&Security::Tls(tls()), &options)
            .await,
    )
}

fn version_5(port: u16) -> LinkOptions {
    LinkOptions {
        version: Version::V5,
        ..options(port)
    }
}

/// Our broker, and a device it takes.
async fn house() -> (Broker, Device, LinkOptions) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let root = sectag_pki::Authority::root("Town", now).unwrap();
    let devices = root.issuing(Purpose::Devices, now).unwrap();
    let key = PrivateKey::generate().unwrap();
    let names = [ServerName::Dns("localhost".into())];
    let server = root.issue_server(&key.spki_der(), &names, now).unwrap();
    let material = TrustMaterial::from_pem(
        &server.pem(),
        &key.to_pem(),
        &devices.certificate_pem(),
        &[],
    );
    let trust = Arc::new(Trust::new(material.unwrap()).unwrap());
    let config = BrokerConfig::new([Listener::tls("127.0.0.1:0".parse().unwrap(), trust)]);
    let broker = Broker::start(config).await.unwrap();
    let key = PrivateKey::generate().unwrap();
    let certificate = devices
        .issue_device(&key.spki_der(), "dev-17", now)
        .unwrap();
    let device = Device::blank()
        .with(42, ROOT_CA, &root.certificate_pem())
        .with(42, CERTIFICATE, &certificate.pem())
        .with(42, KEY, &key.to_pem());
    let options = version_5(broker.local_addr().port());
    (broker, device, options)
}

async fn linked(device: &Device, options: &LinkOptions) -> MqttLink {
    device.open(&Security::Tls(tls()), options).await.unwrap()
}

#[tokio::test]
async fn connack_refuses_the_version() {
    says(
        &answered(Act::Say(&[0x20, 2, 0, 1]), options).await,
        Cause::MqttVersionRefused,
        &["does not speak MQTT 3.1.1", "CONNACK 1"],
    );
    says(
        &answered(Act::Say(&[0x20, 3, 0, 0x84, 0]), version_5).await,
        Cause::MqttVersionRefused,
        &["does not speak MQTT 5", "CONNACK 132"],
    );
}

#[tokio::test]
async fn connack_refuses_the_client_id() {
    says(
        &answered(Act::Say(&[0x20, 2, 0, 2]), options).await,
        Cause::ClientIdRejected,
        &["`nrf-351234567890123` (19 bytes", "CONNACK 2"],
    );
    // Our broker: an empty id needs a clean session.
    let (broker, device, options) = house().await;
    let options = LinkOptions {
        version: Version::V311,
        client_id: Some(String::new()),
        clean: false,
        ..options
    };
    let explained = explanation(device.open(&Security::Tls(tls()), &options).await);
    says(
        &explained,
        Cause::ClientIdRejected,
        &["client id `` (0 bytes", "clean session off"],
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn connack_refuses_user_name_or_password() {
    let with_login = |port| LinkOptions {
        user_name: Some("thing".into()),
        password: Some(Secret::new(b"hunter2".to_vec())),
        ..options(port)
    };
    let explained = answered(Act::Say(&[0x20, 2, 0, 4]), with_login).await;
    says(
        &explained,
        Cause::BadUserNameOrPassword,
        &["user name `thing` and its password", "CONNACK 4"],
    );
    assert!(!explained.to_string().contains("hunter2"));
}

#[tokio::test]
async fn mosquitto_refuses_anonymous_clients() {
    let root = authority("Root");
    says(
        &answered(Act::Say(&[0x20, 2, 0, 5]), options).await,
        Cause::NotAuthorised,
        &["`nrf-351234567890123` with no user name", "CONNACK 5"],
    );
    if !have("mosquitto") {
        return;
    }
    let papers = server(&root);
    let config = "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {dir}/passwords\ncafile {dir}/ca.crt\ncertfile {dir}/server.crt\nkeyfile {dir}/server.key\n";
    let files = [
        ("ca.crt", root.pem()),
        ("server.crt", papers.pem.clone()),
        ("server.key", papers.key.serialize_pem()),
        ("passwords", String::new()),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let peer = Peer::mosquitto(config, &files).await;
    let device = Device::trusting(&root);
    says(
        &device.explain(peer.port).await,
        Cause::NotAuthorised,
        &["with no user name", "CONNACK 5"],
    );
    let options = LinkOptions {
        user_name: Some("thing".into()),
        password: Some(Secret::new(b"wrong".to_vec())),
        ..version_5(peer.port)
    };
    let outcome = device.open(&Security::Tls(tls()), &options).await;
    says(
        &explanation(outcome),
        Cause::NotAuthorised,
        &["user name `thing` and its password", "CONNACK 135"],
    );
}

#[tokio::test]
async fn connack_with_other_reasons() {
    says(
        &answered(Act::Say(&[0x20, 2, 0, 3]), options).await,
        Cause::ServerUnavailable,
        &["takes no MQTT connections", "CONNACK 3"],
    );
    says(
        &answered(Act::Say(&[0x20, 3, 0, 0x8a, 0]), version_5).await,
        Cause::ConnectRefused,
        &["`nrf-351234567890123`", "CONNACK 138, banned"],
    );
}

#[tokio::test]
async fn a_broker_that_closes_at_connect_without_a_word() {
    says(
        &answered(Act::Close, options).await,
        Cause::ClosedAfterConnect,
        &[
            "client `nrf-351234567890123`",
            "no user name",
            "gave no reason",
        ],
    );
}

#[tokio::test]
async fn a_broker_that_stops_answering() {
    let root = authority("Root");
    let server = Server::tls(server_config(&server(&root)), Act::Say(ACCEPTED)).await;
    let options = LinkOptions {
        keep_alive: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ..options(server.port)
    };
    let link = linked(&Device::trusting(&root), &options).await;
    let error = link
        .publish("t", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap_err();
    says(
        &link.explain(&error).unwrap(),
        Cause::AcknowledgementTimeout,
        &["acknowledgement of PUBLISH", "within 1s"],
    );
    let error = tokio::time::timeout(PATIENCE, link.closed()).await.unwrap();
    says(
        &link.explain(&error).unwrap(),
        Cause::KeepAliveTimeout,
        &["ping within 1s", "keep-alive 1s"],
    );
}

#[tokio::test]
async fn the_same_client_id_elsewhere() {
    let (broker, device, options) = house().await;
    let first = linked(&device, &options).await;
    let second = linked(&device, &options).await;
    let error = first.closed().await;
    says(
        &first.explain(&error).unwrap(),
        Cause::SessionTakenOver,
        &["client id `dev-17`", "DISCONNECT 0x8e"],
    );
    drop(second);
    broker.shutdown().await;
}

#[tokio::test]
async fn topics_of_others() {
    let (broker, device, options) = house().await;
    let link = linked(&device, &options).await;
    let error = link
        .subscribe("dev-18/#", Qos::AtLeastOnce)
        .await
        .unwrap_err();
    says(
        &link.explain(&error).unwrap(),
        Cause::SubscriptionRefused,
        &["`dev-18/#`", "topics of this certificate are `dev-17/#`"],
    );
    let error = link
        .publish("dev-18/x", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap_err();
    says(
        &link.explain(&error).unwrap(),
        Cause::PublishRefused,
        &["`dev-18/x`", "topics of this certificate are `dev-17/#`"],
    );
    broker.shutdown().await;
    let error = link.closed().await;
    says(
        &link.explain(&error).unwrap(),
        Cause::ServerUnavailable,
        &["shutting down", "DISCONNECT 0x8b"],
    );
}

#[tokio::test]
async fn a_connection_that_is_gone() {
    let root = authority("Root");
    let server = Server::tls(server_config(&server(&root)), Act::SayAndClose(ACCEPTED)).await;
    let link = linked(&Device::trusting(&root), &options(server.port)).await;
    link.publish("t", "x", Qos::AtMostOnce, false)
        .await
        .unwrap();
    let error = link.closed().await;
    says(
        &link.explain(&error).unwrap(),
        Cause::ConnectionLost,
        &[
            "client `nrf-351234567890123`",
            &format!("127.0.0.1:{}", server.port),
        ],
    );
}

/// The name in the certificate and the address are not the same; both are right.
#[tokio::test]
async fn nothing_is_wrong() {
    let (broker, device, options) = house().await;
    let security = Security::Tls(TlsOptions {
        server_name: Some("localhost".into()),
        ..TlsOptions::new([tag(42)])
    });
    let link = device.open(&security, &options).await.unwrap();
    assert_eq!(
        (link.warnings(), link.common_name()),
        (&[][..], Some("dev-17"))
    );
    assert_eq!(link.explain(&sectag_mqtt::ClientError::Disconnected), None);
    link.disconnect().await.unwrap();
    broker.shutdown().await;
}
