//! Who does not get in, how they are told, and that nobody else is held up.
#![allow(clippy::unwrap_used)]

mod town;

use std::time::Duration;

use sectag_mqtt::{
    Broker, BrokerConfig, BrokerError, Client, ClientError, Listener, Qos, Transport, Version,
};
use sectag_pki::{PrivateKey, ServerName, chain};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use town::{PATIENCE, Papers, Town, mutual, next, now_s, options, start, until};

/// The refusal's words, however far the handshake came.
async fn refused(town: &Town, broker: &Broker, papers: Option<&Papers>) -> String {
    match town
        .try_connect(broker, papers, options(Version::V311, "x"))
        .await
    {
        Err(ClientError::CertificateRefused { reason, .. }) => reason,
        other => panic!("expected a refused certificate, got {other:?}"),
    }
}

#[tokio::test]
async fn strangers_are_refused_in_the_handshake_and_told_why() {
    let town = Town::new("Town");
    let now = now_s();
    // A broker that anchors the whole root, so that only the purpose of a certificate speaks against a server's.
    let stolen_key = PrivateKey::generate().unwrap();
    let names = [ServerName::Dns("dev-1".into())];
    let server_as_client = town
        .root
        .issue_server(&stolen_key.spki_der(), &names, now)
        .unwrap();
    let server_as_client = Papers {
        chain: server_as_client.pem(),
        key: stolen_key.to_pem().to_string(),
        serial: String::new(),
    };
    let revoked = town.device("dev-1");
    let roots = town.root.certificate_pem() + &town.devices.certificate_pem();
    let broker = start(town.trust_with(&roots, &[town.crl(&[&revoked.serial])])).await;
    let mut witness = town.witness(&broker).await;

    let elsewhere = Town::new("Elsewhere");
    let same_name_elsewhere = Town::new("Town");
    let expired_key = PrivateKey::generate().unwrap();
    let expired = town
        .devices
        .issue_device_for(&expired_key.spki_der(), "dev-1", now - 1800, 60)
        .unwrap();
    let expired = Papers {
        chain: chain::pem(&[&expired, town.devices.certificate()]),
        key: expired_key.to_pem().to_string(),
        serial: String::new(),
    };
    let cases = [
        (None, "got none"),
        (Some(elsewhere.device("dev-1")), "does not trust the issuer"),
        (
            Some(same_name_elsewhere.device("dev-1")),
            "", // the alert depends on whether issuer or signature is found wrong first
        ),
        (Some(server_as_client), "purpose"),
        (Some(revoked), "revoked"),
        (Some(expired), "expired"),
    ];
    for (number, (papers, words)) in cases.iter().enumerate() {
        let reason = refused(&town, &broker, papers.as_ref()).await;
        assert!(reason.contains(words), "case {number}: {reason}");
        let counters = until(&broker, |counters| {
            counters.refused_tls == number as u64 + 1
        })
        .await;
        assert_eq!(counters.accepted, 1, "only the witness");
    }
    assert_eq!(witness.seen().await, []);
    // A good certificate from the same authority still enters.
    town.connect(&broker, &town.device("dev-1"), options(Version::V5, "good"))
        .await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_broker_says_so() {
    let town = Town::new("Town");
    let elsewhere = Town::new("Elsewhere");
    let broker = town.broker().await;
    let port = broker.local_addr().port();
    let papers = town.device("dev-1");
    let foreign_roots = elsewhere.tls(Some(&papers));
    let refused = Client::connect(
        "127.0.0.1",
        port,
        Transport::tls("localhost", foreign_roots),
        options(Version::V311, "x"),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&refused, ClientError::ServerCertificate { reason, .. } if reason.contains("not trusted")),
        "{refused:?}"
    );
    let wrong_name = Client::connect(
        "127.0.0.1",
        port,
        Transport::tls("broker.example", town.tls(Some(&papers))),
        options(Version::V311, "x"),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&wrong_name, ClientError::ServerCertificate { reason, .. } if reason.contains("another name")),
        "{wrong_name:?}"
    );
    until(&broker, |counters| counters.refused_tls == 2).await;
}

#[tokio::test]
async fn plaintext_on_the_tls_port_is_refused() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let mut tcp = TcpStream::connect(broker.local_addr()).await.unwrap();
    // A plain 3.1.1 CONNECT.
    tcp.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.first(), Some(&0x15), "a TLS alert: {answer:?}");
    until(&broker, |counters| counters.refused_tls == 1).await;
    assert_eq!(broker.counters().accepted, 0);
}

#[tokio::test]
async fn idle_connections_delay_nobody_and_are_closed_at_the_deadline() {
    let town = Town::new("Town");
    let mut config = mutual(town.trust());
    config.limits.handshake_deadline = Duration::from_secs(5);
    let broker = Broker::start(config).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(broker.local_addr()).await.unwrap());
    }
    let papers = town.device("dev-1");
    let (client, mut messages) = town
        .connect(&broker, &papers, options(Version::V311, "quick"))
        .await;
    client.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    client
        .publish("dev-1/x", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    next(&mut messages).await;
    assert_eq!(
        broker.counters().refused_tls,
        0,
        "the idle ones are all still there"
    );
    for mut tcp in idle {
        let mut sink = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut sink))
            .await
            .expect("closed at the deadline");
    }
    until(&broker, |counters| counters.refused_tls == 20).await;
    client
        .publish("dev-1/x", "still here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
}

#[tokio::test]
async fn too_many_connections_are_closed_at_once() {
    let town = Town::new("Town");
    let mut config = mutual(town.trust());
    config.limits.handshakes_max = 2;
    let broker = Broker::start(config).await.unwrap();
    let _first = TcpStream::connect(broker.local_addr()).await.unwrap();
    let _second = TcpStream::connect(broker.local_addr()).await.unwrap();
    let mut third = TcpStream::connect(broker.local_addr()).await.unwrap();
    let mut sink = [0; 1];
    let read = tokio::time::timeout(PATIENCE, third.read(&mut sink))
        .await
        .unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(broker.counters().refused_busy, 1);
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let taken = Listener::tls(broker.local_addr(), town.trust());
    let error = Broker::start(BrokerConfig::new([taken])).await.unwrap_err();
    let BrokerError::Listen { address, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*address, broker.local_addr());
    assert!(error.to_string().contains(&address.to_string()));
    assert!(error.hint().contains("choose another port"));
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_a_tcp_error() {
    let town = Town::new("Town");
    let broker = town.broker().await;
    let address = broker.local_addr();
    broker.shutdown().await;
    let papers = town.device("dev-1");
    let tls = town.tls(Some(&papers));
    let error = Client::connect(
        "127.0.0.1",
        address.port(),
        Transport::tls("localhost", tls),
        options(Version::V5, "x"),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, ClientError::Tcp { .. }), "{error:?}");
}
