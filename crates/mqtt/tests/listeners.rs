//! One broker, several doors: plaintext, server-only TLS and mutual TLS, each with its own clients and rules.
#![allow(clippy::unwrap_used)]

mod town;

use std::net::SocketAddr;
use std::sync::Arc;

use sectag_mqtt::{
    Broker, BrokerConfig, BrokerError, Client, ClientError, Incoming, Level, Listener, Qos,
    Transport, Version,
};
use sectag_pki::topics::Rules;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use town::foreign::{Files, have, run};
use town::{PATIENCE, Papers, Town, any_port, next, options, server_only, text, until};

const PLAIN: usize = 0;
const SERVER: usize = 1;
const MUTUAL: usize = 2;

/// A broker with one listener of each level, in their order.
async fn broker_of(town: &Town) -> Broker {
    let listeners = [
        Listener::plain(any_port()),
        Listener::tls(any_port(), server_only(&town.server())),
        Listener::tls(any_port(), town.trust()),
    ];
    Broker::start(BrokerConfig::new(listeners)).await.unwrap()
}

fn address(broker: &Broker, listener: usize) -> SocketAddr {
    let mut bound = broker.local_addrs().iter();
    bound
        .find(|bound| bound.listener == listener)
        .unwrap()
        .address
}

/// Connects to a listener: TLS with these papers or none, or plain TCP.
enum How<'a> {
    Plain,
    Tls(Option<&'a Papers>),
}

async fn connect(
    town: &Town,
    address: SocketAddr,
    how: &How<'_>,
    client_id: &str,
) -> Result<(Client, Receiver<Incoming>), ClientError> {
    let transport = match how {
        How::Plain => Transport::Plain,
        How::Tls(papers) => Transport::tls("localhost", town.tls(*papers)),
    };
    let options = options(Version::V5, client_id);
    Client::connect("127.0.0.1", address.port(), transport, options).await
}

#[tokio::test]
async fn every_level_takes_its_clients_and_refuses_the_others() {
    let town = Town::new("Town");
    let broker = broker_of(&town).await;
    let papers = town.device("dev-1");
    let stranger = Town::new("Elsewhere").device("dev-1");
    let (plain, none) = (How::Plain, How::Tls(None));
    let (good, bad) = (How::Tls(Some(&papers)), How::Tls(Some(&stranger)));
    assert_eq!(broker.level(PLAIN), Some(Level::Plain));
    assert_eq!(broker.level(SERVER), Some(Level::Server));
    assert_eq!(broker.level(MUTUAL), Some(Level::Mutual));
    for (listener, how, enters) in [
        (PLAIN, &plain, true),
        (PLAIN, &none, false),
        (PLAIN, &good, false),
        (SERVER, &plain, false),
        (SERVER, &none, true),
        // It asks for no certificate, so it gets none.
        (SERVER, &good, true),
        (SERVER, &bad, true),
        (MUTUAL, &plain, false),
        (MUTUAL, &none, false),
        (MUTUAL, &bad, false),
        (MUTUAL, &good, true),
    ] {
        let tried = connect(&town, address(&broker, listener), how, "x").await;
        assert_eq!(tried.is_ok(), enters, "{listener}: {tried:?}");
    }
    let counted = until(&broker, |counted| {
        counted.refused_tls == 4 && counted.refused_connect == 2
    })
    .await;
    assert_eq!(counted.accepted, 5);
}

#[tokio::test]
async fn messages_cross_from_one_listener_to_the_others() {
    let town = Town::new("Town");
    let broker = broker_of(&town).await;
    let papers = town.device("dev-1");
    let at = |listener| address(&broker, listener);
    let (local, mut heard) = connect(&town, at(PLAIN), &How::Plain, "service")
        .await
        .unwrap();
    local.subscribe("#", Qos::AtLeastOnce).await.unwrap();
    let (child, mut commands) = connect(&town, at(SERVER), &How::Tls(None), "child")
        .await
        .unwrap();
    child
        .subscribe("te/child/cmd", Qos::AtLeastOnce)
        .await
        .unwrap();
    let (device, _none) = connect(&town, at(MUTUAL), &How::Tls(Some(&papers)), "d")
        .await
        .unwrap();
    child
        .publish("te/child/m", "21", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut heard).await), "21");
    device
        .publish("dev-1/m", "22", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut heard).await), "22");
    local
        .publish("te/child/cmd", "go", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut commands).await), "go");
    // A certificate has its own topics, and nobody has those of the system.
    let denied = device.publish("te/x", "x", Qos::AtLeastOnce, false).await;
    assert!(
        matches!(denied, Err(ClientError::PublishRefused { .. })),
        "{denied:?}"
    );
    let denied = child.publish("$SYS/x", "x", Qos::AtLeastOnce, false).await;
    assert!(
        matches!(denied, Err(ClientError::PublishRefused { .. })),
        "{denied:?}"
    );
    let denied = child.subscribe("$SYS/#", Qos::AtLeastOnce).await;
    assert!(
        matches!(denied, Err(ClientError::SubscribeRefused { .. })),
        "{denied:?}"
    );
}

#[tokio::test]
async fn nobody_takes_a_session_through_another_door() {
    let town = Town::new("Town");
    let broker = broker_of(&town).await;
    let papers = town.device("dev-1");
    let at = |listener| address(&broker, listener);
    let same_id = "dev-1";
    let (device, mut inbox) = connect(&town, at(MUTUAL), &How::Tls(Some(&papers)), same_id)
        .await
        .unwrap();
    device.subscribe("dev-1/#", Qos::AtLeastOnce).await.unwrap();
    let (_local, _none) = connect(&town, at(PLAIN), &How::Plain, same_id)
        .await
        .unwrap();
    let (_child, _none) = connect(&town, at(SERVER), &How::Tls(None), same_id)
        .await
        .unwrap();
    assert_eq!(broker.counters().connected, 3);
    device
        .publish("dev-1/x", "mine", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(text(&next(&mut inbox).await), "mine");
    // Through the same door it is the same client.
    let (_again, _none) = connect(&town, at(SERVER), &How::Tls(None), same_id)
        .await
        .unwrap();
    until(&broker, |counted| {
        counted.connected == 3 && counted.accepted == 4
    })
    .await;
}

#[tokio::test]
async fn rules_of_a_listener_go_by_certificate_issuer_and_client_id() {
    let (town, guests) = (Town::new("Town"), Town::new("Guests"));
    let issuer = sectag_pki::show(guests.devices.certificate_der())
        .unwrap()
        .subject;
    let rules = format!(
        "allow both {{cn}}/#\n\
         allow publish shared/{{client_id}}/{{cn}}\n\
         allow subscribe shared/# for cn dev-1\n\
         allow both guests/# for issuer {issuer}\n\
         allow both everything/# for anonymous\n"
    );
    let both = town.devices.certificate_pem() + &guests.devices.certificate_pem();
    let listener = Listener {
        rules: Arc::new(Rules::parse(&rules).unwrap()),
        ..Listener::tls(any_port(), town.trust_with(&both, &[]))
    };
    let broker = Broker::start(BrokerConfig::new([listener])).await.unwrap();
    let at = broker.local_addr();
    let (device, guest) = (town.device("dev-1"), guests.device("dev-2"));
    let (device, mut heard) = connect(&town, at, &How::Tls(Some(&device)), "a")
        .await
        .unwrap();
    let (guest, _none) = connect(&town, at, &How::Tls(Some(&guest)), "b")
        .await
        .unwrap();
    for filter in ["dev-1/#", "shared/+/dev-2"] {
        device.subscribe(filter, Qos::AtLeastOnce).await.unwrap();
    }
    for filter in ["guests/#", "#", "everything/#", "shared/../x/#"] {
        let denied = device.subscribe(filter, Qos::AtLeastOnce).await;
        let is_denied = matches!(denied, Err(ClientError::SubscribeRefused { .. }));
        assert_eq!(is_denied, filter != "shared/../x/#", "{filter}: {denied:?}");
    }
    for (topic, allowed) in [
        ("dev-2/x", true),
        ("guests/x", true),
        ("shared/b/dev-2", true),
        ("shared/a/dev-2", false),
        ("shared/b/dev-1", false),
        ("dev-1/x", false),
        ("everything/x", false),
    ] {
        let said = guest.publish(topic, topic, Qos::AtLeastOnce, false).await;
        assert_eq!(said.is_ok(), allowed, "{topic}: {said:?}");
    }
    assert_eq!(text(&next(&mut heard).await), "shared/b/dev-2");
}

#[tokio::test]
async fn all_addresses_are_bound_or_none() {
    let town = Town::new("Town");
    let taken = town.broker().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free_address = free.local_addr().unwrap();
    drop(free);
    let two = Listener {
        addresses: vec![free_address, taken.local_addr()],
        ..Listener::plain(free_address)
    };
    let error = Broker::start(BrokerConfig::new([two])).await.unwrap_err();
    assert!(
        matches!(error, BrokerError::Listen { address, .. } if address == taken.local_addr()),
        "{error:?}"
    );
    assert!(
        TcpStream::connect(free_address).await.is_err(),
        "it was let go"
    );
    for nowhere in [
        BrokerConfig::new([]),
        BrokerConfig::new([Listener {
            addresses: Vec::new(),
            ..Listener::plain(free_address)
        }]),
    ] {
        let error = Broker::start(nowhere).await.unwrap_err();
        assert!(matches!(error, BrokerError::Nowhere), "{error:?}");
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test]
async fn tls_at_the_plaintext_door_gets_no_answer_that_looks_like_mqtt() {
    let town = Town::new("Town");
    let broker = broker_of(&town).await;
    let mut tcp = TcpStream::connect(address(&broker, PLAIN)).await.unwrap();
    // The beginning of a ClientHello.
    tcp.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0, 196])
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.is_empty(), "{answer:?}");
    until(&broker, |counted| counted.refused_connect == 1).await;
}

#[tokio::test]
async fn plaintext_and_tls_never_become_each_other() {
    let town = Town::new("Town");
    let broker = broker_of(&town).await;
    assert!(!broker.set_trust(PLAIN, town.trust()));
    assert!(!broker.set_trust(MUTUAL + 1, town.trust()));
    assert_eq!(broker.level(PLAIN), Some(Level::Plain));
    // From server to mutual: who has no certificate has to go.
    let (child, _none) = connect(&town, address(&broker, SERVER), &How::Tls(None), "child")
        .await
        .unwrap();
    let (local, _none) = connect(&town, address(&broker, PLAIN), &How::Plain, "local")
        .await
        .unwrap();
    assert!(broker.set_trust(SERVER, town.trust()));
    child.closed().await;
    assert_eq!(broker.level(SERVER), Some(Level::Mutual));
    let refused = connect(&town, address(&broker, SERVER), &How::Tls(None), "child").await;
    assert!(
        matches!(refused, Err(ClientError::CertificateRefused { .. })),
        "{refused:?}"
    );
    local
        .publish("x", "still here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
}

/// The page's default: no client authentication, and so neither certificate nor key of the client.
#[tokio::test]
async fn mosquitto_tools_enter_where_their_papers_allow_it() {
    if !have("mosquitto_pub") {
        return;
    }
    let town = Town::new("Town");
    let broker = broker_of(&town).await;
    let files = Files::new(&town);
    files.papers("dev-1", &town.device("dev-1"));
    let enters = async |listener, tls: bool, papers: bool, version: &str| {
        let mut publish = files.bare_tool("mosquitto_pub", address(&broker, listener).port());
        publish.args(["-V", "5", "-t", "dev-1/x", "-q", "1", "-m", "x"]);
        if tls {
            publish.arg("--cafile").arg(files.path("ca.crt"));
            publish.args(["--tls-version", version]);
        }
        if papers {
            publish.arg("--cert").arg(files.path("dev-1.crt"));
            publish.arg("--key").arg(files.path("dev-1.key"));
        }
        run(publish).await.0 == Some(0)
    };
    assert!(enters(PLAIN, false, false, "").await);
    assert!(!enters(SERVER, false, false, "").await);
    assert!(!enters(MUTUAL, false, false, "").await);
    for version in ["tlsv1.2", "tlsv1.3"] {
        assert!(!enters(PLAIN, true, false, version).await);
        assert!(enters(SERVER, true, false, version).await);
        assert!(enters(SERVER, true, true, version).await);
        assert!(!enters(MUTUAL, true, false, version).await);
        assert!(enters(MUTUAL, true, true, version).await);
    }
}
